package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

// spoilt is a generation that does not compile.
func spoilt(p *v1.ClusterPolicy, generation int64) *v1.ClusterPolicy {
	out := p.DeepCopy()
	out.Generation = generation
	out.Spec.Rules[0].VerifyImages[0].Attestors[0].Entries[0].Keys.PublicKeys = "not a key"
	return out
}

func edit(p *v1.ClusterPolicy, f func(*v1.ClusterPolicy)) *v1.ClusterPolicy {
	out := p.DeepCopy()
	f(out)
	return out
}

func TestLoader(t *testing.T) {
	t.Parallel()
	base := clusterPolicy("a", "Pod")
	tests := map[string]struct {
		// loaded one after the other; the last one to be in force, 0 for none.
		loaded  []*v1.ClusterPolicy
		inForce int64
		rules   int
		refused bool
		// broken is set when what is in force refuses everything it matches.
		broken bool
	}{
		"a policy":                        {loaded: []*v1.ClusterPolicy{base}, inForce: 1, rules: 3},
		"one that never compiled":         {loaded: []*v1.ClusterPolicy{spoilt(base, 1)}, inForce: 1, rules: 3, refused: true, broken: true},
		"one that still does not compile": {loaded: []*v1.ClusterPolicy{spoilt(base, 1), spoilt(base, 2)}, inForce: 2, rules: 3, refused: true, broken: true},
		"one that compiles at last":       {loaded: []*v1.ClusterPolicy{spoilt(base, 1), edit(base, func(p *v1.ClusterPolicy) { p.Generation = 2 })}, inForce: 2, rules: 3},
		"a broken edit":                   {loaded: []*v1.ClusterPolicy{base, spoilt(base, 2)}, inForce: 1, rules: 3, refused: true},
		"a broken edit and repair":        {loaded: []*v1.ClusterPolicy{base, spoilt(base, 2), edit(base, func(p *v1.ClusterPolicy) { p.Generation = 3 })}, inForce: 3, rules: 3},
		"an older reading":                {loaded: []*v1.ClusterPolicy{edit(base, func(p *v1.ClusterPolicy) { p.Generation = 3 }), base}, inForce: 3, rules: 3},
		"annotations count without a generation": {
			loaded: []*v1.ClusterPolicy{base, edit(base, func(p *v1.ClusterPolicy) {
				p.Annotations = map[string]string{"pod-policies.kyverno.io/autogen-controllers": "none"}
			})},
			inForce: 1, rules: 1,
		},
		"a broken policy in the place of a deleted one": {
			loaded:  []*v1.ClusterPolicy{base, edit(spoilt(base, 1), func(p *v1.ClusterPolicy) { p.UID = "uid-2" })},
			inForce: 1, rules: 3, refused: true, broken: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := policy.NewStore()
			l := newLoader(store, nil, policy.Options{}, func(policy.Key) {})
			for _, p := range tt.loaded {
				l.load(t.Context(), ofCluster(p))
			}
			var generation int64
			rules, refuses := 0, false
			if p := store.Get(policy.Key{Name: "a"}); p != nil {
				generation, rules, refuses = p.Generation, len(p.Rules), broken(p)
			}
			if generation != tt.inForce || rules != tt.rules {
				t.Errorf("generation %d with %d rules is in force, want %d with %d", generation, rules, tt.inForce, tt.rules)
			}
			if refuses != tt.broken {
				t.Errorf("what is in force refuses everything: %v", refuses)
			}
			if r, ok := l.outcome(policy.Key{Name: "a"}); !ok || (r.refused != "") != tt.refused {
				t.Errorf("outcome %+v", r)
			}
		})
	}
}

func TestLoadAll(t *testing.T) {
	t.Parallel()
	same := clusterPolicy("same", "Pod")
	again := &v1.Policy{ObjectMeta: metav1.ObjectMeta{Name: "same", Namespace: "team"}, Spec: same.Spec}
	api := newAPI(t, same, again, spoilt(clusterPolicy("broken", "Pod"), 1))
	store := policy.NewStore()
	asked := map[policy.Key]int{}
	l := newLoader(store, api, policy.Options{}, func(k policy.Key) { asked[k]++ })
	if store.Snapshot() != nil {
		t.Fatal("a snapshot before anything was read")
	}
	if err := l.loadAll(t.Context(), api); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range store.Snapshot().Policies() {
		names = append(names, p.String())
	}
	if diff := cmp.Diff([]string{"broken", "same", "team/same"}, names); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(asked) != 3 {
		t.Errorf("asked for %v", asked)
	}
	// A second reading of the same puts nothing new in: what is registered for it still is.
	before := store.Get(policy.Key{Name: "same"})
	if _, err := l.Reconcile(t.Context(), policy.Key{Name: "same"}); err != nil {
		t.Fatal(err)
	}
	if store.Get(policy.Key{Name: "same"}) != before {
		t.Error("the same policy was put in twice")
	}
	if err := api.Delete(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reconcile(t.Context(), policy.Key{Namespace: "team", Name: "same"}); err != nil {
		t.Fatal(err)
	}
	if len(store.Snapshot().Policies()) != 2 {
		t.Error("a deleted policy is in force")
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	p := compile(t, clusterPolicy("a", "Pod"))
	other := compile(t, clusterPolicy("a", "Pod"))
	stored := compile(t, edit(clusterPolicy("a", "Pod"), func(p *v1.ClusterPolicy) {}))
	stored.NotEvaluated = []string{`spec.rules[1].mutate: rule "x"`}
	seen := record{uid: "uid-1", generation: 1}
	covering := func(ps ...*policy.Policy) *coverage {
		c := &coverage{}
		c.succeeded(ps, nil)
		return c
	}
	troubled := &coverage{}
	troubled.succeeded([]*policy.Policy{p}, map[policy.Key]string{p.Key: "no endpoints"})
	failing := &coverage{}
	failing.failed("forbidden")
	later := covering(p)
	later.failed("forbidden")
	tests := map[string]struct {
		record  record
		inForce *policy.Policy
		cover   *coverage
		cause   string
		known   bool
	}{
		"registered":                           {seen, p, covering(p), "", true},
		"not yet registered":                   {seen, p, &coverage{}, messageNotReady, false},
		"another reading is registered":        {seen, p, covering(other), messageNotReady, false},
		"refused":                              {record{uid: "uid-1", generation: 2, refused: "bad key"}, p, covering(p), "bad key", true},
		"an earlier generation is in force":    {record{uid: "uid-1", generation: 2}, p, covering(p), messageNotReady, false},
		"kinds that cannot be resolved":        {seen, p, troubled, "no endpoints", true},
		"registration fails":                   {seen, p, failing, "forbidden", true},
		"registration fails after it had been": {seen, p, later, "", true},
		"not evaluated in full":                {seen, stored, covering(stored), `not evaluated: spec.rules[1].mutate: rule "x"`, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, known := judge(tt.record, tt.inForce, tt.cover)
			if got.cause != tt.cause || known != tt.known {
				t.Errorf("got %q, %v", got.cause, known)
			}
		})
	}
}

func TestDesiredStatus(t *testing.T) {
	t.Parallel()
	p := clusterPolicy("a", "Pod")
	p.Generation = 4
	p.Status.Ready = pointer(true)
	earlier, now := metav1.NewTime(newClock().now()), metav1.NewTime(newClock().now().Add(time.Hour))
	p.Status.Conditions = []metav1.Condition{
		{Type: "Other", Status: "True", Reason: "Mine", LastTransitionTime: earlier},
		{Type: "Ready", Status: "True", Reason: "Succeeded", Message: "Ready", ObservedGeneration: 3, LastTransitionTime: earlier},
	}
	compiled := compile(t, p)
	got := desiredStatus(ofCluster(p), compiled, readiness{}, now)
	want := v1.PolicyStatus{
		Conditions: []metav1.Condition{
			p.Status.Conditions[0],
			{Type: "Ready", Status: "True", Reason: "Succeeded", Message: "Ready", ObservedGeneration: 4, LastTransitionTime: earlier},
		},
		RuleCount: &v1.RuleCountStatus{VerifyImages: 1},
		Autogen:   v1.AutogenStatus{Rules: compiled.Generated},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(got.Autogen.Rules) != 2 || got.Autogen.Rules[0].Name != "autogen-check" || got.Autogen.Rules[1].Name != "autogen-cronjob-check" {
		t.Errorf("generated rules %v", got.Autogen.Rules)
	}
	noted := desiredStatus(ofCluster(p), compiled, readiness{notes: []string{"a", "b"}}, now).Conditions[1]
	if noted.Status != metav1.ConditionTrue || noted.Message != "Ready; a; b" {
		t.Errorf("%+v", noted)
	}
	bad := desiredStatus(ofCluster(p), compiled, readiness{cause: strings.Repeat("é", maxMessage)}, now).Conditions[1]
	if bad.Status != "False" || bad.Reason != "Failed" || len(bad.Message) > maxMessage || bad.LastTransitionTime != now {
		t.Errorf("got %s %s, %d bytes, %s", bad.Status, bad.Reason, len(bad.Message), bad.LastTransitionTime)
	}
}

// VI 1.6(1): a policy of which the API server would not store the generated rules as well has a status all the same.
func TestStatusOfALargePolicy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		references int
		shown      int
		message    string
	}{
		"large":     {8000, 2, "Ready"},
		"too large": {11000, 0, "Ready; the generated rules are in force but too large for the status"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := clusterPolicy("a", "Pod")
			for i := range c.references {
				p.Spec.Rules[0].VerifyImages[0].ImageReferences = append(p.Spec.Rules[0].VerifyImages[0].ImageReferences, fmt.Sprintf("ghcr.io/%030d", i))
			}
			api, store := newAPIWithStatus(t, p), policy.NewStore()
			l := newLoader(store, api, policy.Options{}, func(policy.Key) {})
			if err := l.loadAll(t.Context(), api); err != nil {
				t.Fatal(err)
			}
			w := &statusWriter{reader: api, writer: api, store: store, loader: l, coverage: &coverage{}, now: newClock().now}
			w.coverage.succeeded(store.Snapshot().Policies(), nil)
			if _, err := w.Reconcile(t.Context(), policy.Key{Name: "a"}); err != nil {
				t.Fatal(err)
			}
			var got v1.ClusterPolicy
			if err := api.Get(t.Context(), client.ObjectKey{Name: "a"}, &got); err != nil {
				t.Fatal(err)
			}
			ready := meta.FindStatusCondition(got.Status.Conditions, v1.ConditionReady)
			if len(got.Status.Autogen.Rules) != c.shown || ready == nil || ready.Message != c.message || ready.Status != metav1.ConditionTrue {
				t.Errorf("%d rules, %+v", len(got.Status.Autogen.Rules), ready)
			}
		})
	}
}

func TestStatusIsWrittenOnce(t *testing.T) {
	t.Parallel()
	p := clusterPolicy("a", "Pod")
	api, store := newAPIWithStatus(t, p), policy.NewStore()
	l := newLoader(store, api, policy.Options{}, func(policy.Key) {})
	if err := l.loadAll(t.Context(), api); err != nil {
		t.Fatal(err)
	}
	k := policy.Key{Name: "a"}
	w := &statusWriter{reader: api, writer: api, store: store, loader: l, coverage: &coverage{}, now: newClock().now}
	version := func() string {
		t.Helper()
		if _, err := w.Reconcile(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		var got v1.ClusterPolicy
		if err := api.Get(t.Context(), client.ObjectKey{Name: "a"}, &got); err != nil {
			t.Fatal(err)
		}
		return got.ResourceVersion
	}
	fresh := version()
	w.coverage.succeeded(store.Snapshot().Policies(), nil)
	ready := version()
	if ready == fresh {
		t.Error("nothing was written although the policy is ready")
	}
	if version() != ready {
		t.Error("the same status was written again")
	}
	w.coverage = &coverage{}
	if version() != ready {
		t.Error("a new leader took back what it had not looked at")
	}
}

// A policy that was changed after it was read is no error: its change is reconciled next.
func TestStatusOfAChangedPolicy(t *testing.T) {
	t.Parallel()
	p := clusterPolicy("a", "Pod")
	api, store := newAPIWithStatus(t, p), policy.NewStore()
	stale := newAPIWithStatus(t, clusterPolicy("a", "Pod"))
	l := newLoader(store, stale, policy.Options{}, func(policy.Key) {})
	if err := l.loadAll(t.Context(), stale); err != nil {
		t.Fatal(err)
	}
	var changed v1.ClusterPolicy
	if err := api.Get(t.Context(), client.ObjectKey{Name: "a"}, &changed); err != nil {
		t.Fatal(err)
	}
	changed.Labels = map[string]string{"changed": "meanwhile"}
	if err := api.Update(t.Context(), &changed); err != nil {
		t.Fatal(err)
	}
	w := &statusWriter{reader: stale, writer: api, store: store, loader: l, coverage: &coverage{}, now: newClock().now}
	w.coverage.succeeded(store.Snapshot().Policies(), nil)
	if result, err := w.Reconcile(t.Context(), policy.Key{Name: "a"}); err != nil || !result.IsZero() {
		t.Errorf("got %v, %v", result, err)
	}
	var got v1.ClusterPolicy
	if err := api.Get(t.Context(), client.ObjectKey{Name: "a"}, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Status.Conditions) > 0 || got.ResourceVersion != changed.ResourceVersion {
		t.Error("a status was written over a newer version of the policy")
	}
}
