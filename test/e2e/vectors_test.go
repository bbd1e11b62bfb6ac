package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/vectors"
	"github.com/signet-policy/signet/testdata/corpus"
)

// The test vectors once more, with the API server that their first runner plays by itself. Not all can be: a vector
// that needs another webhook between the phases, a process that has not begun, the API server's own timeout, another user, another ConfigMap,
// namespaces that nobody can read, keys that are kept elsewhere, config maps that change, exceptions, which say nothing when they are in force, or a host that all of them share stays with the first runner.
//
// The vectors run one after the other, because they give the same names to different policies. Each has a registry host
// of its own, as long as the one it is written with, so that nothing is cached from the one before.
func TestVectors(t *testing.T) {
	list, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	byRoot := map[string][]*vector{}
	played := 0
	for i, v := range list {
		if stays[v.Name] != "" || v.Final != "" || v.Request.NotReady || v.Request.Timeout != "" || v.Request.User != "" || v.Request.NamespacesDown != "" ||
			len(v.Request.API)+len(v.Request.Keys)+len(v.Request.ConfigMapsLater)+len(v.Registry.Hosts)+len(v.Registry.Users)+len(v.Exceptions) > 0 || v.Config != nil {
			continue
		}
		one := &vector{Vector: v, host: fmt.Sprintf("g%03d.io", i), server: registrytest.New(nil)}
		t.Cleanup(func() { one.server.Close() })
		one.server.WriteHostsToml(dir, one.host)
		byRoot[v.Request.TrustedRoot] = append(byRoot[v.Request.TrustedRoot], one)
		played++
	}
	t.Logf("%d of %d vectors", played, len(list))
	for root, list := range byRoot {
		if root != "" {
			root = filepath.Join(corpus.Dir(), root)
		}
		shared.run(t, root, "--registryConfigDir="+dir)
		for _, v := range list {
			t.Run(v.Name, func(t *testing.T) { v.play(t, newUser(t)) })
		}
	}
}

// stays are vectors that come out in another way on a real API server, with the reason.
var stays = map[string]string{
	"a09-no-image":        "the API server wants an image itself",
	"a65-runtime-class":   "the API server has no RuntimeClass of that name",
	"extractors-status":   "the API server's Task has no subresource status",
	"signature-algorithm": "the schema's default for keys.signatureAlgorithm is there before the entry's is looked at",
}

// vector is a vector with its registry.
type vector struct {
	*vectors.Vector
	host   string
	server *registrytest.Server
}

// text puts the vector's host and digests into a text.
func (v *vector) text(s string, digests map[string]string) string {
	return strings.NewReplacer(vectors.Host, v.host, strings.ToUpper(vectors.Host), strings.ToUpper(v.host)).Replace(vectors.Expand(s, digests))
}

func (v *vector) object(t *testing.T, text string, digests map[string]string) *unstructured.Unstructured {
	t.Helper()
	if text == "" {
		return nil
	}
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(v.text(text, digests)), &o.Object); err != nil {
		t.Fatal(err)
	}
	complete(t, o)
	return o
}

// complete adds what an object of the API server's needs and a vector leaves out.
func complete(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	fields := map[string][]string{"Pod": {}, "Deployment": {"spec", "template"}, "CronJob": {"spec", "jobTemplate", "spec", "template"}}
	template, known := fields[o.GetKind()]
	if gv := o.GroupVersionKind(); !known || gv.Group != "" && gv.Group != "apps" && gv.Group != "batch" {
		return
	}
	at := func(more ...string) []string { return slices.Concat(template, more) }
	fill := func(value any, path ...string) {
		found, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
		if list, _ := found.([]any); found == nil || list != nil && len(list) == 0 {
			mustSet(t, o, value, path...)
		}
	}
	// Else the API server adds a volume, which an update would take away.
	fill(false, at("spec", "automountServiceAccountToken")...)
	fill([]any{map[string]any{"name": "filler", "image": "filler.test/any:1"}}, at("spec", "containers")...)
	labels := map[string]any{"app": "vector"}
	switch o.GetKind() {
	case "CronJob":
		fill("@yearly", "spec", "schedule")
		fill("Never", at("spec", "restartPolicy")...)
	case "Deployment":
		fill(labels, at("metadata", "labels")...)
		fill(map[string]any{"matchLabels": labels}, "spec", "selector")
	}
}

func (v *vector) want(t *testing.T, digests map[string]string) *vectors.Want {
	t.Helper()
	w, err := v.Want(digests)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var out vectors.Want
	if err := json.Unmarshal([]byte(v.text(string(raw), nil)), &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

func (v *vector) play(t *testing.T, u *user) {
	digests := v.Registry.Stock(v.server)
	want := v.want(t, digests)
	if v.Registry.Refuse {
		v.server.Close()
	}
	object, old := v.object(t, v.Object, digests), v.object(t, v.Old, digests)
	for name, labels := range v.Request.Namespaces {
		label(t, u, name, labels)
	}
	for name, data := range v.Request.ConfigMaps {
		there := map[string]string{}
		for k, value := range data {
			there[k] = v.text(value, digests)
		}
		configMap(t, u, name, there)
	}
	if old != nil {
		prepare(t, u, old)
	}
	if err := v.publish(t, u, digests); err != nil {
		const begin = `admission webhook "validate-global-context.kyverno.svc" denied the request: `
		if err.Error() != begin+want.Refused {
			t.Errorf("refused: %v, want %s", err, want.Refused)
		}
		return
	}
	u.warned()
	refused := v.apply(t, u, v.Policies, digests)
	if refused != nil || want.Refused != "" {
		const begin = `admission webhook "validate-policy.kyverno.svc" denied the request: `
		// What the schema does not admit never comes to the webhook.
		if refused == nil || !strings.Contains(refused.Error(), " is invalid: ") && refused.Error() != begin+want.Refused {
			t.Errorf("refused: %v, want %s", refused, want.Refused)
		}
		return
	}
	if d := cmp.Diff(want.PolicyWarnings, u.warned()); d != "" {
		t.Errorf("policy warnings: %s", d)
	}
	v.Registry.Misbehave(t, v.server, digests)
	if warm := v.object(t, v.Warm, digests); warm != nil {
		warm.SetName(warm.GetName() + "-warm")
		prepare(t, u, warm)
		v.Registry.Change(t, v.server, digests)
		if err := v.apply(t, u, v.Later, digests); err != nil {
			t.Fatal(err)
		}
	}
	v.server.ResetLog()
	u.warned()
	got, err := v.request(t, u, object, old)
	v.compare(t, want, got, err, u.warned())
}

// publish creates global context entries until all have been tried or one is refused.
func (v *vector) publish(t *testing.T, u *user, digests map[string]string) error {
	t.Helper()
	for _, text := range v.Globals {
		g := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(v.text(text, digests)), &g.Object); err != nil {
			t.Fatal(err)
		}
		if err := u.publish(t, g); err != nil {
			return err
		}
		u.published(t, g.GetName(), "")
	}
	return nil
}

// configMap creates a config map, "namespace/name", for as long as the test runs.
func configMap(t *testing.T, u *user, name string, data map[string]string) {
	t.Helper()
	namespace, name, _ := strings.Cut(name, "/")
	if err := shared.cluster.EnsureNamespace(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	m := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": namespace},
	}}
	values := map[string]any{}
	for k, v := range data {
		values[k] = v
	}
	m.Object["data"] = values
	maps := client(u, m)
	if _, err := maps.Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := maps.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// apply creates policies, or changes them, until all are enforced or one is refused.
func (v *vector) apply(t *testing.T, u *user, list []string, digests map[string]string) error {
	t.Helper()
	for _, text := range list {
		p := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(v.text(text, digests)), &p.Object); err != nil {
			t.Fatal(err)
		}
		if p.GetKind() == "Policy" {
			if err := shared.cluster.EnsureNamespace(t.Context(), p.GetNamespace()); err != nil {
				t.Fatal(err)
			}
		}
		client := u.resource(p)
		stored, err := client.Get(t.Context(), p.GetName(), metav1.GetOptions{})
		if err != nil {
			if stored, err = client.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
				return err
			}
			t.Cleanup(func() { u.withdraw(t, p) })
		} else {
			stored.Object["spec"] = p.Object["spec"]
			if stored, err = client.Update(t.Context(), stored, metav1.UpdateOptions{}); err != nil {
				return err
			}
		}
		u.ready(t, stored)
	}
	return nil
}

// client is the client of an object's kind and namespace.
func client(u *user, o *unstructured.Unstructured) dynamic.ResourceInterface {
	gvk := o.GroupVersionKind()
	resource := schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: strings.ToLower(gvk.Kind) + "s"}
	return u.dynamic.Resource(resource).Namespace(or(o.GetNamespace(), "default"))
}

// label makes sure that a namespace exists and has the labels.
func label(t *testing.T, u *user, name string, labels map[string]string) {
	t.Helper()
	if err := shared.cluster.EnsureNamespace(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.CoreV1().Namespaces().Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// prepare creates an object that has to be admitted and takes it away after the test. One that is being deleted is
// deleted, and kept by its finalizers.
func prepare(t *testing.T, u *user, o *unstructured.Unstructured) {
	t.Helper()
	if err := shared.cluster.EnsureNamespace(t.Context(), or(o.GetNamespace(), "default")); err != nil {
		t.Fatal(err)
	}
	deleting := o.GetDeletionTimestamp() != nil
	bare := o.DeepCopy()
	unstructured.RemoveNestedField(bare.Object, "metadata", "deletionTimestamp")
	// The policies of the vector before may be in force for a moment after they were deleted.
	eventually(t, o.GetName()+" to be admitted", func() error {
		_, err := client(u, o).Create(t.Context(), bare, metav1.CreateOptions{})
		if err != nil && !strings.Contains(err.Error(), "denied the request") {
			t.Fatal(err)
		}
		return err
	})
	cleanObject(t, u, o)
	if deleting {
		if err := client(u, o).Delete(t.Context(), o.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// cleanObject takes an object away after the test.
func cleanObject(t *testing.T, u *user, o *unstructured.Unstructured) {
	t.Cleanup(func() {
		ctx := contextOf(t)
		patch := []byte(`{"metadata":{"finalizers":null}}`)
		if len(o.GetFinalizers()) > 0 {
			if _, err := client(u, o).Patch(ctx, o.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				t.Logf("freeing %s: %v", o.GetName(), err)
			}
		}
		_ = client(u, o).Delete(ctx, o.GetName(), metav1.DeleteOptions{}) // it may be gone
	})
}

// request does to the object what the vector says.
func (v *vector) request(t *testing.T, u *user, object, old *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	t.Helper()
	switch v.Request.Operation {
	case "CREATE":
		if err := shared.cluster.EnsureNamespace(t.Context(), or(object.GetNamespace(), "default")); err != nil {
			t.Fatal(err)
		}
		got, err := client(u, object).Create(t.Context(), object, metav1.CreateOptions{})
		if err == nil {
			cleanObject(t, u, got)
		}
		return got, err
	case "DELETE":
		return old, client(u, old).Delete(t.Context(), old.GetName(), metav1.DeleteOptions{})
	}
	var subresources []string
	if v.Request.Subresource != "" {
		subresources = []string{v.Request.Subresource}
	}
	var kind any = corev1.Pod{}
	switch old.GroupVersionKind().GroupKind().String() {
	case "Pod":
	case "Deployment.apps":
		kind = appsv1.Deployment{}
	case "CronJob.batch":
		kind = batchv1.CronJob{}
	default: // a custom resource has no strategic patch
		stored, err := client(u, old).Get(t.Context(), old.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		object.SetResourceVersion(stored.GetResourceVersion())
		return client(u, old).Update(t.Context(), object, metav1.UpdateOptions{}, subresources...)
	}
	before, err := json.Marshal(old.Object)
	if err != nil {
		t.Fatal(err)
	}
	after, err := json.Marshal(object.Object)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, kind)
	if err != nil {
		t.Fatal(err)
	}
	return client(u, old).Patch(t.Context(), old.GetName(), types.StrategicMergePatchType, patch, metav1.PatchOptions{}, subresources...)
}

// webhookAt is the name of the webhook with a path, such as /mutate/fail or /mutate/fail/finegrained/team/own.
func webhookAt(path string) string {
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 2)
	return parts[0] + ".kyverno.svc-" + strings.ReplaceAll(parts[1], "/", "-")
}

func (v *vector) compare(t *testing.T, want *vectors.Want, got *unstructured.Unstructured, err error, warnings []string) {
	t.Helper()
	message := ""
	if err != nil {
		message = err.Error()
	}
	if (err == nil) != want.Allowed || err != nil && !strings.Contains(message, "denied the request: ") {
		t.Fatalf("allowed %v, want %v: %v", err == nil, want.Allowed, err)
	}
	if want.DeniedBy != "" && !strings.HasPrefix(message, fmt.Sprintf("admission webhook %q denied", webhookAt(want.DeniedBy))) {
		t.Errorf("denied by another webhook than %s: %s", want.DeniedBy, message)
	}
	if _, text, _ := strings.Cut(message, "denied the request: "); want.Message != "" {
		if d := cmp.Diff(strings.TrimSpace(want.Message), strings.TrimSpace(text)); d != "" {
			t.Errorf("message: %s", d)
		}
	}
	all := spaced(message + "\n" + strings.Join(warnings, "\n"))
	for _, s := range want.Contains {
		if !strings.Contains(all, spaced(s)) {
			t.Errorf("%q is not in %s", s, all)
		}
	}
	for _, s := range want.Lacks {
		if strings.Contains(all, spaced(s)) {
			t.Errorf("%q is in %s", s, all)
		}
	}
	if want.Warnings != nil {
		var lines []string
		for _, w := range *want.Warnings {
			lines = append(lines, strings.ReplaceAll(w, "\n", " "))
		}
		if d := cmp.Diff(lines, slices.Clone(warnings)); d != "" {
			t.Errorf("warnings: %s", d)
		}
	}
	for kind, n := range want.Calls {
		if c := v.server.Count(registrytest.Match{Kind: kind}); c != n {
			t.Errorf("%d requests of kind %s, want %d", c, kind, n)
		}
	}
	if err != nil || v.Request.Operation == "DELETE" {
		return
	}
	annotations := got.GetAnnotations()
	for name, value := range want.Annotations {
		text, ok := annotations[name]
		if value == nil && ok || value != nil && text != *value {
			t.Errorf("annotation %s: %q", name, text)
		}
	}
	for pointer, text := range want.Images {
		if found := pointed(got.Object, pointer); found != text {
			t.Errorf("%s: %v, want %s", pointer, found, text)
		}
	}
}

// pointed is what a JSON pointer points to.
func pointed(here any, pointer string) any {
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch h := here.(type) {
		case map[string]any:
			here = h[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(h) {
				return nil
			}
			here = h[i]
		default:
			return nil
		}
	}
	return here
}
