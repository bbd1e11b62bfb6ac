package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/controllers"
)

// webhooks are the mutating and validating webhooks of objects by name; of the mutating ones what counts here.
func webhooks(t *testing.T, u *user) map[string]admissionregistrationv1.ValidatingWebhook {
	t.Helper()
	out := map[string]admissionregistrationv1.ValidatingWebhook{}
	client := u.AdmissionregistrationV1()
	m, err := client.MutatingWebhookConfigurations().Get(t.Context(), controllers.ResourceMutating, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range m.Webhooks {
		out[w.Name] = admissionregistrationv1.ValidatingWebhook{Name: w.Name, Rules: w.Rules, TimeoutSeconds: w.TimeoutSeconds, FailurePolicy: w.FailurePolicy}
	}
	v, err := client.ValidatingWebhookConfigurations().Get(t.Context(), controllers.ResourceValidating, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range v.Webhooks {
		out[w.Name] = w
	}
	return out
}

// VI 3.3(4): with --autoUpdateWebhooks=false every kind is registered before any policy is there, policies are enforced all
// the same, and policies come and go without a change of the webhooks. --webhookTimeout is their timeout.
func TestStaticWebhooks(t *testing.T) {
	shared.run(t, "", "--autoUpdateWebhooks=false", "--webhookTimeout=7")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	var before map[string]admissionregistrationv1.ValidatingWebhook
	eventually(t, "the static webhooks", func() error {
		before = webhooks(t, u)
		for _, name := range []string{"mutate.kyverno.svc-fail", "mutate.kyverno.svc-ignore", "validate.kyverno.svc-fail", "validate.kyverno.svc-ignore"} {
			w, ok := before[name]
			if !ok || w.TimeoutSeconds == nil || *w.TimeoutSeconds != 7 {
				return fmt.Errorf("%s: %+v", name, w)
			}
			if !slices.ContainsFunc(w.Rules, func(r admissionregistrationv1.RuleWithOperations) bool {
				return slices.Equal(r.APIGroups, []string{"*"}) && slices.Equal(r.APIVersions, []string{"*"}) && strings.HasPrefix(r.Resources[0], "*")
			}) {
				return fmt.Errorf("%s is registered for %+v", name, w.Rules)
			}
		}
		return nil
	})
	u.mustCreate(t, ns, pod("before", images.bad))
	p := u.apply(t, rule{}.in(ns))
	_, err := u.create(t, ns, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "bad", said("signed", "check", images.objection())))
	if got := u.mustCreate(t, ns, pod("good", images.good)); got.Spec.Containers[0].Image != images.pinned {
		t.Errorf("the image is %s", got.Spec.Containers[0].Image)
	}
	_, err = u.AppsV1().Deployments(ns).Create(t.Context(), deployment("bad", images.bad), metav1.CreateOptions{})
	wantRefused(t, err, "autogen-check", images.objection())
	if p.Object["status"] == nil {
		t.Error("the policy has no status")
	}
	if diff := cmp.Diff(before, webhooks(t, u)); diff != "" {
		t.Errorf("a policy changed the static webhooks: %s", diff)
	}
}

// --forceFailurePolicyIgnore admits what cannot be checked, whatever policies say, and no violation (VI 1.3).
func TestForceFailurePolicyIgnore(t *testing.T) {
	shared.run(t, "", "--forceFailurePolicyIgnore")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{failure: "Fail"}.in(ns))
	// Nobody listens on the first port.
	u.warned()
	u.mustCreate(t, ns, pod("unknown", "127.0.0.1:1/e2e/refused:1"))
	if w := u.warned(); !slices.ContainsFunc(w, func(s string) bool { return strings.HasPrefix(s, "policy signed.check: failed to verify image") }) {
		t.Errorf("warnings %q", w)
	}
	_, err := u.create(t, ns, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-ignore", "Pod", ns, "bad", said("signed", "check", images.objection())))
	for name, w := range webhooks(t, u) {
		if strings.HasSuffix(name, "-fail") || w.FailurePolicy == nil || *w.FailurePolicy != admissionregistrationv1.Ignore {
			t.Errorf("webhook %s fails with %v", name, w.FailurePolicy)
		}
	}
}

// Policies of different failure policies and timeouts share the webhooks of their failure policy, whose timeout is the
// longest, and at least --webhookTimeout (VI 1.3, 3.2(2), 3.3(4)).
func TestWebhookTimeout(t *testing.T) {
	shared.run(t, "", "--webhookTimeout=4")
	u, ns := newUser(t), namespace(t)
	timeouts := func(want map[string]int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("the timeouts %v", want), func() error {
			got := map[string]int32{}
			for name, w := range webhooks(t, u) {
				got[strings.Replace(name, ".kyverno.svc", "", 1)] = *w.TimeoutSeconds
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
	}
	unset := rule{name: "unset", spec: map[string]any{"webhookConfiguration": map[string]any{"failurePolicy": "Fail"}}}
	u.apply(t, unset.in(ns))
	timeouts(map[string]int32{"mutate-fail": 4, "validate-fail": 4})
	u.apply(t, rule{name: "short", timeout: 3}.in(ns))
	timeouts(map[string]int32{"mutate-fail": 4, "validate-fail": 4})
	u.apply(t, rule{name: "long", timeout: 17}.in(ns))
	u.apply(t, rule{name: "ignoring", failure: "Ignore", timeout: 2}.in(ns))
	timeouts(map[string]int32{"mutate-fail": 17, "validate-fail": 17, "mutate-ignore": 4, "validate-ignore": 4})
	images := newPair(t)
	_, err := u.create(t, ns, pod("bad", images.bad))
	wantRefused(t, err, `"mutate.kyverno.svc-fail"`, "long", "short", "unset")
	if strings.Contains(err.Error(), "ignoring") {
		t.Errorf("a webhook speaks for policies that are not its own: %v", err)
	}
}

// Policies written as kyverno.io/v2beta1 are stored, shown in both versions and enforced (VI 1.1).
func TestOlderVersion(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	for kind, p := range map[string]*unstructured.Unstructured{
		"ClusterPolicy": rule{name: "old-version"}.clusterFor(ns), "Policy": rule{name: "old-version"}.in(ns),
	} {
		older := schema.GroupVersionResource{Group: "kyverno.io", Version: "v2beta1", Resource: map[string]string{"ClusterPolicy": "clusterpolicies", "Policy": "policies"}[kind]}
		p.SetAPIVersion("kyverno.io/v2beta1")
		client := u.dynamic.Resource(older).Namespace(p.GetNamespace())
		created, err := client.Create(t.Context(), p, metav1.CreateOptions{})
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		u.ready(t, created) // reads it as v1
		if got, err := client.Get(t.Context(), p.GetName(), metav1.GetOptions{}); err != nil || got.GetAPIVersion() != "kyverno.io/v2beta1" || readyCondition(got)["status"] != "True" {
			t.Errorf("%s: read back as %v, %v", kind, got, err)
		}
		_, err = u.create(t, ns, pod("bad", images.bad))
		wantRefused(t, err, p.GetName()+": check:", images.objection())
		if err := client.Delete(t.Context(), p.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, kind+" to be gone", func() error {
			_, err := u.CoreV1().Pods(ns).Create(t.Context(), pod("free", images.bad), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		})
	}
}

// A dry run, of any kind of write, gets the verdict and the changes, and leaves neither a report nor an event (VI 3.6(6)).
func TestDryRun(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{}.in(ns))
	dry := []string{metav1.DryRunAll}
	applied := func(name, image string, dryRun []string) (*corev1.Pod, error) {
		manifest := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": %q}, "spec": {"containers": [{"name": "c0", "image": %q}]}}`, name, image)
		return u.CoreV1().Pods(ns).Patch(t.Context(), name, types.ApplyPatchType, []byte(manifest), metav1.PatchOptions{FieldManager: "test", DryRun: dryRun})
	}
	for how, write := range map[string]func(name, image string) (*corev1.Pod, error){
		"create": func(name, image string) (*corev1.Pod, error) {
			return u.CoreV1().Pods(ns).Create(t.Context(), pod(name, image), metav1.CreateOptions{DryRun: dry})
		},
		"server-side-apply": func(name, image string) (*corev1.Pod, error) { return applied(name, image, dry) },
	} {
		got, err := write("good-"+how, images.good)
		if err != nil || got.Spec.Containers[0].Image != images.pinned || !strings.Contains(got.Annotations[annotation], `:"pass"`) {
			t.Errorf("%s: %v, %v", how, got, err)
		}
		_, err = write("bad-"+how, images.bad)
		wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "bad-"+how, said("signed", "check", images.objection())))
	}
	// What is written for good afterwards is reported, so that by then the dry runs would have been.
	p, err := applied("real", images.good, nil)
	if err != nil {
		t.Fatal(err)
	}
	u.report(t, ns, string(p.UID), func(r *reports.PolicyReport) error {
		if len(r.Results) == 0 {
			return errors.New("no results")
		}
		return nil
	})
	// The same manifest again is no conflict with the digest that was put in, and changes nothing.
	if again, err := applied("real", images.good, nil); err != nil || again.Spec.Containers[0].Image != images.pinned {
		t.Errorf("applied again: %v, %v", again, err)
	}
	_, err = u.create(t, ns, pod("bad", images.bad))
	wantRefused(t, err, images.objection())
	u.event(t, ns, "Policy", "signed", "Pod "+ns+"/bad: [check] fail (blocked); "+images.objection()+" [Unsigned]")
	list, err := u.dynamic.Resource(policyReports).Namespace(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if name := list.Items[i].GetName(); name != string(p.UID) {
			t.Errorf("a report %s: %v", name, list.Items[i].Object["scope"])
		}
	}
	events, err := u.EventsV1().Events(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events.Items {
		for _, how := range []string{"create", "server-side-apply"} {
			if strings.Contains(events.Items[i].Note, "-"+how) {
				t.Errorf("an event of a dry run: %s", events.Items[i].Note)
			}
		}
	}
}
