package sigstore

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/cosign/v2/pkg/types"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/untrusted"
	"github.com/signet-policy/signet/pkg/verify"
)

// Media types of layers and manifests.
const (
	simpleSigningType  = types.SimpleSigningMediaType
	envelopeType       = types.DssePayloadType
	bundleTypePrefix   = "application/vnd.dev.sigstore.bundle"
	legacyArtifactType = "application/vnd.dev.cosign.artifact.sig.v1+json"
	statementType      = "application/vnd.in-toto+json"
)

// unspecific are artifact types of manifests that may well hold signatures: what cannot be opened behind one of them
// counts as a broken candidate.
var unspecific = []string{
	"", "application/vnd.oci.empty.v1+json", "application/vnd.oci.image.config.v1+json",
	"application/vnd.docker.container.image.v1+json",
}

// Annotations of layers in cosign's format.
const (
	signatureAnnotation   = "dev.cosignproject.cosign/signature"
	logAnnotation         = "dev.sigstore.cosign/bundle"
	timestampAnnotation   = "dev.sigstore.cosign/rfc3161timestamp"
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	chainAnnotationName   = "dev.sigstore.cosign/chain"
)

// Limits in bytes, and of list elements in a bundle. The longest list a bundle needs is an inclusion proof's.
const (
	maxPayload     = 64 << 10
	maxBundle      = 1 << 20
	maxEnvelope    = 16 << 20
	maxAnnotation  = 64 << 10
	maxBundleList  = 64
	maxLogEntries  = 32
	maxTimestamps  = 32
	maxCertificate = 11
)

// signed is an opened candidate of any format: what was signed, the signature, and the proofs that came with it.
type signed struct {
	claims *claims
	// payload is what the signature is about, as it arrived; prefix and message are what exactly was signed. Where only
	// the SHA-256 of the message is known (a signature over the image's manifest), digest is set and message is nil.
	payload, message, digest []byte
	prefix                   []byte
	signature                []byte
	enveloped                bool // in DSSE
	certificate              *x509.Certificate
	// certified is what certificate says, and intermediates opens the certificates that came with it.
	certified     *verify.Certified
	intermediates func() ([]*x509.Certificate, error)
	// logEntries opens the log entries; it is called only where a log proof is asked for.
	logEntries func() ([]*protorekor.TransparencyLogEntry, error)
	// timestamps are RFC 3161 responses over stamped.
	timestamps func() ([][]byte, error)
	stamped    []byte
	// searchable is set for cosign's older format, whose log entries may be searched for; layer is the envelope as it was
	// logged, nil for what is none.
	searchable bool
	layer      []byte
}

// open reads an artifact. What is no signature at all gives neither a signed nor an error.
func open(img image.Pinned, a *image.Artifact) (s *signed, hint string, err error) {
	kind := a.MediaType
	switch {
	case strings.HasPrefix(kind, bundleTypePrefix), kind == simpleSigningType, kind == envelopeType:
	case strings.HasPrefix(a.ArtifactType, bundleTypePrefix):
		kind = bundleTypePrefix
	case a.ArtifactType == legacyArtifactType:
		kind = simpleSigningType
	case a.Err != nil && kind == "" && slices.Contains(unspecific, a.ArtifactType):
	default:
		return nil, "", nil
	}
	if a.Err != nil {
		return nil, "", a.Err
	}
	switch kind {
	case simpleSigningType:
		s, err = openSimple(img, a)
	case envelopeType:
		s, err = openEnvelope(img, a)
	default:
		s, hint, err = openBundle(img, a)
	}
	if err == nil && hint == "" && s.certificate != nil {
		hint = verify.KeyHint(s.certificate.PublicKey)
	}
	var r *reason.Error
	if err != nil && !errors.As(err, &r) {
		err = reason.New(reason.BadSignature, "malformed signature: "+shown(err))
	}
	return s, hint, err
}

// shown is an error's text for people. Where libraries quote a candidate, an attacker chose the words: they are cut, and
// only printable characters stay.
func shown(err error) string { return untrusted.Text(err.Error(), 200, ' ') }

func tooLarge(what string, limit int) error {
	return reason.New(reason.LimitReached, fmt.Sprintf("%s is larger than %d bytes", what, limit))
}

// openSimple reads a layer in cosign's simple-signing format.
func openSimple(img image.Pinned, a *image.Artifact) (*signed, error) {
	if len(a.Payload) > maxPayload {
		return nil, tooLarge("the signature's payload", maxPayload)
	}
	encoded := a.Annotations[signatureAnnotation]
	if len(encoded) > maxAnnotation {
		return nil, tooLarge("the signature", maxAnnotation)
	}
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(signature) == 0 {
		return nil, errors.New("the layer carries no signature in base64")
	}
	c, err := parsePayload(a.Payload, img)
	if err != nil {
		return nil, err
	}
	s := &signed{claims: c, payload: a.Payload, message: a.Payload, signature: signature, stamped: signature, searchable: true}
	return s, s.annotations(a.Annotations)
}

// openEnvelope reads a layer that is a DSSE envelope, as cosign's .att manifests hold.
func openEnvelope(img image.Pinned, a *image.Artifact) (*signed, error) {
	if len(a.Payload) > maxEnvelope {
		return nil, tooLarge("the envelope", maxEnvelope)
	}
	if err := checkJSON(a.Payload, maxBundleList); err != nil {
		return nil, err
	}
	top, err := object(trim(a.Payload), "payload", "payloadType", "signatures")
	if err != nil {
		return nil, err
	}
	payloadType, _ := text(top["payloadType"])
	payload, ok := decoded(top["payload"])
	if !ok {
		return nil, errors.New("the envelope has no payload in base64")
	}
	var list []json.RawMessage
	if err := json.Unmarshal(top["signatures"], &list); err != nil || len(list) != 1 {
		return nil, errors.New("the envelope needs exactly one signature")
	}
	fields, err := object(list[0], "sig", "keyid")
	if err != nil {
		return nil, err
	}
	sig, _ := text(fields["sig"])
	signature, err := base64.StdEncoding.DecodeString(sig)
	if err != nil {
		return nil, errors.New("the envelope's signature is not base64")
	}
	s, err := fromEnvelope(img, payloadType, payload, signature)
	if err != nil {
		return nil, err
	}
	// cosign stamps the whole layer here, for want of a signature annotation.
	s.stamped = a.Payload
	s.searchable, s.layer = true, a.Payload
	return s, s.annotations(a.Annotations)
}

// fromEnvelope makes a candidate of a DSSE envelope's parts.
func fromEnvelope(img image.Pinned, payloadType string, payload, signature []byte) (*signed, error) {
	if payloadType != statementType {
		return nil, fmt.Errorf("the envelope's payload type %.60q is not in-toto", payloadType)
	}
	if len(signature) == 0 {
		return nil, errors.New("the envelope has an empty signature")
	}
	c, err := parseStatement(payload, img)
	if err != nil {
		return nil, err
	}
	return &signed{
		claims: c, payload: payload, message: payload, signature: signature, stamped: signature,
		prefix: fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload)), enveloped: true,
	}, nil
}

// annotations takes the proofs that a layer in cosign's format carries. An empty annotation is none.
func (s *signed) annotations(a map[string]string) error {
	s.logEntries = func() ([]*protorekor.TransparencyLogEntry, error) { return rekorBundle(a[logAnnotation]) }
	s.timestamps = func() ([][]byte, error) { return timestampBundle(a[timestampAnnotation]) }
	s.intermediates = sync.OnceValues(func() ([]*x509.Certificate, error) { return chainAnnotation(a[chainAnnotationName]) })
	text := a[certificateAnnotation]
	if text == "" {
		return nil
	}
	if len(text) > maxAnnotation {
		return tooLarge("the certificate", maxAnnotation)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("the certificate is not PEM")
	}
	var err error
	s.certificate, err = parseCertificate(block.Bytes)
	return err
}

// openBundle reads a Sigstore bundle. Sizes and counts are checked before anything in it is decoded.
func openBundle(img image.Pinned, a *image.Artifact) (*signed, string, error) {
	if len(a.Payload) > maxBundle {
		return nil, "", tooLarge("the bundle", maxBundle)
	}
	if err := checkJSON(a.Payload, maxBundleList); err != nil {
		return nil, "", err
	}
	pb := &protobundle.Bundle{}
	if err := protojson.Unmarshal(a.Payload, pb); err != nil {
		// The library's own text differs from one program to the next.
		return nil, "", errors.New("it does not have the form of a Sigstore bundle")
	}
	material := pb.GetVerificationMaterial()
	switch {
	case len(material.GetTlogEntries()) > maxLogEntries:
		return nil, "", reason.New(reason.LimitReached, fmt.Sprintf("the bundle has more than %d log entries", maxLogEntries))
	case len(material.GetTimestampVerificationData().GetRfc3161Timestamps()) > maxTimestamps:
		return nil, "", reason.New(reason.LimitReached, fmt.Sprintf("the bundle has more than %d timestamps", maxTimestamps))
	case len(material.GetX509CertificateChain().GetCertificates()) > maxCertificate:
		return nil, "", reason.New(reason.LimitReached, fmt.Sprintf("the bundle has more than %d certificates", maxCertificate))
	}
	for _, e := range material.GetTlogEntries() {
		if err := checkEntry(e); err != nil {
			return nil, "", err
		}
	}
	// The library would parse the log entries at once, see entryNames.
	entries := material.GetTlogEntries()
	material.TlogEntries = nil
	b, err := newBundle(pb)
	if err != nil {
		return nil, "", err
	}
	version, err := b.Version()
	if err != nil {
		return nil, "", err
	}
	if err := checkProofs(version, entries); err != nil {
		return nil, "", err
	}
	s, err := fromBundle(img, b)
	if err != nil {
		return nil, "", err
	}
	hint := material.GetPublicKey().GetHint()
	if material.GetPublicKey() == nil {
		if err := s.carried(material); err != nil {
			return nil, "", err
		}
	}
	s.logEntries = func() ([]*protorekor.TransparencyLogEntry, error) { return entries, nil }
	s.timestamps = b.Timestamps
	return s, hint, nil
}

// newBundle has the library check the bundle's version and form. From v0.3 on a whole chain is no regular content, but
// signers produce it.
func newBundle(pb *protobundle.Bundle) (*bundle.Bundle, error) {
	if pb.GetVerificationMaterial().GetX509CertificateChain() != nil {
		if b, err := bundle.NewBundle(pb, bundle.AllowCertificateChain()); err == nil {
			return b, nil
		}
	}
	return bundle.NewBundle(pb)
}

// fromBundle makes a candidate of a bundle's content.
func fromBundle(img image.Pinned, b *bundle.Bundle) (*signed, error) {
	if e := b.GetDsseEnvelope(); e != nil {
		if len(e.GetSignatures()) != 1 {
			return nil, errors.New("the envelope needs exactly one signature")
		}
		return fromEnvelope(img, e.GetPayloadType(), e.GetPayload(), e.GetSignatures()[0].GetSig())
	}
	m := b.GetMessageSignature()
	if m == nil || len(m.GetSignature()) == 0 {
		return nil, errors.New("the bundle has no signature")
	}
	if m.GetMessageDigest().GetAlgorithm() != protocommon.HashAlgorithm_SHA2_256 {
		return nil, errors.New("the bundle's message digest is not SHA-256")
	}
	s := &signed{
		claims: &claims{annotations: []map[string]string{nil}},
		digest: m.GetMessageDigest().GetDigest(), payload: m.GetMessageDigest().GetDigest(),
		signature: m.GetSignature(), stamped: m.GetSignature(),
	}
	if fmt.Sprintf("%x", s.digest) != img.Digest().Hex() {
		s.claims.mismatch = reason.New(reason.DigestMismatch, "the bundle signs another digest than the image's")
	}
	return s, nil
}

// content is the signature in the library's terms, for comparing it with a log entry.
func (s *signed) content(digest []byte, algorithm string) sgverify.SignatureContent {
	if s.enveloped {
		return &bundle.Envelope{Envelope: &dsse.Envelope{
			PayloadType: statementType, Payload: base64.StdEncoding.EncodeToString(s.payload),
			Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(s.signature)}},
		}}
	}
	return bundle.NewMessageSignature(digest, algorithm, s.signature)
}
