// Package verify decides whether what is attached to an image satisfies a requirement: attestor sets, thresholds,
// annotations. It knows no signature format; those are behind Verifier.
package verify

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// Requirement is what one verifyImages entry asks of an image. It is compiled once and immutable.
type Requirement struct {
	// Sets must all be met by image signatures.
	Sets []Set
	// Attestations must all be there, after the signatures.
	Attestations []Attestation
	// AnyStatement lets a bundle's statement of any predicate type count as an image signature (type SigstoreBundle).
	AnyStatement bool
	// Notary asks for Notary Project signatures. The types of Attestations are artifact types then, and the Certificates
	// of attestors trust stores.
	Notary bool
	// Fingerprint is a hash of everything that decides the outcome but the trust root: equal requirements of two
	// policies have equal fingerprints.
	Fingerprint string
	// References are the keys that are kept elsewhere. Bind puts them in place before the requirement is evaluated.
	References []Reference
}

// Attestation asks for signed statements of one predicate type (VI 6.6).
type Attestation struct {
	// Path leads to the attestation for people, such as ".attestations[0]".
	Path string
	// Name is under which conditions find the first statement; empty for none.
	Name string
	// Type is the predicate type, or with Notary the artifact type. It is compared exactly. An empty one is never there.
	Type string
	// Sets must all be met by statements of the type; never empty.
	Sets []Set
	// Read says that somebody will read the predicates, so that the Proof has to hold them, and all of them.
	Read bool
}

// Set is an attestor set: Count of its entries must be met.
type Set struct {
	// Count is at least 1 and at most the number of entries.
	Count   int
	Entries []Entry
}

// Entry is one element of an expanded attestor set: exactly one of Attestor and Nested is set.
type Entry struct {
	// Path leads to the entry for people, such as ".attestors[0].entries[1].keys". A nested set has no path of its own
	// in messages; its entries carry theirs.
	Path     string
	Attestor *Attestor
	Nested   *Set
}

// Attestor says who must have signed, and which proofs the signature needs. Exactly one of Key, Certificates and Keyless
// is set, or Reference as long as the key is not there.
type Attestor struct {
	// Key is the public key that must have signed.
	Key crypto.PublicKey
	// Reference names the key where it is kept elsewhere.
	Reference Reference
	// Missing is why the key that Reference names is not there.
	Missing *reason.Error
	// Certificates name a certificate, or what it is chained to.
	Certificates *Certificates
	// Keyless names an identity.
	Keyless *Keyless
	// Hash is the hash algorithm of signatures; Ed25519 keys disregard it. Zero is SHA-256 for Key, and for a certificate
	// SHA-256 or the customary one of the certificate's key.
	Hash crypto.Hash
	// Annotations are required pairs in the signed payload.
	Annotations map[string]string
	// Repository holds the signatures, when it is not the image's own.
	Repository image.Ref
	// IgnoreLog drops the need for a transparency log proof.
	IgnoreLog bool
	// LogURL is the log that is searched for the entry of a signature in cosign's older format that carries none; empty
	// for no search.
	LogURL string
	// LogKeys replace the trust root's transparency logs (rekor.pubkey).
	LogKeys []crypto.PublicKey
	// IgnoreSCT drops the need for a proof that the certificate was logged; it says nothing about timestamps.
	IgnoreSCT bool
	// CTLogKeys replace the trust root's certificate logs (ctlog.pubkey).
	CTLogKeys []crypto.PublicKey
	// TSAChain, leaf first and root last, makes an RFC 3161 timestamp by this authority mandatory.
	TSAChain []*x509.Certificate
}

// Candidate is one signature found for an image, opened by a Verifier.
type Candidate struct {
	// Artifact is where it came from.
	Artifact image.Artifact
	// Signature tells that it counts as an image signature for every requirement; Statement that it is a statement of
	// another predicate type, which counts only where Requirement.AnyStatement is set. Both are false for what is no
	// signature at all, such as a manifest of another purpose that was listed by mistake.
	Signature, Statement bool
	// Predicate is the predicate type of the statement that the candidate is, of any type; empty for what is no statement.
	// Until the candidate was verified it proves nothing.
	Predicate string
	// KeyHint is the hint of the signing key that the candidate carries, in the form of KeyHint; it orders the work and
	// proves nothing. It is empty when there is none.
	KeyHint string
	// Certified is what the candidate's certificate says, nil when it carries none. Like KeyHint it orders the work.
	Certified *Certified
	// Err is why it cannot be verified (a *reason.Error), nil for one that can be. A candidate with an error counts as
	// one for every requirement, whatever Signature and Statement say, so that an image with broken candidates alone is
	// never called unsigned.
	Err error
	// Parsed is the Verifier's own.
	Parsed any
}

// Signature is what one accepted candidate proved.
type Signature struct {
	// Payload is the exact bytes that were verified.
	Payload []byte
	// Place is where the candidate was found.
	Place string
	// SignedAs is the name of the image in what was signed, where that is in another repository: copied images keep their
	// signatures. It is at most 256 bytes of the signer's.
	SignedAs string
	// Certified is what the verified certificate says about the signer; nil where only a key was asked for.
	Certified *Certified
	// Until is when this is no longer proved, because a certificate ends and nothing else than the clock told the time;
	// zero for what stays proved.
	Until time.Time
	// Statement reads the verified statement; nil for what is none.
	Statement func() (*Statement, error)
}

// Statement is a verified statement about an image.
type Statement struct {
	// Attestation is the index of the Requirement's attestation that it satisfies, and Name that one's name.
	Attestation int
	Name        string
	// Type is the predicate type.
	Type string
	// Predicate is a JSON object as it was signed; what a statement in cosign's own type holds as text is put in its
	// place.
	Predicate []byte
}

// Verifier knows one family of signature formats.
type Verifier interface {
	// Candidates opens artifacts, once for all attestors. It returns one Candidate for each artifact that is or
	// pretends to be a signature, broken ones included; it never fails and never panics.
	Candidates(img image.Pinned, artifacts []image.Artifact) []Candidate
	// Verify checks all of one attestor's constraints on one candidate: digest, signature, chain, SCT, log, time,
	// identity, annotations. The error is a *reason.Error whose code names the first constraint in that order that does not hold.
	Verify(ctx context.Context, img image.Pinned, c *Candidate, a *Attestor) (*Signature, error)
	// Generation names the trust material in force; it changes whenever a verdict could.
	Generation() string
}

// Fetcher gives what is attached to an image. A zero repository is the image's own. The error, like each problem in the
// answer, is a *reason.Error.
type Fetcher interface {
	Attached(ctx context.Context, img image.Pinned, repository image.Ref) (*image.Attached, error)
}

// ErrNotVerified is in the chain of every error that says "checked, and it does not hold". It is not in the chain of
// errors whose outcome could not be known: those of an unreachable registry, and internal ones.
var ErrNotVerified = errors.New("not verified")

// Proof is returned only for a requirement that holds, and holds only verified data.
type Proof struct {
	Image      image.Pinned
	Signatures []*Signature
	// Statements are, for each attestation that is read, all statements of its type that verify for its attestors, in
	// the order of the attestations.
	Statements []Statement
	// Partial is set when a place that may hold more statements could not be read. Such a proof is not to be remembered.
	Partial bool
	// Until is when the first of the signatures is no longer proved: the proof is not to be remembered any longer. Zero is
	// without end.
	Until time.Time
}
