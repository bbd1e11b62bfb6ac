package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/signet-policy/signet/pkg/credentials"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/verify"
)

// recorder stands between the engine and what it asks, and remembers the answers. Every reference is resolved once and
// every repository looked at once with the same credentials for the whole call, so that what is printed is what was judged.
type recorder struct {
	images   *images
	verifier verify.Verifier
	notary   verify.Verifier

	mu       sync.Mutex
	requests []registry.Request
	uses     []credentials.Use
	views    []*view
	notes    []string
	pinned   map[image.Ref]image.Pinned
	resolves map[resolved]func() (image.Pinned, error)
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
	// access tells the credentials apart that were used.
	access string
}

// resolved is a reference that was resolved with some credentials.
type resolved struct {
	ref    image.Ref
	access string
}

// reader reads registries with some credentials.
type reader interface {
	engine.Registry
	engine.Referrers
	Describe(ctx context.Context, img image.Pinned) (*image.Description, error)
}

// view is what a recorder sees by a reader: what is learnt with some credentials is not told to who has others.
type view struct {
	*recorder
	reader reader
	access string
}

// by returns a view.
func (r *recorder) by(reader reader, access string) *view {
	v := &view{r, reader, access}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.views, func(o *view) bool { return o.access == access }) {
		r.views = append(r.views, v)
	}
	return v
}

// used is for what looks for credentials.
func (r *recorder) used(u credentials.Use) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uses = append(r.uses, u)
}

// note keeps a text for the user, once.
func (r *recorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
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
		verifier: verifier, notary: notary, resolves: map[resolved]func() (image.Pinned, error){},
		pinned: map[image.Ref]image.Pinned{}, looks: map[place]func() (*image.Attached, error){},
	}
}

// Describe reads the manifest and the configuration of an image, for context entries of policies.
func (r *view) Describe(ctx context.Context, img image.Pinned) (*image.Description, error) {
	return r.reader.Describe(ctx, img)
}

// observe is for the registry client.
func (r *recorder) observe(seen registry.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, seen)
}

// Resolve implements engine.Registry.
func (r *view) Resolve(ctx context.Context, ref image.Ref) (image.Pinned, error) {
	r.mu.Lock()
	key := resolved{ref, r.access}
	once := r.resolves[key]
	if once == nil {
		once = sync.OnceValues(func() (image.Pinned, error) {
			pinned, err := r.reader.Resolve(ctx, ref)
			r.mu.Lock()
			defer r.mu.Unlock()
			if _, known := r.pinned[ref]; err == nil && !known {
				r.pinned[ref] = pinned
			}
			return pinned, err
		})
		r.resolves[key] = once
	}
	r.mu.Unlock()
	return once()
}

// Exists implements engine.Registry.
func (r *view) Exists(ctx context.Context, img image.Pinned) error {
	return r.reader.Exists(ctx, img)
}

// Attached implements engine.Registry.
func (r *view) Attached(ctx context.Context, img image.Pinned, repository image.Ref) (*image.Attached, error) {
	at := place{digest: img.Digest(), repository: img.Repository()}
	if !repository.IsZero() {
		at.repository = repository.Repository()
	}
	return r.look(at, func() (*image.Attached, error) { return r.reader.Attached(ctx, img, repository) })
}

// Referrers implements engine.Referrers.
func (r *view) Referrers(ctx context.Context, img image.Pinned, types []string) (*image.Attached, error) {
	at := place{digest: img.Digest(), repository: img.Repository(), notary: strings.Join(types, " ")}
	return r.look(at, func() (*image.Attached, error) { return r.reader.Referrers(ctx, img, types) })
}

// look looks at a place once.
func (r *view) look(at place, fetch func() (*image.Attached, error)) (*image.Attached, error) {
	at.access = r.access
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
