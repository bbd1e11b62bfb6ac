package webhook_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
	"github.com/signet-policy/signet/webhook"
)

var policyOptions policy.Options

// signed is a registry in which every image has the digest of its name and is signed, and a verifier that says so.
type signed struct{}

func (signed) Resolve(_ context.Context, ref image.Ref) (image.Pinned, error) {
	if strings.Contains(ref.Path(), "missing") {
		return image.Pinned{}, reason.New(reason.ImageNotFound, "image tag not found")
	}
	return ref.Pin(image.DigestOf([]byte(ref.String()))), nil
}

func (signed) Exists(context.Context, image.Pinned) error { return nil }

func (signed) Attached(context.Context, image.Pinned, image.Ref) (*image.Attached, error) {
	return &image.Attached{Artifacts: []image.Artifact{{}}}, nil
}

func (signed) Candidates(image.Pinned, []image.Artifact) []verify.Candidate {
	return []verify.Candidate{{Signature: true}}
}

func (signed) Verify(context.Context, image.Pinned, *verify.Candidate, *verify.Attestor) (*verify.Signature, error) {
	return &verify.Signature{}, nil
}

func (signed) Generation() string { return "1" }

func compiled(t testing.TB, name, kind string) *policy.Policy {
	t.Helper()
	key, err := corpus.Read("trust/cosign.pub")
	if err != nil {
		t.Fatal(err)
	}
	quoted, _ := json.Marshal(key)
	var p v1.ClusterPolicy
	text := `{metadata: {name: ` + name + `}, spec: {rules: [{name: r, match: {any: [{resources: {kinds: [` + kind + `]}}]},
		verifyImages: [{imageReferences: ["*"], failureAction: Enforce, attestors: [{entries: [{keys: {publicKeys: ` + string(quoted) + `}}]}]}]}]}}`
	if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	c, errs := policy.CompileCluster(&p, policyOptions)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return c
}

// server is a server of both phases over a store, and what it reviewed.
func server(t testing.TB, store *policy.Store, record func(*webhook.Reviewed)) *webhook.Server {
	t.Helper()
	h := &webhook.Resources{Engine: engine.New(engine.Options{Registry: signed{}, Verifier: signed{}, Store: store}), Record: record}
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Handle(webhook.MutateFail, false, h.Review(engine.Mutating, policy.Fail))
	s.Handle(webhook.MutateIgnore, true, h.Review(engine.Mutating, policy.Ignore))
	s.Handle(webhook.ValidateFail, false, h.Review(engine.Validating, policy.Fail))
	return s
}

const podOf = `{"apiVersion":"v1","kind":"Pod","metadata":META,"spec":{"containers":[{"name":"c","image":"IMAGE"}]}}`

func pod(meta, img string) string {
	return strings.NewReplacer("META", meta, "IMAGE", img).Replace(podOf)
}

// VI 3.5(3): reports are not judged, whatever policies say. That goes by their group as well as their kind.
func TestReportsAreNotJudged(t *testing.T) {
	t.Parallel()
	s := server(t, policy.NewStore(), func(*webhook.Reviewed) { t.Error("reviewed") }) // judges nothing else yet, and refuses it
	for kind, allowed := range map[string]bool{
		`"group":"wgpolicyk8s.io","version":"v1alpha2","kind":"PolicyReport"`:        true,
		`"group":"wgpolicyk8s.io","version":"v1alpha2","kind":"ClusterPolicyReport"`: true,
		`"group":"wgpolicyk8s.io","version":"v1alpha2","kind":"Pod"`:                 false,
		`"group":"","version":"v1","kind":"PolicyReport"`:                            false,
	} {
		for _, path := range []string{webhook.MutateFail, webhook.ValidateFail} {
			text := strings.Replace(body(pod(`{"name":"p"}`, "missing:1")), `"group":"","version":"v1","kind":"Pod"`, kind, 1)
			if resp := answer(t, post(s.Handler(), path, "application/json", text)); resp.Allowed != allowed || len(resp.Patch) > 0 {
				t.Errorf("%s %s: %+v", path, kind, resp)
			}
		}
	}
}

// VI 3.6, 3.9(1), 6.15(6), A-90: which requests are judged, as what, and what cannot be read.
func TestResources(t *testing.T) {
	t.Parallel()
	store := policy.NewStore()
	store.Put(compiled(t, "p", "Pod"))
	var reviewed []*webhook.Reviewed
	s := server(t, store, func(r *webhook.Reviewed) { reviewed = append(reviewed, r) })
	send := func(path, body string) *admissionv1.AdmissionResponse {
		return answer(t, post(s.Handler(), path, "application/json", body))
	}
	unsynced := body(pod(`{"name":"p"}`, "a:1"))
	if resp := send(webhook.MutateFail, unsynced); resp.Allowed {
		t.Error("allowed before the policies were read")
	}
	if resp := send(webhook.MutateIgnore, unsynced); !resp.Allowed || len(resp.Warnings) != 1 {
		t.Errorf("%+v", resp)
	}
	store.Sync()
	if len(reviewed) > 0 {
		t.Error("a request that was not judged is recorded")
	}

	resp := send(webhook.MutateFail, body(pod(`{"name":"p"}`, "a:1")))
	if !resp.Allowed || resp.PatchType == nil || !strings.Contains(string(resp.Patch), `"docker.io/a:1@sha256:`) || len(reviewed) != 1 {
		t.Errorf("%+v", resp)
	}
	resp = send(webhook.MutateFail, body(pod(`{"name":"p"}`, "missing:1")))
	if resp.Allowed || !strings.HasPrefix(resp.Result.Message, "\n\nresource Pod/n/p was blocked due to the following policies \n\np:\n  r: ") || len(reviewed) != 2 {
		t.Errorf("%+v", resp)
	}
	// generateName: the name is empty in the denial and the prefix counts for matching.
	resp = send(webhook.MutateFail, strings.Replace(body(pod(`{"generateName":"web-"}`, "missing:1")), `"name":"p",`, "", 1))
	if resp.Allowed || !strings.Contains(resp.Result.Message, "resource Pod/n/ was") || reviewed[2].Request.Attributes.Name != "web-" {
		t.Errorf("%+v", resp)
	}
	// What filters look at: the operation, the user, labels and annotations.
	who := strings.Replace(body(pod(`{"name":"p","labels":{"a":"b"},"annotations":{"c":"d"}}`, "missing:1")), `"CREATE"`, `"CREATE","userInfo":{"username":"ann","groups":["dev","ops"]}`, 1)
	send(webhook.MutateFail, who)
	got := reviewed[len(reviewed)-1].Request.Attributes
	want := match.Attributes{Version: "v1", Kind: "Pod", Namespace: "n", Name: "p", Operation: match.Create,
		Labels: match.Texts{"a": "b"}, Annotations: match.Texts{"c": "d"}, User: match.User{Name: "ann", Groups: []string{"dev", "ops"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if resp := send(webhook.MutateFail, body(pod(`{"name":"p","labels":[]}`, "a:1"))); resp.Allowed || !strings.Contains(resp.Result.Message, "cannot read the object: metadata.labels is no object") {
		t.Errorf("%+v", resp)
	}
	for _, operation := range []string{"DELETE", "CONNECT"} {
		if resp := send(webhook.MutateFail, strings.Replace(body(pod(`{"name":"p"}`, "missing:1")), "CREATE", operation, 1)); !resp.Allowed {
			t.Errorf("%s: %+v", operation, resp)
		}
	}
	for name, object := range map[string]string{"null": "null", "a list": "[]", "a text": `"x"`} {
		if resp := send(webhook.MutateFail, body(object)); resp.Allowed {
			t.Errorf("an object that is %s is allowed", name)
		}
		if resp := send(webhook.MutateIgnore, body(object)); !resp.Allowed || len(resp.Warnings) != 1 {
			t.Errorf("an object that is %s: %+v", name, resp)
		}
	}
	// An update that is no update of this image does not block; an old object that cannot be read is an error.
	update := strings.Replace(body(pod(`{"name":"p"}`, "missing:1")), `"CREATE"`, `"UPDATE","oldObject":`+pod(`{"name":"p"}`, "missing:1"), 1)
	if resp := send(webhook.MutateFail, update); !resp.Allowed || len(resp.Warnings) != 1 {
		t.Errorf("%+v", resp)
	}
	if resp := send(webhook.MutateFail, strings.Replace(body(pod(`{"name":"p"}`, "a:1")), `"CREATE"`, `"UPDATE","oldObject":[]`, 1)); resp.Allowed {
		t.Errorf("%+v", resp)
	}
	// An update without an old object is judged as a creation.
	if resp := send(webhook.MutateFail, strings.Replace(body(pod(`{"name":"p"}`, "missing:1")), `"CREATE"`, `"UPDATE"`, 1)); resp.Allowed {
		t.Errorf("%+v", resp)
	}
	if resp := send(webhook.ValidateFail, body(pod(`{"name":"p"}`, "a:1"))); resp.Allowed || len(resp.Patch) > 0 {
		t.Errorf("%+v", resp)
	}
}
