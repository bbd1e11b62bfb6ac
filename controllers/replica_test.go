package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	news "sigs.k8s.io/controller-runtime/pkg/event"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

// member is a replica with what it holds, against an API server.
type member struct {
	*Replica
	policies []*policy.Policy
	loads    int
	loading  error
}

func newMember(t *testing.T, api client.Client, c *clock, pod string) *member {
	t.Helper()
	r, err := NewReplica(api, "kyverno", Identity{Pod: pod, PodUID: "uid-of-" + pod})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{Replica: r}
	r.now = c.now
	r.holds = func() []string {
		return holding(policy.NewSnapshot(m.policies), func(*policy.Policy) bool { return false })
	}
	r.troubles = func() string { return "" }
	r.load = func(context.Context) error { m.loads++; return m.loading }
	return m
}

func (m *member) mustRenew(t *testing.T) {
	t.Helper()
	if err := m.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// flaky is an API server that can be told to fail, or to be slow, for writes.
type flaky struct {
	client.Client
	err    error
	before func()
}

func newFlaky(t *testing.T) *flaky {
	t.Helper()
	f := &flaky{}
	inner, ok := newAPI(t).(client.WithWatch)
	if !ok {
		t.Fatal("the fake client does not watch")
	}
	f.Client = interceptor.NewClient(inner, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if f.before != nil {
				f.before()
			}
			if f.err != nil {
				return f.err
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
	return f
}

// A replica answers while its lease is valid, and after it was not only by what it has read since.
func TestReplica(t *testing.T) {
	t.Parallel()
	api, c := newFlaky(t), newClock()
	m := newMember(t, api, c, "one")
	expect := func(what string, current bool, loads int) {
		t.Helper()
		if m.Current() != current || m.loads != loads {
			t.Errorf("%s: current %v after %d loads, want %v after %d", what, m.Current(), m.loads, current, loads)
		}
	}
	expect("at first", false, 0)
	m.loading = errors.New("no API server")
	if err := m.renew(t.Context()); err == nil {
		t.Error("it could not load and is glad")
	}
	expect("without policies", false, 1)
	others := &replicas{client: api, namespace: "kyverno", self: "another", now: c.now}
	if seen, err := others.read(t.Context()); err != nil || len(seen) != 0 {
		t.Errorf("others wait for %v, which cannot read policies; %v", seen, err)
	}
	m.loading = nil
	m.mustRenew(t)
	expect("with policies", true, 2)
	c.advance(renewInterval)
	m.mustRenew(t)
	expect("renewed", true, 2)
	c.advance(replicaLapse - time.Second)
	api.err = errors.New("no API server")
	if err := m.renew(t.Context()); err == nil {
		t.Error("it could not renew and is glad")
	}
	expect("not renewed yet", true, 2)
	c.advance(time.Second)
	expect("not renewed in time", false, 2)
	api.err = nil
	m.mustRenew(t)
	expect("back again", true, 3)
	// The lease was valid when the request for its renewal began, and not any more when it was answered.
	c.advance(replicaLapse - time.Second)
	api.before = func() { c.advance(2 * time.Second) }
	m.mustRenew(t)
	expect("a slow renewal", true, 4)
}

// An API server that does not answer for a while ends no process that may still answer; and no two lead meanwhile.
func TestA56LeaderOutlastsLapse(t *testing.T) {
	t.Parallel()
	if LeaderRenew < replicaLapse || LeaderLease <= LeaderRenew {
		t.Errorf("the leader ends after %s, a replica answers for %s, and another one leads after %s", LeaderRenew, replicaLapse, LeaderLease)
	}
}

func TestReplicaLease(t *testing.T) {
	t.Parallel()
	api, c := newAPI(t), newClock()
	m := newMember(t, api, c, "one")
	m.policies = []*policy.Policy{compile(t, clusterPolicy("b", "Pod"))}
	m.mustRenew(t)
	c.advance(renewInterval)
	m.mustRenew(t)
	var lease coordinationv1.Lease
	at := client.ObjectKey{Namespace: "kyverno", Name: "signet-replica-one"}
	if err := api.Get(t.Context(), at, &lease); err != nil {
		t.Fatal(err)
	}
	now := metav1.NewMicroTime(c.now())
	want := coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kyverno", Name: "signet-replica-one", ResourceVersion: "2",
			Labels:          map[string]string{"app.kubernetes.io/component": "signet-replica"},
			Annotations:     map[string]string{"kyverno.io/signet-holds": revision(m.policies[0]), "kyverno.io/signet-troubles": ""},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "one", UID: "uid-of-one"}}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: pointer("signet-replica-one"), LeaseDurationSeconds: pointer(int32(25)), RenewTime: &now},
	}
	if diff := cmp.Diff(want, lease); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if err := m.leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(t.Context(), at, &lease); client.IgnoreNotFound(err) != nil || err == nil || m.Current() {
		t.Errorf("after it left: %v, current %v", err, m.Current())
	}
}

func TestReplicaName(t *testing.T) {
	t.Parallel()
	for host, prefix := range map[string]string{"": "signet-replica--", "Node_1.Example.": "signet-replica-node-1-example-", strings.Repeat("x", 300): "signet-replica-" + strings.Repeat("x", 100) + "-"} {
		a, err := Identity{Host: host}.name()
		b, _ := Identity{Host: host}.name()
		if err != nil || !strings.HasPrefix(a, prefix) || len(a) != len(prefix)+8 || a == b {
			t.Errorf("%.20q: %q and %q, %v", host, a, b, err)
		}
	}
}

// VI 1.6, A-55: for whom the leader waits, without trust in anybody's clock.
func TestReplicasWaiting(t *testing.T) {
	t.Parallel()
	api, c, skewed := newAPI(t), newClock(), newClock()
	skewed.advance(-10 * time.Minute)
	one, two := newMember(t, api, c, "one"), newMember(t, api, skewed, "two")
	one.mustRenew(t)
	two.mustRenew(t)
	r := &replicas{client: api, namespace: "kyverno", self: one.name, now: c.now}
	p := compile(t, clusterPolicy("a", "Pod"))
	expect := func(what string, p *policy.Policy, want map[policy.Key]string) {
		t.Helper()
		got, err := r.waiting(t.Context(), []*policy.Policy{p})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", what, diff)
		}
	}
	left := func(n int) {
		t.Helper()
		var list coordinationv1.LeaseList
		if err := api.List(t.Context(), &list); err != nil || len(list.Items) != n {
			t.Errorf("%d leases, %v", len(list.Items), err)
		}
	}
	none := map[policy.Key]string{}
	left(2)
	expect("at first nothing is said", p, map[policy.Key]string{p.Key: ""})
	c.advance(4 * time.Second)
	skewed.advance(4 * time.Second)
	two.mustRenew(t)
	expect("then for whom it waits", p, map[policy.Key]string{p.Key: "waiting for replica signet-replica-two"})
	two.policies = []*policy.Policy{p}
	two.mustRenew(t)
	expect("it holds the policy", p, none)
	two.policies = nil
	two.mustRenew(t)
	expect("what was held once needs no further word", p, none)

	// A new generation, and a replica that is gone.
	edited := compile(t, edit(clusterPolicy("a", "Pod"), func(p *v1.ClusterPolicy) { p.Generation = 2 }))
	expect("a new generation", edited, map[policy.Key]string{p.Key: ""})
	c.advance(replicaExpiry - time.Second)
	expect("as long as it may still answer", edited, map[policy.Key]string{p.Key: "waiting for replica signet-replica-two"})
	c.advance(time.Second)
	expect("and no longer", edited, none)
	left(1)

	// One that comes back is waited for again. Another leader knows nothing, and waits as long after it has first seen the lease.
	two.mustRenew(t)
	r = &replicas{client: api, namespace: "kyverno", self: one.name, now: c.now}
	expect("another leader", edited, map[policy.Key]string{p.Key: ""})
	c.advance(replicaExpiry)
	expect("another leader later", edited, none)
	left(1)
}

// What cannot be known is waited for.
func TestReplicasUnknown(t *testing.T) {
	t.Parallel()
	r := newRound(t, &apis{lists: standardAPIs()})
	broken, ok := r.api.(client.WithWatch)
	if !ok {
		t.Fatal("the fake client does not watch")
	}
	down := true
	polls := 0
	r.again = func(time.Duration) { polls++ }
	r.settled = func(*policy.Policy) bool { return false }
	r.replicas = &replicas{namespace: "kyverno", self: "me", now: r.clock.now, client: interceptor.NewClient(broken, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if down {
				return errors.New("forbidden")
			}
			return c.List(ctx, l, opts...)
		},
	})}
	if _, err := r.Reconcile(t.Context(), webhooks{}); err != nil {
		t.Fatal(err)
	}
	if covered, cause := r.coverage.of(r.policy); covered || !strings.Contains(cause, "forbidden") || polls != 1 {
		t.Errorf("covered %v, %q after %d polls", covered, cause, polls)
	}
	if n := r.names(t)[ResourceMutating]; n != 1 {
		t.Errorf("%d webhooks are registered", n)
	}
	down = false
	if _, err := r.Reconcile(t.Context(), webhooks{replicas: true}); err != nil {
		t.Fatal(err)
	}
	if covered, cause := r.coverage.of(r.policy); !covered || polls != 1 {
		t.Errorf("covered %v, %q after %d polls", covered, cause, polls)
	}
}

// The list is bounded, ClusterPolicies come first, and no namespace takes the place of others.
func TestHolding(t *testing.T) {
	t.Parallel()
	var all []*policy.Policy
	for i := range 200 {
		all = append(all, &policy.Policy{Key: policy.Key{Namespace: "a", Name: fmt.Sprint(i)}, UID: "a", Generation: int64(i), FailurePolicy: policy.Fail})
	}
	for i := range 10 {
		all = append(all, &policy.Policy{Key: policy.Key{Namespace: "b", Name: fmt.Sprint(i)}, UID: "b", Generation: int64(i), FailurePolicy: policy.Fail},
			&policy.Policy{Key: policy.Key{Name: fmt.Sprint(i)}, UID: "c", Generation: int64(i), FailurePolicy: policy.Fail})
	}
	settled := func(p *policy.Policy) bool { return p.UID == "c" && p.Generation == 3 }
	got := holding(policy.NewSnapshot(all), settled)
	if len(got) != 9+maxHoldsPerTenancy+10 {
		t.Errorf("%d revisions", len(got))
	}
	text := strings.Join(got, ",")
	for _, p := range all[len(all)-20:] {
		if listed(text)[revision(p)] == settled(p) {
			t.Errorf("policy %s is listed: %v", p.Key, !settled(p))
		}
	}
	if holding(nil, settled) != nil {
		t.Error("something is held without a snapshot")
	}
}

// A new generation is another revision, and so is another path of the same one.
func TestRevision(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for name, p := range map[string]*policy.Policy{
		"one":           {UID: "u", Generation: 1, FailurePolicy: policy.Fail},
		"edited":        {UID: "u", Generation: 2, FailurePolicy: policy.Fail},
		"made anew":     {UID: "v", Generation: 1, FailurePolicy: policy.Fail},
		"forced":        {UID: "u", Generation: 1, FailurePolicy: policy.Ignore},
		"own webhooks":  conditioned(t, "", "a", v1.Fail, 5),
		"own, ignoring": conditioned(t, "", "a", v1.Ignore, 5),
	} {
		if other, ok := seen[revision(p)]; ok {
			t.Errorf("%s and %s are one revision", name, other)
		}
		seen[revision(p)] = name
	}
}

// What a replica does not know of the past of a policy, it takes for possible: on every common path.
func TestLoaderUnsure(t *testing.T) {
	t.Parallel()
	ready := func(generation int64, status metav1.ConditionStatus, message string) []metav1.Condition {
		return []metav1.Condition{{Type: v1.ConditionReady, Status: status, ObservedGeneration: generation, Message: message}}
	}
	tests := map[string]struct {
		generation int64
		conditions []metav1.Condition
		current    bool // others wait for this replica
		options    policy.Options
		unsure     bool
	}{
		"a first generation":                 {generation: 1},
		"a later one without a status":       {generation: 2, unsure: true},
		"Ready":                              {generation: 2, conditions: ready(2, "True", "Ready")},
		"Ready before an edit":               {generation: 2, conditions: ready(1, "True", "Ready"), unsure: true},
		"seen while others wait":             {generation: 2, conditions: ready(1, "True", "Ready"), current: true},
		"not Ready":                          {generation: 1, conditions: ready(1, "False", "Not Ready"), unsure: true},
		"Ready where a flag did not move it": {generation: 1, conditions: ready(1, "True", "Ready"), options: policy.Options{ForceIgnore: true}, unsure: true},
		"Ready where a flag moved it":        {generation: 1, conditions: ready(1, "True", "Ready; "+policy.ForcedIgnore), unsure: true},
		"Ready where it moved it too":        {generation: 1, conditions: ready(1, "True", "Ready; "+policy.ForcedIgnore), options: policy.Options{ForceIgnore: true}},
		"in force except for other kinds":    {generation: 1, conditions: ready(1, "False", "not evaluated: spec.rules[1].mutate")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := policy.NewStore()
			l := newLoader(store, nil, tt.options, func(policy.Key) {})
			l.replica = newMember(t, newAPI(t), newClock(), "one").Replica
			if tt.current {
				until := time.Now().Add(time.Hour)
				l.replica.now = time.Now
				l.replica.until.Store(&until)
			}
			p := clusterPolicy("a", "Pod")
			p.Generation, p.Status.Conditions = tt.generation, tt.conditions
			l.load(t.Context(), ofCluster(p))
			store.Sync()
			s := store.Snapshot()
			other := policy.Ignore
			if tt.options.ForceIgnore {
				other = policy.Fail
			}
			if got := s.AsksFor(s.Policies()[0], other, time.Now()); got != tt.unsure {
				t.Errorf("asked about on the other path: %v", got)
			}
			// The leader says that it is in force.
			p = p.DeepCopy()
			p.Status.Conditions = ready(tt.generation, "True", saying("Ready", s.Policies()[0].Moved))
			l.load(t.Context(), ofCluster(p))
			s = store.Snapshot()
			if s.AsksFor(s.Policies()[0], other, time.Now().Add(2*settleGrace)) {
				t.Error("asked about on the other path for ever")
			}
			if !l.settled(s.Policies()[0]) {
				t.Error("not settled")
			}
		})
	}
}

// What the leader takes back is not settled any more, so that whoever leads next is told again who holds it. A replica that others
// did not wait for meanwhile takes every path for possible: flags move a policy without a new generation.
func TestLoaderUnsettled(t *testing.T) {
	t.Parallel()
	for name, lapsed := range map[string]bool{"waited for": false, "not waited for": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := policy.NewStore()
			l := newLoader(store, nil, policy.Options{}, func(policy.Key) {})
			l.replica = newMember(t, newAPI(t), newClock(), "one").Replica
			l.replica.now = time.Now
			says := func(status metav1.ConditionStatus, message string) *v1.ClusterPolicy {
				p := clusterPolicy("a", "Pod")
				p.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: status, ObservedGeneration: 1, Message: message}}
				return p
			}
			last := says("True", "Ready")
			load := func(p *v1.ClusterPolicy) {
				told := settles().Update(news.UpdateEvent{ObjectOld: last, ObjectNew: p})
				if l.load(t.Context(), ofCluster(p)); !told && p != last {
					t.Error("the loader would not have been told")
				}
				last = p
			}
			load(last)
			store.Sync()
			p := store.Get(policy.Key{Name: "a"})
			if !l.settled(p) {
				t.Fatal("not settled")
			}
			if until := time.Now().Add(time.Hour); !lapsed {
				l.replica.until.Store(&until)
			}
			for _, taken := range []*v1.ClusterPolicy{says("False", "cannot find the kinds"), says("True", "Ready; "+policy.ForcedIgnore)} {
				load(taken)
				if l.settled(p) || len(holding(store.Snapshot(), l.settled)) != 1 {
					t.Error("what was taken back is settled")
				}
				if store.Snapshot().AsksFor(p, policy.Ignore, time.Now()) != lapsed {
					t.Errorf("asked about on the other path: %v", !lapsed)
				}
				load(says("True", "Ready"))
				if !l.settled(p) || store.Snapshot().AsksFor(p, policy.Ignore, time.Now().Add(2*settleGrace)) {
					t.Error("what is in place again is not settled")
				}
			}
			if store.Get(p.Key) != p {
				t.Error("the policy was compiled again")
			}
		})
	}
}

// A cache that is behind does not put a policy that is gone in the place of the one that has its name now.
func TestLoaderReplaced(t *testing.T) {
	t.Parallel()
	made := edit(clusterPolicy("a", "Pod"), func(p *v1.ClusterPolicy) { p.UID = "uid-2" })
	store := policy.NewStore()
	l := newLoader(store, newAPI(t, clusterPolicy("a", "Pod")), policy.Options{}, func(policy.Key) {})
	l.live = newAPI(t, made)
	if err := l.loadAll(t.Context(), l.live); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reconcile(t.Context(), policy.Key{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if p := store.Get(policy.Key{Name: "a"}); p == nil || p.UID != "uid-2" {
		t.Errorf("%v is in force", p)
	}
}

// One policy that is waited for all the time does not make others wait longer.
func TestReplicasPatient(t *testing.T) {
	t.Parallel()
	api, c := newAPI(t), newClock()
	two := newMember(t, api, c, "two")
	r := &replicas{client: api, namespace: "kyverno", self: "signet-replica-one", now: c.now}
	old, young := compile(t, clusterPolicy("old", "Pod")), compile(t, clusterPolicy("young", "Pod"))
	wait := func(all ...*policy.Policy) bool {
		t.Helper()
		two.mustRenew(t)
		if waiting, err := r.waiting(t.Context(), all); err != nil || len(waiting) != len(all) {
			t.Fatalf("%v, %v", waiting, err)
		}
		return r.patient(longWaiting)
	}
	if wait(old) {
		t.Error("patient at once")
	}
	c.advance(longWaiting + time.Second)
	if !wait(old) {
		t.Error("not patient after long")
	}
	if wait(old, young) {
		t.Error("patient with one that has just come")
	}
}
