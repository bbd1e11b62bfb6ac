package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-policy/signet/testdata/corpus"
)

var globalContextEntries = schema.GroupVersionResource{Group: "kyverno.io", Version: "v2", Resource: "globalcontextentries"}

// publish creates a GlobalContextEntry for as long as the test runs.
func (u *user) publish(t testing.TB, g *unstructured.Unstructured) error {
	t.Helper()
	entries := u.dynamic.Resource(globalContextEntries.GroupResource().WithVersion(g.GroupVersionKind().Version))
	if _, err := entries.Create(t.Context(), g, metav1.CreateOptions{}); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := entries.Delete(contextOf(t), g.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	return nil
}

// published waits until an entry has been tried, with the given status of its Ready condition, or any if that is empty.
func (u *user) published(t testing.TB, name, status string) (out *unstructured.Unstructured) {
	t.Helper()
	eventually(t, "global context entry "+name+" to be Ready="+status, func() (err error) {
		if out, err = u.dynamic.Resource(globalContextEntries).Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		c := readyCondition(out)
		if c == nil || status != "" && c["status"] != status || c["observedGeneration"] != out.GetGeneration() {
			return fmt.Errorf("the condition is %v", c)
		}
		return nil
	})
	return out
}

// globalEntry is a GlobalContextEntry.
func globalEntry(version, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kyverno.io/" + version, "kind": "GlobalContextEntry", "metadata": map[string]any{"name": name}, "spec": spec,
	}}
}

// VI 9(4), 1.4(5): what a GlobalContextEntry keeps decides the next requests, also those of a Policy; without its data they
// cannot be decided.
func TestGlobalContext(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	other, err := corpus.Read("trust/other.pub")
	if err != nil {
		t.Fatal(err)
	}
	entry := "keys-" + ns
	// The policy is admitted before there is an entry.
	p := rule{name: "by-entry", key: "{{ key }}"}.in(ns)
	r := p.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
	r["context"] = []any{map[string]any{"name": "key", "globalReference": map[string]any{"name": entry + ".pub"}}}
	u.apply(t, p)

	n := 0
	create := func(image string) error {
		n++
		_, err := u.create(t, ns, pod(fmt.Sprintf("p%d", n), image))
		return err
	}
	refused := func(what, image, text string) {
		t.Helper()
		eventually(t, what, func() error {
			if err := create(image); err == nil || !strings.Contains(spaced(err.Error()), text) {
				return fmt.Errorf("got %v, want %s", err, text)
			}
			return nil
		})
	}
	admitted := func(what, image string) {
		t.Helper()
		eventually(t, what, func() error { return create(image) })
	}
	const loading = "failed to load context: context entry key: global context entry "
	refused("an entry that does not exist to be an error", images.good, loading+entry+".pub: it does not exist")

	maps := u.CoreV1().ConfigMaps(ns)
	keys := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, Data: map[string]string{"pub": shared.images.key}}
	if _, err := maps.Create(t.Context(), keys, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	patch := func(key string) {
		t.Helper()
		if _, err := maps.Patch(t.Context(), "keys", types.MergePatchType, fmt.Appendf(nil, `{"data": {"pub": %q}}`, key), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	projections := func(query string) []any { return []any{map[string]any{"name": "pub", "jmesPath": query}} }
	publish := func(g *unstructured.Unstructured, status string) *unstructured.Unstructured {
		t.Helper()
		if err := u.publish(t, g); err != nil {
			t.Fatal(err)
		}
		return u.published(t, g.GetName(), status)
	}
	remove := func() {
		t.Helper()
		if err := u.dynamic.Resource(globalContextEntries).Delete(t.Context(), entry, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		refused("an entry that is gone to be an error", images.good, loading+entry+".pub: it does not exist")
	}

	publish(globalEntry("v2beta1", entry, map[string]any{
		"kubernetesResource": map[string]any{"version": "v1", "resource": "configmaps", "namespace": ns},
		"projections":        projections("[?metadata.name == 'keys'] | [0].data.pub"),
	}), "True")
	admitted("the key in the config map to count", images.good)
	refused("the unsigned image to be refused", images.bad, "no signatures found")
	patch(other)
	refused("another key to count", images.good, "failed to verify image")
	if err := maps.Delete(t.Context(), "keys", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	refused("a projection that gives nothing to be an error", images.good, loading+entry+".pub: it ")
	if _, err := maps.Create(t.Context(), keys, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	admitted("the first key to count again", images.good)
	remove()

	// The same by a call.
	g := publish(globalEntry("v2", entry, map[string]any{
		"apiCall":     map[string]any{"urlPath": "/api/v1/namespaces/" + ns + "/configmaps/keys", "refreshInterval": "1s", "retryLimit": int64(1)},
		"projections": projections("data.pub"),
	}), "True")
	if last, _, _ := unstructured.NestedString(g.Object, "status", "lastRefreshTime"); last == "" {
		t.Errorf("the status is %v", g.Object["status"])
	}
	admitted("the key in the answer to count", images.good)
	patch(other)
	refused("another answer to count", images.good, "failed to verify image")
	if err := maps.Delete(t.Context(), "keys", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	refused("a call that fails to leave nothing", images.good, loading+entry+".pub: it is not ready: API server /api/v1/namespaces/"+ns+"/configmaps/keys: HTTP status 404")
	u.published(t, entry, "False")
	remove()
}

// VI 9(4): what Signet may not read is said in the status of the entry, until the operator grants it; what nobody may have
// an entry for is refused.
func TestGlobalContextPermissions(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns := newUser(t), namespace(t)
	message := func(g *unstructured.Unstructured) string {
		text, _ := readyCondition(g)["message"].(string)
		return text
	}
	resource := func(resource, namespace string) map[string]any {
		return map[string]any{"kubernetesResource": map[string]any{"version": "v1", "resource": resource, "namespace": namespace}}
	}
	limits := "limits-" + ns
	if err := u.publish(t, globalEntry("v2", limits, resource("limitranges", ns))); err != nil {
		t.Fatal(err)
	}
	if got := message(u.published(t, limits, "False")); !strings.Contains(got, "v1/limitranges in "+ns+": listing: limitranges is forbidden") {
		t.Errorf("the condition says %s", got)
	}
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: limits, Labels: map[string]string{"rbac.kyverno.io/aggregate-to-admission-controller": "true"}},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"limitranges"}, Verbs: []string{"get", "list", "watch"}}},
	}
	if _, err := u.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.RbacV1().ClusterRoles().Delete(contextOf(t), limits, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	u.published(t, limits, "True")

	secrets := "secrets-" + ns
	if err := u.publish(t, globalEntry("v2", secrets, resource("secrets", "kyverno"))); err != nil {
		t.Fatal(err)
	}
	if got := message(u.published(t, secrets, "False")); got != "the Secrets of the namespace kyverno are not for policies" {
		t.Errorf("the condition says %s", got)
	}
	both := resource("pods", "")
	both["apiCall"] = map[string]any{"urlPath": "/api/v1/pods"}
	if err := u.publish(t, globalEntry("v2beta1", "both-"+ns, both)); err == nil ||
		!strings.Contains(err.Error(), "a global context entry has either kubernetesResource or apiCall") {
		t.Error(err)
	}
}
