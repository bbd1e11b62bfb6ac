package policy

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/verify"
)

// keys compiles a static key attestor. Of several sources the first in the order publicKeys, secret, kms counts
// (VI 6.5(1)).
func (c *compiler) keys(s *verify.Set, in *v1.Attestor, sc scope, path *field.Path) {
	at, k := path.Child("keys"), in.Keys
	if k.PublicKeys == "" && k.KMS == "" && k.Secret == nil {
		c.errs = append(c.errs, field.Invalid(at, "", "A public key, kms key or secret is required"))
		return
	}
	base := c.base(in, sc, path)
	algorithm, algorithmAt := k.SignatureAlgorithm, at.Child("signatureAlgorithm")
	if algorithm == "" {
		algorithm, algorithmAt = in.SignatureAlgorithm, path.Child("signatureAlgorithm")
	}
	var err error
	if base.Hash, err = verify.ParseHash(algorithm); err != nil && !c.later(algorithm) {
		c.errs = append(c.errs, field.Invalid(algorithmAt, algorithm, "Invalid signature algorithm provided"))
	}
	c.rekor(&base, k.Rekor, at.Child("rekor"))
	c.ctlog(&base, k.CTLog, at.Child("ctlog"))
	base.IgnoreSCT, base.CTLogKeys = false, nil // so that they do not tell equal requirements apart

	if k.PublicKeys != "" && k.Secret != nil || k.KMS != "" && (k.PublicKeys != "" || k.Secret != nil) {
		c.warn("%s: only the first of publicKeys, secret and kms counts", at)
	}
	switch {
	case c.later(k.PublicKeys), k.PublicKeys == "" && k.Secret != nil && (c.later(k.Secret.Name) || c.later(k.Secret.Namespace)),
		k.PublicKeys == "" && k.Secret == nil && c.later(k.KMS):
	case k.PublicKeys != "" && !verify.IsReference(k.PublicKeys):
		c.writtenKeys(s, base, k.PublicKeys, sc, path)
	case k.PublicKeys != "":
		c.reference(s, base, k.PublicKeys, sc, path, at.Child("publicKeys"))
	case k.Secret != nil:
		c.secret(s, base, k.Secret, sc, path)
	default:
		c.reference(s, base, k.KMS, sc, path, at.Child("kms"))
	}
}

// writtenKeys adds an entry for each key in a text.
func (c *compiler) writtenKeys(s *verify.Set, base verify.Attestor, text string, sc scope, path *field.Path) {
	at := path.Child("keys", "publicKeys")
	if problem := notPEM(text); problem != "" {
		c.errs = append(c.errs, field.Invalid(at, clip(text), problem))
		return
	}
	keys, err := verify.ParseKeys(text)
	if err != nil {
		c.badMaterial(at, text, err)
		return
	}
	for _, key := range keys {
		a := base
		a.Key = key
		c.addKey(s, &a, verify.KeyHint(key), sc, path)
	}
}

// secret adds the entry for a key in a Secret.
func (c *compiler) secret(s *verify.Set, base verify.Attestor, in *v1.SecretReference, sc scope, path *field.Path) {
	at := path.Child("keys", "secret")
	for _, part := range []struct{ name, value string }{{"name", in.Name}, {"namespace", in.Namespace}} {
		if part.value == "" {
			c.errs = append(c.errs, field.Required(at.Child(part.name), "a Secret is named by name and namespace"))
			return
		}
	}
	c.reference(s, base, string(verify.SecretReference(in.Namespace, in.Name)), sc, path, at)
}

// reference adds the entry for a key that is kept elsewhere. It is one entry, whatever is found there (VI 6.4(1)).
func (c *compiler) reference(s *verify.Set, base verify.Attestor, text string, sc scope, path, at *field.Path) {
	ref, err := verify.ParseReference(text)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(at, clip(text), err.Error()))
		return
	}
	// A Policy must not read with Signet's rights what its author may not, nor choose where Signet connects to (VI 9(3)).
	if own := c.meta.Namespace; own != "" {
		if namespace, _ := ref.Secret(); namespace != "" && namespace != own {
			c.errs = append(c.errs, field.Forbidden(at, "a Policy refers to Secrets of its own namespace only"))
			return
		}
		if ref.Foreign() {
			c.errs = append(c.errs, field.Forbidden(at, "a Policy refers to the key management service at the provider's own addresses only"))
			return
		}
	}
	base.Reference = ref
	c.addKey(s, &base, string(ref), sc, path)
}

// addKey adds an entry.
func (c *compiler) addKey(s *verify.Set, a *verify.Attestor, id string, sc scope, path *field.Path) {
	c.twice(sc, id, path)
	s.Entries = append(s.Entries, verify.Entry{Path: fmt.Sprintf("%s.entries[%d].keys", sc.shown, len(s.Entries)), Attestor: a})
}

// twice warns of a key that stood in the set before, however it was spelled.
func (c *compiler) twice(sc scope, id string, path *field.Path) {
	if sc.seen[id] {
		c.warn("%s: the same key stands in two entries of one set, so that one signature by it counts twice", path)
	}
	sc.seen[id] = true
}

// notPEM says what is wrong with a key that is no PEM text; empty for one that may be.
func notPEM(s string) string {
	text := strings.TrimSpace(s)
	if strings.HasPrefix(text, "-----BEGIN") {
		return ""
	}
	if strings.Contains(text, "://") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") || !strings.Contains(text, "\n") {
		return "file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI"
	}
	return ""
}
