package sigstore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

// checkEntry refuses log entries that are incomplete, or of kinds and versions other than those that are known.
func checkEntry(e *protorekor.TransparencyLogEntry) error {
	body := e.GetCanonicalizedBody()
	kind, err := entryKind(body)
	if err != nil {
		return fmt.Errorf("log entry: %w", err)
	}
	if e.GetKindVersion().GetKind() != kind.GetKind() || e.GetKindVersion().GetVersion() != kind.GetVersion() {
		return errors.New("log entry: its kind is not that of its body")
	}
	if e.GetLogIndex() < 0 || len(e.GetLogId().GetKeyId()) == 0 {
		return errors.New("log entry: it names no log, or no place in it")
	}
	if p := e.GetInclusionProof(); p != nil && p.GetCheckpoint().GetEnvelope() == "" {
		return errors.New("log entry: its inclusion proof has no checkpoint")
	}
	if _, err := entryNames(body); err != nil {
		return fmt.Errorf("log entry: %w", err)
	}
	return nil
}

// checkProofs asks for the kind of proof that the version of a bundle wants: the log's promise in the first, inclusion in
// the others.
func checkProofs(version string, entries []*protorekor.TransparencyLogEntry) error {
	first := strings.HasPrefix(version+".", "v0.1.")
	for _, e := range entries {
		if first && len(e.GetInclusionPromise().GetSignedEntryTimestamp()) > 0 || !first && e.GetInclusionProof() != nil {
			return nil
		}
	}
	if len(entries) > 0 {
		return errors.New("its log entries do not have the proofs that bundles of its version need")
	}
	return nil
}

// named is what a log entry is about: a signature and its signer.
type named struct {
	signature []byte
	// envelope is the SHA-256 of a whole envelope, signature included. One kind of entry names that in place of the
	// signature.
	envelope []byte
	// signer is a key, a certificate, or nil for nobody.
	signer any
}

// about tells whether the entry is for this signature.
func (n *named) about(s *signed) bool {
	if n.envelope == nil {
		return bytes.Equal(n.signature, s.signature)
	}
	sum := sha256.Sum256(s.layer)
	return s.layer != nil && bytes.Equal(n.envelope, sum[:])
}

// entryNames reads what an entry is about. It is read here before the log's own libraries see an entry, which verify
// signatures by whatever key an entry names, however much that costs: they get none that is not about a signature at
// hand, by its signer. The body is one that entryKind accepted.
func entryNames(body []byte) (n *named, err error) {
	top, err := object(trim(body), "kind", "apiVersion", "spec")
	if err != nil {
		return nil, err
	}
	spec, err := object(top["spec"], "data", "signature", "signatures", "proposedContent", "content", "publicKey", "hashedRekordV002")
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	kind, _ := text(top["kind"])
	version, _ := text(top["apiVersion"])
	var encoded, by string
	switch kind + "/" + version {
	case "hashedrekord/0.0.1":
		encoded, by, err = pair(spec["signature"], "content", "publicKey", "content")
	case "dsse/0.0.1":
		if _, ok := spec["proposedContent"]; ok {
			return nil, errProposal
		}
		encoded, by, err = only(spec["signatures"], "signature", "verifier")
	case "intoto/0.0.1":
		return envelopeNames(spec)
	case "intoto/0.0.2":
		var content, envelope map[string]json.RawMessage
		if content, err = object(spec["content"], "envelope"); err == nil {
			if envelope, err = object(content["envelope"], "signatures"); err == nil {
				encoded, by, err = only(envelope["signatures"], "sig", "publicKey")
			}
		}
		if raw, decodeErr := base64.StdEncoding.DecodeString(encoded); err == nil && decodeErr == nil {
			encoded = string(raw) // it is encoded twice
		}
	case "hashedrekord/0.0.2":
		return secondNames(spec["hashedRekordV002"])
	}
	if err != nil {
		return nil, err
	}
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(signature) == 0 {
		return nil, errNoSignature
	}
	return &named{signature: signature, signer: pemSigner(by)}, nil
}

var (
	errProposal    = errors.New("it is a proposal, not an entry")
	errNoSignature = errors.New("it names no signature")
)

// envelopeNames reads an entry of the form that cosign made for attestations before version 2.2: it holds no signature,
// but the hash of the envelope that it was uploaded with.
func envelopeNames(spec map[string]json.RawMessage) (*named, error) {
	content, err := object(spec["content"], "hash", "payloadHash", "envelope")
	if err != nil {
		return nil, err
	}
	if _, ok := content["envelope"]; ok {
		return nil, errProposal
	}
	fields, err := object(content["hash"], "algorithm", "value")
	if err != nil {
		return nil, err
	}
	algorithm, _ := text(fields["algorithm"])
	value, _ := text(fields["value"])
	sum, err := hex.DecodeString(value)
	if err != nil || algorithm != "sha256" || len(sum) != sha256.Size {
		return nil, errNoSignature
	}
	by, _ := text(spec["publicKey"])
	return &named{envelope: sum, signer: pemSigner(by)}, nil
}

// secondNames reads an entry of the second form.
func secondNames(raw json.RawMessage) (*named, error) {
	fields, err := object(raw, "data", "signature")
	if err != nil {
		return nil, err
	}
	inner, err := object(fields["signature"], "content", "verifier")
	if err != nil {
		return nil, err
	}
	by, err := object(inner["verifier"], "publicKey", "x509Certificate", "keyDetails")
	if err != nil {
		return nil, err
	}
	encoded, _ := text(inner["content"])
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(signature) == 0 {
		return nil, errNoSignature
	}
	for _, name := range []string{"publicKey", "x509Certificate"} {
		if by[name] == nil {
			continue
		}
		bytes, err := object(by[name], "rawBytes")
		if err != nil {
			return nil, err
		}
		encoded, _ := text(bytes["rawBytes"])
		der, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, errors.New("its signer is not base64")
		}
		return &named{signature: signature, signer: derSigner(der)}, nil
	}
	return nil, errors.New("it names no signer")
}

// pair reads a text and one below another field.
func pair(raw json.RawMessage, first, second, inner string) (a, b string, err error) {
	fields, err := object(raw, first, second)
	if err != nil {
		return "", "", err
	}
	below, err := object(fields[second], inner)
	if err != nil {
		return "", "", err
	}
	a, _ = text(fields[first])
	b, _ = text(below[inner])
	return a, b, nil
}

// only reads two texts of the only element of a list.
func only(raw json.RawMessage, first, second string) (a, b string, err error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 1 {
		return "", "", errors.New("it needs exactly one signature")
	}
	fields, err := object(list[0], first, second)
	if err != nil {
		return "", "", err
	}
	a, _ = text(fields[first])
	b, _ = text(fields[second])
	return a, b, nil
}

// pemSigner reads one PEM block in base64; nil for what is none.
func pemSigner(encoded string) any {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) > 2*maxAnnotation {
		return nil
	}
	block, rest := pem.Decode(raw)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil
	}
	return derSigner(block.Bytes)
}

// derSigner reads a certificate or a public key; nil for what is neither.
func derSigner(der []byte) any {
	if len(der) > maxAnnotation {
		return nil
	}
	if c, err := x509.ParseCertificate(der); err == nil {
		return c
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil
	}
	return key
}
