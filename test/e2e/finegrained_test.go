package e2e

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditionsOf are the webhook settings of a policy with one condition.
func conditionsOf(expression string) map[string]any {
	return map[string]any{"webhookConfiguration": map[string]any{"timeoutSeconds": int64(30),
		"matchConditions": []any{map[string]any{"name": "chosen", "expression": expression}}}}
}

// Seed 45, VI 3.4: a policy with matchConditions is enforced by webhooks of its own, for the requests that its conditions choose.
func TestMatchConditions(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{name: "own", spec: conditionsOf("!object.metadata.name.startsWith('free')")}.in(ns))
	good := u.mustCreate(t, ns, pod("good", images.good))
	if !strings.Contains(good.Spec.Containers[0].Image, "@sha256:") || !strings.Contains(good.Annotations[scopedAnnotation], ns+"/own") {
		t.Errorf("not pinned or not recorded: %s %v", good.Spec.Containers[0].Image, good.Annotations)
	}
	_, err := u.create(t, ns, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail-finegrained-"+ns+"-own", "Pod", ns, "bad", said("own", "check", images.objection())))
	free := u.mustCreate(t, ns, pod("free", images.bad))
	if free.Spec.Containers[0].Image != images.bad {
		t.Errorf("what the conditions leave out was changed: %s", free.Spec.Containers[0].Image)
	}
	// A condition of a Policy that fails is nothing to other namespaces.
	u.apply(t, rule{name: "failing", spec: conditionsOf("object.metadata.labels['no'] == 'yes'")}.in(ns))
	u.mustCreate(t, namespace(t), pod("good", images.good))
	if _, err := u.create(t, ns, pod("failing", images.good)); err == nil {
		t.Error("a condition that cannot be evaluated lets a Pod in")
	}
	// A deletion has no object that conditions could read, and nobody asks about it.
	if err := u.CoreV1().Pods(ns).Delete(t.Context(), "good", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Error(err)
	}
}

// VI 2.2(9): conditions that the API server does not compile are refused with the policy, in its own words.
func TestMatchConditionsRefused(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u := newUser(t)
	for expression, want := range map[string]string{
		"object.":                   "compilation failed",
		"nothing == 1":              "undeclared reference to 'nothing'",
		"1":                         "must evaluate to bool",
		"authorizer.path('/a') > 1": "no matching overload",
	} {
		p := rule{name: "conditions-" + lower(expression), spec: conditionsOf(expression)}.in("")
		_, err := u.dynamic.Resource(clusterPolicies).Create(t.Context(), p, metav1.CreateOptions{})
		if err == nil {
			u.withdraw(t, p)
		}
		wantRefused(t, err, "spec.webhookConfiguration.matchConditions[0].expression: Invalid value: ", want)
	}
	for _, expression := range []string{
		"authorizer.group('').resource('pods').check('create').allowed()", "ip('1.2.3.4').family() == 4", "request.dryRun == false || oldObject == null",
	} {
		p := rule{name: "conditions-" + strings.Trim(lower(expression)[:15], "-"), spec: conditionsOf(expression)}.in("")
		_, err := u.dynamic.Resource(clusterPolicies).Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			t.Error(fmt.Errorf("%s: %w", expression, err))
		}
	}
}
