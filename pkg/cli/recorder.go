package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/verify"
)

// recorder stands between the engine and what it asks, and remembers the answers. Every reference is resolved once and
// every repository looked at once for the whole call, so that what is printed is what was judged.
type recorder struct {
	client   *registry.Client
	verifier verify.Verifier
	notary   verify.Verifier

	mu       sync.Mutex
	requests []registry.Request
	resolves map[image.Ref]func() (image.Pinned, error)
	looks    map[place]func() (*image.Attached, error)
	found    []found
	trials   []trial
}

// place is a repository that was looked at for an image.
type place struct {
	digest     image.Digest
	repository string
	// notary are the artifact types that were looked for, when it was for Notary signatures; empty otherwise.
	notary string
}

// found is what one repository holds for the image.
type found struct {
	place
	attached *image.Attached
	err      error
}

// empty tells whether a place answered that it holds nothing.
func (f *found) empty() bool {
	return f.err == nil && f.attached != nil && len(f.attached.Artifacts)+len(f.attached.Problems) == 0 && !f.attached.Truncated
}

// trial is one candidate before one attestor.
type trial struct {
	attestor   *verify.Attestor
	repository string
	candidate  string
	err        *reason.Error // nil for one that was accepted
}

func newRecorder(verifier, notary verify.Verifier) *recorder {
	return &recorder{
		verifier: verifier, notary: notary, resolves: map[image.Ref]func() (image.Pinned, error){},
		looks: map[place]func() (*image.Attached, error){},
	}
}

// Describe reads the manifest and the configuration of an image, for context entries of policies.
func (r *recorder) Describe(ctx context.Context, img image.Pinned) (*image.Description, error) {
	return r.client.Describe(ctx, img)
}

// observe is for the registry client.
func (r *recorder) observe(seen registry.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, seen)
}

// Resolve implements engine.Registry.
func (r *recorder) Resolve(ctx context.Context, ref image.Ref) (image.Pinned, error) {
	r.mu.Lock()
	once := r.resolves[ref]
	if once == nil {
		once = sync.OnceValues(func() (image.Pinned, error) { return r.client.Resolve(ctx, ref) })
		r.resolves[ref] = once
	}
	r.mu.Unlock()
	return once()
}

// Exists implements engine.Registry.
func (r *recorder) Exists(ctx context.Context, img image.Pinned) error {
	return r.client.Exists(ctx, img)
}

// Attached implements engine.Registry.
func (r *recorder) Attached(ctx context.Context, img image.Pinned, repository image.Ref) (*image.Attached, error) {
	at := place{digest: img.Digest(), repository: img.Repository()}
	if !repository.IsZero() {
		at.repository = repository.Repository()
	}
	return r.look(at, func() (*image.Attached, error) { return r.client.Attached(ctx, img, repository) })
}

// Referrers implements engine.Referrers.
func (r *recorder) Referrers(ctx context.Context, img image.Pinned, types []string) (*image.Attached, error) {
	at := place{digest: img.Digest(), repository: img.Repository(), notary: strings.Join(types, " ")}
	return r.look(at, func() (*image.Attached, error) { return r.client.Referrers(ctx, img, types) })
}

// look looks at a place once.
func (r *recorder) look(at place, fetch func() (*image.Attached, error)) (*image.Attached, error) {
	r.mu.Lock()
	once := r.looks[at]
	if once == nil {
		once = sync.OnceValues(func() (*image.Attached, error) {
			attached, err := fetch()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.found = append(r.found, found{at, attached, err})
			return attached, err
		})
		r.looks[at] = once
	}
	r.mu.Unlock()
	return once()
}

// Candidates implements verify.Verifier.
func (r *recorder) Candidates(img image.Pinned, artifacts []image.Artifact) []verify.Candidate {
	return r.verifier.Candidates(img, artifacts)
}

// Generation implements verify.Verifier.
func (r *recorder) Generation() string { return r.verifier.Generation() }

// Verify implements verify.Verifier.
func (r *recorder) Verify(ctx context.Context, img image.Pinned, c *verify.Candidate, a *verify.Attestor) (*verify.Signature, error) {
	s, err := r.verifier.Verify(ctx, img, c, a)
	r.tried(img, c, a, err)
	return s, err
}

// tried remembers what a verifier said.
func (r *recorder) tried(img image.Pinned, c *verify.Candidate, a *verify.Attestor, err error) {
	t := trial{attestor: a, repository: img.Repository(), candidate: identify(c), err: reason.Of(err)}
	if !a.Repository.IsZero() {
		t.repository = a.Repository.Repository()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.trials, t.same) {
		r.trials = append(r.trials, t)
	}
}

// notaryRecorder is a recorder's verifier of Notary signatures.
type notaryRecorder struct{ *recorder }

// Candidates implements verify.Verifier.
func (r notaryRecorder) Candidates(img image.Pinned, artifacts []image.Artifact) []verify.Candidate {
	return r.notary.Candidates(img, artifacts)
}

// Generation implements verify.Verifier.
func (r notaryRecorder) Generation() string { return r.notary.Generation() }

// Verify implements verify.Verifier.
func (r notaryRecorder) Verify(ctx context.Context, img image.Pinned, c *verify.Candidate, a *verify.Attestor) (*verify.Signature, error) {
	s, err := r.notary.Verify(ctx, img, c, a)
	r.tried(img, c, a, err)
	return s, err
}

// same tells whether another trial is the same one in another phase.
func (t trial) same(other trial) bool {
	return t.attestor == other.attestor && t.candidate == other.candidate && t.repository == other.repository
}

// identify names a candidate by everything that the verifier was given of it.
func identify(c *verify.Candidate) string {
	a := &c.Artifact
	return fmt.Sprintf("%s %s %s %x %q", a.Place, a.Manifest, a.MediaType, sha256.Sum256(a.Payload), a.Annotations)
}
