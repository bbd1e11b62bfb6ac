package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
)

// polex is a PolicyException for the Pods of a namespace whose names begin with "exempt".
func polex(version, ns, name, policy string, spec map[string]any) *unstructured.Unstructured {
	all := map[string]any{
		"match": map[string]any{"any": []any{map[string]any{"resources": map[string]any{
			"kinds": []any{"Pod"}, "namespaces": []any{ns}, "names": []any{"exempt*"}}}}},
		"exceptions": []any{map[string]any{"policyName": policy, "ruleNames": []any{"ch*"}}},
	}
	for k, v := range spec {
		all[k] = v
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kyverno.io/" + version, "kind": "PolicyException", "metadata": map[string]any{"name": name, "namespace": ns}, "spec": all,
	}}
}

func exceptions(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kyverno.io", Version: version, Resource: "policyexceptions"}
}

// Seed 30, VI 9(1)(2): exceptions take rules away where the operator lets them, and nowhere else.
func TestA60Exceptions(t *testing.T) {
	u, ns, elsewhere, images := newUser(t), namespace(t), namespace(t), newPair(t)
	create := func(version, ns, name, policy string, spec map[string]any) error {
		t.Helper()
		_, err := u.dynamic.Resource(exceptions(version)).Namespace(ns).Create(t.Context(), polex(version, ns, name, policy, spec), metav1.CreateOptions{})
		return err
	}
	warned := func(want string) {
		t.Helper()
		if got := u.warned(); !slices.Contains(got, want) {
			t.Errorf("no warning %q in %q", want, got)
		}
	}

	shared.run(t, "")
	policy := u.apply(t, rule{}.in(ns))
	u.apply(t, rule{}.in(elsewhere))
	u.warned()
	if err := create("v2", ns, "early", ns+"/signed", nil); err != nil {
		t.Fatal(err)
	}
	warned("PolicyException resources would not be processed until it is enabled.")
	refused := func(ns, name string) {
		t.Helper()
		_, err := u.create(t, ns, pod(name, images.bad))
		wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, name, said("signed", "check", images.objection())))
	}
	refused(ns, "exempt-early")

	shared.run(t, "", "--enablePolicyException", "--exceptionNamespace="+ns)
	// What was there is in force as soon as Signet is ready.
	p := u.mustCreate(t, ns, pod("exempt", images.bad))
	if p.Spec.Containers[0].Image != images.bad || len(p.Annotations) > 0 {
		t.Errorf("the Pod was changed: %s %v", p.Spec.Containers[0].Image, p.Annotations)
	}
	refused(ns, "other")
	u.report(t, ns, string(p.UID), func(r *reports.PolicyReport) error {
		if len(r.Results) != 1 {
			return fmt.Errorf("%d results", len(r.Results))
		}
		got := r.Results[0]
		if got.Result != reports.ResultSkip || got.Properties["exceptions"] != "early" || got.Properties["reason"] != "SkippedByException" ||
			got.Message != "rule is skipped due to policy exceptions"+ns+"/early" {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	u.event(t, ns, "PolicyException", "early", "Pod "+ns+"/exempt: policy "+ns+"/signed/check skip [SkippedByException]")

	// In another namespace exceptions are stored, warned of and not looked at.
	u.warned()
	if err := create("v2beta1", elsewhere, "foreign", elsewhere+"/signed", nil); err != nil {
		t.Fatal(err)
	}
	warned("PolicyException resource namespace must match the defined namespace.")
	refused(elsewhere, "exempt")

	// what is meant to narrow an exception and is not known refuses it.
	for field, want := range map[string]string{
		"images": `cannot read the exception: unknown field "spec.images"`,
	} {
		err := create("v2", ns, "narrow", ns+"/signed", map[string]any{field: []any{"a/*"}})
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := create("v2", ns, "wide", "*", nil); err == nil || !strings.Contains(err.Error(), "wildcards are for ruleNames only") {
		t.Errorf("a wildcard policy: %v", err)
	}

	// An exception that is taken away leaves nothing behind: the Pod that it let in stays, another one does not come in.
	if err := u.dynamic.Resource(exceptions("v2")).Namespace(ns).Delete(t.Context(), "early", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the exception to be forgotten", func() error {
		_, err := u.CoreV1().Pods(ns).Create(t.Context(), pod("exempt-late", images.bad), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return fmt.Errorf("admitted")
		}
		return nil
	})
	u.condition(t, policy, "True")
}
