package properties

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/authn"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
	"github.com/signet-policy/signet/testdata/corpus"
	"github.com/signet-policy/signet/webhook"
)

// checks is how many inputs a property is tried with when nobody says so.
const checks = "40"

func TestMain(m *testing.M) {
	// A seed is enough to repeat a failure, and files in the work tree are in the way.
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, "properties:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// lab is a registry with the images of the pool, and what all processes that read it share.
type lab struct {
	registry *registrytest.Server
	config   string
	root     sigstore.Source
	material *material
	// transport is that of all replicas: there are more of them than a machine has ports.
	transport *http.Transport
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{registry: registrytest.New(t), config: t.TempDir(), material: newMaterial(t), transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(l.transport.CloseIdleConnections)
	l.registry.Load(corpus.Images(), func(repository string) bool { return l.material.repositories[repository] })
	l.registry.PushImage(unsignedRepository, "v1", []byte("unsigned"))
	l.registry.PushImage(forbiddenRepository, "v1", []byte("forbidden"))
	l.registry.Fault(registrytest.Match{Repository: forbiddenRepository}, registrytest.Status(http.StatusForbidden, "DENIED"))
	l.registry.WriteHostsToml(l.config, host)
	for _, other := range []string{"_default", deadHost} {
		dir := filepath.Join(l.config, other)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte("server = \"http://127.0.0.1:1\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := corpus.Read("trust/trusted_root.json")
	if err != nil {
		t.Fatal(err)
	}
	if l.root, err = trust.Parse([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return l
}

// replica is one Signet without a cluster: a registry client, an engine with its caches, and the server's handler.
type replica struct {
	store   *policy.Store
	handler http.Handler
	// record keeps what is decided in reviewed, for a replica that reviews one object at a time.
	record   bool
	reviewed []*webhook.Reviewed
}

// replica starts a Signet. What nobody answers is asked once: waiting to ask again is most of a test's time.
func (l *lab) replica(t testing.TB, cached, record bool) *replica {
	t.Helper()
	client, err := registry.New(registry.Options{
		ConfigDir: l.config, Keychain: authn.NewMultiKeychain(), Limits: registry.Limits{Tries: 1}, Transport: l.transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &replica{store: policy.NewStore(), record: record}
	resources := webhook.Resources{Engine: engine.New(engine.Options{
		Registry: client, Verifier: sigstore.New(l.root), Store: p.store, CacheDisabled: !cached, Timeout: time.Minute,
	})}
	if record {
		resources.Record = func(r *webhook.Reviewed) { p.reviewed = append(p.reviewed, r) }
	}
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	for path, one := range paths() {
		s.Handle(path, one.failure == policy.Ignore, resources.Review(one.phase, one.failure))
	}
	p.handler = s.Handler()
	p.store.Sync()
	return p
}

// path is a path of the webhooks that policies share.
type path struct {
	phase   engine.Phase
	failure policy.FailurePolicy
}

func paths() map[string]path {
	return map[string]path{
		webhook.MutateFail: {engine.Mutating, policy.Fail}, webhook.MutateIgnore: {engine.Mutating, policy.Ignore},
		webhook.ValidateFail: {engine.Validating, policy.Fail}, webhook.ValidateIgnore: {engine.Validating, policy.Ignore},
	}
}

// inOrder are the paths as the API server asks them.
func inOrder() []string {
	return []string{webhook.MutateFail, webhook.MutateIgnore, webhook.ValidateFail, webhook.ValidateIgnore}
}

// force puts exactly these policies and exceptions in force, in this order.
func (p *replica) force(t fataler, policies []*madePolicy, exceptions ...*madeException) {
	t.Helper()
	for _, old := range p.store.Snapshot().Policies() {
		p.store.Delete(old.Key)
	}
	p.store.DeleteException(policy.Key{Namespace: exceptionNamespace, Name: exceptionName})
	for _, x := range exceptions {
		p.store.PutException(x.compile(t))
	}
	for _, one := range policies {
		p.store.Put(one.compile(t))
	}
}

// fataler is what rapid's tests and the standard library's have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// answer is what one path says of an object.
type answer struct {
	*admissionv1.AdmissionResponse
	// Raw are the bytes that the API server gets.
	Raw      string
	Decision *engine.Decision
}

// ask sends a review of the object to one path.
func (p *replica) ask(t fataler, path string, o *madeObject) *answer {
	t.Helper()
	req := &admissionv1.AdmissionRequest{
		UID: "6c1b8d0e-5b2f-4f0d-8f55-0d2a3f0f6b01", Kind: o.gvk(), Name: o.name(), Namespace: objectNamespace,
		Operation: admissionv1.Create, Object: raw(t, o.object),
	}
	if o.old != nil {
		req.Operation, req.OldObject = admissionv1.Update, raw(t, o.old)
	}
	body, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: req,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, path+"?timeout=30s", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if p.record {
		p.reviewed = nil
	}
	p.handler.ServeHTTP(w, r)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || w.Code != http.StatusOK || review.Response == nil {
		t.Fatalf("%s: %d %s: %v", path, w.Code, w.Body, err)
	}
	out := &answer{AdmissionResponse: review.Response, Raw: w.Body.String()}
	if len(p.reviewed) == 1 {
		out.Decision = p.reviewed[0].Decision
	}
	return out
}

// admission is what becomes of an object: the answers up to the first denial, and the object as it would be stored.
type admission struct {
	allowed bool
	by      string // the path that denied
	answers map[string]*answer
	object  *madeObject
}

// admit sends an object through the webhooks as the API server does: each mutating one with the object as the one before
// left it, then the validating ones.
func (p *replica) admit(t fataler, o *madeObject) *admission {
	t.Helper()
	out := &admission{allowed: true, answers: map[string]*answer{}, object: o}
	for _, path := range inOrder() {
		a := p.ask(t, path, out.object)
		out.answers[path] = a
		if !a.Allowed {
			out.allowed, out.by = false, path
			return out
		}
		if len(a.Patch) > 0 {
			out.object = out.object.patched(t, a.Patch)
		}
	}
	return out
}

// said are all the bytes that the API server got.
func (a *admission) said() map[string]string {
	out := map[string]string{}
	for path, one := range a.answers {
		out[path] = one.Raw
	}
	return out
}

func raw(t fataler, o map[string]any) runtime.RawExtension {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: b}
}

func (o *madeObject) patched(t fataler, patch []byte) *madeObject {
	t.Helper()
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := decoded.Apply(raw(t, o.object).Raw)
	if err != nil {
		t.Fatalf("%s does not fit: %v", patch, err)
	}
	out := &madeObject{old: o.old}
	if err := json.Unmarshal(after, &out.object); err != nil {
		t.Fatal(err)
	}
	return out
}

// outcomes are the statuses of each rule and image, by "namespace/policy rule image", of one decision.
func (a *answer) outcomes() map[string]string {
	out := map[string]string{}
	for i := range a.Decision.Results {
		r := &a.Decision.Results[i]
		img := "-"
		if r.Image != nil {
			img = r.Image.Ref.String()
		}
		out[fmt.Sprintf("%s %s %s", r.Rule.Policy.Key, r.Rule.Name, img)] = r.Status.String()
	}
	return out
}

// causes are what a denial names: "policy rule" and the text.
func (a *answer) causes(t fataler) map[string]string {
	t.Helper()
	out := map[string]string{}
	if a.Allowed {
		return out
	}
	_, doc, _ := strings.Cut(a.Result.Message, "due to the following policies \n\n")
	var messages map[string]map[string]string
	if err := yaml.Unmarshal([]byte(doc), &messages); err != nil {
		t.Fatalf("a denial of another form: %q: %v", a.Result.Message, err)
	}
	for name, rules := range messages {
		for rule, text := range rules {
			out[name+" "+rule] = text
		}
	}
	return out
}
