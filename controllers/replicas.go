package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/signet-policy/signet/pkg/policy"
)

// How long the leader waits before it says for whom, and how many replicas it names.
const (
	sayWaiting = 3 * time.Second
	maxNamed   = 3
)

// replicas are the others as the leader sees them. It is used by one goroutine.
type replicas struct {
	client    client.Client // live
	namespace string
	self      string
	now       func() time.Time

	// seen is when each lease was first seen as it is: one that stays so for too long is that of a dead replica.
	seen map[types.UID]sighting
	// held are the policies that all replicas held once. Those that come later read them before they answer.
	held map[*policy.Policy]bool
	// since is when the wait for a policy began.
	since map[*policy.Policy]time.Time
}

// sighting is one version of a lease, and when it was first seen.
type sighting struct {
	version string
	at      time.Time
}

// waiting tells for which of these policies some replica does not hold the generation in force, and what there is to say about
// it: nothing, in the beginning. The error is that of not knowing.
func (r *replicas) waiting(ctx context.Context, unsettled []*policy.Policy) (map[policy.Key]string, error) {
	now := r.now()
	held, since := map[*policy.Policy]bool{}, map[*policy.Policy]time.Time{}
	var open []*policy.Policy
	for _, p := range unsettled {
		if r.held[p] {
			held[p] = true
			continue
		}
		open = append(open, p)
		since[p] = now
		if before, ok := r.since[p]; ok {
			since[p] = before
		}
	}
	r.held, r.since = held, since
	out := map[policy.Key]string{}
	if len(open) == 0 {
		return out, nil
	}
	others, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range open {
		var missing []string
		rev := revision(p)
		for name, holds := range others {
			if !holds[rev] {
				missing = append(missing, name)
			}
		}
		switch {
		case len(missing) == 0:
			r.held[p] = true
			delete(r.since, p)
		case now.Sub(since[p]) < sayWaiting:
			out[p.Key] = ""
		default:
			out[p.Key] = waitingFor(missing)
		}
	}
	return out, nil
}

// patient tells whether every policy that is waited for has been for longer than that: one that is does not slow others down.
func (r *replicas) patient(longer time.Duration) bool {
	now := r.now()
	for _, began := range r.since {
		if now.Sub(began) <= longer {
			return false
		}
	}
	return true
}

func waitingFor(names []string) string {
	slices.Sort(names)
	more := ""
	if n := len(names) - maxNamed; n > 0 {
		names, more = names[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	return "waiting for replica " + strings.Join(names, ", ") + more
}

// read returns what every other live replica holds, by name. Leases of dead ones are deleted, so that the next leader does not wait
// for them: a replica that was only slow does not answer any more, and writes its lease anew before it does.
func (r *replicas) read(ctx context.Context) (map[string]map[string]bool, error) {
	var list coordinationv1.LeaseList
	asked := r.now() // a lease may be renewed while this process does nothing; what is dead was so when it asked
	if err := r.client.List(ctx, &list, client.InNamespace(r.namespace), client.MatchingLabels{ReplicaLabel: ReplicaLabelValue}); err != nil {
		return nil, fmt.Errorf("reading the leases of replicas: %w", err)
	}
	now := r.now()
	seen, out := map[types.UID]sighting{}, map[string]map[string]bool{}
	for i := range list.Items {
		lease := &list.Items[i]
		if lease.Name == r.self || !strings.HasPrefix(lease.Name, replicaPrefix) {
			continue
		}
		s, ok := r.seen[lease.UID]
		if !ok || s.version != lease.ResourceVersion {
			s = sighting{lease.ResourceVersion, now}
		}
		seen[lease.UID] = s
		if asked.Sub(s.at) < replicaExpiry {
			out[lease.Name] = listed(lease.Annotations[HoldsAnnotation])
			continue
		}
		r.abandon(ctx, lease)
	}
	r.seen = seen
	return out, nil
}

// abandon deletes a lease, unless it has just been renewed.
func (r *replicas) abandon(ctx context.Context, lease *coordinationv1.Lease) {
	err := r.client.Delete(ctx, lease, client.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion})
	log.FromContext(ctx).Info("lease of a replica that is gone", "lease", lease.Name, "deleted", err == nil)
}
