package report

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/test/env"
)

func TestA62Overflow(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	r := New(Options{Registerer: registry, MaxQueued: 3, Events: events.NewFakeRecorder(1)})
	rule := newRule(policy.Key{Name: "p"}, "r", policy.Fail)
	for range 10 {
		r.Record(&Review{Request: &engine.Request{Phase: engine.Validating}, Operation: "CREATE",
			Decision: &engine.Decision{Results: []engine.Result{failed(rule, nil)}}})
	}
	var dropped []string
	for _, s := range gather(t, registry) {
		if strings.HasPrefix(s, "kyverno_events_dropped_total") || strings.HasPrefix(s, "kyverno_policy_results_total") {
			dropped = append(dropped, s[strings.LastIndexByte(s, ' ')+1:])
		}
	}
	if diff := cmp.Diff([]string{"7", "10"}, dropped); diff != "" {
		t.Errorf("dropped events and counted results (-want +got):\n%s", diff)
	}
}

// What leaves no trace is not even queued.
func TestNoTrace(t *testing.T) {
	t.Parallel()
	rule := newRule(policy.Key{Name: "p"}, "r", policy.Fail)
	with := &engine.Decision{Allowed: true, Results: []engine.Result{failed(rule, nil)}}
	pod := match.Attributes{Version: "v1", Kind: "Pod", Namespace: "n"}
	old := map[string]any{"metadata": map[string]any{"uid": "u", "resourceVersion": "7"}}
	unversioned, unnamed := map[string]any{"metadata": map[string]any{"uid": "u"}}, map[string]any{"metadata": map[string]any{"resourceVersion": "7"}}
	status, other := pod, pod
	status.Subresource, other.Kind = "status", "ConfigMap"
	tests := map[string]struct {
		review     Review
		change     func(*Options)
		queued     bool
		reportable bool
	}{
		"an object":                  {Review{Request: &engine.Request{Attributes: pod, Name: "a"}, Decision: with, Operation: "CREATE"}, nil, true, true},
		"a dry run":                  {Review{Request: &engine.Request{Attributes: pod, Name: "a"}, Decision: with, Operation: "CREATE", DryRun: true}, nil, false, false},
		"a deletion":                 {Review{Request: &engine.Request{Attributes: pod, Name: "a"}, Decision: with, Operation: "DELETE"}, nil, false, false},
		"a subresource":              {Review{Request: &engine.Request{Attributes: status, Name: "a"}, Decision: with, Operation: "UPDATE"}, nil, true, false},
		"no name yet":                {Review{Request: &engine.Request{Attributes: pod}, Decision: with, Operation: "CREATE"}, nil, true, false},
		"a Pod without results":      {Review{Request: &engine.Request{Attributes: pod, Name: "a", Old: old}, Decision: &engine.Decision{Allowed: true}, Operation: "UPDATE"}, nil, true, true},
		"A-59 an update of nothing":  {Review{Request: &engine.Request{Attributes: pod, Name: "a"}, Decision: &engine.Decision{Allowed: true}, Operation: "UPDATE", UID: "u"}, nil, false, false},
		"A-59 of no version":         {Review{Request: &engine.Request{Attributes: pod, Name: "a", Old: unversioned}, Decision: with, Operation: "UPDATE"}, nil, true, false},
		"A-59 of anybody":            {Review{Request: &engine.Request{Attributes: pod, Name: "a", Old: unnamed}, Decision: with, Operation: "UPDATE"}, nil, true, false},
		"a kind that has no images":  {Review{Request: &engine.Request{Attributes: other, Name: "a"}, Decision: &engine.Decision{Allowed: true}, Operation: "UPDATE"}, nil, false, false},
		"reports are off":            {Review{Request: &engine.Request{Attributes: pod, Name: "a"}, Decision: with, Operation: "CREATE"}, func(o *Options) { o.AdmissionReports = false }, true, false},
		"verification is not listed": {Review{Request: &engine.Request{Attributes: pod, Name: "a"}, Decision: with, Operation: "CREATE"}, func(o *Options) { o.EnableReporting = []string{"validate"} }, true, false},
		"verification is listed":     {Review{Request: &engine.Request{Attributes: pod, Name: "a"}, Decision: with, Operation: "CREATE"}, func(o *Options) { o.EnableReporting = []string{"imageVerify"} }, true, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var unused struct{ client.Client }
			o := Options{AdmissionReports: true, Client: unused, Reader: unused}
			if tc.change != nil {
				tc.change(&o)
			}
			it := New(o).item(&tc.review)
			if (it != nil) != tc.queued || it != nil && it.reportable != tc.reportable {
				t.Errorf("item %+v", it)
			}
		})
	}
}

// world is a cluster with a namespace, for one test.
type world struct {
	client    client.Client
	namespace string
	t         *testing.T
}

// scoped is a client that lists nothing of other tests.
func (w *world) scoped() client.Client { return client.NewNamespacedClient(w.client, w.namespace) }

func (w *world) recorder(rs ...*policy.Rule) *Recorder {
	return New(Options{Client: w.client, Reader: w.client, Policies: inForce(rs...), AdmissionReports: true, WritesPerSecond: 1000,
		Debounce: time.Millisecond})
}

func (w *world) pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	w.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx:1"}}}}
	for _, c := range change {
		c(pod)
	}
	if err := w.client.Create(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
	return pod
}

// review is a call about a pod; old is the version before an update, empty for a creation.
func (w *world) review(s slot, pod *corev1.Pod, old string, results ...engine.Result) *Review {
	rv := &Review{Operation: "CREATE", Decision: &engine.Decision{Allowed: true, Results: results},
		Request: &engine.Request{Phase: s.phase, FailurePolicy: s.path, Name: pod.Name,
			Attributes: match.Attributes{Version: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}}}
	if s.phase == engine.Validating || old != "" {
		rv.UID = pod.UID
	}
	if old != "" {
		rv.Operation = "UPDATE"
		rv.Request.Old = map[string]any{"metadata": map[string]any{"resourceVersion": old, "uid": string(pod.UID)}}
	}
	return rv
}

// publish does what Start does with reviews, at once and only once for each object.
func (w *world) publish(r *Recorder, reviews ...*Review) {
	w.t.Helper()
	for _, rv := range reviews {
		r.Record(rv)
	}
	r.drain(w.t.Context())
}

// report is a pod's report; nil when there is none.
func (w *world) report(pod *corev1.Pod) *reports.PolicyReport {
	w.t.Helper()
	out := &reports.PolicyReport{}
	err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: pod.Namespace, Name: string(pod.UID)}, out)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// says gives the rule and outcome of each result of a pod's report.
func (w *world) says(pod *corev1.Pod) []string {
	w.t.Helper()
	r := w.report(pod)
	if r == nil {
		return nil
	}
	out := []string{}
	for _, res := range r.Results {
		out = append(out, fmt.Sprintf("%s/%s %s", res.Policy, res.Rule, res.Result))
	}
	return out
}

func (w *world) expect(pod *corev1.Pod, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.says(pod)); diff != "" {
		w.t.Errorf("results (-want +got):\n%s", diff)
	}
}

func refuse(rv *Review) *Review {
	rv.Decision.Allowed = false
	return rv
}

// eventually waits for something that another program does.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

func TestAgainstAPIServer(t *testing.T) {
	t.Parallel()
	cluster := env.ForTest(t, env.Options{CRDs: []string{env.CRDDir()}, ControllerManager: true})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientscheme.AddToScheme, reports.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cluster.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	check := newRule(policy.Key{Name: "check"}, "sig", policy.Fail)
	pin := newRule(policy.Key{Name: "pin"}, "digest", policy.Fail, onlyMutates)
	soft := newRule(policy.Key{Name: "soft"}, "sig", policy.Ignore)
	img := newImage(t, 0, "nginx:1", "/spec/containers/0/image")
	tests := map[string]func(*testing.T, *world, *Recorder){
		"a report with every field": func(t *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(mutFail, pod, "", failed(check, img)), w.review(valFail, pod, "", failed(check, img)))
			got := w.report(pod)
			if got == nil {
				t.Fatal("no report")
			}
			if got.Results[0].Timestamp.Seconds == 0 || got.Results[0].Timestamp.Nanos != 0 {
				t.Errorf("timestamp %+v", got.Results[0].Timestamp)
			}
			got.Results[0].Timestamp = metav1.Timestamp{}
			want := &reports.PolicyReport{
				ObjectMeta: metav1.ObjectMeta{Name: string(pod.UID), Namespace: w.namespace, Labels: map[string]string{"app.kubernetes.io/managed-by": "kyverno"},
					OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "web", UID: pod.UID}}},
				Scope:   &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: w.namespace, Name: "web", UID: pod.UID},
				Summary: reports.PolicyReportSummary{Fail: 1},
				Results: []reports.PolicyReportResult{{Source: "kyverno", Policy: "check", Rule: "sig", Result: "fail", Message: "no signatures found", Scored: true,
					Properties: map[string]string{"image": "docker.io/nginx:1", "digest": digest, "path": "/spec/containers/0/image", "reason": "Unsigned", "process": "admission review"}}},
			}
			got.ObjectMeta = metav1.ObjectMeta{Name: got.Name, Namespace: got.Namespace, Labels: got.Labels, OwnerReferences: got.OwnerReferences}
			got.TypeMeta = metav1.TypeMeta{}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		},
		"nothing is written twice": func(t *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(valFail, pod, "", failed(check, img)))
			before := w.report(pod).ResourceVersion
			w.publish(r, w.review(valFail, pod, "", failed(check, img)))
			w.publish(r, w.review(valFail, pod, "1", failed(check, img)))
			if after := w.report(pod).ResourceVersion; after != before {
				t.Error("the report was written again")
			}
		},
		"an update replaces, and keeps the other path and phase": func(_ *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(mutFail, pod, "", passed(pin, img), failed(check, img)), w.review(valFail, pod, "", failed(check, img)),
				w.review(valIgnore, pod, "", failed(soft, img)))
			w.expect(pod, "check/sig fail", "pin/digest pass", "soft/sig fail")
			w.publish(r, w.review(valFail, pod, "1", passed(check, img)))
			w.expect(pod, "check/sig pass", "pin/digest pass", "soft/sig fail")
			w.publish(r, w.review(mutFail, pod, "1"), w.review(valFail, pod, "1"))
			w.expect(pod, "soft/sig fail")
			w.publish(r, w.review(mutIgnore, pod, "1"), w.review(valIgnore, pod, "1"))
			w.expect(pod)
		},
		"an update without results and without report": func(_ *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(valFail, pod, "1"))
			w.expect(pod)
		},
		"a refused creation of an existing name": func(_ *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(valFail, pod, "", failed(check, img)))
			other := pod.DeepCopy()
			other.UID = "another"
			w.publish(r, w.review(mutFail, other, "", passed(check, img)), w.review(valFail, other, "", passed(check, img)))
			w.expect(pod, "check/sig fail")
			w.expect(other)
		},
		"a blocked request": func(_ *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(mutFail, pod, "", failed(check, img)), refuse(w.review(valFail, pod, "", failed(check, img))))
			w.expect(pod)
		},
		"an update that a later webhook refused": func(_ *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(valFail, pod, "", failed(check, img)))
			w.publish(r, w.review(mutFail, pod, pod.ResourceVersion, passed(check, img)), w.review(valFail, pod, pod.ResourceVersion, passed(check, img)))
			w.expect(pod, "check/sig fail")
		},
		"an object that never came to be": func(_ *testing.T, w *world, r *Recorder) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ghost", UID: "ghost"}}
			w.publish(r, w.review(valFail, pod, "", failed(check, img)))
			w.expect(pod)
		},
		"two replicas": func(_ *testing.T, w *world, a *Recorder) {
			b := w.recorder(check, pin, soft)
			one, two := w.pod("one"), w.pod("two")
			mutated := func(p *corev1.Pod) *Review { return w.review(mutFail, p, "", passed(pin, img), passed(check, img)) }
			validated := func(p *corev1.Pod) *Review { return w.review(valFail, p, "", failed(check, img)) }
			w.publish(a, mutated(one))
			w.publish(b, validated(one))
			w.publish(b, validated(two))
			w.publish(a, mutated(two))
			for _, pod := range []*corev1.Pod{one, two} {
				w.expect(pod, "check/sig fail", "pin/digest pass")
			}
		},
		"results of policies that are gone": func(t *testing.T, w *world, r *Recorder) {
			pod, other := w.pod("web"), w.pod("other")
			w.publish(r, w.review(valFail, pod, "", failed(check, img)), w.review(valIgnore, pod, "", failed(soft, img)), w.review(valIgnore, other, "", failed(soft, img)))
			r = New(Options{Client: w.scoped(), Reader: w.scoped()})
			err := r.Prune(t.Context(), func(policyKey, rule string) bool { return policyKey+"/"+rule != "soft/sig" })
			if err != nil {
				t.Fatal(err)
			}
			w.expect(pod, "check/sig fail")
			w.expect(other)
			if s := w.report(pod).Summary; s != (reports.PolicyReportSummary{Fail: 1}) {
				t.Errorf("summary %+v", s)
			}
		},
		"the leader prunes what no policy in force says": func(t *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(valFail, pod, "", failed(check, img)), w.review(valIgnore, pod, "", failed(soft, img)))
			unread := &Pruner{Recorder: New(Options{Client: w.scoped(), Reader: w.scoped(), AdmissionReports: true, Policies: policy.NewStore()})}
			if got := unread.round(t.Context(), nil); got != nil {
				t.Errorf("rules %v before the policies were read", got)
			}
			w.expect(pod, "check/sig fail", "soft/sig fail")
			p := &Pruner{Recorder: New(Options{Client: w.scoped(), Reader: w.scoped(), AdmissionReports: true, Policies: inForce(check)})}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := p.Start(ctx); err != nil { // the first round fails with its context, and the next one starts over
				t.Fatal(err)
			}
			known := p.round(t.Context(), nil)
			w.expect(pod, "check/sig fail")
			if len(known) != 1 {
				t.Errorf("rules %v", known)
			}
			p.Recorder.o.Policies = inForce()
			p.round(t.Context(), known)
			w.expect(pod)
		},
		"A-62 a tenant's edits": func(t *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(valFail, pod, "", failed(check, img)))
			forged := w.report(pod)
			forged.Labels, forged.OwnerReferences, forged.Scope = nil, nil, nil
			forged.Results[0].Result = reports.ResultPass
			if err := w.client.Update(t.Context(), forged); err != nil {
				t.Fatal(err)
			}
			w.publish(r, w.review(valFail, pod, "1", failed(check, img)))
			w.expect(pod, "check/sig fail")
			got := w.report(pod)
			if got.Labels["app.kubernetes.io/managed-by"] != "kyverno" || len(got.OwnerReferences) != 1 || got.Scope == nil || got.Summary.Fail != 1 {
				t.Errorf("report %+v", got)
			}
		},
		"A-62 a tenant's deletion": func(t *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			w.publish(r, w.review(valFail, pod, "", failed(check, img)))
			if err := w.client.Delete(t.Context(), w.report(pod)); err != nil {
				t.Fatal(err)
			}
			w.expect(pod)
			w.publish(r, w.review(valFail, pod, "1", failed(check, img)))
			w.expect(pod, "check/sig fail")
		},
		"A-62 a report that somebody wrote before": func(t *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			forged := &reports.PolicyReport{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: string(pod.UID)},
				Results: []reports.PolicyReportResult{
					{Source: "kyverno", Policy: "check", Rule: "sig", Result: reports.ResultPass, Message: "verified", Properties: map[string]string{"image": "docker.io/nginx:1"}},
					{Source: "somebody", Policy: "check", Rule: "sig", Result: reports.ResultPass}}}
			if err := w.client.Create(t.Context(), forged); err != nil {
				t.Fatal(err)
			}
			w.publish(r, w.review(valFail, pod, "1", failed(check, img)))
			got := w.report(pod)
			if got.Summary.Fail != 1 || got.Summary.Pass != 1 || len(got.Results) != 2 {
				t.Errorf("report %+v", got.Results)
			}
			for _, res := range got.Results {
				if res.Source == "kyverno" && res.Result != "fail" {
					t.Errorf("forged: %+v", res)
				}
			}
		},
		"an object without a namespace": func(t *testing.T, w *world, r *Recorder) {
			role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
			if err := w.client.Create(t.Context(), role); err != nil {
				t.Fatal(err)
			}
			rv := w.review(valFail, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: role.Name, UID: role.UID}}, "", failed(check, img))
			rv.Request.Attributes = match.Attributes{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole", Name: role.Name}
			w.publish(r, rv)
			got := &reports.ClusterPolicyReport{}
			if err := w.client.Get(t.Context(), client.ObjectKey{Name: string(role.UID)}, got); err != nil {
				t.Fatal(err)
			}
			want := &corev1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: role.Name, UID: role.UID}
			if diff := cmp.Diff(want, got.Scope); diff != "" || got.Summary.Fail != 1 {
				t.Errorf("summary %+v, scope (-want +got):\n%s", got.Summary, diff)
			}
		},
		"A-62 an object of 256 images with hostile messages": func(t *testing.T, w *world, r *Recorder) {
			pod := w.pod("web")
			var results []engine.Result
			for i := range 256 {
				res := failed(check, newImage(t, i, fmt.Sprintf("nginx:%d", i), fmt.Sprintf("/spec/containers/%d/image", i)))
				res.Message = strings.Repeat("<b>\x00€", 100000)
				results = append(results, res)
			}
			w.publish(r, w.review(valFail, pod, "", results...))
			if n := w.report(pod).Summary.Fail; n < 128 {
				t.Errorf("%d results", n)
			}
		},
		"the rest is written at shutdown": func(t *testing.T, w *world, r *Recorder) {
			var pods []*corev1.Pod
			for i := range 5 {
				pod := w.pod(fmt.Sprint("web-", i))
				pods = append(pods, pod)
				r.Record(w.review(valFail, pod, "", failed(check, img)))
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := r.Start(ctx); err != nil {
				t.Fatal(err)
			}
			for _, pod := range pods {
				w.expect(pod, "check/sig fail")
			}
		},
		"written as it runs, after the object appears, and gone with it": func(t *testing.T, w *world, r *Recorder) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Start(ctx) }()
			early := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"}}
			r.Record(w.review(mutFail, early, "", failed(check, img)))
			pod := w.pod("web")
			eventually(t, "the report", func() bool { return w.report(pod) != nil })
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if err := w.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the garbage collector", func() bool { return w.report(pod) == nil })
		},
		"events": func(t *testing.T, w *world, _ *Recorder) {
			broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: cluster.Client().EventsV1()})
			defer broadcaster.Shutdown()
			if err := broadcaster.StartRecordingToSinkWithContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			pod := w.pod("web")
			local := newRule(policy.Key{Namespace: w.namespace, Name: "own"}, "one", policy.Fail)
			other := &policy.Rule{Policy: local.Policy, Name: "two", Entries: local.Entries}
			long := failed(other, img)
			long.Message = strings.Repeat("€", 2000)
			r := New(Options{Events: broadcaster.NewRecorder(scheme, "kyverno-admission"), OmitEvents: []string{"PolicyApplied"}, GenerateSuccessEvents: true})
			w.publish(r, w.review(valFail, pod, "", failed(local, img), long, passed(check, img)))
			list := &eventsv1.EventList{}
			ours := func() []eventsv1.Event {
				if err := w.client.List(t.Context(), list, client.InNamespace(w.namespace)); err != nil {
					t.Fatal(err)
				}
				var out []eventsv1.Event
				for _, e := range list.Items {
					if e.ReportingController == "kyverno-admission" {
						out = append(out, e)
					}
				}
				return out
			}
			eventually(t, "four events", func() bool { return len(ours()) == 4 })
			for _, e := range ours() {
				if e.Type != "Warning" || e.Reason != "PolicyViolation" || e.Action != "Resource Passed" || !strings.HasSuffix(e.Note, " [Unsigned]") {
					t.Errorf("event %+v", e)
				}
			}
		},
	}
	t.Run("cases", func(t *testing.T) {
		for name, run := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				namespace, err := cluster.Namespace(t.Context(), "report")
				if err != nil {
					t.Fatal(err)
				}
				w := &world{client: c, namespace: namespace, t: t}
				run(t, w, w.recorder(check, pin, soft))
			})
		}
	})
}
