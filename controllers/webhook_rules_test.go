package controllers

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// line writes a rule as group/version resources scope operations.
func line(r admissionregistrationv1.RuleWithOperations) string {
	var ops []string
	for _, o := range r.Operations {
		ops = append(ops, string(o))
	}
	return fmt.Sprintf("%s/%s %s %s %s", strings.Join(r.APIGroups, ","), strings.Join(r.APIVersions, ","),
		strings.Join(r.Resources, ","), *r.Scope, strings.Join(ops, ","))
}

func lines(r *registration) []string {
	var out []string
	for _, rule := range r.rules() {
		out = append(out, line(rule))
	}
	return out
}

// mutatingOnly turns a policy's checks of the validating phase off.
func mutatingOnly(p *v1.ClusterPolicy) *v1.ClusterPolicy {
	e := &p.Spec.Rules[0].VerifyImages[0]
	e.VerifyDigest, e.Required = pointer(false), pointer(false)
	return p
}

func with(p *v1.ClusterPolicy, f v1.FailurePolicy, timeout int32) *v1.ClusterPolicy {
	p.Spec.WebhookConfiguration = &v1.WebhookConfiguration{FailurePolicy: f}
	if timeout > 0 {
		p.Spec.WebhookConfiguration.TimeoutSeconds = &timeout
	}
	return p
}

func TestRegister(t *testing.T) {
	t.Parallel()
	type want struct {
		MutatingFail, MutatingIgnore, ValidatingFail []string
		TimeoutFail, TimeoutIgnore                   int32
		Unknown                                      []string
		Moving                                       bool
	}
	workloads := func(ops string) []string {
		return []string{
			"/v1 pods,pods/ephemeralcontainers,replicationcontrollers Namespaced " + ops,
			"apps/v1 daemonsets,deployments,replicasets,statefulsets Namespaced " + ops,
			"batch/v1 cronjobs,jobs Namespaced " + ops,
		}
	}
	const both, all = "CREATE,UPDATE", "CREATE,UPDATE,DELETE,CONNECT"
	tests := map[string]struct {
		policies []*v1.ClusterPolicy
		want     want
	}{
		"no policies": {want: want{TimeoutFail: 10, TimeoutIgnore: 10}},
		"pods bring their controllers and the subresource that adds containers": {
			policies: []*v1.ClusterPolicy{clusterPolicy("a", "Pod")},
			want:     want{MutatingFail: workloads(both), ValidatingFail: workloads(all), TimeoutFail: 10, TimeoutIgnore: 10},
		},
		"two policies with the same kinds are one set of rules, the longer timeout holds": {
			policies: []*v1.ClusterPolicy{with(clusterPolicy("a", "Pod"), v1.Fail, 5), with(clusterPolicy("b", "Pod"), v1.Fail, 25)},
			want:     want{MutatingFail: workloads(both), ValidatingFail: workloads(all), TimeoutFail: 25, TimeoutIgnore: 10},
		},
		"a shorter timeout does not shorten the default": {
			policies: []*v1.ClusterPolicy{with(clusterPolicy("a", "Namespace"), v1.Ignore, 2)},
			want:     want{MutatingIgnore: []string{"/v1 namespaces Cluster " + both}, TimeoutFail: 10, TimeoutIgnore: 10},
		},
		"failure policies keep apart": {
			policies: []*v1.ClusterPolicy{with(clusterPolicy("a", "v1/Pod"), v1.Fail, 0), with(clusterPolicy("b", "batch/v1/Job"), v1.Ignore, 0)},
			want: want{
				MutatingFail:   []string{"/v1 pods,pods/ephemeralcontainers Namespaced " + both},
				MutatingIgnore: []string{"batch/v1 jobs Namespaced " + both},
				ValidatingFail: []string{"/v1 pods,pods/ephemeralcontainers Namespaced " + all},
				TimeoutFail:    10, TimeoutIgnore: 10,
			},
		},
		"a rule without checks in the validating phase is not registered there": {
			policies: []*v1.ClusterPolicy{mutatingOnly(clusterPolicy("a", "v1/Pod"))},
			want:     want{MutatingFail: []string{"/v1 pods,pods/ephemeralcontainers Namespaced " + both}, TimeoutFail: 10, TimeoutIgnore: 10},
		},
		"all versions of a kind": {
			policies: []*v1.ClusterPolicy{mutatingOnly(clusterPolicy("a", "TaskRun"))},
			want: want{MutatingFail: []string{"tekton.dev/v1 taskruns Namespaced " + both, "tekton.dev/v1beta1 taskruns Namespaced " + both},
				TimeoutFail: 10, TimeoutIgnore: 10},
		},
		"one version": {
			policies: []*v1.ClusterPolicy{mutatingOnly(clusterPolicy("a", "tekton.dev/v1beta1/TaskRun"))},
			want:     want{MutatingFail: []string{"tekton.dev/v1beta1 taskruns Namespaced " + both}, TimeoutFail: 10, TimeoutIgnore: 10},
		},
		"wildcards": {
			policies: []*v1.ClusterPolicy{mutatingOnly(clusterPolicy("a", "apps/*/*Set"))},
			want:     want{MutatingFail: []string{"apps/v1 daemonsets,replicasets,statefulsets Namespaced " + both}, TimeoutFail: 10, TimeoutIgnore: 10, Moving: true},
		},
		"a subresource whose own kind is another": {
			policies: []*v1.ClusterPolicy{mutatingOnly(clusterPolicy("a", "Deployment/scale"))},
			want:     want{MutatingFail: []string{"apps/v1 deployments/scale Namespaced " + both}, TimeoutFail: 10, TimeoutIgnore: 10},
		},
		"a subresource of every kind": {
			policies: []*v1.ClusterPolicy{mutatingOnly(clusterPolicy("a", "*/scale", "v1/Pod"))},
			want: want{MutatingFail: []string{"/v1 pods,pods/ephemeralcontainers Namespaced " + both, "*/* */scale * " + both},
				TimeoutFail: 10, TimeoutIgnore: 10, Moving: true},
		},
		"an unknown kind is left out": {
			policies: []*v1.ClusterPolicy{mutatingOnly(clusterPolicy("a", "v1/Pod", "Rollout"))},
			want: want{MutatingFail: []string{"/v1 pods,pods/ephemeralcontainers Namespaced " + both},
				TimeoutFail: 10, TimeoutIgnore: 10, Unknown: []string{"a: Rollout"}, Moving: true},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var policies []*policy.Policy
			for _, p := range tt.policies {
				policies = append(policies, compile(t, p))
			}
			r := register(policies, newKinds(t, &apis{lists: standardAPIs()}), 10, validatingOperations)
			got := want{
				MutatingFail: lines(r.mutating[policy.Fail]), MutatingIgnore: lines(r.mutating[policy.Ignore]),
				ValidatingFail: lines(r.validating[policy.Fail]),
				TimeoutFail:    r.mutating[policy.Fail].timeout, TimeoutIgnore: r.mutating[policy.Ignore].timeout,
				Unknown: r.unknown, Moving: r.moving,
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if len(r.problems) > 0 {
				t.Errorf("problems %v", r.problems)
			}
		})
	}
}

// VI 3.3(1), 3.4: a webhook with conditions, which may read the object, is asked about deletions only where a rule names them.
func TestRegisterConditioned(t *testing.T) {
	t.Parallel()
	const pods = "/v1 pods,pods/ephemeralcontainers Namespaced "
	own := conditioned(t, "", "own", v1.Fail, 5)
	named := clusterPolicy("named", "v1/Pod")
	named.Spec.Rules[0].Match.Any[0].Resources.Operations = []v1.AdmissionOperation{v1.Create, v1.Delete}
	named.Spec.WebhookConfiguration = &v1.WebhookConfiguration{MatchConditions: own.MatchConditions}
	policies := []*policy.Policy{own, compile(t, named), compile(t, clusterPolicy("plain", "v1/Pod"))}
	for name, tt := range map[string]struct {
		common match.Operations
		want   string
	}{
		"without common conditions": {validatingOperations, pods + "CREATE,UPDATE,DELETE,CONNECT"},
		"with common conditions":    {conditionedOperations, pods + "CREATE,UPDATE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := register(policies, newKinds(t, &apis{lists: standardAPIs()}), 10, tt.common)
			got := [][]string{lines(r.fine[0].validating), lines(r.fine[1].validating), lines(r.validating[policy.Fail])}
			if diff := cmp.Diff([][]string{{pods + "CREATE,UPDATE"}, {pods + "CREATE,DELETE"}, {tt.want}}, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// VI 3.3(2): operations that match names replace the usual ones, and exclude filters of kinds and operations alone take
// some away.
func TestRegisterOperations(t *testing.T) {
	t.Parallel()
	filter := func(kinds string, operations ...v1.AdmissionOperation) v1.ResourceFilter {
		f := v1.ResourceFilter{Resources: v1.ResourceDescription{Operations: operations}}
		if kinds != "" {
			f.Resources.Kinds = strings.Split(kinds, " ")
		}
		return f
	}
	named := func(f v1.ResourceFilter) v1.ResourceFilter { f.Resources.Names = []string{"a"}; return f }
	const pods = "/v1 pods,pods/ephemeralcontainers Namespaced "
	const jobs = "batch/v1 jobs Namespaced "
	type want struct{ Mutating, Validating []string }
	usual := want{[]string{pods + "CREATE,UPDATE"}, []string{pods + "CREATE,UPDATE,DELETE,CONNECT"}}
	for name, tt := range map[string]struct {
		match, exclude v1.MatchResources
		want           want
	}{
		"named operations are those of both phases": {
			match: v1.MatchResources{Any: v1.ResourceFilters{filter("v1/Pod", v1.Create)}},
			want:  want{[]string{pods + "CREATE"}, []string{pods + "CREATE"}},
		},
		"the operations of several filters count together": {
			match: v1.MatchResources{Any: v1.ResourceFilters{filter("v1/Pod", v1.Delete), filter("v1/Pod", v1.Create)}},
			want:  want{[]string{pods + "CREATE,DELETE"}, []string{pods + "CREATE,DELETE"}},
		},
		"each kind has those of its own filters": {
			match: v1.MatchResources{Any: v1.ResourceFilters{filter("v1/Pod", v1.Update), filter("batch/v1/Job")}},
			want: want{[]string{pods + "UPDATE", jobs + "CREATE,UPDATE"},
				[]string{pods + "UPDATE", jobs + "CREATE,UPDATE,DELETE,CONNECT"}},
		},
		"the old form": {
			match: v1.MatchResources{Resources: filter("v1/Pod", v1.Update).Resources},
			want:  want{[]string{pods + "UPDATE"}, []string{pods + "UPDATE"}},
		},
		"excluded operations": {
			match:   v1.MatchResources{Any: v1.ResourceFilters{filter("v1/Pod"), filter("batch/v1/Job")}},
			exclude: v1.MatchResources{Any: v1.ResourceFilters{filter("", v1.Delete, v1.Connect), filter("Job", v1.Update)}},
			want: want{[]string{pods + "CREATE,UPDATE", jobs + "CREATE"},
				[]string{pods + "CREATE,UPDATE", jobs + "CREATE"}},
		},
		"an excluded kind": {
			match:   v1.MatchResources{Any: v1.ResourceFilters{filter("v1/Pod"), filter("batch/v1/Job")}},
			exclude: v1.MatchResources{Any: v1.ResourceFilters{filter("Job")}},
			want:    usual,
		},
		"an exclude filter with anything else takes nothing away": {
			match:   v1.MatchResources{Any: v1.ResourceFilters{filter("v1/Pod")}},
			exclude: v1.MatchResources{Any: v1.ResourceFilters{named(filter("Pod", v1.Update))}},
			want:    usual,
		},
		"nor does one of all": {
			match:   v1.MatchResources{Any: v1.ResourceFilters{filter("v1/Pod")}},
			exclude: v1.MatchResources{All: v1.ResourceFilters{filter("Pod", v1.Update)}},
			want:    usual,
		},
		"nor one of a kind that is not served": {
			match:   v1.MatchResources{Any: v1.ResourceFilters{filter("v1/Pod")}},
			exclude: v1.MatchResources{Any: v1.ResourceFilters{filter("Unknown", v1.Update)}},
			want:    usual,
		},
		"one kind does not narrow a wildcard": {
			match:   v1.MatchResources{Any: v1.ResourceFilters{filter("v1/P*")}},
			exclude: v1.MatchResources{Any: v1.ResourceFilters{filter("Job", v1.Update)}},
			want:    usual,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := clusterPolicy("a", "v1/Pod")
			p.Spec.Rules[0].Match, p.Spec.Rules[0].Exclude = tt.match, &tt.exclude
			r := register([]*policy.Policy{compile(t, p)}, newKinds(t, &apis{lists: standardAPIs()}), 10, validatingOperations)
			got := want{lines(r.mutating[policy.Fail]), lines(r.validating[policy.Fail])}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestRegisterNamespaced(t *testing.T) {
	t.Parallel()
	source := clusterPolicy("a", "v1/Pod", "Namespace")
	p, errs := policy.CompileNamespaced(&v1.Policy{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "team"}, Spec: source.Spec}, policy.Options{})
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	r := register([]*policy.Policy{p}, newKinds(t, &apis{lists: standardAPIs()}), 10, validatingOperations)
	want := []string{"/v1 pods,pods/ephemeralcontainers Namespaced CREATE,UPDATE"}
	if diff := cmp.Diff(want, lines(r.mutating[policy.Fail])); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestStaticRules(t *testing.T) {
	t.Parallel()
	r := everything(12, validatingOperations)
	for _, f := range []policy.FailurePolicy{policy.Fail, policy.Ignore} {
		if diff := cmp.Diff([]string{"*/* */* * CREATE,UPDATE"}, lines(r.mutating[f])); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if diff := cmp.Diff([]string{"*/* */* * CREATE,UPDATE,DELETE,CONNECT"}, lines(r.validating[f])); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}

func TestDiscoveryFailures(t *testing.T) {
	t.Parallel()
	tekton := schema.GroupVersion{Group: "tekton.dev", Version: "v1"}
	down := &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{tekton: errors.New("no endpoints")}}
	without := func(gv string) []*metav1.APIResourceList {
		var out []*metav1.APIResourceList
		for _, l := range standardAPIs() {
			if l.GroupVersion != gv {
				out = append(out, l)
			}
		}
		return out
	}
	t.Run("a group that does not answer is a problem of the policies that name it, and of no others", func(t *testing.T) {
		t.Parallel()
		k := newKinds(t, &apis{lists: without("tekton.dev/v1"), err: down})
		a, b := compile(t, clusterPolicy("a", "tekton.dev/v1/TaskRun")), compile(t, clusterPolicy("b", "Pod"))
		r := register([]*policy.Policy{a, b}, k, 10, validatingOperations)
		if r.problems[b.Key] != "" || !strings.Contains(r.problems[a.Key], "no endpoints") || !r.moving {
			t.Errorf("problems %v, moving %v", r.problems, r.moving)
		}
	})
	t.Run("a kind that is found nowhere may be in the group that does not answer", func(t *testing.T) {
		t.Parallel()
		k := newKinds(t, &apis{lists: without("tekton.dev/v1")[:3], err: down})
		r := register([]*policy.Policy{compile(t, clusterPolicy("a", "TaskRun"))}, k, 10, validatingOperations)
		if len(r.problems) != 1 {
			t.Errorf("problems %v", r.problems)
		}
	})
	t.Run("what a group served before stays registered while it does not answer", func(t *testing.T) {
		t.Parallel()
		a := &apis{lists: standardAPIs()}
		k := newKinds(t, a)
		a.lists, a.err = without("tekton.dev/v1"), down
		if err := k.refresh(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		r := register([]*policy.Policy{compile(t, mutatingOnly(clusterPolicy("a", "tekton.dev/v1/TaskRun")))}, k, 10, validatingOperations)
		if diff := cmp.Diff([]string{"tekton.dev/v1 taskruns Namespaced CREATE,UPDATE"}, lines(r.mutating[policy.Fail])); diff != "" || len(r.problems) > 0 {
			t.Errorf("problems %v, -want +got\n%s", r.problems, diff)
		}
		// And when the group is gone for good, so are its rules.
		a.err = nil
		if err := k.refresh(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		r = register([]*policy.Policy{compile(t, mutatingOnly(clusterPolicy("a", "tekton.dev/v1/TaskRun")))}, k, 10, validatingOperations)
		if len(r.mutating[policy.Fail].targets) != 0 || len(r.unknown) != 1 {
			t.Errorf("targets %v", r.mutating[policy.Fail].targets)
		}
	})
	t.Run("discovery that fails as a whole is an error", func(t *testing.T) {
		t.Parallel()
		k := &kinds{client: &apis{err: errors.New("connection refused")}, now: newClock().now}
		if err := k.refresh(t.Context(), 0); err == nil {
			t.Error("want an error")
		}
	})
	t.Run("discovery is not read again within its age", func(t *testing.T) {
		t.Parallel()
		clock, a := newClock(), &apis{lists: standardAPIs()}
		k := &kinds{client: a, now: clock.now}
		for range 3 {
			if err := k.refresh(t.Context(), movingInterval); err != nil {
				t.Fatal(err)
			}
		}
		clock.advance(movingInterval)
		if err := k.refresh(t.Context(), movingInterval); err != nil {
			t.Fatal(err)
		}
		if a.reads != 2 {
			t.Errorf("read %d times, want 2", a.reads)
		}
	})
}

// VI 2.3: what the author is warned of.
func TestUnserved(t *testing.T) {
	t.Parallel()
	p := compile(t, clusterPolicy("a", "Pod", "Pods", "example.org/v1/Thing", "Pods"))
	var selectors []match.Kind
	for _, r := range p.Rules {
		selectors = append(selectors, r.Kinds...)
	}
	a := &apis{lists: standardAPIs()}
	s := &Set{kinds: &kinds{client: a, now: newClock().now}}
	if diff := cmp.Diff([]string{"Pods", "example.org/v1/Thing"}, s.Unserved(t.Context(), selectors)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	s = &Set{kinds: &kinds{client: &apis{err: errors.New("connection refused")}, now: newClock().now}}
	if got := s.Unserved(t.Context(), selectors); got != nil {
		t.Errorf("warned of %v without knowing", got)
	}
}
