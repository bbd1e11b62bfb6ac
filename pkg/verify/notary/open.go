package notary

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	corex509 "github.com/notaryproject/notation-core-go/x509"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/untrusted"
)

const (
	// payloadType is the content type of what is signed.
	payloadType = "application/vnd.cncf.notary.payload.v1+json"
	// maxEnvelope bounds an envelope, in bytes, wherever it comes from.
	maxEnvelope = 1 << 20
	// maxDepth bounds the nesting of JSON.
	maxDepth = 64
)

// signed is a signature that was read. Nothing of it is verified before its chain is known to lead to somebody who is
// trusted, so that strangers' signatures cost no computation by keys of their choice.
type signed struct {
	mediaType string
	chain     []*x509.Certificate
	// verified verifies the envelope by the certificate that it carries, once.
	verified func() (*content, error)
}

// content is what an envelope holds whose signature is good for the certificate that it carries.
type content struct {
	payload []byte
	info    *signature.SignerInfo
	// mismatch is set when it is about another manifest.
	mismatch *reason.Error
}

func (s *signed) leaf() *x509.Certificate { return s.chain[0] }

// open reads an envelope within bounds.
func open(a *image.Artifact) (s *signed, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, reason.New(reason.BadSignature, "malformed signature")
		}
	}()
	if len(a.Payload) > maxEnvelope {
		return nil, reason.New(reason.LimitReached, fmt.Sprintf("the signature is larger than %d bytes", maxEnvelope))
	}
	chain, err := carried(a.MediaType, a.Payload)
	if err != nil {
		return nil, err
	}
	envelope, err := parse(a.MediaType, a.Payload)
	if err != nil {
		return nil, malformed(err)
	}
	subject := a.Subject
	return &signed{mediaType: a.MediaType, chain: chain, verified: sync.OnceValues(func() (*content, error) {
		return verifyEnvelope(envelope, chain, subject)
	})}, nil
}

// verifyEnvelope checks what is the same for every attestor: the signature, the form of the chain, what is signed.
func verifyEnvelope(envelope signature.Envelope, chain []*x509.Certificate, subject image.Descriptor) (*content, error) {
	got, err := envelope.Verify()
	if err != nil {
		return nil, unverified(err, chain)
	}
	if !slices.EqualFunc(got.SignerInfo.CertificateChain, chain, (*x509.Certificate).Equal) {
		return nil, reason.New(reason.BadSignature, "malformed signature: its certificates can be read in two ways")
	}
	if err := evaluated(&got.SignerInfo); err != nil {
		return nil, err
	}
	target, err := readTarget(&got.Payload)
	if err != nil {
		return nil, malformed(err)
	}
	out := &content{payload: got.Payload.Content, info: &got.SignerInfo}
	if target != subject {
		out.mismatch = reason.New(reason.DigestMismatch, "the signature is for another artifact: digest, size or media type differ")
	}
	return out, nil
}

func parse(mediaType string, payload []byte) (signature.Envelope, error) {
	switch mediaType {
	case image.NotaryEnvelopeJWS:
		return jws.ParseEnvelope(payload)
	case image.NotaryEnvelopeCOSE:
		return cose.ParseEnvelope(payload)
	}
	return nil, errors.New("an unknown form of signature")
}

// unverified explains why an envelope does not verify.
func unverified(err error, chain []*x509.Certificate) error {
	if integrity := (*signature.SignatureIntegrityError)(nil); errors.As(err, &integrity) {
		return reason.New(reason.BadSignature, "the signature does not verify with the certificate that it carries")
	}
	if unfit := corex509.ValidateCodeSigningCertChain(chain, nil); unfit != nil {
		return reason.New(reason.CertificateUntrusted, "the certificate chain is unfit for code signing: "+shown(unfit))
	}
	return malformed(err)
}

// evaluated refuses what a signer demands to be evaluated and is not: plugins, and attributes that nobody knows.
func evaluated(info *signature.SignerInfo) error {
	for _, a := range info.SignedAttributes.ExtendedAttributes {
		name, ok := a.Key.(string)
		if !ok {
			name = fmt.Sprint(a.Key)
		}
		if a.Critical || strings.HasPrefix(name, "io.cncf.notary.verificationPlugin") {
			return reason.New(reason.BadSignature, "the signature demands an attribute that is not evaluated: "+shown(errors.New(name)))
		}
	}
	return nil
}

// readTarget reads what was signed.
func readTarget(p *signature.Payload) (target image.Descriptor, err error) {
	if p.ContentType != payloadType {
		return target, fmt.Errorf("the signed content is of type %.80q", p.ContentType)
	}
	if err := untrusted.CheckDepth(p.Content, maxDepth); err != nil {
		return target, err
	}
	var doc struct {
		Target *struct {
			MediaType string       `json:"mediaType"`
			Digest    image.Digest `json:"digest"`
			Size      int64        `json:"size"`
		} `json:"targetArtifact"`
	}
	if json.Unmarshal(p.Content, &doc) != nil || doc.Target == nil {
		return target, errors.New("the signed content names no artifact")
	}
	return image.Descriptor{MediaType: doc.Target.MediaType, Digest: doc.Target.Digest, Size: doc.Target.Size}, nil
}

func malformed(err error) error {
	return reason.New(reason.BadSignature, "malformed signature: "+shown(err))
}

// shown is an error's text for people. Where libraries quote a candidate, an attacker chose the words: they are cut, and
// only printable characters stay.
func shown(err error) string { return untrusted.Text(err.Error(), 200, ' ') }
