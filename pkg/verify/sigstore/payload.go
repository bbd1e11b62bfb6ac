package sigstore

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// signPredicate is the predicate type of a statement that is an image signature.
const signPredicate = "https://sigstore.dev/cosign/sign/v1"

const (
	maxSubjects = 1024
	maxDigests  = 32
)

// claims is what a signed document says about an image. It says nothing until the signature was verified.
type claims struct {
	// mismatch is set when the document is about another digest.
	mismatch error
	// annotations are the signed pairs: one map for each part of the document that names the image.
	annotations []map[string]string
	// predicate is the statement's predicate type; empty for simple signing.
	predicate string
	// reference is the image's name as it was signed, where that is another repository.
	reference string
}

// parsePayload reads a simple-signing payload. Only the two published types are accepted, and the image's name in it is
// not compared: a copied image keeps its signatures.
func parsePayload(b []byte, img image.Pinned) (*claims, error) {
	if err := checkJSON(b, 0); err != nil {
		return nil, err
	}
	top, err := object(trim(b), "critical", "optional")
	if err != nil {
		return nil, err
	}
	critical, err := object(top["critical"], "identity", "image", "type")
	if err != nil {
		return nil, fmt.Errorf("critical: %w", err)
	}
	switch kind, _ := text(critical["type"]); kind {
	case "cosign container image signature", "atomic container signature":
	default:
		return nil, fmt.Errorf("critical.type %.60q is not that of an image signature", kind)
	}
	about, err := object(critical["image"], "docker-manifest-digest")
	if err != nil {
		return nil, fmt.Errorf("critical.image: %w", err)
	}
	digest, ok := text(about["docker-manifest-digest"])
	if !ok || digest == "" {
		return nil, errors.New("critical.image.docker-manifest-digest is missing")
	}
	optional, err := texts(top["optional"])
	if err != nil {
		return nil, fmt.Errorf("optional: %w", err)
	}
	c := &claims{annotations: []map[string]string{optional}, reference: elsewhere(critical["identity"], img)}
	if digest != string(img.Digest()) {
		c.mismatch = reason.New(reason.DigestMismatch, fmt.Sprintf("the signature is for the digest %.80q", digest))
	}
	return c, nil
}

// maxReference is how much of a signed name is kept, in bytes.
const maxReference = 256

// elsewhere is the name in an identity that is in another repository than the image; empty when there is none.
func elsewhere(identity json.RawMessage, img image.Pinned) string {
	fields, err := object(identity, "docker-reference")
	if err != nil {
		return ""
	}
	name, _ := text(fields["docker-reference"])
	name = name[:min(len(name), maxReference)]
	if named, err := image.Parse(name, image.Options{}); err == nil && image.SameRepository(named, img.Ref()) {
		return ""
	}
	return strings.ToValidUTF8(name, "")
}

// parseStatement reads an in-toto statement. Every subject must name a digest, and one of them the image's by sha256;
// names of subjects are not looked at. The predicate is passed over.
func parseStatement(b []byte, img image.Pinned) (*claims, error) {
	if err := checkJSON(b, 0); err != nil {
		return nil, err
	}
	top, err := object(trim(b), "_type", "subject", "predicateType", "predicate")
	if err != nil {
		return nil, err
	}
	kind, _ := text(top["_type"])
	if !slices.Contains([]string{"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"}, kind) {
		return nil, fmt.Errorf("_type %.60q is not that of an in-toto statement", kind)
	}
	c := &claims{}
	if c.predicate, _ = text(top["predicateType"]); c.predicate == "" {
		return nil, errors.New("predicateType is missing")
	}
	var subjects []json.RawMessage
	if err := json.Unmarshal(top["subject"], &subjects); err != nil || len(subjects) == 0 {
		return nil, errors.New("subject is missing")
	}
	if len(subjects) > maxSubjects {
		return nil, fmt.Errorf("more than %d subjects", maxSubjects)
	}
	for i, raw := range subjects {
		if err := c.subject(raw, img.Digest().Hex()); err != nil {
			return nil, fmt.Errorf("subject[%d]: %w", i, err)
		}
	}
	if len(c.annotations) == 0 {
		c.mismatch = reason.New(reason.DigestMismatch, "no subject of the statement names the image's digest")
	}
	return c, nil
}

// subject takes the annotations of a subject that names the digest.
func (c *claims) subject(raw json.RawMessage, digest string) error {
	fields, err := object(raw, "name", "digest", "annotations")
	if err != nil {
		return err
	}
	digests, err := object(fields["digest"], "sha256")
	if err != nil || len(digests) == 0 || len(digests) > maxDigests {
		return fmt.Errorf("it needs 1 to %d digests", maxDigests)
	}
	for name, raw := range digests {
		value, ok := text(raw)
		if _, err := hex.DecodeString(value); !ok || err != nil || value == "" {
			return fmt.Errorf("the digest %.40q is malformed", name)
		}
	}
	annotations, err := texts(fields["annotations"])
	if err != nil {
		return fmt.Errorf("annotations: %w", err)
	}
	if value, _ := text(digests["sha256"]); value == digest {
		c.annotations = append(c.annotations, annotations)
	}
	return nil
}

// annotated tells whether one part of the document that names the image has all required pairs.
func (c *claims) annotated(required map[string]string) bool {
	return slices.ContainsFunc(c.annotations, func(has map[string]string) bool {
		for name, want := range required {
			if got, ok := has[name]; !ok || got != want {
				return false
			}
		}
		return true
	})
}

// trim removes the blanks before a value, which json.RawMessage fields never have.
func trim(b []byte) json.RawMessage {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}
