// Package image names container images and what is attached to them: references, digests, patterns, artifacts.
//
// A Ref is what somebody wrote; a Pinned is a repository and a digest and cannot hold a tag. Everything that verifies,
// caches or fetches takes a Pinned, so that "verify one image, run another" does not compile.
package image

import (
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// DefaultRegistry is the registry of a reference that names none.
const DefaultRegistry = "docker.io"

const maxReference = 4096

// Options says how references without a registry are read. The zero value is Docker's convention.
type Options struct {
	// DefaultRegistry replaces docker.io.
	DefaultRegistry string
	// KeepShort leaves the registry of a short reference empty instead of naming the default one.
	KeepShort bool
}

// Ref is a parsed image reference: registry and path, with a tag, a digest or both. It is immutable and comparable.
type Ref struct {
	registry string
	path     string
	tag      string
	digest   string
}

// Parse reads a reference by the distribution grammar after putting the default registry before a short one. It does
// not add "library/". A reference without tag and digest gets the tag latest. The error never quotes more than 128
// characters of the input.
func Parse(s string, opts Options) (Ref, error) {
	if len(s) > maxReference {
		return Ref{}, fmt.Errorf("bad image: %q…: longer than %d characters", s[:64], maxReference)
	}
	full, prefixed := s, false
	if short(s) {
		host := opts.DefaultRegistry
		if host == "" {
			host = DefaultRegistry
		}
		full, prefixed = host+"/"+s, true
	}
	unusable := ""
	parsed, err := reference.Parse(full)
	if unusableDigest(err) {
		// The grammar holds and only the digest is of no use. That is for whoever needs the digest to say: the image is
		// there and cannot be verified, which is not the same as a text that names no image.
		full, unusable, _ = strings.Cut(full, "@")
		parsed, err = reference.Parse(full)
	}
	if err != nil {
		return Ref{}, fmt.Errorf("bad image: %.128q: %w", s, err)
	}
	named, ok := parsed.(reference.Named)
	if !ok {
		return Ref{}, fmt.Errorf("bad image: %.128q: no repository", s)
	}
	r := Ref{registry: reference.Domain(named), path: reference.Path(named), digest: unusable}
	if t, ok := parsed.(reference.Tagged); ok {
		r.tag = t.Tag()
	}
	if d, ok := parsed.(reference.Digested); ok {
		r.digest = d.Digest().String()
	}
	if r.tag == "" && r.digest == "" {
		r.tag = "latest"
	}
	if prefixed && opts.KeepShort {
		r.registry = ""
		if first, rest, ok := strings.Cut(r.path, "/"); ok && strings.Contains(first, "_") {
			r.registry, r.path = first, rest
		}
	}
	if r.path == "" {
		return Ref{}, fmt.Errorf("bad image: %.128q: no path", s)
	}
	return r, nil
}

// unusableDigest tells whether a reference is well-formed but for the algorithm or the length of its digest.
func unusableDigest(err error) bool {
	return errors.Is(err, digest.ErrDigestUnsupported) || errors.Is(err, digest.ErrDigestInvalidLength) ||
		errors.Is(err, digest.ErrDigestInvalidFormat)
}

// short tells whether the text names no registry.
func short(s string) bool {
	first, _, ok := strings.Cut(s, "/")
	if !ok {
		return true
	}
	return !strings.ContainsAny(first, ".:") && first != "localhost" && first == strings.ToLower(first)
}

// Registry is the host as written, with its port; empty for a short reference read with KeepShort.
func (r Ref) Registry() string { return r.registry }

// Path is the repository path below the registry.
func (r Ref) Path() string { return r.path }

// Name is the last segment of the path.
func (r Ref) Name() string { return r.path[strings.LastIndexByte(r.path, '/')+1:] }

// Tag is the tag; empty when the reference has a digest only.
func (r Ref) Tag() string { return r.tag }

// RawDigest is the digest as written, of any algorithm; empty when there is none.
func (r Ref) RawDigest() string { return r.digest }

// IsZero tells whether the reference is the zero value.
func (r Ref) IsZero() bool { return r.path == "" }

// Repository is the registry and the path.
func (r Ref) Repository() string { return join(r.registry, r.path) }

// String is the shown form: with the digest when there is one, else with the tag.
func (r Ref) String() string {
	if r.digest != "" {
		return r.Repository() + "@" + r.digest
	}
	return r.WithTag()
}

// WithTag is the reference with its tag; an empty tag leaves a trailing colon.
func (r Ref) WithTag() string { return r.Repository() + ":" + r.tag }

// Pin joins the reference with the digest it was resolved to.
func (r Ref) Pin(d Digest) Pinned { return Pinned{ref: r, digest: d} }

// Pinned returns the reference as one that was pinned by its author. It is an error for a digest that is not sha256;
// ok is false when the reference has no digest at all.
func (r Ref) Pinned() (p Pinned, ok bool, err error) {
	if r.digest == "" {
		return Pinned{}, false, nil
	}
	d, err := ParseDigest(r.digest)
	if err != nil {
		return Pinned{}, true, fmt.Errorf("bad image: %s: %w", r, err)
	}
	return r.Pin(d), true, nil
}

// Pinned is an image in a repository by its digest, with the reference that led to it. It is comparable.
type Pinned struct {
	ref    Ref
	digest Digest
}

// Ref is the reference as it was written.
func (p Pinned) Ref() Ref { return p.ref }

// Digest is the digest that decides.
func (p Pinned) Digest() Digest { return p.digest }

// Repository is the registry and the path.
func (p Pinned) Repository() string { return p.ref.Repository() }

// String is the repository and the digest.
func (p Pinned) String() string { return p.Repository() + "@" + string(p.digest) }

// Patched is the reference as it is written into an object: the shown form of a reference by tag with the digest
// appended, or the reference itself when it had a digest already.
func (p Pinned) Patched() string {
	if p.ref.digest != "" {
		return p.ref.String()
	}
	return p.ref.WithTag() + "@" + string(p.digest)
}

func join(registry, path string) string {
	if registry == "" {
		return path
	}
	return registry + "/" + path
}
