package policy

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/verify"
)

// certificates compiles a certificates attestor.
func (c *compiler) certificates(s *verify.Set, in *v1.Attestor, sc scope, path *field.Path) {
	at, k := path.Child("certificates"), in.Certificates
	if k.Certificate == "" && k.CertificateChain == "" {
		c.errs = append(c.errs, field.Invalid(at, "", "cert or certChain required"))
		return
	}
	var cert *x509.Certificate
	var chain []*x509.Certificate
	var err error
	if k.Certificate != "" {
		if cert, err = verify.ParseCertificateText(k.Certificate); err != nil {
			c.badMaterial(at.Child("cert"), k.Certificate, err)
		} else {
			c.twice(sc, verify.KeyHint(cert.PublicKey), path)
		}
	}
	if k.CertificateChain != "" {
		if chain, err = verify.ParseChain(k.CertificateChain); err != nil {
			c.badMaterial(at.Child("certChain"), k.CertificateChain, err)
		}
	}
	a := c.base(in, sc, path)
	a.Hash = c.certifiedHash(in, path)
	a.Certificates = verify.NewCertificates(cert, chain)
	c.rekor(&a, k.Rekor, at.Child("rekor"))
	c.ctlog(&a, k.CTLog, at.Child("ctlog"))
	s.Entries = append(s.Entries, verify.Entry{Path: fmt.Sprintf("%s.entries[%d].certificates", sc.shown, len(s.Entries)), Attestor: &a})
}

// keyless compiles a keyless attestor.
func (c *compiler) keyless(s *verify.Set, in *v1.Attestor, sc scope, path *field.Path) {
	at, k := path.Child("keyless"), in.Keyless
	switch {
	case k.Rekor != nil && k.Rekor.URL == "":
		c.errs = append(c.errs, field.Required(at.Child("rekor", "url"), "An URL is required"))
	case k.Rekor == nil && k.Roots == "" && !sc.shortcut:
		c.errs = append(c.errs, field.Invalid(at, "", "Either Rekor URL or roots are required"))
	}
	extensions, extensionsAt := k.AdditionalExtensions, at.Child("additionalExtensions")
	if extensions == nil {
		extensions, extensionsAt = sc.entry.AdditionalExtensions, sc.entryPath.Child("additionalExtensions")
	}
	identity := c.identity(verify.IdentityText{Issuer: k.Issuer, IssuerRegExp: k.IssuerRegExp,
		Subject: k.Subject, SubjectRegExp: k.SubjectRegExp, AdditionalExtensions: extensions}, at, extensionsAt)
	c.keylessSeen = true
	c.identityWarnings(k, at)
	a := c.base(in, sc, path)
	a.Hash = c.certifiedHash(in, path)
	a.Keyless = &verify.Keyless{Identity: identity, Roots: c.authorities(k.Roots, at.Child("roots"))}
	c.rekor(&a, k.Rekor, at.Child("rekor"))
	c.ctlog(&a, k.CTLog, at.Child("ctlog"))
	s.Entries = append(s.Entries, verify.Entry{Path: fmt.Sprintf("%s.entries[%d].keyless", sc.shown, len(s.Entries)), Attestor: &a})
}

// identity compiles an identity, whose extensions may stand elsewhere than its other fields.
func (c *compiler) identity(text verify.IdentityText, at, extensionsAt *field.Path) verify.Identity {
	identity, bad := verify.CompileIdentity(text)
	for _, e := range bad {
		if c.later(e.Value) {
			continue
		}
		where := at.Child(e.Field)
		if e.Key != "" {
			where = extensionsAt.Key(e.Key)
		}
		c.errs = append(c.errs, field.Invalid(where, clip(e.Value), e.Err.Error()))
	}
	return identity
}

// authorities reads the PEM text of certificate authorities; nil for none.
func (c *compiler) authorities(text string, at *field.Path) []*x509.Certificate {
	if text == "" {
		return nil
	}
	roots, err := verify.ParseRoots(text)
	if err != nil {
		c.badMaterial(at, text, err)
	}
	return roots
}

// certifiedHash is the hash of signatures by a certificate's key. The schema writes sha256 into every attestor, so that
// the text cannot be told from none; then the customary hash of the certificate's key is as good.
func (c *compiler) certifiedHash(in *v1.Attestor, path *field.Path) crypto.Hash {
	h, err := verify.ParseHash(in.SignatureAlgorithm)
	if err != nil && !c.later(in.SignatureAlgorithm) {
		c.errs = append(c.errs, field.Invalid(path.Child("signatureAlgorithm"), in.SignatureAlgorithm, "Invalid signature algorithm provided"))
	}
	if h == crypto.SHA256 {
		return 0
	}
	return h
}

// identityWarnings are about identities that let in more than their author may think.
func (c *compiler) identityWarnings(k *v1.KeylessAttestor, at *field.Path) {
	if k.Issuer == "" && k.IssuerRegExp == "" || k.Subject == "" && k.SubjectRegExp == "" {
		c.warn("%s: without an issuer and a subject it does not restrict the signer", at)
	}
	for _, f := range []struct{ name, text string }{{"issuerRegExp", k.IssuerRegExp}, {"subjectRegExp", k.SubjectRegExp}} {
		if f.text != "" && !(strings.HasPrefix(f.text, "^") && strings.HasSuffix(f.text, "$")) {
			c.warn("%s: %q is not anchored: it also matches longer texts", at.Child(f.name), clip(f.text))
		}
	}
	for _, f := range []struct{ name, text string }{{"issuer", k.Issuer}, {"subject", k.Subject}} {
		if unanchored(f.text) {
			c.warn("%s: %q is not anchored: it also matches longer names", at.Child(f.name), clip(f.text))
		}
	}
}
