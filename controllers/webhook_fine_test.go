package controllers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

// conditioned is a policy about Pods with a condition of its own.
func conditioned(t *testing.T, namespace, name string, failure v1.FailurePolicy, timeout int32) *policy.Policy {
	t.Helper()
	p := with(clusterPolicy(name, "v1/Pod"), failure, timeout)
	p.Spec.WebhookConfiguration.MatchConditions = []admissionregistrationv1.MatchCondition{{Name: "own", Expression: "true"}}
	if namespace == "" {
		return compile(t, p)
	}
	out, errs := policy.CompileNamespaced(&v1.Policy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: "u", Generation: 1}, Spec: p.Spec}, policy.Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return out
}

// VI 3.1, 3.4: names, paths, groups, timeouts, conditions and namespaces of webhooks that single policies have.
func TestFineGrained(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, Options{})
	b.settings.matchConditions = []admissionregistrationv1.MatchCondition{{Name: "common", Expression: "true"}}
	policies := []*policy.Policy{
		compile(t, with(clusterPolicy("shared", "v1/Pod"), v1.Fail, 20)),
		conditioned(t, "", "a-b", v1.Fail, 25), conditioned(t, "", "lax", v1.Ignore, 3), conditioned(t, "a", "b", v1.Fail, 7),
	}
	r := register(policies, newKinds(t, &apis{lists: standardAPIs()}), b.timeout, validatingOperations)
	type summary struct {
		Name, Path, Condition string
		Failure               admissionregistrationv1.FailurePolicyType
		Timeout               int32
		Namespaces            int // requirements on namespaces
	}
	want := []summary{
		{"KIND.kyverno.svc-fail", "/KIND/fail", "common", "Fail", 20, 1},
		{"KIND.kyverno.svc-fail-finegrained-a-b", "/KIND/fail/finegrained/a-b", "own", "Fail", 25, 1},
		{"KIND.kyverno.svc-fail-finegrained-a-b-c14cddc033f64b9d", "/KIND/fail/finegrained/a/b", "own", "Fail", 7, 2},
		{"KIND.kyverno.svc-ignore-finegrained-lax", "/KIND/ignore/finegrained/lax", "own", "Ignore", 3, 1},
	}
	expand := func(kind string) []summary {
		var out []summary
		for _, s := range want {
			s.Name, s.Path = kind+s.Name[4:], "/"+kind+s.Path[5:]
			out = append(out, s)
		}
		return out
	}
	var mutating, validating []summary
	for _, w := range b.allMutating(&r) {
		mutating = append(mutating, summary{w.Name, *w.ClientConfig.Service.Path, w.MatchConditions[0].Name, *w.FailurePolicy, *w.TimeoutSeconds, len(w.NamespaceSelector.MatchExpressions)})
	}
	for _, w := range b.allValidating(&r) {
		validating = append(validating, summary{w.Name, *w.ClientConfig.Service.Path, w.MatchConditions[0].Name, *w.FailurePolicy, *w.TimeoutSeconds, len(w.NamespaceSelector.MatchExpressions)})
	}
	if diff := cmp.Diff(expand("mutate"), mutating); diff != "" {
		t.Errorf("mutating: -want +got\n%s", diff)
	}
	if diff := cmp.Diff(expand("validate"), validating); diff != "" {
		t.Errorf("validating: -want +got\n%s", diff)
	}
	if n := len(b.settings.namespaceSelector.MatchExpressions); n != 1 {
		t.Errorf("the common selector has %d requirements now", n)
	}
	// Conditions that the API server refuses are left away, and nothing else is.
	r.fine[0].refused = true
	if got := b.allMutating(&r); len(got) != len(want) || got[1].MatchConditions != nil {
		t.Errorf("%+v", got)
	}
}

// VI 3.4, 9(3): the API server refuses a configuration with two webhooks of one name, and with it the webhooks of everybody. No
// choice of names brings that about.
func TestFineNames(t *testing.T) {
	t.Parallel()
	mark := "-" + func() string { sum := sha256.Sum256([]byte("a-b/c")); return hex.EncodeToString(sum[:8]) }()
	fine := []fineRegistration{
		{policy: conditioned(t, "a", "b-c", v1.Fail, 5)}, {policy: conditioned(t, "a", "b-c"+mark, v1.Fail, 5)},
		{policy: conditioned(t, "a", "b-c"+mark+mark, v1.Fail, 5)}, {policy: conditioned(t, "a-b", "c", v1.Fail, 5)},
	}
	names := map[string]bool{}
	for _, name := range fineNames(fine) {
		names[name] = true
	}
	if len(names) != len(fine) {
		t.Errorf("%d names for %d policies: %v", len(names), len(fine), names)
	}
}

// VI 1.4(2), 3.2(2): a stored policy with a name or a timeout that would be refused now does not keep the webhooks of all from being written.
func TestFineOfRefused(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, Options{})
	long := strings.Repeat("a", 251)
	var policies []*policy.Policy
	for _, name := range []string{long + ".b", long + "-c", long[:maxFineName-4] + ".d.e.f"} {
		for _, timeout := range []int32{-5, 0, 31} {
			p := clusterPolicy(name, "v1/Pod")
			p.Name = p.Name[:len(p.Name)-1] + string(rune('x'+len(policies)%3))
			p.Spec.WebhookTimeoutSeconds = &timeout
			p.Spec.WebhookConfiguration = &v1.WebhookConfiguration{MatchConditions: []admissionregistrationv1.MatchCondition{{Name: "own", Expression: "true"}}}
			compiled, errs := policy.CompileCluster(p, policy.Options{})
			if len(errs) != 2 {
				t.Fatal(errs)
			}
			policies = append(policies, compiled)
		}
	}
	r := register(policies, newKinds(t, &apis{lists: standardAPIs()}), b.timeout, validatingOperations)
	names := map[string]bool{}
	for _, w := range b.allValidating(&r) {
		names[w.Name] = true
		if problems := validation.IsFullyQualifiedName(nil, w.Name); len(problems) > 0 || *w.TimeoutSeconds != b.timeout {
			t.Errorf("%s, %d s: %v", w.Name, *w.TimeoutSeconds, problems)
		}
	}
	if len(names) != len(policies) {
		t.Errorf("%d names for %d policies", len(names), len(policies))
	}
}

// VI 9(3): Policies of one namespace cannot make the configurations too large to be stored, and take no webhooks from others.
func TestFineBounded(t *testing.T) {
	t.Parallel()
	large := func(namespace, name string, size int) *policy.Policy {
		p := conditioned(t, namespace, name, v1.Fail, 5)
		p.MatchConditions[0].Expression = "'" + strings.Repeat("a", size) + "' != ''"
		return p
	}
	b := newBuilder(t, Options{})
	policies := []*policy.Policy{large("", "cluster", 200_000), large("a", "x", 100_000), large("greedy", "x", 100_000),
		large("greedy", "y", 100_000), large("greedy", "z", 100_000), large("z", "x", 50_000)}
	r := register(policies, newKinds(t, &apis{lists: standardAPIs()}), b.timeout, validatingOperations)
	r.bounded()
	var left []string
	for i := range r.fine {
		left = append(left, r.fine[i].policy.String())
	}
	if diff := cmp.Diff([]string{"cluster", "a/x", "greedy/x", "z/x"}, left); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"y", "z"} {
		if cause := r.problems[policy.Key{Namespace: "greedy", Name: name}]; !strings.Contains(cause, "no webhooks are registered") {
			t.Errorf("%s: %q", name, cause)
		}
	}
	if len(r.problems) != 2 {
		t.Errorf("%v", r.problems)
	}
}

// VI 2.2(9): what the API server objects to is said about the policy.
func TestObjections(t *testing.T) {
	t.Parallel()
	kind := schema.GroupKind{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}
	at := field.NewPath("webhooks").Index(0).Child("matchConditions")
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"an expression": {apierrors.NewInvalid(kind, "", field.ErrorList{field.Invalid(at.Index(1).Child("expression"), "object.", "compilation failed: ERROR")}),
			`spec.webhookConfiguration.matchConditions[1].expression: Invalid value: "object.": compilation failed: ERROR`},
		"something else": {apierrors.NewInvalid(kind, "", field.ErrorList{field.Required(field.NewPath("webhooks"), "some")}),
			`spec.webhookConfiguration.matchConditions: Invalid value: Required value: some`},
		"no details": {errors.New("no"), `spec.webhookConfiguration.matchConditions: Invalid value: "": no`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, objections(tt.err).ToAggregate().Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
