package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-policy/signet/testdata/corpus"
)

// Keys in a config map count as it is now: a change, a removal and a return of it decide the next requests (VI 6.2(2), 7.1(2)).
func TestContextConfigMap(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	other, err := corpus.Read("trust/other.pub")
	if err != nil {
		t.Fatal(err)
	}
	maps := u.CoreV1().ConfigMaps(ns)
	keys := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, Data: map[string]string{"pub": shared.images.key}}
	if _, err := maps.Create(t.Context(), keys, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := rule{name: "by-map", key: "{{ keys.data.pub }}"}.in(ns)
	r := p.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
	r["context"] = []any{
		map[string]any{"name": "keys", "configMap": map[string]any{"name": "keys"}},
		map[string]any{"name": "labels", "apiCall": map[string]any{"urlPath": "/api/v1/namespaces/" + ns + "/configmaps/keys", "jmesPath": "metadata.labels || `{}`"}},
	}
	r["preconditions"] = map[string]any{"all": []any{map[string]any{"key": "{{ labels.off || 'no' }}", "operator": "Equals", "value": "no"}}}
	u.apply(t, p)

	n := 0
	create := func(image string) error {
		n++
		_, err := u.create(t, ns, pod(fmt.Sprintf("p%d", n), image))
		return err
	}
	admitted := func(what, image string) {
		t.Helper()
		eventually(t, what, func() error { return create(image) })
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
	patch := func(text string) {
		t.Helper()
		if _, err := maps.Patch(t.Context(), "keys", types.MergePatchType, []byte(text), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := create(images.good); err != nil {
		t.Error(err)
	}
	refused("the unsigned image to be refused", images.bad, "no signatures found")
	patch(fmt.Sprintf(`{"data": {"pub": %q}}`, other))
	refused("another key to count", images.good, "failed to verify image")
	patch(`{"data": {"pub": ""}}`)
	refused("an empty key to be refused", images.good, "has no text after substitution")
	patch(fmt.Sprintf(`{"data": {"pub": %q}}`, shared.images.key))
	admitted("the first key to count again", images.good)
	if err := maps.Delete(t.Context(), "keys", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	refused("a config map that is gone to be an error", images.good, "failed to load context: context entry labels: API server /api/v1/namespaces/"+ns+"/configmaps/keys: HTTP status 404")
	keys.Labels = map[string]string{"off": "yes"}
	if _, err := maps.Create(t.Context(), keys, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	admitted("preconditions that do not hold to skip the rule", images.bad)
}
