package sigstore

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/rekor"
	"github.com/signet-policy/signet/pkg/verify"
)

// Searcher looks for the entries of a signature in a Rekor v1 log; rekor.Client is one.
type Searcher interface {
	Search(ctx context.Context, log string, proposed []json.RawMessage) ([]rekor.Entry, error)
}

// Searching returns a verifier that asks an attestor's log for the entry of a signature in cosign's older format that
// carries none (VI 6.5(4)). Without a searcher such a signature has no log proof.
func (v *Verifier) Searching(s Searcher) *Verifier {
	return &Verifier{source: v.source, now: v.now, memo: v.memo, searcher: s}
}

// search asks the attestor's log for entries of a signature that carries none. What it finds proves as little as what a
// signature carries, and goes through the same checks. The signature itself was verified before, and the certificate's
// chain, so that not just anybody's signatures cause requests.
func (v *Verifier) search(s *signed, a *verify.Attestor, who *signer, c *checker) ([]*protorekor.TransparencyLogEntry, error) {
	if v.find == nil || a.LogURL == "" || a.IgnoreLog || !s.searchable {
		return nil, nil
	}
	if a.Keyless != nil && a.Keyless.Identity.Check(s.certified) != nil {
		return nil, nil
	}
	proposed, err := proposals(s, who, c)
	if err != nil {
		return nil, nil //nolint:nilerr // a signature that no log can hold is in none
	}
	found, err := v.find(a.LogURL, proposed)
	if err != nil {
		return nil, err
	}
	var entries []*protorekor.TransparencyLogEntry
	for i := range found {
		if e, err := searched(&found[i]); err == nil {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// searched reads an entry that a log gave; of its proofs the signed timestamp is taken.
func searched(f *rekor.Entry) (*protorekor.TransparencyLogEntry, error) {
	if len(f.Body) > maxEnvelope || len(f.SignedEntryTimestamp) == 0 || len(f.SignedEntryTimestamp) > maxAnnotation {
		return nil, errors.New("the log entry has no signed timestamp, or is too large")
	}
	id, err := hex.DecodeString(f.LogID)
	if err != nil {
		return nil, errors.New("the log entry is malformed")
	}
	kind, err := entryKind(f.Body)
	if err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogId: &protocommon.LogId{KeyId: id}, LogIndex: f.LogIndex, IntegratedTime: f.IntegratedTime, KindVersion: kind,
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: f.SignedEntryTimestamp}, CanonicalizedBody: f.Body,
	}, nil
}

// proposals are the entries that a signer may have made for the signature: for a payload its digest, for an envelope one
// of three kinds.
func proposals(s *signed, who *signer, c *checker) ([]json.RawMessage, error) {
	signerPEM, err := signerText(who)
	if err != nil {
		return nil, err
	}
	proposed := func(kind, version string, spec any) json.RawMessage {
		raw, _ := json.Marshal(map[string]any{"kind": kind, "apiVersion": version, "spec": spec}) //nolint:errchkjson // texts and bytes
		return raw
	}
	if s.layer == nil {
		if _, ok := c.key.(ed25519.PublicKey); ok || c.algorithm() == "" {
			return nil, errors.New("the log takes no digests signed this way")
		}
		return []json.RawMessage{proposed("hashedrekord", "0.0.1", map[string]any{
			"signature": map[string]any{"content": s.signature, "publicKey": map[string]any{"content": signerPEM}},
			"data":      map[string]any{"hash": map[string]any{"algorithm": c.algorithm(), "value": hex.EncodeToString(c.digest(s))}},
		})}, nil
	}
	sum := sha256.Sum256(s.layer)
	encoded := base64.StdEncoding.EncodeToString
	return []json.RawMessage{
		proposed("dsse", "0.0.1", map[string]any{"proposedContent": map[string]any{
			"envelope": string(s.layer), "verifiers": []any{signerPEM},
		}}),
		proposed("intoto", "0.0.1", map[string]any{"content": map[string]any{"envelope": string(s.layer)}, "publicKey": signerPEM}),
		proposed("intoto", "0.0.2", map[string]any{"content": map[string]any{
			"envelope": map[string]any{
				"payload": encoded([]byte(encoded(s.payload))), "payloadType": statementType,
				"signatures": []any{map[string]any{"sig": encoded([]byte(encoded(s.signature))), "publicKey": signerPEM}},
			},
			"hash": map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])},
		}}),
	}, nil
}

// signerText is the signer as entries name it: the PEM text of its certificate, or of its key.
func signerText(who *signer) ([]byte, error) {
	if who.certificate != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: who.certificate.Raw}), nil
	}
	der, err := x509.MarshalPKIXPublicKey(who.key)
	if err != nil {
		return nil, fmt.Errorf("the key has no PKIX form: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// missingEntry says that a signature has no log entry, and where one was looked for.
func (v *Verifier) missingEntry(s *signed, a *verify.Attestor) error {
	text := "the signature carries no transparency log entry"
	if v.find != nil && a.LogURL != "" && s.searchable {
		text += ", and its log has none"
	}
	return reason.New(reason.TransparencyLogMissing, text)
}
