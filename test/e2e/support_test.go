package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
)

// patience is how long something may take to happen. It is generous: machines that build other things are slow.
const patience = 4 * time.Minute

// The annotations that Signet writes.
const (
	annotation       = "kyverno.io/verify-images"
	scopedAnnotation = "kyverno.io/verify-images-scoped"
)

var (
	clusterPolicies = schema.GroupVersionResource{Group: "kyverno.io", Version: "v1", Resource: "clusterpolicies"}
	policies        = schema.GroupVersionResource{Group: "kyverno.io", Version: "v1", Resource: "policies"}
	policyReports   = schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "policyreports"}
)

// user talks to the cluster as its admin and keeps the warnings that the API server sends.
type user struct {
	kubernetes.Interface
	dynamic dynamic.Interface

	mu       sync.Mutex
	warnings []string
}

func newUser(t testing.TB) *user {
	t.Helper()
	u := &user{}
	config := shared.cluster.Config()
	config.WarningHandler = u
	var err error
	if u.Interface, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if u.dynamic, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return u
}

// HandleWarningHeader keeps a warning.
func (u *user) HandleWarningHeader(_ int, _ string, text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.warnings = append(u.warnings, text)
}

// warned returns the warnings since the last call.
func (u *user) warned() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := u.warnings
	u.warnings = nil
	return out
}

// namespace makes a namespace for the test.
func namespace(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	prefix := lower(t.Name())
	ns, err := shared.cluster.Namespace(ctx, prefix[:min(len(prefix), 40)])
	if err != nil {
		t.Fatal(err)
	}
	shared.explain(t, ns)
	return ns
}

// lower makes a test's name one that Kubernetes and registries accept.
func lower(name string) string {
	name = regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(strings.TrimPrefix(name, "Test")), "-")
	return strings.Trim(name, "-")
}

// eventually calls f until it returns nil.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) || t.Context().Err() != nil {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// blocked is the text of a refusal as a client of the API server gets it, with one message for each policy and rule.
func blocked(webhook, kind, namespace, name string, messages map[string]map[string]string) string {
	doc, err := yaml.Marshal(messages)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("admission webhook %q denied the request: \n\nresource %s/%s/%s was blocked due to the following policies \n\n%s",
		webhook, kind, namespace, name, doc)
}

// said is the part of a refusal of one policy with one rule.
func said(policy, rule, message string) map[string]map[string]string {
	return map[string]map[string]string{policy: {rule: message}}
}

// wantBlocked checks that a request was refused with exactly the text.
func wantBlocked(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil {
		t.Errorf("admitted, want it refused:\n%s", want)
		return
	}
	if got := strings.TrimRight(err.Error(), "\n"); got != strings.TrimRight(want, "\n") {
		t.Errorf("refused in other words\ngot:  %q\nwant: %q", got, want)
	}
}

// wantRefused checks that a request was refused by a webhook in words that hold all the parts.
func wantRefused(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("admitted, want it refused: %q", parts)
		return
	}
	text := spaced(err.Error()) // long texts are folded
	for _, part := range append([]string{"denied the request"}, parts...) {
		if !strings.Contains(text, part) {
			t.Errorf("refused in other words\ngot:  %s\nwant: … %s …", text, part)
		}
	}
}

// pod is a Pod whose containers c0, c1, … run the images.
func pod(name string, images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for i, image := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
	}
	return p
}

func (u *user) create(t testing.TB, ns string, p *corev1.Pod) (*corev1.Pod, error) {
	t.Helper()
	return u.CoreV1().Pods(ns).Create(t.Context(), p, metav1.CreateOptions{})
}

// mustCreate creates a Pod that has to be admitted.
func (u *user) mustCreate(t testing.TB, ns string, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	out, err := u.create(t, ns, p)
	if err != nil {
		t.Fatalf("creating %s: %v", p.Name, err)
	}
	return out
}

// update reads a Pod, changes it and writes it back, as often as somebody else wrote it in between.
func (u *user) update(t testing.TB, ns, name string, change func(*corev1.Pod), subresources ...string) (out *corev1.Pod, err error) {
	t.Helper()
	for range 20 {
		p, err := u.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		change(p)
		if len(subresources) > 0 {
			out, err = u.CoreV1().Pods(ns).UpdateEphemeralContainers(t.Context(), name, p, metav1.UpdateOptions{})
		} else {
			out, err = u.CoreV1().Pods(ns).Update(t.Context(), p, metav1.UpdateOptions{})
		}
		if err == nil || !strings.Contains(err.Error(), "the object has been modified") {
			return out, err
		}
	}
	return nil, fmt.Errorf("%s/%s is written too often by others", ns, name)
}

// report waits until the object has a report that the check accepts.
func (u *user) report(t testing.TB, ns string, uid string, check func(*reports.PolicyReport) error) *reports.PolicyReport {
	t.Helper()
	var out reports.PolicyReport
	eventually(t, "the report of "+ns+"/"+uid, func() error {
		raw, err := u.dynamic.Resource(policyReports).Namespace(ns).Get(t.Context(), uid, metav1.GetOptions{})
		if err != nil {
			return err
		}
		out = reports.PolicyReport{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, &out); err != nil {
			return err
		}
		return check(&out)
	})
	return &out
}

// event waits for an event about an object with exactly the note.
func (u *user) event(t testing.TB, ns, kind, name, note string) *eventsv1.Event {
	t.Helper()
	return u.eventWith(t, ns, kind, name, note, "")
}

// resource is the client of a policy's kind and namespace.
func (u *user) resource(p *unstructured.Unstructured) dynamic.ResourceInterface {
	if p.GetKind() == "Policy" {
		return u.dynamic.Resource(policies).Namespace(p.GetNamespace())
	}
	return u.dynamic.Resource(clusterPolicies)
}

// apply creates a policy that has to be accepted, waits until it is enforced, and takes it away after the test.
func (u *user) apply(t testing.TB, p *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	out, err := u.resource(p).Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("creating policy %s: %v", p.GetName(), err)
	}
	t.Cleanup(func() { u.withdraw(t, p) })
	return u.ready(t, out)
}

func (u *user) withdraw(t testing.TB, p *unstructured.Unstructured) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := u.resource(p).Delete(ctx, p.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Logf("deleting policy %s: %v", p.GetName(), err)
	}
}

// ready waits until the present generation of a policy is enforced.
func (u *user) ready(t testing.TB, p *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	return u.condition(t, p, "True")
}

// condition waits until the Ready condition of a policy's present generation has the status.
func (u *user) condition(t testing.TB, p *unstructured.Unstructured, status string) (out *unstructured.Unstructured) {
	t.Helper()
	eventually(t, "policy "+p.GetName()+" to be Ready="+status, func() error {
		var err error
		if out, err = u.resource(p).Get(t.Context(), p.GetName(), metav1.GetOptions{}); err != nil {
			return err
		}
		c := readyCondition(out)
		if c["status"] != status || c["observedGeneration"] != out.GetGeneration() {
			return fmt.Errorf("generation %d: %v", out.GetGeneration(), c)
		}
		return nil
	})
	return out
}

func readyCondition(p *unstructured.Unstructured) map[string]any { return condition(p, "Ready") }

// condition is the condition of a type, nil for none.
func condition(p *unstructured.Unstructured, name string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(p.Object, "status", "conditions")
	i := slices.IndexFunc(conditions, func(c any) bool { m, _ := c.(map[string]any); return m["type"] == name })
	if i < 0 {
		return nil
	}
	return conditions[i].(map[string]any)
}

// rule is a policy with one rule, "check", over Pods, that asks for a signature by one key. The zero value is the
// strictest one, for the key that the tests sign with.
type rule struct {
	name    string // default "signed"
	failure string // default "Fail"
	action  string // default "Enforce"
	key     string // PEM; default the tests' key
	timeout int64  // seconds; default 30
	kinds   []any  // default Pod
	// resources, keys, entry and spec are added to the objects of these names.
	resources, keys, entry, spec map[string]any
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// in is the Policy of a namespace, or with an empty one the ClusterPolicy.
func (r rule) in(namespace string) *unstructured.Unstructured {
	with := func(to, from map[string]any) map[string]any {
		for k, v := range from {
			to[k] = v
		}
		return to
	}
	if r.kinds == nil {
		r.kinds = []any{"Pod"}
	}
	if r.timeout == 0 {
		r.timeout = 30
	}
	resources := with(map[string]any{"kinds": r.kinds}, r.resources)
	keys := with(map[string]any{"publicKeys": or(r.key, shared.images.key)}, r.keys)
	entry := with(map[string]any{
		"imageReferences": []any{"*"}, "failureAction": or(r.action, "Enforce"),
		"attestors": []any{map[string]any{"entries": []any{map[string]any{"keys": keys}}}},
	}, r.entry)
	metadata := map[string]any{"name": or(r.name, "signed")}
	kind := "ClusterPolicy"
	if namespace != "" {
		metadata["namespace"], kind = namespace, "Policy"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kyverno.io/v1", "kind": kind, "metadata": metadata,
		"spec": with(map[string]any{
			"background":           false,
			"webhookConfiguration": map[string]any{"failurePolicy": or(r.failure, "Fail"), "timeoutSeconds": r.timeout},
			"rules": []any{map[string]any{
				"name": "check", "match": map[string]any{"any": []any{map[string]any{"resources": resources}}},
				"verifyImages": []any{entry},
			}},
		}, r.spec),
	}}
}

// clusterFor is a ClusterPolicy for one namespace: it may say what a Policy must not, such as an address on this machine.
func (r rule) clusterFor(namespace string) *unstructured.Unstructured {
	resources := map[string]any{"namespaces": []any{namespace}}
	maps.Copy(resources, r.resources)
	r.resources, r.name = resources, or(r.name, "signed")+"-"+namespace
	return r.in("")
}

// unfolded is the one message of a refusal, without the folding and quoting of its YAML.
func unfolded(refusal string) string {
	_, doc, _ := strings.Cut(refusal, "due to the following policies \n\n")
	var messages map[string]map[string]string
	if err := yaml.Unmarshal([]byte(doc), &messages); err != nil {
		return refusal
	}
	for _, rules := range messages {
		for _, message := range rules {
			return message
		}
	}
	return refusal
}

// spaced is a text with all its white space as single blanks.
func spaced(s string) string { return strings.Join(strings.Fields(s), " ") }

// noted are the images of the annotation with what it says of each.
func noted(t testing.TB, value string) map[string]string {
	t.Helper()
	var out map[string]string
	if err := json.Unmarshal([]byte(value), &out); err != nil || len(out) == 0 {
		t.Errorf("annotation %q: %v", value, err)
	}
	return out
}

// eventWith waits for an event about an object whose note begins and ends like that.
func (u *user) eventWith(t testing.TB, ns, kind, name, begin, end string) *eventsv1.Event {
	t.Helper()
	var found *eventsv1.Event
	eventually(t, fmt.Sprintf("event %q … %q on %s %s", begin, end, kind, name), func() error {
		list, err := u.EventsV1().Events(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		var notes []string
		for i := range list.Items {
			e := &list.Items[i]
			if e.Regarding.Kind != kind || e.Regarding.Name != name {
				continue
			}
			if note := spaced(e.Note); strings.HasPrefix(note, spaced(begin)) && strings.HasSuffix(note, end) {
				found = e
				return nil
			}
			notes = append(notes, e.Note)
		}
		return fmt.Errorf("only %q", notes)
	})
	return found
}

// contextOf is a context for what is done after a test, whose own has ended by then.
func contextOf(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel) // after the cleanup that is running
	return ctx
}
