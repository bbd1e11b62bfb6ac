// Package trust supplies the trusted roots that signatures are checked against: certificate authorities, transparency
// logs and timestamp authorities. A root is the public one in the binary, a file, something that others read and hand
// over (Live), or the target of a TUF repository (TUF); it may be narrowed by the environment variables that cosign
// knows (Override). Only TUF uses a network, in the background, and only once somebody needs the root.
package trust

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// maxSize bounds a trusted root in bytes; the public one has 7 KiB.
const maxSize = 4 << 20

//go:embed public_trusted_root.json
var publicRoot []byte

// Source is one trusted root. It is immutable; a changed root is another Source. A nil Source is no root at all: it has
// a generation, and its material is an error.
type Source struct {
	generation string
	material   func() (root.TrustedMaterial, error)
}

// FromFile reads a Sigstore trusted root (trusted_root.json) from path and parses it. The error names the file.
func FromFile(path string) (*Source, error) {
	b, err := readFile(path, maxSize)
	if err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	s, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("trusted root %s: %w", path, err)
	}
	return s, nil
}

// Parse reads a Sigstore trusted root from its JSON form, at most 4 MiB.
func Parse(b []byte) (*Source, error) {
	m, err := parse(b)
	if err != nil {
		return nil, err
	}
	return &Source{generation: generation(b), material: func() (root.TrustedMaterial, error) { return m, nil }}, nil
}

// Public is the public Sigstore instance's trusted root as it is shipped in the binary. It is parsed when it is first
// needed, so that a program whose policies never need it does not hold it.
func Public() *Source {
	return &Source{
		generation: generation(publicRoot),
		material:   sync.OnceValues(func() (root.TrustedMaterial, error) { return parse(publicRoot) }),
	}
}

// Material is the parsed root. The caller must not change what it holds. It never waits.
func (s *Source) Material(context.Context) (root.TrustedMaterial, error) {
	if s == nil {
		return nil, errors.New("no trusted root is configured")
	}
	return s.material()
}

// Generation is the SHA-256 of the root's bytes, in hexadecimal; "none" where there is no root.
func (s *Source) Generation() string {
	if s == nil {
		return "none"
	}
	return s.generation
}

func generation(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func parse(b []byte) (m root.TrustedMaterial, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, errors.New("not a Sigstore trusted root: malformed content")
		}
	}()
	switch {
	case len(b) == 0:
		return nil, errors.New("not a Sigstore trusted root: empty")
	case len(b) > maxSize:
		return nil, fmt.Errorf("not a Sigstore trusted root: larger than %d bytes", maxSize)
	}
	r, err := root.NewTrustedRootFromJSON(b)
	if err != nil {
		return nil, fmt.Errorf("not a Sigstore trusted root: %w", err)
	}
	return r, nil
}
