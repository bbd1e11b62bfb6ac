package controllers

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Every replica keeps a lease of its own, which tells the leader that it serves and what it holds.
const (
	// ReplicaLabel is on the leases of replicas; its value is always ReplicaLabelValue.
	ReplicaLabel      = "app.kubernetes.io/component"
	ReplicaLabelValue = "signet-replica"
	// HoldsAnnotation lists the revisions of policies that a replica holds and that are not settled yet.
	HoldsAnnotation = "kyverno.io/signet-holds"

	replicaPrefix = "signet-replica-"
)

// A replica renews its lease at the first interval, and does not answer any more when it could not for the second. Others
// count it for the third after they last saw its lease change, which is longer, whatever their clocks say: they rely on
// nothing but how long something takes.
const (
	renewInterval  = 5 * time.Second
	replicaLapse   = 20 * time.Second
	replicaExpiry  = 25 * time.Second
	renewRetry     = time.Second
	renewTimeout   = 5 * time.Second
	gatherInterval = 100 * time.Millisecond // for changes that come together
	farewell       = time.Second            // until requests that were on their way have come
)

// Identity is what a replica knows of itself.
type Identity struct {
	// Pod and PodUID name the Pod that it runs in; both may be empty.
	Pod, PodUID string
	// Host is its name where there is no Pod.
	Host string
}

// name is that of the lease.
func (i Identity) name() (string, error) {
	if i.Pod != "" {
		return replicaPrefix + i.Pod, nil
	}
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("naming the replica: %w", err)
	}
	host := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(i.Host))
	return replicaPrefix + strings.Trim(host[:min(len(host), 100)], "-") + "-" + hex.EncodeToString(random[:]), nil
}

// Replica is this process among those that answer the API server. A policy becomes Ready once every replica whose lease is
// valid holds it, so a replica answers only while its own is: what it read before may be older than what was declared Ready
// without it. It is a Runnable of every replica.
type Replica struct {
	client    client.Client
	namespace string
	name      string
	owners    []metav1.OwnerReference
	now       func() time.Time
	changed   chan struct{}
	until     atomic.Pointer[time.Time]

	// holds are the revisions to list, troubles is what there is to say of the policies, and load reads every policy from the API server itself.
	holds    func() []string
	troubles func() string
	load     func(context.Context) error
}

// NewReplica returns the replica of this process, whose lease is in the system namespace. Setup lets it run.
func NewReplica(c client.Client, systemNamespace string, who Identity) (*Replica, error) {
	name, err := who.name()
	if err != nil {
		return nil, err
	}
	r := &Replica{client: c, namespace: systemNamespace, name: name, now: time.Now, changed: make(chan struct{}, 1)}
	if who.Pod != "" && who.PodUID != "" {
		r.owners = []metav1.OwnerReference{{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Pod", Name: who.Pod, UID: types.UID(who.PodUID)}}
	}
	return r, nil
}

// Current tells whether what this process holds may be relied on: others wait for it before they rely on anything newer.
func (r *Replica) Current() bool {
	until := r.until.Load()
	if until == nil {
		return false
	}
	now := r.now()
	// By both clocks: the monotonic one stands still while a virtual machine does, the other one can be set.
	return now.Before(*until) && now.Round(0).Before(until.Round(0))
}

// poke has the lease written soon, because what it lists may have changed.
func (r *Replica) poke() {
	if r == nil {
		return
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// NeedLeaderElection says that every replica has a lease.
func (r *Replica) NeedLeaderElection() bool { return false }

// Start keeps the lease until the process ends, and deletes it then.
func (r *Replica) Start(ctx context.Context) error {
	for {
		wait := renewInterval
		if err := r.renew(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Info("cannot renew the lease of this replica", "lease", r.name, "serving", r.Current(), "cause", err.Error())
			wait = renewRetry
		}
		select {
		case <-ctx.Done():
			return r.leave(context.WithoutCancel(ctx))
		case <-time.After(wait):
		case <-r.changed:
			select {
			case <-ctx.Done():
			case <-time.After(gatherInterval):
			}
		}
	}
}

// renew writes the lease. If it was not valid, the others may have gone on without this replica: everything is read anew, by a
// request that begins after the lease can be seen, so that what is declared Ready without this replica is among it.
func (r *Replica) renew(ctx context.Context) error {
	began := r.now()
	if err := r.write(ctx, began); err != nil {
		return err
	}
	if !r.Current() {
		loading, cancel := context.WithTimeout(ctx, replicaLapse)
		defer cancel()
		if err := r.load(loading); err != nil {
			// Nobody is to wait for a replica that cannot read policies. It does not answer, and begins anew with the lease.
			return errors.Join(err, r.withdraw(ctx))
		}
	}
	until := began.Add(replicaLapse)
	r.until.Store(&until)
	return nil
}

// write writes the whole lease by one request; by two the first time.
func (r *Replica) write(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	renewed := metav1.NewMicroTime(now)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.namespace, Name: r.name, OwnerReferences: r.owners,
			Labels:      map[string]string{ReplicaLabel: ReplicaLabelValue},
			Annotations: map[string]string{HoldsAnnotation: strings.Join(r.holds(), ","), TroublesAnnotation: r.troubles()},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: pointer(r.name), LeaseDurationSeconds: pointer(int32(replicaExpiry / time.Second)), RenewTime: &renewed},
	}
	raw, err := json.Marshal(lease)
	if err != nil {
		return err
	}
	err = r.client.Patch(ctx, lease.DeepCopy(), client.RawPatch(types.MergePatchType, raw))
	if apierrors.IsNotFound(err) {
		err = r.client.Create(ctx, lease)
	}
	if err != nil {
		return fmt.Errorf("writing lease %s: %w", r.name, err)
	}
	return nil
}

// leave stops answering and then deletes the lease. Requests in progress go on: they came before.
func (r *Replica) leave(ctx context.Context) error {
	time.Sleep(farewell)
	r.until.Store(nil)
	if err := r.withdraw(ctx); err != nil {
		log.FromContext(ctx).Info("the lease of this replica ends by itself", "cause", err.Error())
	}
	return nil
}

// withdraw deletes the lease of a replica that does not answer.
func (r *Replica) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: r.name}}
	if err := r.client.Delete(ctx, lease); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting lease %s: %w", r.name, err)
	}
	return nil
}
