package e2e

import (
	"fmt"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The annotations are Signet's to write. Whoever brings one along gets the verdict of somebody who did not, and the
// value is replaced or taken away (VI 6.10; seed 20).
func TestA53ForgedAnnotations(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u := newUser(t)
	r := shared.registry
	repo := repository(t, "unsigned")
	digest := r.PushImage(repo, "1", nil)
	name := host + "/" + repo
	forged := map[string]string{
		annotation: fmt.Sprintf(`{"%s@%s":"pass","%s:1":"pass"}`, name, digest, name),
		scopedAnnotation: fmt.Sprintf(`{"version":1,"policies":{"/signed":{"check":{"%s@%s":"pass"}},"NS/signed":{"check":{"%s:1":"pass"}}}}`,
			name, digest, name),
	}
	mine := map[string]string{"mine": "stays"}
	with := func(p *corev1.Pod, annotations ...map[string]string) *corev1.Pod {
		p.Annotations = map[string]string{}
		for _, a := range annotations {
			maps.Copy(p.Annotations, a)
		}
		return p
	}

	t.Run("enforced", func(t *testing.T) {
		t.Parallel()
		ns := namespace(t)
		u.apply(t, rule{}.in(ns))
		for podName, image := range map[string]string{"tag": name + ":1", "digest": name + "@" + digest} {
			_, err := u.create(t, ns, with(pod(podName, image), forged))
			wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, podName, said("signed", "check",
				"failed to verify image "+image+": .attestors[0].entries[0].keys: no signatures found")))
		}
	})
	t.Run("enforced, on update", func(t *testing.T) {
		t.Parallel()
		u, ns := newUser(t), namespace(t)
		u.apply(t, rule{}.in(ns))
		good := push(r, repository(t, "signed"), "1", &shared.images.signed)
		p := u.mustCreate(t, ns, with(pod("good", good+":1"), forged, mine))
		key := good + "@" + shared.images.signed.digest
		if want := fmt.Sprintf("{%q:\"pass\"}", key); p.Annotations[annotation] != want {
			t.Errorf("annotation %s, want %s", p.Annotations[annotation], want)
		}
		scoped := fmt.Sprintf("{\"version\":1,\"policies\":{\"%s/signed\":{\"check\":{%q:\"pass\"}}}}", ns, key)
		if p.Annotations[scopedAnnotation] != scoped || p.Annotations["mine"] != "stays" {
			t.Errorf("annotations %v, want %s", p.Annotations, scoped)
		}
		_, err := u.update(t, ns, "good", func(p *corev1.Pod) {
			maps.Copy(p.Annotations, forged)
			p.Spec.Containers[0].Image = name + ":1"
		})
		wantRefused(t, err, "failed to verify image "+name+":1: .attestors[0].entries[0].keys: no signatures found")
		p, err = u.update(t, ns, "good", func(p *corev1.Pod) { maps.Copy(p.Annotations, forged) })
		if err != nil {
			t.Fatal(err)
		}
		if p.Annotations[scopedAnnotation] != scoped {
			t.Errorf("after the update %v, want %s", p.Annotations, scoped)
		}
	})
	t.Run("audited", func(t *testing.T) {
		t.Parallel()
		u, ns := newUser(t), namespace(t)
		u.apply(t, rule{action: "Audit", entry: map[string]any{"mutateDigest": false, "verifyDigest": false}}.in(ns))
		p := u.mustCreate(t, ns, with(pod("unsigned", name+":1"), forged, mine))
		want := map[string]string{
			annotation:       fmt.Sprintf("{\"%s:1\":\"fail\"}", name),
			scopedAnnotation: fmt.Sprintf("{\"version\":1,\"policies\":{\"%s/signed\":{\"check\":{\"%s:1\":\"fail\"}}}}", ns, name),
			"mine":           "stays",
		}
		if !maps.Equal(p.Annotations, want) {
			t.Errorf("on create\ngot  %v\nwant %v", p.Annotations, want)
		}
		p, err := u.update(t, ns, "unsigned", func(p *corev1.Pod) { maps.Copy(p.Annotations, forged) })
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(p.Annotations, want) {
			t.Errorf("on update\ngot  %v\nwant %v", p.Annotations, want)
		}
	})
	t.Run("of no concern to a rule", func(t *testing.T) {
		t.Parallel()
		u, ns := newUser(t), namespace(t)
		// The rule looks at one other name only, so that Pods come to the webhook and match nothing.
		u.apply(t, rule{resources: map[string]any{"names": []any{"another"}}}.in(ns))
		p := u.mustCreate(t, ns, with(pod("unsigned", name+":1"), forged, mine))
		if !maps.Equal(p.Annotations, mine) {
			t.Errorf("on create %v", p.Annotations)
		}
		p, err := u.update(t, ns, "unsigned", func(p *corev1.Pod) { maps.Copy(p.Annotations, forged) })
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(p.Annotations, mine) {
			t.Errorf("on update %v", p.Annotations)
		}
		if p, err = u.CoreV1().Pods(ns).Patch(t.Context(), "unsigned", "application/merge-patch+json",
			fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"{}"}}}`, annotation), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(p.Annotations, mine) {
			t.Errorf("on patch %v", p.Annotations)
		}
	})
}
