package policy

import (
	"crypto/x509"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/verify"
)

// notaryCertificates is what an attestor of type Notary has to be.
const notaryCertificates = "certificates are required for type notary"

// notaryEntry warns of what has no meaning for Notary signatures (VI 6.12(1)).
func (c *compiler) notaryEntry(in *v1.ImageVerification, path *field.Path) {
	c.withoutEffect(path.Child("repository"), in.Repository != "")
	c.withoutEffect(path.Child("annotations"), len(in.Annotations) > 0)
}

func (c *compiler) withoutEffect(path *field.Path, set bool) {
	if set {
		c.warn("%s: it has no effect for type Notary", path)
	}
}

// notaryKind tells whether an attestor is of a kind that Notary signatures can be judged by.
func (c *compiler) notaryKind(in *v1.Attestor, path *field.Path) bool {
	before := len(c.errs)
	if in.Keyless != nil {
		c.errs = append(c.errs, field.Forbidden(path.Child("keyless"), "Keyless field is not allowed for type notary"))
	}
	if in.Keys != nil {
		c.errs = append(c.errs, field.Forbidden(path.Child("keys"), "Keys field is not allowed for type notary"))
	}
	if len(c.errs) == before && in.Certificates == nil && in.Attestor == nil {
		c.errs = append(c.errs, field.Required(path.Child("certificates"), notaryCertificates))
	}
	return len(c.errs) == before
}

// notary compiles a certificates attestor to a trust store, of all that cert and certChain hold.
func (c *compiler) notary(s *verify.Set, in *v1.Attestor, sc scope, path *field.Path) {
	at, k := path.Child("certificates"), in.Certificates
	if k.Certificate == "" && k.CertificateChain == "" {
		c.errs = append(c.errs, field.Invalid(at, "", "cert or certChain required"))
		return
	}
	var store []*x509.Certificate
	for _, f := range []struct{ name, text string }{{"cert", k.Certificate}, {"certChain", k.CertificateChain}} {
		if f.text == "" {
			continue
		}
		list, err := verify.ParseTrustStore(f.text)
		if err != nil {
			c.badMaterial(at.Child(f.name), f.text, err)
			continue
		}
		store = append(store, list...)
	}
	if k.Certificate != "" && k.CertificateChain != "" {
		c.warn("%s: for type Notary each certificate of cert and certChain is trusted on its own: every signer below one of them is accepted", at)
	}
	if len(store) > 0 {
		c.twice(sc, verify.KeyHint(store[0].PublicKey), path)
	}
	c.withoutEffect(at.Child("rekor"), k.Rekor != nil)
	c.withoutEffect(at.Child("ctlog"), k.CTLog != nil)
	c.withoutEffect(path.Child("repository"), in.Repository != "")
	c.withoutEffect(path.Child("annotations"), len(in.Annotations) > 0)
	s.Entries = append(s.Entries, verify.Entry{
		Path:     fmt.Sprintf("%s.entries[%d]", sc.shown, len(s.Entries)),
		Attestor: &verify.Attestor{Certificates: &verify.Certificates{Roots: store}},
	})
}
