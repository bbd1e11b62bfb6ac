// Package sigstore verifies cosign's simple-signing format and Sigstore bundles against public keys, certificates and
// certified identities. Both formats are opened into one form, so that one set of rules holds for both. The proofs that
// count are those that a candidate carries; only the log entry of a signature in the older format may be searched for.
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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/rekor"
	"github.com/signet-policy/signet/pkg/verify"
)

// Source supplies the trust root; package trust has several. Material is called only when a proof needs the root, and
// may wait for it as long as ctx lasts.
type Source interface {
	Material(ctx context.Context) (root.TrustedMaterial, error)
	Generation() string
}

// Verifier is the verify.Verifier of Sigstore's formats. It is safe for use by many goroutines.
type Verifier struct {
	source   Source
	now      func() time.Time
	memo     *memo
	searcher Searcher
	// root is the trust root for one verification: all its proofs are held against the same one.
	root func() (root.TrustedMaterial, error)
	// find searches a log for one verification; nil without a searcher.
	find func(log string, proposed []json.RawMessage) ([]rekor.Entry, error)
}

var _ verify.Verifier = (*Verifier)(nil)

// New returns a Verifier that takes certificate authorities, transparency logs, certificate logs and timestamp authorities
// from source, unless the attestor names its own. Without a source, what needs the trust root is TrustMaterialUnavailable.
func New(source Source) *Verifier { return &Verifier{source: source, now: time.Now, memo: &memo{}} }

// Generation names the trust root in force.
func (v *Verifier) Generation() string {
	if v.source == nil {
		return "none"
	}
	return v.source.Generation()
}

// during returns the verifier for one verification.
func (v *Verifier) during(ctx context.Context) *Verifier {
	one := &Verifier{source: v.source, now: v.now, memo: v.memo, root: sync.OnceValues(func() (root.TrustedMaterial, error) { return v.load(ctx) })}
	if v.searcher != nil {
		one.find = func(log string, proposed []json.RawMessage) ([]rekor.Entry, error) {
			return v.searcher.Search(ctx, log, proposed)
		}
	}
	return one
}

func (v *Verifier) load(ctx context.Context) (root.TrustedMaterial, error) {
	if v.source == nil {
		return nil, reason.New(reason.TrustMaterialUnavailable, "no trust root is configured")
	}
	m, err := v.source.Material(ctx)
	if known := (*reason.Error)(nil); errors.As(err, &known) {
		return nil, known
	}
	if err != nil {
		return nil, reason.New(reason.TrustMaterialUnavailable, "the trust root cannot be used: "+shown(err))
	}
	return m, nil
}

func (v *Verifier) material() (root.TrustedMaterial, error) { return v.root() }

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
		if s.certificate != nil {
			s.certified = certified(s.certificate)
			c.Certified = s.certified
		}
		c.Predicate = s.claims.predicate
		c.Signature = s.claims.predicate == "" || s.claims.predicate == signPredicate
		c.Statement = !c.Signature
	}
	return c, true
}

// Verify checks, in this order: digest, signature, chain, SCT, log, timestamp, validity, identity, annotations.
func (v *Verifier) Verify(ctx context.Context, _ image.Pinned, c *verify.Candidate, a *verify.Attestor) (result *verify.Signature, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, reason.New(reason.BadSignature, "malformed signature")
		}
	}()
	if c.Err != nil {
		return nil, c.Err
	}
	v = v.during(ctx)
	s, ok := c.Parsed.(*signed)
	if !ok {
		return nil, reason.New(reason.InternalError, "the candidate was opened by another verifier")
	}
	if s.claims.mismatch != nil {
		return nil, s.claims.mismatch
	}
	who, err := signerOf(s, a)
	if err != nil {
		return nil, err
	}
	check, err := who.check(s)
	if err != nil {
		return nil, err
	}
	result = &verify.Signature{Payload: s.payload, Place: c.Artifact.Place, SignedAs: s.claims.reference}
	if s.claims.predicate != "" {
		result.Statement = s.statement
	}
	if who.certificate == nil {
		err = v.proofs(s, a, who, check)
	} else {
		result.Certified, result.Until, err = v.certified(s, a, who, check)
	}
	if err != nil {
		return nil, err
	}
	if !s.claims.annotated(a.Annotations) {
		return nil, reason.New(reason.AnnotationMismatch, "no signature matched the required annotations")
	}
	return result, nil
}

// proofs checks what a signature by a bare key needs: log and timestamp.
func (v *Verifier) proofs(s *signed, a *verify.Attestor, who *signer, check *checker) error {
	stamps, stampErr := v.times(s, a)
	if !a.IgnoreLog {
		if _, err := v.verifyLog(s, a, who, check, stamps); err != nil {
			return err
		}
	}
	return stampErr
}

// certified checks what a signature by a certificate needs: chain, SCT, log, timestamp, validity and identity. A time
// other than zero is the end of a validity that nobody but the clock vouches for.
func (v *Verifier) certified(s *signed, a *verify.Attestor, who *signer, check *checker) (says *verify.Certified, until time.Time, err error) {
	paths, err := v.paths(s, a, who)
	if err != nil {
		return nil, until, err
	}
	if err := v.verifySCT(a, paths); err != nil {
		return nil, until, err
	}
	stamps, stampErr := v.times(s, a)
	// A log that is not asked for tells the time all the same, if its entry verifies.
	times, logErr := v.verifyLog(s, a, who, check, stamps)
	if logErr != nil && !a.IgnoreLog {
		return nil, until, logErr
	}
	if stampErr != nil {
		return nil, until, stampErr
	}
	times = append(times, stamps()...)
	if until, err = v.verifyTime(a, paths, times); err != nil {
		if len(times) == 0 {
			err = v.undated(s, a, logErr, err)
		}
		return nil, until, err
	}
	says = s.certified
	if who.given {
		says = certified(who.certificate)
	}
	if a.Keyless != nil {
		if err := a.Keyless.Identity.Check(says); err != nil {
			return nil, until, err
		}
	}
	return says, until, nil
}

// undated is why a signature has no time at which its certificate was valid: err, unless it carries a proof that could
// not be verified for want of the trust root, and that may have told one. The errors are *reason.Error.
func (v *Verifier) undated(s *signed, a *verify.Attestor, logErr, err error) error {
	if logErr != nil && reason.Of(logErr).Code == reason.TrustMaterialUnavailable {
		return logErr
	}
	if len(a.TSAChain) == 0 && s.stampCarried() {
		if _, missing := v.material(); missing != nil {
			return missing
		}
	}
	return err
}

// checker verifies signatures by one signer's key.
type checker struct {
	key      crypto.PublicKey
	hash     crypto.Hash
	verifier signature.Verifier
}

// newChecker makes a checker. No hash is SHA-256.
func newChecker(key crypto.PublicKey, hash crypto.Hash) (*checker, error) {
	if err := verify.CheckKey(key); err != nil {
		return nil, err
	}
	c := &checker{key: key, hash: hash}
	switch hash {
	case 0:
		c.hash = crypto.SHA256
	case crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return nil, fmt.Errorf("the hash %v is not supported", hash)
	}
	var err error
	c.verifier, err = signature.LoadVerifier(c.key, c.hash)
	return c, err
}

// signature verifies the signature over the message, or over its digest where only that is known.
func (c *checker) signature(s *signed) error {
	sig := bytes.NewReader(s.signature)
	if _, ok := c.key.(ed25519.PublicKey); ok {
		if s.message == nil {
			return errors.New("an Ed25519 key cannot verify a signature over the manifest by its digest alone")
		}
		return c.verifier.VerifySignature(sig, io.MultiReader(bytes.NewReader(s.prefix), bytes.NewReader(s.message)))
	}
	if s.message == nil && c.hash != crypto.SHA256 {
		return fmt.Errorf("the bundle signs the manifest's SHA-256, the attestor asks for %v", c.hash)
	}
	// The verifier would allocate a large buffer for what is in memory already.
	return c.verifier.VerifySignature(sig, bytes.NewReader(nil), options.WithDigest(c.digest(s)))
}

// digest is the signed message's digest as a log entry states it.
func (c *checker) digest(s *signed) []byte {
	if s.message == nil {
		return s.digest
	}
	h := c.hash.New()
	h.Write(s.prefix)
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

// logHash is the hash that is customary with the key, with which logs sign.
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
