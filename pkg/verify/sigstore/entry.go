package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

// checkEntry refuses log entries that are incomplete, or of kinds and versions other than the four that are known.
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
	if _, _, err := entryNames(body); err != nil {
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

// entryNames are the signature that a log entry is about and its signer: a key, a certificate, or nil for nobody. It is read here before
// the log's own libraries see an entry, which verify signatures by whatever key an entry names, however much that
// costs: they get none that is not about a signature at hand, by its signer. The body is one that entryKind accepted.
func entryNames(body []byte) (signature []byte, signer any, err error) {
	top, err := object(trim(body), "kind", "apiVersion", "spec")
	if err != nil {
		return nil, nil, err
	}
	spec, err := object(top["spec"], "data", "signature", "signatures", "proposedContent", "content", "hashedRekordV002")
	if err != nil {
		return nil, nil, fmt.Errorf("spec: %w", err)
	}
	kind, _ := text(top["kind"])
	version, _ := text(top["apiVersion"])
	var encoded, by string
	switch kind + "/" + version {
	case "hashedrekord/0.0.1":
		encoded, by, err = pair(spec["signature"], "content", "publicKey", "content")
	case "dsse/0.0.1":
		if _, ok := spec["proposedContent"]; ok {
			return nil, nil, errors.New("it is a proposal, not an entry")
		}
		encoded, by, err = only(spec["signatures"], "signature", "verifier")
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
		return nil, nil, err
	}
	signature, err = base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(signature) == 0 {
		return nil, nil, errors.New("it names no signature")
	}
	return signature, pemSigner(by), nil
}

// secondNames reads an entry of the second form.
func secondNames(raw json.RawMessage) (signature []byte, signer any, err error) {
	fields, err := object(raw, "data", "signature")
	if err != nil {
		return nil, nil, err
	}
	inner, err := object(fields["signature"], "content", "verifier")
	if err != nil {
		return nil, nil, err
	}
	by, err := object(inner["verifier"], "publicKey", "x509Certificate", "keyDetails")
	if err != nil {
		return nil, nil, err
	}
	encoded, _ := text(inner["content"])
	if signature, err = base64.StdEncoding.DecodeString(encoded); err != nil || len(signature) == 0 {
		return nil, nil, errors.New("it names no signature")
	}
	for _, name := range []string{"publicKey", "x509Certificate"} {
		if by[name] == nil {
			continue
		}
		bytes, err := object(by[name], "rawBytes")
		if err != nil {
			return nil, nil, err
		}
		encoded, _ := text(bytes["rawBytes"])
		der, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, nil, errors.New("its signer is not base64")
		}
		return signature, derSigner(der), nil
	}
	return nil, nil, errors.New("it names no signer")
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
