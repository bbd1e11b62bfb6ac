package e2e

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A namespace that is being deleted takes its time, as do the Pods in it that wait for a finalizer: what somebody writes meanwhile is
// judged, by the labels of the namespace too, and by the ClusterPolicy, for a Policy is gone early.
func TestT026TerminatingNamespace(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	label(t, u, ns, map[string]string{"ending": ns})
	p := rule{name: "ending-" + ns, resources: map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"ending": ns}}}}.in("")
	u.apply(t, p)
	held := pod("held", images.good)
	held.Finalizers = []string{"e2e.test/held"}
	u.mustCreate(t, ns, held)
	t.Cleanup(func() {
		patch := []byte(`{"metadata":{"finalizers":null}}`)
		_, _ = u.CoreV1().Pods(ns).Patch(context.Background(), "held", types.MergePatchType, patch, metav1.PatchOptions{})
	})
	if err := u.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := u.CoreV1().Pods(ns).Delete(t.Context(), "held", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := u.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
	if err != nil || got.DeletionTimestamp == nil {
		t.Fatalf("the namespace is not ending: %v, %v", got, err)
	}
	_, err = u.update(t, ns, "held", func(p *corev1.Pod) {
		if p.DeletionTimestamp == nil {
			t.Error("the Pod is not ending")
		}
		p.Spec.Containers[0].Image = images.bad
	})
	wantRefused(t, err, images.objection())
	if _, err := u.update(t, ns, "held", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }); err != nil {
		t.Error(err)
	}
}
