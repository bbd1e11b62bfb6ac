// Package notary verifies Notary Project signatures against a trust store of certificates (VI 6.12).
//
// The envelopes, JWS and COSE, and the rules for certificate chains are notation-core-go's. What stands around them is
// here: the trust policy of level strict with one trust store of type ca and every identity trusted. A signature has to
// be for the very manifest, by a chain that holds a certificate of the store, not expired, at a time when the whole chain
// is valid, and no certificate may be revoked, as far as the certificates say where to ask. There is no trust store for
// timestamps, so that now is the only trusted time.
package notary

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"github.com/notaryproject/notation-core-go/signature"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// Verifier is the verify.Verifier of Notary Project signatures. It is safe for use by many goroutines.
type Verifier struct {
	now        func() time.Time
	revocation *revocation
}

var _ verify.Verifier = (*Verifier)(nil)

// New returns a Verifier that asks about revoked certificates through the client, which has to bound where it connects to,
// how long it waits and how much it reads. Without a client, certificates that say where to ask are not trusted.
func New(client *http.Client) *Verifier {
	return &Verifier{now: time.Now, revocation: newRevocation(client)}
}

// Generation is always the same: all trust material is the attestors' own.
func (v *Verifier) Generation() string { return "notary" }

// Candidates opens artifacts: signatures of the image, and artifacts that have signatures of their own.
func (v *Verifier) Candidates(img image.Pinned, artifacts []image.Artifact) []verify.Candidate {
	candidates := make([]verify.Candidate, 0, len(artifacts))
	for i := range artifacts {
		candidates = append(candidates, candidate(img, &artifacts[i]))
	}
	return candidates
}

func candidate(img image.Pinned, a *image.Artifact) verify.Candidate {
	c := verify.Candidate{Artifact: *a, Err: a.Err}
	switch {
	case c.Err != nil:
	case a.Attached != nil:
		c.Predicate = a.ArtifactType
		c.Parsed = openAttestation(a)
	case a.Subject.Digest != img.Digest():
		c.Err = reason.New(reason.DigestMismatch, "the signature refers to another manifest")
	default:
		s, err := open(a)
		if err != nil {
			c.Err = err
			return c
		}
		c.Signature, c.Parsed = true, s
		c.KeyHint = verify.KeyHint(s.leaf().PublicKey)
	}
	return c
}

// Verify checks, in this order: trust store, signature, form of the chain, digest, expiry, validity, revocation.
func (v *Verifier) Verify(ctx context.Context, _ image.Pinned, c *verify.Candidate, a *verify.Attestor) (result *verify.Signature, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, reason.New(reason.BadSignature, "malformed signature")
		}
	}()
	switch {
	case c.Err != nil:
		return nil, c.Err
	case a.Certificates == nil || len(a.Certificates.Roots) == 0:
		return nil, reason.New(reason.TrustMaterialInvalid, "no certificates to trust are given")
	}
	switch parsed := c.Parsed.(type) {
	case *signed:
		result, err = v.signature(ctx, parsed, a.Certificates.Roots)
	case *attestation:
		result, err = v.attestation(ctx, parsed, a.Certificates.Roots)
	default:
		err = reason.New(reason.InternalError, "the candidate was opened by another verifier")
	}
	if err != nil {
		return nil, err
	}
	result.Place = c.Artifact.Place
	return result, nil
}

// signature verifies one signature against a trust store.
func (v *Verifier) signature(ctx context.Context, s *signed, store []*x509.Certificate) (*verify.Signature, error) {
	if err := trusted(s.chain, store); err != nil {
		return nil, err
	}
	got, err := s.verified()
	switch {
	case err != nil:
		return nil, err
	case got.mismatch != nil:
		return nil, got.mismatch
	}
	if scheme := got.info.SignedAttributes.SigningScheme; scheme != signature.SigningSchemeX509 {
		return nil, reason.New(reason.CertificateUntrusted, fmt.Sprintf("the signing scheme is %.60q, for which there is no trust store", scheme))
	}
	until, err := v.times(got.info)
	if err != nil {
		return nil, err
	}
	if err := v.revocation.check(ctx, s.chain); err != nil {
		return nil, err
	}
	return &verify.Signature{Payload: got.payload, Until: until}, nil
}

// times checks that neither the signature nor its chain is outside of its time, and returns when the first of them will be.
func (v *Verifier) times(info *signature.SignerInfo) (until time.Time, err error) {
	now := v.now()
	expiry := info.SignedAttributes.Expiry
	if !expiry.IsZero() && !now.Before(expiry) {
		return time.Time{}, reason.New(reason.CertificateExpired, "the signature expired on "+expiry.UTC().Format(time.RFC3339))
	}
	until = expiry
	for i, c := range info.CertificateChain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return time.Time{}, reason.New(reason.CertificateExpired, fmt.Sprintf("certificate %d of the chain is valid from %s to %s only",
				i+1, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339)))
		}
		if until.IsZero() || c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return until, nil
}
