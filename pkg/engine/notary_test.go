package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
)

// Referrers gives an image a Notary signature where it has any signature at all, and one artifact of every other type.
func (w *world) Referrers(_ context.Context, img image.Pinned, types []string) (*image.Attached, error) {
	w.count("referrers")
	w.count("referrers " + strings.Join(types, " "))
	w.mu.Lock()
	defer w.mu.Unlock()
	out := &image.Attached{}
	if len(w.signed[img.Digest()]) == 0 {
		return out, nil
	}
	for _, t := range types {
		out.Artifacts = append(out.Artifacts, image.Artifact{ArtifactType: t})
	}
	return out, nil
}

// stamped is a verifier of Notary signatures that believes them all, until a time.
type stamped struct{ until time.Time }

func (s *stamped) Candidates(_ image.Pinned, artifacts []image.Artifact) (out []verify.Candidate) {
	for _, a := range artifacts {
		c := verify.Candidate{Artifact: a, Signature: a.ArtifactType == image.NotarySignature}
		if !c.Signature {
			c.Predicate = a.ArtifactType
		}
		out = append(out, c)
	}
	return out
}

func (s *stamped) Verify(_ context.Context, _ image.Pinned, c *verify.Candidate, _ *verify.Attestor) (*verify.Signature, error) {
	out := &verify.Signature{Until: s.until}
	if c.Predicate != "" {
		out.Statement = func() (*verify.Statement, error) {
			return &verify.Statement{Type: c.Predicate, Predicate: []byte(`{"n":1}`)}, nil
		}
	}
	return out, nil
}

func (s *stamped) Generation() string { return "stamped" }

// byNotary is an entry of type Notary with the rest of its fields, where $CA is a certificates attestor.
func byNotary(t *testing.T, rest string) string {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(corpus.Dir(), "trust", "notary-ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	attestor := `{entries: [{certificates: {cert: "` + strings.ReplaceAll(string(ca), "\n", `\n`) + `"}}]}`
	return `{imageReferences: ["*"], failureAction: Enforce, type: Notary, ` + strings.ReplaceAll(rest, "$CA", attestor) + `}`
}

// What requirements of type Notary ask of the registry is asked once per request for the same types, remembered as long as
// it is good, and kept apart from other signatures.
func TestNotary(t *testing.T) {
	t.Parallel()
	v := &stamped{until: time.Now().Add(time.Hour)}
	f := newFixture(t, engine.Options{Notary: v},
		clusterPolicy("a", "", byNotary(t, `attestors: [$CA]`)), clusterPolicy("b", "", byNotary(t, `attestors: [{count: 1, entries: [{attestor: $CA}]}]`)),
		clusterPolicy("c", "", byNotary(t, `attestors: [$CA], attestations: [{name: x, type: t/b, attestors: [$CA], conditions: [{all: [{key: "{{ n }}", operator: Equals, value: 1}]}]}, {type: t/a, attestors: [$CA]}]`)))
	f.push("r.io/a:1", "cosign.pub")
	f.push("r.io/u:1")
	d := f.review(t, pod(engine.Mutating, "r.io/a:1"))
	if diff := cmp.Diff([]string{"a/r r.io/a:1 pass Verified", "b/r r.io/a:1 pass Verified", "c/r r.io/a:1 pass Verified"}, outcomes(d.Results)); diff != "" {
		t.Error(diff)
	}
	for what, want := range map[string]int{"attached": 0, "referrers": 2, "referrers " + image.NotarySignature: 1, "referrers " + image.NotarySignature + " t/a t/b": 1} {
		if got := f.called(what); got != want {
			t.Errorf("%s: %d calls, want %d", what, got, want)
		}
	}
	d = f.review(t, pod(engine.Validating, "r.io/a@"+string(f.tags["r.io/a:1"])))
	if !d.Allowed || f.called("referrers") != 2 {
		t.Errorf("%+v after %d looks", d, f.called("referrers"))
	}
	d = f.review(t, pod(engine.Mutating, "r.io/u:1"))
	if d.Allowed || d.Results[0].Reason != reason.Unsigned {
		t.Errorf("%+v", d)
	}
}

// T-073: a verdict is not remembered beyond the signature.
func TestT073NotaryUntil(t *testing.T) {
	t.Parallel()
	v := &stamped{until: time.Now().Add(-time.Second)}
	f := newFixture(t, engine.Options{Notary: v}, clusterPolicy("a", "", byNotary(t, `attestors: [$CA]`)))
	f.push("r.io/a:1", "cosign.pub")
	for round := range 2 {
		if d := f.review(t, pod(engine.Mutating, "r.io/a:1")); !d.Allowed || f.called("referrers") != round+1 {
			t.Errorf("%d looks: %+v", f.called("referrers"), d)
		}
	}
}

// Without a verifier, and before a registry that does not know of referrers, nothing of type Notary is let pass.
func TestNotaryAbsent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("a", "", byNotary(t, `attestors: [$CA]`)))
	f.push("r.io/a:1", "cosign.pub")
	if d := f.review(t, pod(engine.Mutating, "r.io/a:1")); d.Allowed || d.Results[0].Status != engine.Error || d.Results[0].Reason != reason.InternalError {
		t.Errorf("%+v", d)
	}
	bare := engine.New(engine.Options{Registry: struct{ engine.Registry }{f.world}, Verifier: f.world, Notary: &stamped{}, Store: f.store})
	d, err := bare.Review(t.Context(), pod(engine.Mutating, "r.io/a:1"))
	if err != nil || d.Allowed || d.Results[0].Reason != reason.InternalError {
		t.Errorf("%+v, %v", d, err)
	}
}
