// Package sigstore verifies cosign's simple-signing format and Sigstore bundles against public keys. Both formats are
// opened into one form, so that one set of rules holds for both. Nothing is fetched: the proofs that count are those that
// a candidate carries.
package sigstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	_ "crypto/sha256" // hashes of signatures
	_ "crypto/sha512" // hashes of signatures
	"errors"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// Source supplies the trust root; trust.Source is one. Material is called only when a proof needs the root.
type Source interface {
	Material() (root.TrustedMaterial, error)
	Generation() string
}

// Verifier is the verify.Verifier of Sigstore's formats. It is safe for use by many goroutines.
type Verifier struct {
	source Source
}

var _ verify.Verifier = (*Verifier)(nil)

// New returns a Verifier that takes transparency logs and timestamp authorities from source, unless the attestor names
// its own. Without a source, what needs the trust root is TrustMaterialUnavailable.
func New(source Source) *Verifier { return &Verifier{source: source} }

// Generation names the trust root in force.
func (v *Verifier) Generation() string {
	if v.source == nil {
		return "none"
	}
	return v.source.Generation()
}

func (v *Verifier) material() (root.TrustedMaterial, error) {
	if v.source == nil {
		return nil, reason.New(reason.TrustMaterialUnavailable, "no trust root is configured")
	}
	m, err := v.source.Material()
	if err != nil {
		return nil, reason.New(reason.TrustMaterialUnavailable, "the trust root cannot be used: "+shown(err))
	}
	return m, nil
}

// Candidates opens artifacts. One that is of none of the formats, by its media types, gives no candidate.
func (v *Verifier) Candidates(img image.Pinned, artifacts []image.Artifact) []verify.Candidate {
	candidates := make([]verify.Candidate, 0, len(artifacts))
	for i := range artifacts {
		if c, ok := candidate(img, &artifacts[i]); ok {
			candidates = append(candidates, c)
		}
	}
	return candidates
}

func candidate(img image.Pinned, a *image.Artifact) (c verify.Candidate, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			c = verify.Candidate{Artifact: *a, Err: reason.New(reason.BadSignature, "malformed signature")}
			ok = true
		}
	}()
	s, hint, err := open(img, a)
	if s == nil && err == nil {
		return c, false
	}
	c = verify.Candidate{Artifact: *a, KeyHint: hint, Err: err}
	if err == nil {
		c.Parsed = s
		c.Signature = s.claims.predicate == "" || s.claims.predicate == signPredicate
		c.Statement = !c.Signature
	}
	return c, true
}

// Verify checks, in this order: digest, signature, log, timestamp, annotations.
func (v *Verifier) Verify(_ context.Context, _ image.Pinned, c *verify.Candidate, a *verify.Attestor) (result *verify.Signature, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, reason.New(reason.BadSignature, "malformed signature")
		}
	}()
	if c.Err != nil {
		return nil, c.Err
	}
	s, ok := c.Parsed.(*signed)
	if !ok {
		return nil, reason.New(reason.InternalError, "the candidate was opened by another verifier")
	}
	if s.claims.mismatch != nil {
		return nil, s.claims.mismatch
	}
	check, err := newChecker(a)
	if err != nil {
		return nil, reason.New(reason.TrustMaterialInvalid, "public key: "+err.Error())
	}
	if err := check.signature(s); err != nil {
		text := err.Error()
		if s.certificate != nil {
			text += " (it was made with a certificate)"
		}
		return nil, reason.New(reason.BadSignature, text)
	}
	stamps, stampErr := v.times(s, a)
	if !a.IgnoreLog {
		if err := v.verifyLog(s, a, check, stamps); err != nil {
			return nil, err
		}
	}
	if stampErr != nil {
		return nil, stampErr
	}
	if !s.claims.annotated(a.Annotations) {
		return nil, reason.New(reason.AnnotationMismatch, "no signature matched the required annotations")
	}
	return &verify.Signature{Payload: s.payload, Place: c.Artifact.Place}, nil
}

// checker verifies signatures by one attestor's key.
type checker struct {
	key      crypto.PublicKey
	hash     crypto.Hash
	verifier signature.Verifier
}

func newChecker(a *verify.Attestor) (*checker, error) {
	if a.Key == nil {
		return nil, errors.New("the attestor has none")
	}
	if err := verify.CheckKey(a.Key); err != nil {
		return nil, err
	}
	c := &checker{key: a.Key, hash: a.Hash}
	switch a.Hash {
	case 0:
		c.hash = crypto.SHA256
	case crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return nil, fmt.Errorf("the hash %v is not supported", a.Hash)
	}
	var err error
	c.verifier, err = signature.LoadVerifier(c.key, c.hash)
	return c, err
}

// signature verifies the signature over the message, or over its digest where only that is known.
func (c *checker) signature(s *signed) error {
	if s.message != nil {
		return c.verifier.VerifySignature(bytes.NewReader(s.signature), bytes.NewReader(s.message))
	}
	if _, ok := c.key.(ed25519.PublicKey); ok {
		return errors.New("an Ed25519 key cannot verify a signature over the manifest by its digest alone")
	}
	if c.hash != crypto.SHA256 {
		return fmt.Errorf("the bundle signs the manifest's SHA-256, the attestor asks for %v", c.hash)
	}
	return c.verifier.VerifySignature(bytes.NewReader(s.signature), bytes.NewReader(nil), options.WithDigest(s.digest))
}

// digest is the signed message's digest as a log entry states it.
func (c *checker) digest(s *signed) []byte {
	if s.message == nil {
		return s.digest
	}
	h := c.hash.New()
	h.Write(s.message)
	return h.Sum(nil)
}

// algorithm names the hash as log entries do.
func (c *checker) algorithm() string {
	switch c.hash {
	case crypto.SHA256:
		return "sha256"
	case crypto.SHA384:
		return "sha384"
	case crypto.SHA512:
		return "sha512"
	}
	return ""
}

// logHash is the hash that a log with the key signs with.
func logHash(key crypto.PublicKey) crypto.Hash {
	if k, ok := key.(*ecdsa.PublicKey); ok {
		switch k.Curve {
		case elliptic.P384():
			return crypto.SHA384
		case elliptic.P521():
			return crypto.SHA512
		}
	}
	return crypto.SHA256
}
