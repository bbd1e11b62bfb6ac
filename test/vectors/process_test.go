package vectors_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/authn"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/credentials"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/globalcontext"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/pkg/settings"
	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/verify/notary"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
	"github.com/signet-policy/signet/test/vectors"
	"github.com/signet-policy/signet/testdata/corpus"
	"github.com/signet-policy/signet/webhook"
)

// process is Signet without a cluster.
type process struct {
	options  policy.Options
	store    *policy.Store
	globals  *globalcontext.Keeper
	handler  http.Handler
	reviewed []*webhook.Reviewed
	policies []*policy.Policy
	warnings []string
	final    map[string]any
}

func newProcess(t testing.TB, v *vectors.Vector, dir string, server *registrytest.Server) *process {
	v.Registry.Configure(t, server, dir)
	client, err := registry.New(registry.Options{ConfigDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var source sigstore.Source
	if v.Request.TrustedRoot != "" {
		text, err := corpus.Read(v.Request.TrustedRoot)
		if err != nil {
			t.Fatal(err)
		}
		if source, err = trust.Parse([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	live := settings.NewLive()
	read, errs := settings.Read(v.Config, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	live.Set(read)
	p := &process{store: policy.NewStore()}
	load, globals := newLoader(t, v)
	p.globals = globals
	accesses := credentials.New(credentials.Options{
		Client: client, Secrets: v.Request.Secrets(server.Host()), SystemNamespace: vectors.SystemNamespace,
		Keychains: map[string]authn.Keychain{"default": anonymous{}, "github": anonymous{}},
	})
	e := engine.New(engine.Options{Accesses: accesses, Verifier: sigstore.New(source), Notary: notary.New(nil), Store: p.store, Namespaces: &v.Request, Roles: &v.Request, Keys: &v.Request,
		Parser: func() *image.Parser { return live.Current().Images() }, Loader: load})
	resources := &webhook.Resources{Engine: e, Settings: live, Roles: &v.Request, Record: func(r *webhook.Reviewed) { p.reviewed = append(p.reviewed, r) }}
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Handle(webhook.MutateFail, false, resources.Review(engine.Mutating, policy.Fail))
	s.Handle(webhook.MutateIgnore, true, resources.Review(engine.Mutating, policy.Ignore))
	s.Handle(webhook.ValidateFail, false, resources.Review(engine.Validating, policy.Fail))
	s.Handle(webhook.ValidateIgnore, true, resources.Review(engine.Validating, policy.Ignore))
	for path, one := range common {
		s.HandleEach(path, one.failure == policy.Ignore, func(k policy.Key) webhook.Review { return resources.ReviewOf(one.phase, one.failure, k) })
	}
	s.Handle(webhook.PolicyValidate, false, webhook.ReviewPolicy(p.options, nil, nil))
	s.Handle(webhook.GlobalContextValidate, true, webhook.ReviewGlobalContext)
	s.Handle(webhook.ExceptionValidate, true, webhook.ReviewException(nil))
	p.handler = s.Handler()
	return p
}

// except stores exceptions as a user would, and returns the denial of the first that is refused.
func (p *process) except(t testing.TB, exceptions []string) string {
	for _, text := range exceptions {
		raw, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		resp := p.post(t, webhook.ExceptionValidate, "", &admissionv1.AdmissionRequest{
			Kind: metav1.GroupVersionKind{Group: "kyverno.io", Version: "v2", Kind: "PolicyException"}, Operation: admissionv1.Create,
			Object: runtime.RawExtension{Raw: raw},
		})
		if !resp.Allowed {
			return resp.Result.Message
		}
		x, err := policy.ReadException(raw)
		if err != nil {
			t.Fatal(err)
		}
		compiled, errs := policy.CompileException(x)
		if len(errs) > 0 {
			t.Fatalf("admitted and not compiled: %v", errs)
		}
		p.store.PutException(compiled)
	}
	return ""
}

type anonymous struct{}

func (anonymous) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

// apply stores policies as a user would, and returns the denial of the first that is refused.
func (p *process) apply(t testing.TB, policies []string) string {
	for _, text := range policies {
		raw, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var u unstructured.Unstructured
		if err := json.Unmarshal(raw, &u); err != nil {
			t.Fatal(err)
		}
		resp := p.post(t, webhook.PolicyValidate, "", &admissionv1.AdmissionRequest{
			Kind: kindOf(u.Object), Name: u.GetName(), Namespace: u.GetNamespace(), Operation: admissionv1.Create,
			Object: runtime.RawExtension{Raw: raw},
		})
		if !resp.Allowed {
			return resp.Result.Message
		}
		p.warnings = append(p.warnings, resp.Warnings...)
		var compiled *policy.Policy
		var errs field.ErrorList
		if u.GetKind() == "Policy" {
			var one v1.Policy
			if err := yaml.UnmarshalStrict(raw, &one); err != nil {
				t.Fatal(err)
			}
			compiled, errs = policy.CompileNamespaced(&one, p.options)
		} else {
			var one v1.ClusterPolicy
			if err := yaml.UnmarshalStrict(raw, &one); err != nil {
				t.Fatal(err)
			}
			compiled, errs = policy.CompileCluster(&one, p.options)
		}
		if len(errs) > 0 {
			t.Fatalf("admitted and not compiled: %v", errs)
		}
		p.store.Put(compiled)
		p.policies = append(slices.DeleteFunc(p.policies, func(old *policy.Policy) bool { return old.Key == compiled.Key }), compiled)
	}
	return ""
}

func kindOf(o map[string]any) metav1.GroupVersionKind {
	u := unstructured.Unstructured{Object: o}
	gvk := u.GroupVersionKind()
	return metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}
}

// outcome is what the API server and the client see.
type outcome struct {
	allowed            bool
	by, message        string
	warnings           []string
	patches            []vectors.Patch
	mutated, validated []string
	messages           []string
	properties         map[string]map[string]string
	object             map[string]any
}

// common are the paths of the webhooks that policies share.
var common = map[string]struct {
	phase   engine.Phase
	failure policy.FailurePolicy
}{
	webhook.MutateFail: {engine.Mutating, policy.Fail}, webhook.MutateIgnore: {engine.Mutating, policy.Ignore},
	webhook.ValidateFail: {engine.Validating, policy.Fail}, webhook.ValidateIgnore: {engine.Validating, policy.Ignore},
}

// paths are those that the API server would ask, in the order of the webhooks' names. It would evaluate matchConditions; here
// they are taken to hold.
func (p *process) paths() []string {
	var out []string
	for path, one := range common {
		for _, k := range p.policies {
			if k.FailurePolicy != one.failure {
				continue
			}
			own := path
			if k.FineGrained() {
				own += webhook.FineGrained + "/" + k.Webhook("/")
			}
			if !slices.Contains(out, own) {
				out = append(out, own)
			}
		}
	}
	slices.Sort(out)
	return out
}

// admit sends a request through the webhooks as the API server would: each mutating one with the object as the one
// before left it, then the validating ones.
func (p *process) admit(t testing.TB, v *vectors.Vector, o, old map[string]any, operation string) *outcome {
	out := &outcome{allowed: true, object: o, properties: map[string]map[string]string{}}
	p.reviewed = nil
	for _, path := range p.paths() {
		if operation == "DELETE" && strings.HasPrefix(path, "/mutate") {
			continue
		}
		if p.final != nil && strings.HasPrefix(path, "/validate") {
			out.object = p.final
		}
		resp := p.post(t, path, v.Request.Duration().String(), request(t, v, out.object, old, operation))
		if !resp.Allowed {
			out.allowed, out.by, out.message, out.warnings = false, path, resp.Result.Message, nil
			break
		}
		out.warnings = append(out.warnings, resp.Warnings...)
		if len(resp.Patch) == 0 {
			continue
		}
		var list []vectors.Patch
		if err := json.Unmarshal(resp.Patch, &list); err != nil || resp.PatchType == nil || *resp.PatchType != admissionv1.PatchTypeJSONPatch {
			t.Fatalf("patch %s: %v", resp.Patch, err)
		}
		out.patches = append(out.patches, list...)
		out.object = patched(t, out.object, resp.Patch)
	}
	for _, r := range p.reviewed {
		list := &out.mutated
		if r.Request.Phase == engine.Validating {
			list = &out.validated
		}
		for _, res := range r.Decision.Results {
			img := "-"
			if res.Image != nil {
				img = res.Image.Ref.String()
			}
			name := fmt.Sprintf("%s/%s", res.Rule.Policy.Key, res.Rule.Name)
			*list = append(*list, fmt.Sprintf("%s %s %s %s", name, img, res.Status, res.Reason))
			if r.Request.Phase == engine.Validating {
				continue
			}
			out.messages = append(out.messages, name+": "+res.Message)
			if res.Properties != nil {
				out.properties[name] = res.Properties
			}
		}
	}
	return out
}

func patched(t testing.TB, o map[string]any, patch []byte) map[string]any {
	before, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := decoded.Apply(before)
	if err != nil {
		t.Fatalf("%s does not fit: %v", patch, err)
	}
	var out map[string]any
	if err := json.Unmarshal(after, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func request(t testing.TB, v *vectors.Vector, o, old map[string]any, operation string) *admissionv1.AdmissionRequest {
	subject := o
	if subject == nil {
		subject = old
	}
	u := unstructured.Unstructured{Object: subject}
	req := &admissionv1.AdmissionRequest{
		Kind: kindOf(subject), Name: u.GetName(), Namespace: u.GetNamespace(), Operation: admissionv1.Operation(operation),
		SubResource: v.Request.Subresource, UserInfo: authenticationv1.UserInfo{Username: v.Request.User, Groups: v.Request.Groups},
	}
	for raw, o := range map[*runtime.RawExtension]map[string]any{&req.Object: o, &req.OldObject: old} {
		if o == nil || operation == "CREATE" && raw == &req.OldObject || operation == "DELETE" && raw == &req.Object {
			continue
		}
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		raw.Raw = b
	}
	return req
}

func (p *process) post(t testing.TB, path, timeout string, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	req.UID = types.UID("uid-of-" + path)
	body, err := json.Marshal(&admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: req})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, path+"?timeout="+timeout, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || w.Code != http.StatusOK || review.Response == nil || review.Response.UID != req.UID {
		t.Fatalf("%s: %d %s: %v", path, w.Code, w.Body, err)
	}
	if resp := review.Response; !resp.Allowed && (resp.Result == nil || resp.Result.Status != metav1.StatusFailure || resp.Result.Code != 0 || resp.Result.Reason != "" || len(resp.Patch)+len(resp.Warnings) > 0) {
		t.Errorf("%s: a denial of another form: %s", path, w.Body)
	}
	return review.Response
}
