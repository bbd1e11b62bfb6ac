package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/verify"
)

// maxNesting is how deep attestor sets may stand in each other.
const maxNesting = 16

// requirement compiles what has to be verified of an image; nil for an entry that has nothing to verify. The attestors that are as
// written come first, the others stand for deprecated fields.
func (c *compiler) requirement(in *v1.ImageVerification, path *field.Path, written *v1.ImageVerification) (*verify.Requirement, []*expr.Conditions) {
	c.keylessSeen = false
	if len(in.Attestors)+len(in.Attestations) == 0 {
		c.idle(in, path)
		return nil, nil
	}
	r := &verify.Requirement{AnyStatement: in.Type == v1.SigstoreBundle, Notary: in.Type == v1.Notary}
	for i := range in.Attestors {
		at := scope{entry: in, entryPath: path, path: path.Child("attestors").Index(i), shown: fmt.Sprintf(".attestors[%d]", i),
			shortcut: i >= len(written.Attestors)}
		r.Sets = append(r.Sets, c.set(&in.Attestors[i], at))
	}
	shortcut := len(in.Attestations) > 0 && len(in.Attestations[0].Attestors) > len(written.Attestations[0].Attestors)
	conditions := c.attestations(r, in, path, shortcut)
	c.idle(in, path)
	r.References = verify.CollectReferences(r)
	r.Fingerprint = verify.Fingerprint(r)
	return r, conditions
}

// idle warns of deprecated fields of an entry that none of its attestors takes up.
func (c *compiler) idle(in *v1.ImageVerification, path *field.Path) {
	if len(in.AdditionalExtensions) > 0 && !c.keylessSeen {
		c.warn("%s: additionalExtensions has no effect, for no attestor is keyless", path.Child("additionalExtensions"))
	}
	nobody := slices.ContainsFunc(in.Attestations, func(a v1.Attestation) bool { return len(a.Attestors) == 0 })
	if in.Roots != "" && in.Issuer == "" && !nobody {
		c.authorities(in.Roots, path.Child("roots"))
		why := "every attestor names its own"
		if len(in.Attestors)+len(in.Attestations) == 0 {
			why = "nothing is verified against them"
		}
		c.warn("%s: roots has no effect without issuer, for %s", path.Child("roots"), why)
	}
}

// scope is where an attestor set stands.
type scope struct {
	entry     *v1.ImageVerification
	entryPath *field.Path
	path      *field.Path // of the set
	shown     string      // its path in messages
	depth     int
	seen      map[string]bool // keys of the set, by their hint or reference
	shortcut  bool            // the set stands for deprecated fields of the entry
}

// set compiles one attestor set.
func (c *compiler) set(in *v1.AttestorSet, at scope) verify.Set {
	var s verify.Set
	if at.depth > maxNesting {
		c.errs = append(c.errs, field.Forbidden(at.path, fmt.Sprintf("attestors are nested more than %d deep", maxNesting)))
		return s
	}
	if len(in.Entries) == 0 {
		c.errs = append(c.errs, field.Invalid(at.path, "", "An entry is required"))
		return s
	}
	at.seen = map[string]bool{}
	for i := range in.Entries {
		c.attestor(&s, &in.Entries[i], at, at.path.Child("entries").Index(i))
	}
	s.Count = len(s.Entries)
	if in.Count != nil && *in.Count != 0 {
		count := int(*in.Count)
		switch {
		case count < 0:
			c.errs = append(c.errs, field.Invalid(at.path.Child("count"), count, "Count must be positive"))
		case count > max(len(s.Entries), len(in.Entries)):
			c.errs = append(c.errs, field.Invalid(at.path.Child("count"), count, "Count cannot exceed length of entries"))
		default:
			s.Count = count
		}
	}
	return s
}

// attestor compiles one entry of a set, which several keys in one text expand to several.
func (c *compiler) attestor(s *verify.Set, in *v1.Attestor, at scope, path *field.Path) {
	if at.entry.Type == v1.Notary && !c.notaryKind(in, path) {
		return
	}
	kinds := 0
	for _, set := range []bool{in.Keys != nil, in.Certificates != nil, in.Keyless != nil, in.Attestor != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		c.errs = append(c.errs, field.Invalid(path, "", "keys, certificates, keyless, or a nested attestor is required"))
		return
	}
	switch {
	case in.Certificates != nil && at.entry.Type == v1.Notary:
		c.notary(s, in, at, path)
	case in.Certificates != nil:
		c.certificates(s, in, at, path)
	case in.Keyless != nil:
		c.keyless(s, in, at, path)
	case in.Attestor != nil:
		nested, err := decodeSet(in.Attestor.Raw)
		if err != nil {
			c.errs = append(c.errs, field.Invalid(path.Child("attestor"), clip(string(in.Attestor.Raw)), err.Error()))
			return
		}
		at.path, at.depth = path.Child("attestor"), at.depth+1
		at.shown = fmt.Sprintf("%s.entries[%d].attestor", at.shown, len(s.Entries))
		compiled := c.set(nested, at)
		s.Entries = append(s.Entries, verify.Entry{Path: at.shown, Nested: &compiled})
	default:
		c.keys(s, in, at, path)
	}
}

// decodeSet reads a nested attestor, which receives no defaults from the schema, and refuses what it does not know.
func decodeSet(raw []byte) (*v1.AttestorSet, error) {
	var set v1.AttestorSet
	strict, err := kjson.UnmarshalStrict(raw, &set)
	if err := errors.Join(append(strict, err)...); err != nil {
		return nil, fmt.Errorf("not an attestor set: %w", err)
	}
	return &set, nil
}

// base compiles what every kind of attestor has.
func (c *compiler) base(in *v1.Attestor, sc scope, path *field.Path) verify.Attestor {
	a := verify.Attestor{Annotations: sc.entry.Annotations}
	if in.Annotations != nil {
		a.Annotations = in.Annotations
	}
	a.Repository = c.repository(in.Repository, path, sc)
	return a
}

// badMaterial reports keys or certificates that cannot be read.
func (c *compiler) badMaterial(path *field.Path, text string, err error) {
	if !c.later(text) {
		c.errs = append(c.errs, field.Invalid(path, clip(text), err.Error()))
	}
}

// clip keeps a value in an error message short.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// repository reads the repository that holds the signatures, the attestor's own before the entry's.
func (c *compiler) repository(own string, path *field.Path, sc scope) image.Ref {
	at, text := path.Child("repository"), own
	if text == "" {
		at, text = sc.entryPath.Child("repository"), sc.entry.Repository
	}
	if text == "" || c.later(text) {
		return image.Ref{}
	}
	ref, err := image.Parse(text, image.Options{})
	if err == nil && strings.ContainsAny(text[strings.LastIndexByte(text, '/')+1:], ":@") {
		err = fmt.Errorf("a repository without tag and digest is expected")
	}
	if err != nil {
		c.errs = append(c.errs, field.Invalid(at, text, err.Error()))
		return image.Ref{}
	}
	return ref
}

// publicRekor is the log that an absent rekor block stands for.
const publicRekor = "https://rekor.sigstore.dev"

// rekor reads the transparency log. Its address is used only for signatures that carry no proof (VI 6.5(3) and (4)).
func (c *compiler) rekor(a *verify.Attestor, in *v1.Rekor, path *field.Path) {
	if in == nil {
		a.LogURL = publicRekor
		return
	}
	a.IgnoreLog = in.IgnoreTlog
	if !in.IgnoreTlog && in.URL != "" && !c.later(in.URL) {
		a.LogURL = in.URL
		if u, err := url.Parse(in.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			c.errs = append(c.errs, field.Invalid(path.Child("url"), clip(in.URL), "an http or https URL is expected"))
		} else if c.meta.Namespace != "" && itself(u.Hostname()) {
			// Nobody but an operator knows what listens there (VI 9(3)).
			c.errs = append(c.errs, field.Forbidden(path.Child("url"), "a Policy asks no log on the machine that Signet runs on"))
		}
	}
	if in.PubKey == "" {
		return
	}
	keys, err := verify.ParseKeys(in.PubKey)
	if err != nil {
		c.badMaterial(path.Child("pubkey"), in.PubKey, err)
	}
	a.LogKeys = keys
}

// itself tells whether a host is the machine, which a log may be on only if it is written so.
func itself(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// ctlog reads the certificate logs and the timestamp authority. The logs never concern a static key; their keys are
// checked all the same, so that a typing error does not wait for the day they are needed.
func (c *compiler) ctlog(a *verify.Attestor, in *v1.CTLog, path *field.Path) {
	if in == nil {
		return
	}
	a.IgnoreSCT = in.IgnoreSCT
	if in.PubKey != "" {
		keys, err := verify.ParseKeys(in.PubKey)
		if err != nil {
			c.badMaterial(path.Child("pubkey"), in.PubKey, err)
		}
		a.CTLogKeys = keys
	}
	if in.TSACertChain != "" {
		chain, err := verify.ParseCertificates(in.TSACertChain)
		if err != nil {
			c.badMaterial(path.Child("tsaCertChain"), in.TSACertChain, err)
		}
		a.TSAChain = chain
	}
}
