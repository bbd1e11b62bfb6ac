package e2e

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Images of a custom resource are verified, pinned and recorded, also when its definition comes after the policy (VI 2.3,
// 3.3(3), 4.3).
func TestImageExtractors(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	p := rule{name: "late-kind", kinds: []any{"late.test/v1/LateWorkflow"}, resources: map[string]any{"namespaces": []any{ns}}}.in("")
	rules := p.Object["spec"].(map[string]any)["rules"].([]any)
	rules[0].(map[string]any)["imageExtractors"] = map[string]any{"LateWorkflow": []any{
		map[string]any{"path": "/spec/templates/*/container", "value": "image", "name": "templates"},
		map[string]any{"path": "/spec/helper"},
	}}
	u.warned()
	u.apply(t, p)
	if w := u.warned(); !slices.ContainsFunc(w, func(s string) bool { return strings.Contains(s, "late.test/v1/LateWorkflow") }) {
		t.Errorf("no warning of a kind that is not served: %q", w)
	}
	if err := shared.cluster.InstallCRDs(t.Context(), filepath.Join("testdata", "late")); err != nil {
		t.Fatal(err)
	}
	client := u.dynamic.Resource(schema.GroupVersionResource{Group: "late.test", Version: "v1", Resource: "workflows"}).Namespace(ns)
	object := func(name, image, helper string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"helper": helper, "templates": []any{
			map[string]any{"name": "none"}, map[string]any{"name": "main", "container": map[string]any{"image": image}}}}}}
		o.SetGroupVersionKind(schema.GroupVersionKind{Group: "late.test", Version: "v1", Kind: "LateWorkflow"})
		o.SetName(name)
		return o
	}
	eventually(t, "the kind that came late to be judged", func() error {
		_, err := client.Create(t.Context(), object("bad", images.bad, images.good), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return errors.New("admitted")
		}
		return nil
	})
	_, err := client.Create(t.Context(), object("bad", images.bad, images.good), metav1.CreateOptions{})
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "LateWorkflow", ns, "bad", said("late-kind", "check", images.objection())))
	_, err = client.Create(t.Context(), object("helper", images.good, images.bad), metav1.CreateOptions{})
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "LateWorkflow", ns, "helper", said("late-kind", "check", images.objection())))
	got, err := client.Create(t.Context(), object("good", images.good, images.good), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pointer := range []string{"/spec/templates/1/container/image", "/spec/helper"} {
		if image := pointed(got.Object, pointer); image != images.pinned {
			t.Errorf("%s: %v, want %s", pointer, image, images.pinned)
		}
	}
	if a := noted(t, got.GetAnnotations()[annotation]); a[images.pinned] != "pass" && len(a) != 1 {
		t.Errorf("annotation %v", a)
	}
}
