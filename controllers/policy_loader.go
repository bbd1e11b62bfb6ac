package controllers

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

// loader compiles policies into the store. A policy that does not compile leaves its earlier generation in force; where
// there is none it refuses what it matches.
type loader struct {
	store   *policy.Store
	reader  client.Reader
	options policy.Options
	// changed is told of every policy that was loaded, refused or taken out of force.
	changed func(policy.Key)
	// exceptions are loaded before the first snapshot; nil when there are none to load.
	exceptions *exceptionLoader
	// replica is this process as the others see it, and live reads from the API server itself; nil where there are no others.
	replica *Replica
	live    client.Reader

	// mu covers reading a policy together with what follows from it, so that an older reading never replaces a newer one.
	mu      sync.Mutex
	records map[policy.Key]record
}

// record is what became of the latest generation of a policy.
type record struct {
	uid                 types.UID
	generation          int64
	annotations, labels map[string]string
	// refused says why the generation does not compile; empty when it does.
	refused string
	// settled is set once the status says that the generation is registered, and held by every replica.
	settled bool
}

// sees tells whether the record is about the same reading of the policy, or about a newer one: there are two readers
// when a process starts.
func (r record) sees(x record) bool {
	if r.uid != x.uid || r.generation < x.generation {
		return false
	}
	return r.generation > x.generation || maps.Equal(r.annotations, x.annotations) && maps.Equal(r.labels, x.labels)
}

func newLoader(store *policy.Store, reader client.Reader, options policy.Options, changed func(policy.Key)) *loader {
	return &loader{store: store, reader: reader, options: options, changed: changed, records: map[policy.Key]record{}}
}

// Reconcile loads one policy, or takes it out of force when it is gone.
func (l *loader) Reconcile(ctx context.Context, k policy.Key) (reconcile.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	obj, err := getPolicy(ctx, l.reader, k)
	if l.live != nil && (apierrors.IsNotFound(err) || err == nil && l.replaces(obj)) {
		// The cache may be behind what was read from the API server itself.
		asking, cancel := context.WithTimeout(ctx, renewTimeout) // the lease is not written meanwhile
		defer cancel()
		obj, err = getPolicy(asking, l.live, k)
	}
	switch {
	case apierrors.IsNotFound(err):
		l.store.Delete(k)
		delete(l.records, k)
		log.FromContext(ctx).Info("policy removed", "policy", k.String())
	case err != nil:
		return reconcile.Result{}, err
	default:
		l.load(ctx, obj)
	}
	l.changed(k)
	return reconcile.Result{}, nil
}

// replaces tells whether there is a record of another policy of the same name, which may be an older or a newer one. The caller
// holds mu.
func (l *loader) replaces(obj policyObject) bool {
	r, ok := l.records[obj.key()]
	return ok && r.uid != obj.GetUID()
}

// loadAll loads every policy there is and lets the store publish its first snapshot.
func (l *loader) loadAll(ctx context.Context, reader client.Reader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, err := listPolicies(ctx, reader)
	if err != nil {
		return err
	}
	if l.exceptions != nil {
		if err := l.exceptions.loadAll(ctx, reader); err != nil {
			return err
		}
	}
	for _, obj := range all {
		l.load(ctx, obj)
	}
	l.store.Sync()
	log.FromContext(ctx).Info("policies loaded", "count", len(all))
	for _, obj := range all {
		l.changed(obj.key())
	}
	return nil
}

// load puts one policy into the store, or remembers why it cannot be. The caller holds mu.
func (l *loader) load(ctx context.Context, obj policyObject) {
	k := obj.key()
	before, known := l.records[k]
	now := record{uid: obj.GetUID(), generation: obj.GetGeneration(), annotations: obj.GetAnnotations(), labels: obj.GetLabels()}
	if known && before.sees(now) {
		if before.generation == now.generation {
			l.look(obj, before)
		}
		return
	}
	compiled, errs := obj.compile(l.options)
	now.settled = isSettled(obj, compiled)
	inForce := l.store.Get(k)
	if inForce != nil && inForce.UID != obj.GetUID() { // another policy of the same name, which is gone
		if inForce = nil; compiled == nil {
			l.store.Delete(k)
		}
	}
	if len(errs) > 0 {
		now.refused = errs.ToAggregate().Error()
		log.FromContext(ctx).Info("policy refused, its earlier generation stays in force if there is one", "policy", k.String(),
			"generation", now.generation, "inForce", inForce != nil && !broken(inForce), "cause", now.refused)
	}
	if len(errs) == 0 || compiled != nil && (inForce == nil || broken(inForce)) {
		// With errors and no sound generation in force this is a policy that refuses what it matches, instead of none.
		if l.unsure(obj, now) {
			l.store.PutUnsure(compiled)
		} else {
			l.store.Put(compiled)
		}
	}
	l.records[k] = now
	l.settle(k, now)
}

// look brings the record of a generation up to date with its status. What was in place may be so no longer: whoever leads next
// then waits for this replica again, and its word is needed. The caller holds mu.
func (l *loader) look(obj policyObject, r record) {
	k := obj.key()
	p := l.store.Get(k)
	if !holds(p, r) {
		return
	}
	if settled := isSettled(obj, p); settled != r.settled {
		r.settled = settled
		l.records[k] = r
		l.settle(k, r)
	}
	if l.unsure(obj, r) { // a leader with other flags may have moved it without a new generation
		l.store.PutUnsure(p)
	}
}

// unsure tells whether the policy may be registered at a path that this process does not know of: while others do not wait for
// this one, generations pass unseen. A first generation without a status has no others before it.
func (l *loader) unsure(obj policyObject, now record) bool {
	if l.replica == nil || now.settled || l.replica.Current() {
		return false
	}
	return now.generation > 1 || meta.FindStatusCondition(obj.status.Conditions, v1.ConditionReady) != nil
}

// settle ends what former paths a settled policy has. The caller holds mu.
func (l *loader) settle(k policy.Key, r record) {
	if p := l.store.Get(k); r.settled && holds(p, r) {
		l.store.Settle(k, settleGrace)
	}
}

// holds tells whether the policy in force is the generation of the record.
func holds(p *policy.Policy, r record) bool {
	return p != nil && p.UID == r.uid && p.Generation == r.generation
}

// settled tells whether every replica is known to hold a policy in force as its status says.
func (l *loader) settled(p *policy.Policy) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.records[p.Key]
	return ok && r.settled && holds(p, r)
}

// settleGrace is for how long after its registration a policy is still judged on its former paths: until then every API server
// has read the webhooks anew.
const settleGrace = 5 * time.Second

// broken tells whether a policy is one that did not compile and refuses what it matches.
func broken(p *policy.Policy) bool {
	return slices.ContainsFunc(p.Rules, func(r *policy.Rule) bool { return r.Broken != "" })
}

// outcome is what became of the latest generation that was seen of a policy.
func (l *loader) outcome(k policy.Key) (record, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.records[k]
	return r, ok
}
