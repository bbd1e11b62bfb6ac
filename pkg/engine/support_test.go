package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
)

// world is a registry and a verifier in memory. An image is signed when a key file stands in signed under its digest;
// what a signature is does not matter here.
type world struct {
	mu     sync.Mutex
	tags   map[string]image.Digest   // by shown form
	signed map[image.Digest][]string // key files
	calls  map[string]int

	// Each may be nil.
	onResolve  func(ctx context.Context, shown string) error
	onAttached func(ctx context.Context, shown string) error
	onExists   func(ctx context.Context, shown string) error
	onOpen     func()
	onVerify   func(ctx context.Context)
	generation string
	until      time.Time // when signatures are no longer proved
}

func newWorld() *world {
	return &world{tags: map[string]image.Digest{}, signed: map[image.Digest][]string{}, calls: map[string]int{}}
}

// push puts an image there and signs it with the keys.
func (w *world) push(shown string, keys ...string) image.Digest {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := image.DigestOf([]byte(shown + strings.Join(keys, ",")))
	w.tags[shown], w.signed[d] = d, keys
	return d
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[what]++
}

func (w *world) called(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[what]
}

func (w *world) Resolve(ctx context.Context, ref image.Ref) (image.Pinned, error) {
	w.count("resolve")
	w.count("resolve " + ref.String())
	if w.onResolve != nil {
		if err := w.onResolve(ctx, ref.String()); err != nil {
			return image.Pinned{}, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d, ok := w.tags[ref.String()]
	if !ok {
		return image.Pinned{}, reason.New(reason.ImageNotFound, "image tag not found: GET "+ref.String()+": MANIFEST_UNKNOWN")
	}
	return ref.Pin(d), nil
}

func (w *world) Attached(ctx context.Context, img image.Pinned, repository image.Ref) (*image.Attached, error) {
	w.count("attached")
	if w.onAttached != nil {
		if err := w.onAttached(ctx, img.String()); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := &image.Attached{}
	for _, k := range w.signed[img.Digest()] {
		out.Artifacts = append(out.Artifacts, image.Artifact{Payload: []byte(k)})
	}
	return out, nil
}

func (w *world) Exists(ctx context.Context, img image.Pinned) error {
	w.count("exists")
	if w.onExists != nil {
		return w.onExists(ctx, img.String())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.tags {
		if d == img.Digest() {
			return nil
		}
	}
	return reason.New(reason.ImageNotFound, "image not found")
}

func (w *world) Candidates(_ image.Pinned, artifacts []image.Artifact) []verify.Candidate {
	if w.onOpen != nil {
		w.onOpen()
	}
	var out []verify.Candidate
	for _, a := range artifacts {
		out = append(out, verify.Candidate{Artifact: a, Signature: true})
	}
	return out
}

func (w *world) Verify(ctx context.Context, _ image.Pinned, c *verify.Candidate, a *verify.Attestor) (*verify.Signature, error) {
	w.count("verify")
	if w.onVerify != nil {
		w.onVerify(ctx)
	}
	text, err := corpus.Read("trust/" + string(c.Artifact.Payload))
	if err != nil {
		return nil, err
	}
	keys, err := verify.ParseKeys(text)
	if err != nil {
		return nil, err
	}
	if verify.KeyHint(keys[0]) != verify.KeyHint(a.Key) {
		return nil, reason.New(reason.BadSignature, "invalid signature when validating ASN.1 encoded signature")
	}
	return &verify.Signature{Until: w.until}, nil
}

func (w *world) Generation() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.generation
}

// fixture is an engine over a world.
type fixture struct {
	*engine.Engine
	*world
	store *policy.Store
}

func newFixture(t testing.TB, o engine.Options, policies ...string) *fixture {
	t.Helper()
	f := &fixture{world: newWorld(), store: policy.NewStore()}
	f.store.Sync()
	for _, p := range policies {
		f.put(t, p)
	}
	o.Registry, o.Verifier, o.Store = f.world, f.world, f.store
	f.Engine = engine.New(o)
	return f
}

// expand replaces $cosign and the like by key files as YAML texts.
func expand(t testing.TB, text string) string {
	t.Helper()
	for _, name := range []string{"cosign", "other", "third"} {
		b, err := os.ReadFile(filepath.Join(corpus.Dir(), "trust", name+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, "$"+name, `"`+strings.ReplaceAll(string(b), "\n", `\n`)+`"`)
	}
	return text
}

func (f *fixture) put(t testing.TB, text string) *policy.Policy {
	t.Helper()
	text = expand(t, text)
	var meta struct{ Kind string }
	if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
		t.Fatal(err)
	}
	var compiled *policy.Policy
	var err error
	if meta.Kind == "Policy" {
		var p v1.Policy
		if err := yaml.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		c, errs := policy.CompileNamespaced(&p, policy.Options{})
		compiled, err = c, errs.ToAggregate()
	} else {
		var p v1.ClusterPolicy
		if err := yaml.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		c, errs := policy.CompileCluster(&p, policy.Options{})
		compiled, err = c, errs.ToAggregate()
	}
	if err != nil {
		t.Fatal(err)
	}
	f.store.Put(compiled)
	return compiled
}

// clusterPolicy is a policy with one rule, named r, for Pods.
func clusterPolicy(name, spec string, entries ...string) string {
	return "kind: ClusterPolicy\nmetadata: {name: " + name + "}\nspec:\n" + spec + "  rules:\n" + rule("r", entries...)
}

func rule(name string, entries ...string) string {
	return "  - name: " + name + "\n    match: {any: [{resources: {kinds: [Pod]}}]}\n    verifyImages:\n    - " + strings.Join(entries, "\n    - ") + "\n"
}

// by is an entry that asks for a signature by the keys, $cosign and the like, of the images of a repository.
func by(repository, action, more string, keys ...string) string {
	var entries []string
	for _, k := range keys {
		entries = append(entries, "{keys: {publicKeys: "+k+"}}")
	}
	e := `{imageReferences: ["` + repository + `"], failureAction: ` + action + more
	if len(keys) > 0 {
		e += `, attestors: [{entries: [` + strings.Join(entries, ", ") + `]}]`
	}
	return e + "}"
}

const ignore = "  failurePolicy: Ignore\n"

// pod is a request to create the Pod default/p with a container for each image.
func pod(phase engine.Phase, images ...string) *engine.Request {
	return &engine.Request{
		Phase: phase, FailurePolicy: policy.Fail, Name: "p", Object: podObject(images...),
		Attributes: match.Attributes{Version: "v1", Kind: "Pod", Namespace: "default", Name: "p"},
	}
}

// podObject names its containers c0, c1, …; an image may be "name=image" for another name.
func podObject(images ...string) map[string]any {
	var containers []any
	for i, img := range images {
		name, value, ok := strings.Cut(img, "=")
		if !ok {
			name, value = fmt.Sprintf("c%d", i), img
		}
		containers = append(containers, map[string]any{"name": name, "image": value})
	}
	return map[string]any{"metadata": map[string]any{"name": "p"}, "spec": map[string]any{"containers": containers}}
}

func ignored(r *engine.Request) *engine.Request { r.FailurePolicy = policy.Ignore; return r }

func updated(r *engine.Request, old ...string) *engine.Request { r.Old = podObject(old...); return r }

func (f *fixture) review(t testing.TB, r *engine.Request) *engine.Decision {
	t.Helper()
	d, err := f.Review(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, res := range slices.Concat(d.Results, d.Responses) {
		if res.Status == 0 || res.Rule == nil || res.Reason == "" || res.Message == "" {
			t.Errorf("incomplete result: %+v", res)
		}
	}
	if d.Allowed == (d.Message != "") {
		t.Errorf("allowed %v with message %q", d.Allowed, d.Message)
	}
	if !d.Allowed && len(d.Patches)+len(d.Warnings) > 0 {
		t.Errorf("denied with %v, %v", d.Patches, d.Warnings)
	}
	return d
}

// outcomes are the results as "policy/rule image status Reason", the image in its shown form.
func outcomes(results []engine.Result) []string {
	var out []string
	for _, r := range results {
		img := "-"
		if r.Image != nil {
			img = r.Image.Ref.String()
		}
		text := fmt.Sprintf("%s/%s %s %s %s", r.Rule.Policy.Key, r.Rule.Name, img, r.Status, r.Reason)
		if r.Unchanged {
			text += " unchanged"
		}
		out = append(out, text)
	}
	return out
}

// patches are the patches as JSON lines.
func patches(t testing.TB, list []engine.Patch) []string {
	t.Helper()
	var out []string
	for _, p := range list {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}
