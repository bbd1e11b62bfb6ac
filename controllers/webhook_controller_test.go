package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// round is a webhook controller with one policy in force, against an API server that holds objects.
type round struct {
	*webhookController
	api    client.Client
	policy *policy.Policy
	clock  *clock
}

func newRound(t *testing.T, served *apis, objects ...client.Object) *round {
	t.Helper()
	r := &round{api: newAPI(t, objects...), policy: compile(t, clusterPolicy("a", "Pod")), clock: newClock()}
	store := policy.NewStore()
	store.Put(r.policy)
	store.Sync()
	o := Options{SystemNamespace: "kyverno", Store: store, Certificates: &Certificates{}}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	r.webhookController = &webhookController{
		reader: r.api, client: r.api, store: store, options: &o, bundle: func() []byte { return []byte("CA") },
		kinds:    &kinds{client: served, now: r.clock.now},
		health:   &health{client: r.api, namespace: "kyverno", now: r.clock.now},
		coverage: &coverage{}, conditions: &conditionChecker{client: r.api}, covered: func(policy.Key) {},
	}
	return r
}

// names are those of the webhook configurations that exist, each with the number of its webhooks.
func (r *round) names(t *testing.T) map[string]int {
	t.Helper()
	var mutating admissionregistrationv1.MutatingWebhookConfigurationList
	var validating admissionregistrationv1.ValidatingWebhookConfigurationList
	for _, l := range []client.ObjectList{&mutating, &validating} {
		if err := r.api.List(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	out := map[string]int{}
	for _, c := range mutating.Items {
		out[c.Name] = len(c.Webhooks)
	}
	for _, c := range validating.Items {
		out[c.Name] = len(c.Webhooks)
	}
	return out
}

func staleLease(t *testing.T) *coordinationv1.Lease {
	t.Helper()
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: HealthLease, Namespace: "kyverno",
		Annotations: map[string]string{lastRequestAnnotation: newClock().now().Add(-time.Hour).Format(time.RFC3339)}}}
}

func TestWebhookRounds(t *testing.T) {
	t.Parallel()
	whole := map[string]int{ResourceMutating: 1, ResourceValidating: 1, PolicyMutating: 1, PolicyValidating: 1, ExceptionValidating: 1, GlobalContextValidating: 1, VerifyMutating: 1}
	t.Run("everything is written, and the policy covered", func(t *testing.T) {
		t.Parallel()
		r := newRound(t, &apis{lists: standardAPIs()})
		if _, err := r.Reconcile(t.Context(), webhooks{}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole, r.names(t)); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if covered, cause := r.coverage.of(r.policy); !covered {
			t.Errorf("not covered: %s", cause)
		}
	})
	// VI 3.2(2), 3.3(1)
	t.Run("conditions of the ConfigMap keep deletions from being asked about", func(t *testing.T) {
		t.Parallel()
		for _, static := range []bool{false, true} {
			r := newRound(t, &apis{lists: standardAPIs()}, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kyverno", Namespace: "kyverno"},
				Data: map[string]string{"matchConditions": `[{"name":"a","expression":"object.kind != 'x'"}]`}})
			r.options.StaticWebhooks = static
			if _, err := r.Reconcile(t.Context(), webhooks{}); err != nil {
				t.Fatal(err)
			}
			var got admissionregistrationv1.ValidatingWebhookConfiguration
			if err := r.api.Get(t.Context(), client.ObjectKey{Name: ResourceValidating}, &got); err != nil {
				t.Fatal(err)
			}
			if len(got.Webhooks) == 0 {
				t.Errorf("static %v: no webhooks", static)
			}
			for _, w := range got.Webhooks {
				if len(w.MatchConditions) != 1 || len(w.Rules) == 0 {
					t.Errorf("%+v", w)
				}
				for _, rule := range w.Rules {
					if diff := cmp.Diff(operationTypes(match.Create|match.Update), rule.Operations); diff != "" {
						t.Error(diff)
					}
				}
			}
		}
	})
	// VI 3.3(5)
	t.Run("rebuilding pauses while the API server does not get through, and what exists stays", func(t *testing.T) {
		t.Parallel()
		existing := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: ResourceMutating},
			Webhooks: []admissionregistrationv1.MutatingWebhook{{Name: "one"}, {Name: "two"}}}
		r := newRound(t, &apis{lists: standardAPIs()}, staleLease(t), existing)
		result, err := r.Reconcile(t.Context(), webhooks{})
		if err != nil || result.RequeueAfter == 0 {
			t.Fatalf("got %v, %v", result, err)
		}
		want := map[string]int{ResourceMutating: 2, PolicyMutating: 1, PolicyValidating: 1, ExceptionValidating: 1, GlobalContextValidating: 1, VerifyMutating: 1}
		if diff := cmp.Diff(want, r.names(t)); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if covered, cause := r.coverage.of(r.policy); covered || !strings.Contains(cause, "1h0m0s ago") {
			t.Errorf("covered %v, %q", covered, cause)
		}
		// The API server gets through again.
		lease := staleLease(t)
		if err := r.api.Get(t.Context(), client.ObjectKeyFromObject(lease), lease); err != nil {
			t.Fatal(err)
		}
		lease.Annotations[lastRequestAnnotation] = r.clock.now().Format(time.RFC3339)
		if err := r.api.Update(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Reconcile(t.Context(), webhooks{}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole, r.names(t)); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
	t.Run("discovery that fails leaves everything as it is", func(t *testing.T) {
		t.Parallel()
		served := &apis{lists: standardAPIs()}
		r := newRound(t, served)
		if _, err := r.Reconcile(t.Context(), webhooks{}); err != nil {
			t.Fatal(err)
		}
		served.err = errors.New("connection refused")
		r.clock.advance(time.Hour)
		if _, err := r.Reconcile(t.Context(), webhooks{}); err == nil {
			t.Error("want an error")
		}
		if diff := cmp.Diff(whole, r.names(t)); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if covered, _ := r.coverage.of(r.policy); !covered {
			t.Error("the policy is not covered any more")
		}
	})
	// the API servers learn of what was written a little later.
	t.Run("a policy is covered once what was written for it is in effect", func(t *testing.T) {
		t.Parallel()
		r := newRound(t, &apis{lists: standardAPIs()})
		var again []time.Duration
		var told []policy.Key
		r.again = func(d time.Duration) { again = append(again, d) }
		r.covered = func(k policy.Key) { told = append(told, k) }
		r.coverage.now, r.coverage.spread = r.clock.now, time.Second
		expect := func(when string, covered bool, polls ...time.Duration) {
			t.Helper()
			if got, cause := r.coverage.of(r.policy); got != covered || cause != "" {
				t.Errorf("%s: covered %v, %q", when, got, cause)
			}
			if diff := cmp.Diff(polls, again); diff != "" {
				t.Errorf("%s: looks again (-want +got)\n%s", when, diff)
			}
			again = nil
		}
		reconcile := func(what webhooks) {
			t.Helper()
			if _, err := r.Reconcile(t.Context(), what); err != nil {
				t.Fatal(err)
			}
		}
		reconcile(webhooks{})
		expect("just written", false, time.Second)
		r.clock.advance(400 * time.Millisecond)
		reconcile(webhooks{})
		expect("nothing to write", false, 600*time.Millisecond)
		// What is written for another policy puts this one off no more.
		other := compile(t, clusterPolicy("b", "Namespace"))
		r.store.Put(other)
		reconcile(webhooks{})
		expect("another one", false, 600*time.Millisecond)
		r.clock.advance(600 * time.Millisecond)
		told = nil
		reconcile(webhooks{replicas: true})
		expect("in effect", true, 400*time.Millisecond)
		if diff := cmp.Diff([]policy.Key{r.policy.Key}, told); diff != "" {
			t.Errorf("told of (-want +got)\n%s", diff)
		}
		if covered, _ := r.coverage.of(other); covered {
			t.Error("the other one is covered too early")
		}
		r.clock.advance(400 * time.Millisecond)
		reconcile(webhooks{replicas: true})
		expect("all", true)
		if covered, _ := r.coverage.of(other); !covered {
			t.Error("the other one is not covered")
		}
		// Nothing has to be written for this one.
		third := compile(t, clusterPolicy("c", "Pod"))
		r.store.Put(third)
		reconcile(webhooks{})
		expect("a third one", true)
		if covered, _ := r.coverage.of(third); !covered {
			t.Error("the third one is not covered at once")
		}
	})
	t.Run("nothing is written before policies and certificates are there", func(t *testing.T) {
		t.Parallel()
		for name, spoil := range map[string]func(*round){
			"policies":     func(r *round) { r.store = policy.NewStore() },
			"certificates": func(r *round) { r.bundle = func() []byte { return nil } },
		} {
			r := newRound(t, &apis{lists: standardAPIs()})
			spoil(r)
			result, err := r.Reconcile(t.Context(), webhooks{})
			if err != nil || result.RequeueAfter == 0 || len(r.names(t)) != 0 {
				t.Errorf("%s: %v, %v, %v", name, result, err, r.names(t))
			}
		}
	})
	t.Run("static webhooks ask for everything, without discovery", func(t *testing.T) {
		t.Parallel()
		served := &apis{err: errors.New("connection refused")}
		r := newRound(t, served)
		r.options.StaticWebhooks = true
		if _, err := r.Reconcile(t.Context(), webhooks{}); err != nil {
			t.Fatal(err)
		}
		if got := r.names(t); got[ResourceMutating] != 2 || got[ResourceValidating] != 2 || served.reads != 0 {
			t.Errorf("got %v", got)
		}
	})
}

func TestMark(t *testing.T) {
	t.Parallel()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: ownerRole, UID: "new"}}
	owner, err := findOwner(t.Context(), newAPI(t, role))
	if err != nil {
		t.Fatal(err)
	}
	if none, err := findOwner(t.Context(), newAPI(t)); err != nil || none != nil {
		t.Errorf("an owner that does not exist: %v, %v", none, err)
	}
	w := &writer{owner: owner, labels: map[string]string{"a": "b", managedByLabel: "somebody"}, notes: map[string]string{"c": "d"}}
	c := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{
		Labels: map[string]string{"theirs": "kept", "a": "x"},
		OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "ConfigMap", Name: "theirs", UID: "1"},
			{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: ownerRole, UID: "gone"},
		},
	}}
	w.mark(c)
	want := metav1.ObjectMeta{
		Labels:      map[string]string{"theirs": "kept", "a": "b", managedByLabel: managedBy},
		Annotations: map[string]string{"c": "d"},
		OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "ConfigMap", Name: "theirs", UID: "1"},
			{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: ownerRole, UID: "new"},
		},
	}
	if diff := cmp.Diff(want, c.ObjectMeta); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
