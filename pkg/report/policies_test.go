package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/signet-policy/signet/pkg/policy"
)

// series gives those of one metric.
func series(t *testing.T, from prometheus.Gatherer, name string) []string {
	t.Helper()
	return slices.DeleteFunc(gather(t, from), func(s string) bool { return !strings.HasPrefix(s, name+" ") })
}

// VI 7.4(2): the rules in force, as they are when somebody asks.
func TestRuleInfo(t *testing.T) {
	t.Parallel()
	registry, store := prometheus.NewPedanticRegistry(), policy.NewStore()
	New(Options{Registerer: registry, Policies: store})
	if got := series(t, registry, ruleInfoMetric.Name); len(got) > 0 {
		t.Errorf("before the policies were read: %q", got)
	}
	store.Sync()
	rule := newRule(policy.Key{Name: "check"}, "sig", policy.Fail, background)
	broken := newRule(policy.Key{Namespace: "team", Name: "own"}, "sig", policy.Ignore)
	broken.Broken = "cannot be evaluated"
	broken.Policy.Rules = append(broken.Policy.Rules, broken) // the same name twice
	store.Put(rule.Policy)
	store.Put(broken.Policy)
	line := func(background, name, namespace, kind, ready string) string {
		return ruleInfoMetric.Name + " policy_background_mode=" + background + " policy_name=" + name + " policy_namespace=" + namespace +
			" policy_type=" + kind + " policy_validation_mode=enforce rule_name=sig rule_type=imageVerify status_ready=" + ready + ": 1"
	}
	want := []string{line("false", "own", "team", "namespaced", "false"), line("true", "check", "-", "cluster", "true")}
	if diff := cmp.Diff(want, series(t, registry, ruleInfoMetric.Name)); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
	store.Delete(policy.Key{Name: "check"})
	if diff := cmp.Diff(want[:1], series(t, registry, ruleInfoMetric.Name)); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

func TestPoliciesChanged(t *testing.T) {
	t.Parallel()
	registry, store := prometheus.NewPedanticRegistry(), policy.NewStore()
	r := New(Options{Registerer: registry, Policies: store})
	of := func(name string, generation int64) *policy.Policy {
		p := newRule(policy.Key{Name: name}, "sig", policy.Fail).Policy
		p.Generation = generation
		return p
	}
	r.PoliciesChanged()
	store.Put(of("old", 1))
	store.Put(of("steady", 1))
	store.Sync()
	r.PoliciesChanged()
	if got := series(t, registry, changesMetric.Name); len(got) > 0 {
		t.Errorf("at the start: %q", got)
	}
	store.Put(of("new", 1))
	store.Put(of("old", 2))
	r.PoliciesChanged()
	r.PoliciesChanged()
	store.Delete(policy.Key{Name: "new"})
	r.PoliciesChanged()
	line := func(change, name string) string {
		return changesMetric.Name + " policy_background_mode=false policy_change_type=" + change + " policy_name=" + name +
			" policy_namespace=- policy_type=cluster policy_validation_mode=enforce: 1"
	}
	want := []string{line("created", "new"), line("deleted", "new"), line("updated", "old")}
	if diff := cmp.Diff(want, series(t, registry, changesMetric.Name)); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
	var many []*policy.Rule
	for i := range 2000 {
		many = append(many, newRule(policy.Key{Namespace: "team", Name: fmt.Sprint("p-", i)}, "sig", policy.Fail))
	}
	r.o.Policies = inForce(many...)
	r.PoliciesChanged()
	if n := len(series(t, registry, changesMetric.Name)); n > 1024+8 {
		t.Errorf("%d series", n)
	}
}
