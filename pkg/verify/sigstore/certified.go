package sigstore

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"

	"github.com/signet-policy/signet/pkg/verify"
)

const (
	// maxNames bounds the alternative names of a certificate, and maxName one of them, or of its other texts, in bytes:
	// patterns are tried on them before anything was verified.
	maxNames = 32
	maxName  = 1024
)

// Kinds of alternative names: the context-specific tags of a GeneralName.
const (
	otherKind = 0
	emailKind = 1
	dnsKind   = 2
	uriKind   = 6
	ipKind    = 7
)

// oidOtherName is the only kind of other name that is read: a user name, "name!domain".
var (
	oidNames     = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidOtherName = certificate.OIDOtherName
)

// certified reads what a certificate says about its owner: its names exactly as they are written, the issuer from both
// of its places, and the extensions that policies can name. It may be called before the certificate was verified.
func certified(c *x509.Certificate) *verify.Certified {
	says := &verify.Certified{Extensions: map[string]string{}}
	var issuers []string
	for i := range c.Extensions {
		e := &c.Extensions[i]
		var err error
		switch id := e.Id.String(); {
		case e.Id.Equal(oidNames):
			err = readNames(says, e.Value)
		case id == verify.IssuerOID:
			issuers = append(issuers, string(e.Value))
		case id == verify.IssuerV2OID:
			var text string
			if err = certificate.ParseDERString(e.Value, &text); err != nil {
				err = errors.New("malformed issuer extension")
			}
			issuers = append(issuers, text)
		case strings.HasPrefix(id, issuerArc) && len(e.Value) <= maxName:
			says.Extensions[id] = string(e.Value)
		}
		if err != nil && says.Err == nil {
			says.Err = err
		}
	}
	if len(issuers) > 0 {
		says.Issuer = issuers[0]
	}
	if len(says.Issuer) > maxName {
		says.Issuer, says.Err = "", errors.New("the certificate's issuer is too long")
		return says
	}
	if slices.ContainsFunc(issuers, func(s string) bool { return s != says.Issuer }) {
		says.Err = errors.New("the certificate names two different issuers")
	}
	return says
}

// issuerArc is where the extensions stand whose values are raw text; those of the arc that are DER are not asked for.
var issuerArc = strings.TrimSuffix(verify.IssuerOID, "1")

// readNames reads the extension with the alternative names. They are kept in the order in which Kyverno shows them.
func readNames(says *verify.Certified, der []byte) error {
	malformed := errors.New("malformed alternative names")
	var list asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) > 0 || !list.IsCompound ||
		list.Tag != asn1.TagSequence || list.Class != asn1.ClassUniversal {
		return malformed
	}
	byKind, tooMany := map[int][]string{}, error(nil)
	for n, rest := 0, list.Bytes; len(rest) > 0 && tooMany == nil; n++ {
		if n == maxNames {
			// One more than there may be is kept, for whoever counts them.
			tooMany = fmt.Errorf("the certificate has more than %d names", maxNames)
		}
		var name asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &name); err != nil || name.Class != asn1.ClassContextSpecific {
			return malformed
		}
		text := string(name.Bytes)
		switch name.Tag {
		case otherKind:
			if text, err = otherName(name.FullBytes); err != nil {
				return malformed
			}
		case ipKind:
			text = net.IP(name.Bytes).String()
		case emailKind, dnsKind, uriKind:
		default:
			continue
		}
		byKind[name.Tag] = append(byKind[name.Tag], text)
		if !formed(name.Tag, text) {
			says.Misleading = append(says.Misleading, text)
		}
	}
	for _, kind := range []int{dnsKind, emailKind, ipKind, uriKind, otherKind} {
		says.Subjects = append(says.Subjects, byKind[kind]...)
	}
	return tooMany
}

// otherName reads a name of a kind of its own. One of a kind that is not known is shown by its number, and matches nothing.
func otherName(der []byte) (string, error) {
	malformed := errors.New("malformed name")
	var other struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	if rest, err := asn1.UnmarshalWithParams(der, &other, "tag:0"); err != nil || len(rest) > 0 {
		return "", malformed
	}
	var value asn1.RawValue
	if rest, err := asn1.Unmarshal(other.Value.Bytes, &value); err != nil || len(rest) > 0 {
		return "", malformed
	}
	if !other.ID.Equal(oidOtherName) || value.Tag != asn1.TagUTF8String || value.Class != asn1.ClassUniversal {
		return other.ID.String() + ":" + hex.EncodeToString(value.Bytes), nil
	}
	return string(value.Bytes), nil
}

// formed tells whether a name is written in the form of its kind. A certificate authority that was talked into a name of
// one kind that reads like one of another must not satisfy a pattern that was written for the other.
func formed(kind int, s string) bool {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return false
	}
	switch kind {
	case emailKind:
		return strings.Contains(s, "@") && !strings.Contains(s, "://")
	case uriKind:
		return strings.Contains(s, "://")
	case otherKind:
		return strings.Contains(s, "!") && !strings.Contains(s, "@") && !strings.Contains(s, "://")
	default:
		return !strings.ContainsAny(s, "@/!")
	}
}
