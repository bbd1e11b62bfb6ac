package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"

	"github.com/digitorus/pkcs7"
	"github.com/sigstore/sigstore-go/pkg/root"
)

const (
	// maxStamp bounds a timestamp response in bytes, and maxStampDepth how deep its parts may be nested.
	maxStamp      = 64 << 10
	maxStampDepth = 32
	// maxStampCertificates bounds the certificates in a response.
	maxStampCertificates = 12
)

// stampToken is a timestamp response that was looked into before anything of it is verified: the libraries verify by
// whatever key a response brings along, however much that costs, and read whatever is nested however deep.
type stampToken struct {
	response     []byte
	certificates []*x509.Certificate
	// signer is the one of the certificates that the response says signed it; nil when it is not among them.
	signer *x509.Certificate
}

func parseStamp(response []byte) (*stampToken, error) {
	malformed := errors.New("the timestamp is malformed")
	var outer struct{ Status, Token asn1.RawValue }
	switch rest, err := asn1.Unmarshal(response, &outer); {
	case len(response) > maxStamp:
		return nil, errors.New("the timestamp is too large")
	case err != nil || len(rest) > 0:
		return nil, malformed
	}
	token := outer.Token.FullBytes
	if end, ok := nested(token, 0, maxStampDepth); !ok || end != len(token) {
		return nil, malformed
	}
	p7, err := pkcs7.Parse(token)
	if err != nil || len(p7.Signers) != 1 || len(p7.Certificates) > maxStampCertificates {
		return nil, malformed
	}
	return &stampToken{response, p7.Certificates, p7.GetOnlySigner()}, nil
}

// by is the response as it may be verified by the authority: without the certificates that do not lead to it. It is
// nil when the authority did not sign it.
func (s *stampToken) by(a *root.SigstoreTimestampingAuthority) []byte {
	if len(s.certificates) == 0 {
		if a.Leaf == nil {
			return nil
		}
		return s.response
	}
	anchors := append([]*x509.Certificate{a.Root}, a.Intermediates...)
	useful := rooted(anchors, s.certificates)
	if s.signer == nil || a.Leaf != nil && !a.Leaf.Equal(s.signer) || a.Leaf == nil && !slices.ContainsFunc(useful, s.signer.Equal) {
		return nil
	}
	if a.Leaf != nil && !slices.ContainsFunc(useful, s.signer.Equal) {
		useful = append(useful, s.signer)
	}
	if len(useful) == len(s.certificates) {
		return s.response
	}
	return withoutOthers(s.response, useful)
}

// withoutOthers replaces the certificates of a response, which its signature does not cover, by these or by none; nil
// where that is not possible.
func withoutOthers(response []byte, certificates []*x509.Certificate) []byte {
	var outer struct{ Status, Token asn1.RawValue }
	var info struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,tag:0"`
	}
	var data asn1.RawValue
	for _, step := range []struct {
		from func() []byte
		into any
	}{
		{func() []byte { return response }, &outer}, {func() []byte { return outer.Token.FullBytes }, &info}, {func() []byte { return info.Content.Bytes }, &data},
	} {
		if rest, err := asn1.Unmarshal(step.from(), step.into); err != nil || len(rest) > 0 {
			return nil
		}
	}
	var parts []byte
	for rest := data.Bytes; len(rest) > 0; {
		var part asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &part); err != nil {
			return nil
		}
		if part.Class != asn1.ClassContextSpecific || part.Tag != 0 {
			parts = append(parts, part.FullBytes...)
			continue
		}
		var list []byte
		for _, c := range certificates {
			list = append(list, c.Raw...)
		}
		if len(list) > 0 {
			parts = append(parts, wrapped(asn1.ClassContextSpecific, 0, list)...)
		}
	}
	oid, err := asn1.Marshal(info.Type)
	if err != nil {
		return nil
	}
	content := wrapped(asn1.ClassContextSpecific, 0, wrapped(asn1.ClassUniversal, asn1.TagSequence, parts))
	token := wrapped(asn1.ClassUniversal, asn1.TagSequence, append(oid, content...))
	return wrapped(asn1.ClassUniversal, asn1.TagSequence, append(bytes.Clone(outer.Status.FullBytes), token...))
}

// wrapped is a constructed element around others; nothing when that cannot be written.
func wrapped(class, tag int, content []byte) []byte {
	b, err := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: content})
	if err != nil {
		return nil
	}
	return b
}

// rooted are those certificates that an anchor issued, or another rooted one. Nothing is verified by a key that leads
// nowhere: whoever made a candidate chooses how many of them there are, how they refer to each other and how
// large they are.
func rooted(anchors, certificates []*x509.Certificate) []*x509.Certificate {
	var found []*x509.Certificate
	open := slices.Clone(certificates)
	for issuers := anchors; len(issuers) > 0; {
		var next []*x509.Certificate
		open = slices.DeleteFunc(open, func(c *x509.Certificate) bool {
			issued := slices.ContainsFunc(issuers, func(by *x509.Certificate) bool {
				return bytes.Equal(by.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(by) == nil
			})
			if issued {
				next = append(next, c)
			}
			return issued
		})
		found = append(found, next...)
		issuers = next
	}
	return found
}

// nested passes one element in BER and tells where it ends. It is false for what is malformed or too deep.
func nested(b []byte, at, depth int) (end int, ok bool) {
	if depth == 0 || at+1 >= len(b) {
		return 0, false
	}
	constructed, multi := b[at]&0x20 != 0, b[at]&0x1f == 0x1f
	for at++; multi; at++ {
		if at >= len(b) {
			return 0, false
		}
		multi = b[at] >= 0x80
	}
	if at >= len(b) {
		return 0, false
	}
	length, indefinite := int(b[at]), b[at] == 0x80
	at++
	if length > 0x80 {
		n := length & 0x7f
		if n > 4 || at+n > len(b) {
			return 0, false
		}
		length = 0
		for range n {
			length, at = length<<8|int(b[at]), at+1
		}
	}
	if indefinite {
		length = 0
	}
	if end = at + length; end > len(b) || end < at || indefinite && !constructed {
		return 0, false
	}
	if !constructed {
		return end, true
	}
	for at < end || indefinite {
		if indefinite && bytes.HasPrefix(b[at:], []byte{0, 0}) {
			return at + 2, true
		}
		if at, ok = nested(b, at, depth-1); !ok {
			return 0, false
		}
	}
	return end, at == end
}
