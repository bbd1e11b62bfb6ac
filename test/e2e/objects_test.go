package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// notDenied checks that no webhook is in the way. What the API server itself says of the request is its own affair.
func notDenied(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), "denied the request") || strings.Contains(err.Error(), "webhook")) {
		t.Errorf("%s: %v", what, err)
	}
}

// subresources of objects from before the policy, of a policy that is about all of them. None brings an image, and
// none breaks; a container that is added is judged.
func TestA14Subresources(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.mustCreate(t, ns, pod("old", images.bad))
	if _, err := u.AppsV1().Deployments(ns).Create(t.Context(), deployment("old", images.bad), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	u.apply(t, rule{kinds: []any{"Pod", "Pod/*", "Deployment", "Deployment/*", "ServiceAccount/*"}}.in(ns))
	ctx, pods, deployments := t.Context(), u.CoreV1().Pods(ns), u.AppsV1().Deployments(ns)

	p, err := pods.Get(ctx, "old", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Status.Message = "changed"
	if _, err := pods.UpdateStatus(ctx, p, metav1.UpdateOptions{}); err != nil {
		t.Errorf("pods/status: %v", err)
	}
	resize := []byte(`{"spec":{"containers":[{"name":"c0","resources":{"requests":{"cpu":"10m"}}}]}}`)
	_, err = pods.Patch(ctx, "old", types.StrategicMergePatchType, resize, metav1.PatchOptions{}, "resize")
	notDenied(t, "pods/resize", err)
	for _, sub := range []string{"exec", "attach"} {
		err = u.CoreV1().RESTClient().Post().Namespace(ns).Resource("pods").Name("old").SubResource(sub).Param("command", "true").Do(ctx).Error()
		notDenied(t, "pods/"+sub, err)
	}
	_, err = u.update(t, ns, "old", func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: images.bad, TerminationMessagePolicy: corev1.TerminationMessageReadFile}})
	}, "ephemeralcontainers")
	wantRefused(t, err, images.objection())
	notDenied(t, "pods/binding", pods.Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "old"}, Target: corev1.ObjectReference{Kind: "Node", Name: "nowhere"}}, metav1.CreateOptions{}))
	if err := pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "old", Namespace: ns}}); err != nil {
		t.Errorf("pods/eviction: %v", err)
	}
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "old", Namespace: ns}, Spec: autoscalingv1.ScaleSpec{Replicas: 2}}
	if _, err := deployments.UpdateScale(ctx, "old", scale, metav1.UpdateOptions{}); err != nil {
		t.Errorf("deployments/scale: %v", err)
	}
	if _, err := deployments.Patch(ctx, "old", types.MergePatchType, []byte(`{"status":{"observedGeneration":1}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Errorf("deployments/status: %v", err)
	}
	eventually(t, "a token", func() error {
		_, err := u.CoreV1().ServiceAccounts(ns).CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		return err
	})
	both, err := json.Marshal(map[string]any{"spec": map[string]any{"replicas": 0, "template": map[string]any{"spec": map[string]any{
		"containers": []any{map[string]any{"name": "c0", "image": images.bad + "x"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = deployments.Patch(ctx, "old", types.StrategicMergePatchType, both, metav1.PatchOptions{})
	wantRefused(t, err, images.bad+"x") // scaled down and changed in one request
}

// every way to write an object is judged, and every way to take one away is free.
func TestA15Verbs(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.mustCreate(t, ns, pod("old", images.bad))
	u.mustCreate(t, ns, pod("older", images.bad))
	u.apply(t, rule{}.in(ns))
	ctx, pods, deployments := t.Context(), u.CoreV1().Pods(ns), u.AppsV1().Deployments(ns)
	good, err := deployments.Create(ctx, deployment("good", images.good), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	container := good.Spec.Template.Spec.Containers[0].Name
	generated := pod("", images.bad)
	generated.GenerateName = "gen-"
	text := func(format string, args ...any) []byte { return []byte(fmt.Sprintf(format, args...)) }
	force := true
	for name, write := range map[string]func() error{
		"create": func() error { _, err := pods.Create(ctx, pod("a", images.bad), metav1.CreateOptions{}); return err },
		"dry run": func() error {
			_, err := pods.Create(ctx, pod("a", images.bad), metav1.CreateOptions{DryRun: []string{"All"}})
			return err
		},
		"generated name": func() error { _, err := pods.Create(ctx, generated, metav1.CreateOptions{}); return err },
		"update": func() error {
			d := good.DeepCopy()
			d.ResourceVersion, d.Spec.Template.Spec.Containers[0].Image = "", images.bad
			_, err := deployments.Update(ctx, d, metav1.UpdateOptions{})
			return err
		},
		"JSON patch": func() error {
			_, err := deployments.Patch(ctx, "good", types.JSONPatchType, text(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":%q}]`, images.bad), metav1.PatchOptions{})
			return err
		},
		"strategic patch": func() error {
			_, err := deployments.Patch(ctx, "good", types.StrategicMergePatchType, text(`{"spec":{"template":{"spec":{"containers":[{"name":%q,"image":%q}]}}}}`, container, images.bad), metav1.PatchOptions{})
			return err
		},
		"merge patch": func() error {
			_, err := deployments.Patch(ctx, "good", types.MergePatchType, text(`{"spec":{"template":{"spec":{"containers":[{"name":%q,"image":%q}]}}}}`, container, images.bad), metav1.PatchOptions{})
			return err
		},
		"server-side apply": func() error {
			_, err := deployments.Patch(ctx, "good", types.ApplyPatchType, text(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"good"},"spec":{"selector":{"matchLabels":{"app":"good"}},"template":{"metadata":{"labels":{"app":"good"}},"spec":{"containers":[{"name":%q,"image":%q}]}}}}`, container, images.bad),
				metav1.PatchOptions{FieldManager: "test", Force: &force})
			return err
		},
		"server-side apply, new": func() error {
			_, err := pods.Patch(ctx, "applied", types.ApplyPatchType, text(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"applied"},"spec":{"containers":[{"name":"a","image":%q}]}}`, images.bad),
				metav1.PatchOptions{FieldManager: "test"})
			return err
		},
	} {
		err := write()
		if err == nil {
			t.Errorf("%s: admitted", name)
			continue
		}
		wantRefused(t, err, images.objection())
	}
	if err := pods.Delete(ctx, "old", metav1.DeleteOptions{}); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Errorf("delete collection: %v", err)
	}
}

// a namespace neither leaves a rule by its labels nor by a name that only resembles an excluded one, and its own name
// is not for it to say.
func TestA19NamespaceGames(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, images := newUser(t), newPair(t)
	ns, err := shared.cluster.Namespace(t.Context(), "kube-system-x")
	if err != nil {
		t.Fatal(err)
	}
	label(t, u, ns, map[string]string{"env": "prod"})
	p := rule{name: "in-" + ns, resources: map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": ns}}}}.in("")
	u.apply(t, p)
	judged := func(name string) {
		t.Helper()
		_, err := u.create(t, ns, pod(name, images.bad))
		wantRefused(t, err, images.objection())
	}
	judged("prefix")
	patch := []byte(`{"metadata":{"labels":{"kubernetes.io/metadata.name":"kube-system","env":null}}}`)
	if got, err := u.CoreV1().Namespaces().Patch(t.Context(), ns, types.MergePatchType, patch, metav1.PatchOptions{}); err == nil && got.Labels["kubernetes.io/metadata.name"] != ns {
		t.Errorf("the name of a namespace is %v", got.Labels)
	}
	judged("renamed")
}
