package verify

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/untrusted"
	"github.com/signet-policy/signet/pkg/wildcard"
)

// maxPattern bounds one pattern of an identity in bytes.
const maxPattern = 4096

// Object identifiers of the certificate extensions that a policy can name. IssuerOID is where the issuer stood first, as
// raw text; IssuerV2OID is where it stands today, in DER.
const (
	IssuerOID   = "1.3.6.1.4.1.57264.1.1"
	IssuerV2OID = "1.3.6.1.4.1.57264.1.8"

	workflowTriggerOID    = "1.3.6.1.4.1.57264.1.2"
	workflowShaOID        = "1.3.6.1.4.1.57264.1.3"
	workflowNameOID       = "1.3.6.1.4.1.57264.1.4"
	workflowRepositoryOID = "1.3.6.1.4.1.57264.1.5"
	workflowRefOID        = "1.3.6.1.4.1.57264.1.6"
)

// Certified is what a certificate says about its owner. Until the certificate was verified it proves nothing.
type Certified struct {
	// Subjects are the alternative names as text, in the order of their kinds: DNS, email, address, URI, other.
	Subjects []string
	// Misleading are those Subjects that are not written in the form of their kind, such as an email address in a URI's
	// place. They match nothing.
	Misleading []string
	// Issuer is the identity provider; empty when the certificate names none.
	Issuer string
	// Extensions are the values of the further extensions that a policy can name, by object identifier.
	Extensions map[string]string
	// Err is why none of it can be trusted to mean anything, such as two different issuers.
	Err error
}

// Identity is the compiled identity of a keyless attestor: every part that is given has to hold (VI 6.5(11)).
type Identity struct {
	// Issuer and Subject are not asked for when their text is empty.
	Issuer, Subject wildcard.Pattern
	// IssuerRegExp and SubjectRegExp are not asked for when nil. They are not anchored.
	IssuerRegExp, SubjectRegExp *regexp.Regexp
	// Extensions are in the order of their keys.
	Extensions []Extension
}

// Extension is one certificate extension that an identity asks for.
type Extension struct {
	// Key is the name or object identifier as written; OID is what it means, empty if that is unknown.
	Key, OID string
	Value    wildcard.Pattern
}

// IdentityText is an identity as a policy writes it. Empty texts ask for nothing.
type IdentityText struct {
	Issuer, IssuerRegExp, Subject, SubjectRegExp string
	AdditionalExtensions                         map[string]string
}

// FieldError is what is wrong with one field of IdentityText.
type FieldError struct {
	// Field is the field's name in a policy, such as "subjectRegExp"; Key is set for additionalExtensions.
	Field, Key string
	// Value is the text as written.
	Value string
	Err   error
}

// Error names the field and the cause.
func (e FieldError) Error() string {
	if e.Key != "" {
		return fmt.Sprintf("%s[%s]: %v", e.Field, e.Key, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Field, e.Err)
}

// CompileIdentity compiles an identity. It reports every field that cannot be used; without errors the identity is whole.
// A key of an extension that nobody knows is no error here: it is a mismatch when a certificate is looked at.
func CompileIdentity(t IdentityText) (Identity, []FieldError) {
	var id Identity
	var bad []FieldError
	report := func(field, key, value string, err error) {
		if err != nil {
			bad = append(bad, FieldError{Field: field, Key: key, Value: value, Err: err})
		}
	}
	glob := func(field, key, text string) wildcard.Pattern {
		p, err := compileGlob(text)
		report(field, key, text, err)
		return p
	}
	expression := func(field, text string) *regexp.Regexp {
		r, err := compileRegExp(text)
		report(field, "", text, err)
		return r
	}
	if t.Issuer != "" {
		id.Issuer = glob("issuer", "", t.Issuer)
	}
	id.IssuerRegExp = expression("issuerRegExp", t.IssuerRegExp)
	if t.Subject != "" {
		id.Subject = glob("subject", "", t.Subject)
	}
	id.SubjectRegExp = expression("subjectRegExp", t.SubjectRegExp)
	for _, key := range slices.Sorted(maps.Keys(t.AdditionalExtensions)) {
		value := glob("additionalExtensions", key, t.AdditionalExtensions[key])
		id.Extensions = append(id.Extensions, Extension{Key: key, OID: extensionOID(key), Value: value})
	}
	if len(bad) > 0 {
		return Identity{}, bad
	}
	return id, nil
}

func compileGlob(text string) (wildcard.Pattern, error) {
	switch {
	case text == "":
		return wildcard.Pattern{}, errors.New("an empty pattern matches nothing")
	case len(text) > maxPattern:
		return wildcard.Pattern{}, fmt.Errorf("longer than %d bytes", maxPattern)
	case strings.ContainsFunc(text, unicode.IsControl):
		return wildcard.Pattern{}, errors.New("control characters are not allowed")
	}
	return wildcard.Compile(text)
}

// compileRegExp gives nil for no text.
func compileRegExp(text string) (*regexp.Regexp, error) {
	switch {
	case text == "":
		return nil, nil
	case len(text) > maxPattern:
		return nil, fmt.Errorf("longer than %d bytes", maxPattern)
	}
	r, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("not a regular expression (RE2): %w", err)
	}
	return r, nil
}

func extensionOID(key string) string {
	switch key {
	case "oidcIssuer", IssuerOID, IssuerV2OID:
		return IssuerOID
	case "githubWorkflowTrigger", workflowTriggerOID:
		return workflowTriggerOID
	case "githubWorkflowSha", workflowShaOID:
		return workflowShaOID
	case "githubWorkflowName", workflowNameOID:
		return workflowNameOID
	case "githubWorkflowRepository", workflowRepositoryOID:
		return workflowRepositoryOID
	case "githubWorkflowRef", workflowRefOID:
		return workflowRefOID
	}
	return ""
}

// Check tells why a certificate's owner is not the identity, with the code IdentityMismatch; nil if it is.
func (id *Identity) Check(c *Certified) *reason.Error {
	text := id.mismatch(c)
	if text == "" {
		return nil
	}
	return reason.New(reason.IdentityMismatch, text)
}

// mismatch is the first part that does not hold, empty if all do.
func (id *Identity) mismatch(c *Certified) string {
	if c.Err != nil {
		return clean(c.Err.Error())
	}
	if expected := id.wrongSubject(c); expected != "" {
		return fmt.Sprintf("subject mismatch: expected %s, received %s", expected, clean(strings.Join(c.Subjects, ", ")))
	}
	issuer := func(expected string) string {
		return fmt.Sprintf("issuer mismatch: expected %s, received %s", expected, clean(c.Issuer))
	}
	if p := id.Issuer; p.String() != "" && (c.Issuer == "" || !p.Matches(c.Issuer)) {
		return issuer(p.String())
	}
	if r := id.IssuerRegExp; r != nil && (c.Issuer == "" || !r.MatchString(c.Issuer)) {
		return issuer(r.String())
	}
	for _, e := range id.Extensions {
		value, ok := c.Extensions[e.OID]
		if e.OID == IssuerOID {
			value, ok = c.Issuer, c.Issuer != ""
		}
		switch {
		case e.OID == "":
			return "invalid certificate extension " + e.Key
		case !ok, !e.Value.Matches(value):
			return fmt.Sprintf("extension mismatch: expected %s for key %s, received %s", e.Value, e.Key, clean(value))
		}
	}
	return ""
}

// wrongSubject is the pattern or expression that no subject satisfies; empty if one and the same subject satisfies all
// that are given.
func (id *Identity) wrongSubject(c *Certified) string {
	glob, r := id.Subject, id.SubjectRegExp
	if glob.String() == "" && r == nil {
		return ""
	}
	expected := glob.String()
	for _, s := range c.Subjects {
		switch {
		case slices.Contains(c.Misleading, s):
		case glob.String() != "" && !glob.Matches(s):
		case r != nil && !r.MatchString(s):
			expected = r.String()
		default:
			return ""
		}
	}
	if expected == "" {
		return r.String()
	}
	return expected
}

// clean is text of a certificate for people: an unknown signer may have chosen it.
func clean(s string) string { return untrusted.Text(s, 512, ' ') }
