package controllers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/controllers"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/test/env"
)

const system = "kyverno"

const signedImages = `
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: signed-images}
spec:
  webhookConfiguration: {timeoutSeconds: 17}
  rules:
  - name: check
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["ghcr.io/*"]
      failureAction: Enforce
      attestors:
      - entries:
        - keys:
            publicKeys: |-
              -----BEGIN PUBLIC KEY-----
              MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEttnyHZwdv2FXGGYBD7StTZ68VlmT
              cmcV1SV2s8NRa8HOBzxDB2+VKKN/c74W3rK2V80pAUNGKBHjKJ4iC++Yeg==
              -----END PUBLIC KEY-----
`

// fixture is a cluster in which the controllers run as their own service account, with the generated role.
type fixture struct {
	*env.Cluster
	admin client.Client
	store *policy.Store
	set   *controllers.Set
	asked atomic.Int64 // requests for the health lease

	namespaces *controllers.Namespaces
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ctx := t.Context()
	f := &fixture{Cluster: env.ForTest(t, env.Options{CRDs: []string{env.CRDDir()}}), store: policy.NewStore()}
	if err := f.EnsureNamespace(ctx, system); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.admin, err = controllers.NewClient(f.Config()); err != nil {
		t.Fatal(err)
	}
	roles, err := env.ReadManifests(filepath.Join(env.Root(), "config", "rbac"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Apply(ctx, roles...); err != nil {
		t.Fatal(err)
	}
	config, err := f.ServiceAccountConfig(ctx, system, "kyverno-admission-controller")
	if err != nil {
		t.Fatal(err)
	}
	f.run(t, config)
	return f
}

// run starts a manager and a server that answers its webhooks.
func (f *fixture) run(t *testing.T, config *rest.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	live, err := controllers.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	certificates := controllers.NewCertificates(live, controllers.CertificateOptions{SystemNamespace: system, ServerIP: "127.0.0.1"})
	if err := certificates.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(f.answer))
	srv.TLS = certificates.TLSConfig()
	// Its own certificate comes first where the client names no server; the API server names none for an address.
	get := srv.TLS.GetCertificate
	cert, err := get(nil)
	if err != nil {
		t.Fatal(err)
	}
	srv.TLS.Certificates = append(srv.TLS.Certificates, *cert)
	srv.StartTLS()
	t.Cleanup(srv.Close)

	scheme := runtime.NewScheme()
	if err := controllers.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	skip := true
	options := ctrl.Options{
		Scheme: scheme, Cache: controllers.CacheOptions(system), Metrics: server.Options{BindAddress: "0"},
		LeaderElection: true, LeaderElectionID: controllers.LeaderElectionID, LeaderElectionNamespace: system,
	}
	options.Controller.SkipNameValidation = &skip
	mgr, err := ctrl.NewManager(config, options)
	if err != nil {
		t.Fatal(err)
	}
	if f.namespaces, err = controllers.NewNamespaces(ctx, mgr); err != nil {
		t.Fatal(err)
	}
	f.set, err = controllers.Setup(mgr, controllers.Options{
		SystemNamespace: system, Namespaces: f.namespaces, ServerIP: srv.Listener.Addr().String(), Store: f.store, Certificates: certificates,
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the manager ended with %v", err)
		}
	})
}

// answer admits everything and marks the health lease.
func (f *fixture) answer(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	body, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(body, &review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if r.URL.Path == controllers.VerifyMutatePath {
		patch, err := controllers.HealthPatch(system, review.Request.Object.Raw, time.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if patch != nil {
			f.asked.Add(1)
			kind := admissionv1.PatchTypeJSONPatch
			review.Response.Patch, review.Response.PatchType = patch, &kind
		}
	}
	review.Request = nil
	_ = json.NewEncoder(w).Encode(review)
}

func (f *fixture) apply(t *testing.T, manifests string) {
	t.Helper()
	objects, err := env.ParseManifests([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Apply(t.Context(), objects...); err != nil {
		t.Fatal(err)
	}
}

// await waits until check says nothing any more.
func await(t *testing.T, what string, check func() string) {
	t.Helper()
	var last string
	deadline := time.Now().Add(3 * time.Minute)
	for time.Now().Before(deadline) {
		if last = check(); last == "" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s: %s", what, last)
}

func (f *fixture) policy(t *testing.T, name string) *v1.ClusterPolicy {
	t.Helper()
	p := &v1.ClusterPolicy{}
	if err := f.admin.Get(t.Context(), client.ObjectKey{Name: name}, p); err != nil {
		t.Fatal(err)
	}
	return p
}

// awaitReady waits until the Ready condition of the current generation has a status.
func (f *fixture) awaitReady(t *testing.T, name string, want metav1.ConditionStatus) *v1.ClusterPolicy {
	t.Helper()
	var p *v1.ClusterPolicy
	await(t, name+" Ready="+string(want), func() string {
		p = f.policy(t, name)
		c := meta.FindStatusCondition(p.Status.Conditions, v1.ConditionReady)
		if c == nil || c.Status != want || c.ObservedGeneration != p.Generation {
			return fmt.Sprintf("%+v", p.Status.Conditions)
		}
		return ""
	})
	return p
}

func (f *fixture) mutating(t *testing.T) *admissionregistrationv1.MutatingWebhookConfiguration {
	t.Helper()
	c := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := f.admin.Get(t.Context(), client.ObjectKey{Name: controllers.ResourceMutating}, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestControllers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := t.Context()
	await(t, "synced", func() string {
		if !f.set.Synced() {
			return "not yet"
		}
		return ""
	})

	t.Run("settings that the API server refuses, there before any policy", func(t *testing.T) {
		const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kyverno, namespace: kyverno}\ndata:\n"
		note := func(value string) {
			t.Helper()
			await(t, "the ConfigMap to be followed", func() string {
				var c admissionregistrationv1.ValidatingWebhookConfiguration
				if err := f.admin.Get(ctx, client.ObjectKey{Name: controllers.PolicyValidating}, &c); err != nil {
					return err.Error()
				}
				if got := c.Annotations["example.test/seen"]; got != value {
					return "the note is " + got
				}
				return ""
			})
		}
		const broken = `  matchConditions: '[{"name": "broken", "expression": "object.metadata.name ==="}]'` + "\n" + `  webhookLabels: '{"a": "not a value"}'` + "\n"
		f.apply(t, configMap+broken+`  webhookAnnotations: '{"example.test/seen": "broken"}'`)
		note("broken")
		f.apply(t, strings.Replace(signedImages, "signed-images", "conditions", 1))
		f.awaitReady(t, "conditions", metav1.ConditionTrue)
		if c := f.mutating(t); len(c.Webhooks) != 1 || len(c.Webhooks[0].MatchConditions) > 0 {
			t.Errorf("got %+v", c.Webhooks)
		}

		f.apply(t, configMap+`  matchConditions: '[{"name": "fine", "expression": "object.metadata.name != \"a\""}]'`+"\n"+`  webhookAnnotations: '{"example.test/seen": "fine"}'`)
		note("fine")
		f.apply(t, configMap+broken+`  webhookAnnotations: '{"example.test/seen": "again"}'`)
		note("again")
		if c := f.mutating(t); len(c.Webhooks) != 1 || len(c.Webhooks[0].MatchConditions) != 1 || c.Webhooks[0].MatchConditions[0].Name != "fine" {
			t.Errorf("what was accepted does not hold: %+v", c.Webhooks)
		}
		f.apply(t, configMap+`  webhookAnnotations: '{"example.test/seen": "none"}'`)
		note("none")
		if err := f.admin.Delete(ctx, f.policy(t, "conditions")); err != nil {
			t.Fatal(err)
		}
		await(t, "out of force", func() string {
			if f.store.Get(policy.Key{Name: "conditions"}) != nil {
				return "still in force"
			}
			return ""
		})
	})

	t.Run("a policy becomes ready once its webhooks are registered", func(t *testing.T) {
		f.apply(t, signedImages)
		p := f.awaitReady(t, "signed-images", metav1.ConditionTrue)
		c := f.mutating(t)
		if len(c.Webhooks) != 1 || c.Webhooks[0].Name != "mutate.kyverno.svc-fail" || *c.Webhooks[0].TimeoutSeconds != 17 {
			t.Fatalf("got %+v", c.Webhooks)
		}
		if len(c.OwnerReferences) != 1 || c.OwnerReferences[0].Name != "kyverno:webhook" {
			t.Errorf("the owner is %v", c.OwnerReferences)
		}
		var validating admissionregistrationv1.ValidatingWebhookConfiguration
		if err := f.admin.Get(ctx, client.ObjectKey{Name: controllers.ResourceValidating}, &validating); err != nil {
			t.Fatal(err)
		}
		if len(validating.Webhooks) != 1 || !strings.HasSuffix(*validating.Webhooks[0].ClientConfig.URL, "/validate/fail") {
			t.Errorf("got %+v", validating.Webhooks)
		}
		if p.Status.RuleCount == nil || p.Status.RuleCount.VerifyImages != 1 || len(p.Status.Autogen.Rules) != 2 || p.Status.Ready != nil {
			t.Errorf("status %+v", p.Status)
		}
	})

	t.Run("the labels of namespaces", func(t *testing.T) {
		// T-007: asked for in the second in which the namespace is created, whether the cache has it or not.
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "labelled", Labels: map[string]string{"env": "prod"}}}
		if err := f.admin.Create(ctx, ns); err != nil {
			t.Fatal(err)
		}
		labels, err := f.namespaces.Labels(ctx, "labelled")
		if err != nil || labels["env"] != "prod" {
			t.Errorf("just created: %v, %v", labels, err)
		}
		ns.Labels["env"] = "test"
		if err := f.admin.Update(ctx, ns); err != nil {
			t.Fatal(err)
		}
		await(t, "the change", func() string {
			if labels, err := f.namespaces.Labels(ctx, "labelled"); err != nil || labels["env"] != "test" {
				return fmt.Sprint(labels, err)
			}
			return ""
		})
		if labels, err := f.namespaces.Labels(ctx, "nowhere"); !apierrors.IsNotFound(err) {
			t.Errorf("a namespace that is not there: %v, %v", labels, err)
		}
	})

	t.Run("a second look writes nothing", func(t *testing.T) {
		before := f.mutating(t)
		// A note of somebody else makes the controller look, and stays.
		changed := before.DeepCopy()
		metav1.SetMetaDataAnnotation(&changed.ObjectMeta, "example.test/note", "kept")
		if err := f.admin.Update(ctx, changed); err != nil {
			t.Fatal(err)
		}
		f.apply(t, strings.NewReplacer("signed-images", "second", "timeoutSeconds: 17", "timeoutSeconds: 9").Replace(signedImages))
		f.awaitReady(t, "second", metav1.ConditionTrue)
		after := f.mutating(t)
		if diff := cmp.Diff(before.Webhooks, after.Webhooks); diff != "" || after.ResourceVersion != changed.ResourceVersion {
			t.Errorf("written again: %s", diff)
		}
		if after.Annotations["example.test/note"] != "kept" {
			t.Error("the annotation of somebody else is gone")
		}
		if err := f.admin.Delete(ctx, f.policy(t, "second")); err != nil {
			t.Fatal(err)
		}
		await(t, "second is out of force", func() string {
			if f.store.Get(policy.Key{Name: "second"}) != nil {
				return "still in force"
			}
			return ""
		})
	})

	t.Run("what somebody breaks is repaired", func(t *testing.T) {
		c := f.mutating(t)
		want := c.DeepCopy()
		c.Webhooks, c.Labels = nil, nil
		if err := f.admin.Update(ctx, c); err != nil {
			t.Fatal(err)
		}
		await(t, "repaired", func() string {
			got := f.mutating(t)
			return cmp.Diff([]any{want.Webhooks, want.Labels}, []any{got.Webhooks, got.Labels})
		})
	})

	t.Run("a broken update leaves the earlier generation in force", func(t *testing.T) {
		before := f.store.Get(policy.Key{Name: "signed-images"})
		f.apply(t, strings.Replace(signedImages, "MFkwEwYH", "AAAAAAAA", 1))
		p := f.awaitReady(t, "signed-images", metav1.ConditionFalse)
		c := meta.FindStatusCondition(p.Status.Conditions, v1.ConditionReady)
		if c.Reason != v1.ReasonFailed || !strings.Contains(c.Message, "publicKeys") {
			t.Errorf("the condition does not tell the cause: %+v", c)
		}
		if f.store.Get(policy.Key{Name: "signed-images"}) != before {
			t.Error("the earlier generation is not in force any more")
		}
		if len(f.mutating(t).Webhooks) != 1 {
			t.Error("the webhooks are gone")
		}
		f.apply(t, signedImages)
		f.awaitReady(t, "signed-images", metav1.ConditionTrue)
	})

	t.Run("the API server marks the health lease", func(t *testing.T) {
		var lease coordinationv1.Lease
		await(t, "mark", func() string {
			if err := f.admin.Get(ctx, client.ObjectKey{Namespace: system, Name: controllers.HealthLease}, &lease); err != nil {
				return err.Error()
			}
			// The leader renews it in its own time; this renewal is as good as its own.
			now := metav1.NowMicro()
			lease.Spec.RenewTime = &now
			if err := f.admin.Update(ctx, &lease); err != nil {
				return err.Error()
			}
			if lease.Annotations["kyverno.io/last-request-time"] == "" {
				return "no mark"
			}
			return ""
		})
		if f.asked.Load() == 0 {
			t.Error("the webhook was not asked")
		}
	})

	t.Run("without policies the configurations stay, empty", func(t *testing.T) {
		if err := f.admin.Delete(ctx, f.policy(t, "signed-images")); err != nil {
			t.Fatal(err)
		}
		await(t, "empty", func() string {
			if n := len(f.mutating(t).Webhooks); n != 0 {
				return fmt.Sprintf("%d webhooks", n)
			}
			return ""
		})
	})
}
