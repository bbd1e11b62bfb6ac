package sigstore_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
	"github.com/signet-policy/signet/testdata/corpus"
)

const testRegistry = "registry.test"

// layout reads what is attached to images from the corpus, as a registry client would find it.
type layout struct {
	manifests map[string][]listed
	referrers bool
	// reversed hands out the artifacts in the opposite order, which must not matter.
	reversed bool
}

type listed struct {
	digest, tag string
	manifest
}

type manifest struct {
	ArtifactType string
	Config       struct{ MediaType string }
	Subject      *struct{ Digest string }
	Layers       []struct {
		MediaType, Digest string
		Annotations       map[string]string
	}
	Manifests []struct{ Digest string }
}

func readBlob(digest string) ([]byte, error) {
	algorithm, value, _ := strings.Cut(digest, ":")
	return os.ReadFile(filepath.Join(corpus.Images(), "blobs", algorithm, value))
}

func newLayout(t testing.TB, referrers bool) *layout {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpus.Images(), "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	l := &layout{manifests: map[string][]listed{}, referrers: referrers}
	for _, d := range index.Manifests {
		raw, err := readBlob(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		one := listed{digest: d.Digest, tag: d.Annotations["org.opencontainers.image.ref.name"]}
		if err := json.Unmarshal(raw, &one.manifest); err != nil {
			t.Fatal(err)
		}
		repository := d.Annotations["corpus.repository"]
		l.manifests[repository] = append(l.manifests[repository], one)
	}
	return l
}

func (l *layout) Attached(_ context.Context, img image.Pinned, repository image.Ref) (*image.Attached, error) {
	path := img.Ref().Path()
	if !repository.IsZero() {
		path = repository.Path()
	}
	attached, seen := &image.Attached{}, map[string]bool{}
	add := func(m *listed, place string) error {
		if seen[m.digest] || m.Subject != nil && m.Subject.Digest != img.Digest().String() {
			return nil
		}
		seen[m.digest] = true
		kind := m.ArtifactType
		if kind == "" {
			kind = m.Config.MediaType
		}
		for _, layer := range m.Layers {
			payload, err := readBlob(layer.Digest)
			if err != nil {
				return err
			}
			attached.Artifacts = append(attached.Artifacts, image.Artifact{
				Place: place, Manifest: image.Digest(m.digest), ArtifactType: kind, MediaType: layer.MediaType,
				Annotations: layer.Annotations, Payload: payload,
			})
		}
		return nil
	}
	fallback := "sha256-" + img.Digest().Hex()
	inTag := map[string]bool{}
	for _, m := range l.manifests[path] {
		if m.tag == fallback {
			for _, child := range m.Manifests {
				inTag[child.Digest] = true
			}
		}
	}
	for i := range l.manifests[path] {
		m := &l.manifests[path][i]
		var err error
		switch {
		case m.tag == fallback+".sig", m.tag == fallback+".att":
			err = add(m, "tag "+m.tag)
		case inTag[m.digest]:
			err = add(m, "tag "+fallback)
		case m.tag == "" && m.Subject != nil && l.referrers:
			err = add(m, "referrers API")
		case m.tag == "" && m.Subject != nil:
			err = add(m, "tag "+fallback)
		}
		if err != nil {
			return nil, err
		}
	}
	if l.reversed {
		slices.Reverse(attached.Artifacts)
	}
	return attached, nil
}

// reasons are the codes of refused cases, by group and a part of their names; the first that fits decides.
var reasons = []struct {
	group, part string
	code        reason.Code
}{
	{"attestation", "no-signature", reason.Unsigned}, {"attestation", "", reason.AttestationMissing}, {"attack", "copied/attestation", reason.AttestationMissing},
	{"", "tlog-required", reason.TransparencyLogMissing},
	{"keyless", "wrong-subject", reason.IdentityMismatch}, {"keyless", "wrong-issuer", reason.IdentityMismatch},
	{"keyless", "regexp-no-match", reason.IdentityMismatch}, {"keyless", "/other-", reason.IdentityMismatch},
	{"keyless", "/extension-", reason.IdentityMismatch}, {"shape", "wrong-subject", reason.IdentityMismatch},
	{"keyless", "foreign/log-with-main-ca", reason.TransparencyLogMissing},
	{"keyless", "roots-foreign", reason.CertificateUntrusted}, {"keyless", "sct/", reason.SCTMissing},
	{"keyless", "foreign", reason.CertificateUntrusted}, {"keyless", "nothing", reason.CertificateExpired},
	{"certificate", "other-ca", reason.CertificateUntrusted}, {"certificate", "no-code-signing", reason.CertificateUntrusted},
	{"certificate", "sct-required", reason.SCTMissing}, {"certificate", "expired", reason.CertificateExpired},
	{"", "tsa-required", reason.TimestampMissing},
	{"", "foreign-root", reason.TransparencyLogMissing}, {"", "rekor-key-foreign", reason.TransparencyLogMissing},
	{"", "annotation/", reason.AnnotationMismatch}, {"", "copied/", reason.DigestMismatch},
	{"", "junk30/none-valid", reason.DigestMismatch}, {"", "no-signature", reason.Unsigned}, {"", "not-named", reason.Unsigned},
	{"", "multiarch/", reason.Unsigned}, {"", "notary/", reason.Unsigned}, {"", "unsigned", reason.Unsigned},
	{"", "empty-sig-manifest", reason.Unsigned}, {"", "", reason.BadSignature},
}

// compile states a case's requirement in the evaluator's terms.
func compile(c *corpus.Case) (*verify.Requirement, error) {
	r := &verify.Requirement{AnyStatement: c.Requirement.Hint == "SigstoreBundle"}
	for i := range c.Requirement.Signatures {
		s, err := compileSet(c, &c.Requirement.Signatures[i], fmt.Sprintf(".attestors[%d]", i))
		if err != nil {
			return nil, err
		}
		r.Sets = append(r.Sets, *s)
	}
	for i := range c.Requirement.Attestations {
		from := &c.Requirement.Attestations[i]
		a := verify.Attestation{Path: fmt.Sprintf(".attestations[%d]", i), Type: from.PredicateType, Read: true}
		for k := range from.Attestors {
			s, err := compileSet(c, &from.Attestors[k], fmt.Sprintf("%s.attestors[%d]", a.Path, k))
			if err != nil {
				return nil, err
			}
			a.Sets = append(a.Sets, *s)
		}
		r.Attestations = append(r.Attestations, a)
	}
	return r, nil
}

func compileSet(c *corpus.Case, from *corpus.Set, path string) (*verify.Set, error) {
	s := &verify.Set{Count: from.Count}
	for i := range from.Attestors {
		a := &from.Attestors[i]
		if a.Nested != nil {
			nested, err := compileSet(c, a.Nested, fmt.Sprintf("%s.entries[%d].attestor", path, i))
			if err != nil {
				return nil, err
			}
			s.Entries = append(s.Entries, verify.Entry{Nested: nested})
			continue
		}
		signers, kind, err := compileSigners(a)
		if err != nil {
			return nil, err
		}
		for _, signer := range signers {
			signer.IgnoreLog, signer.IgnoreSCT, signer.Annotations = a.IgnoreTlog, a.IgnoreSCT, a.Annotations
			if signer.Annotations == nil {
				signer.Annotations = c.Requirement.Annotations
			}
			repository := a.Repository
			if repository == "" {
				repository = c.Requirement.SignatureRepository
			}
			var errs [4]error
			if repository != "" {
				signer.Repository, errs[0] = image.Parse(testRegistry+"/"+repository, image.Options{})
			}
			if a.RekorKey != "" {
				signer.LogKeys, errs[1] = verify.ParseKeys(readText(a.RekorKey))
			}
			if a.CTLogKey != "" {
				signer.CTLogKeys, errs[2] = verify.ParseKeys(readText(a.CTLogKey))
			}
			if a.TSAChain != "" {
				signer.TSAChain, errs[3] = verify.ParseCertificates(readText(a.TSAChain))
			}
			if err := errors.Join(errs[:]...); err != nil {
				return nil, err
			}
			s.Entries = append(s.Entries, verify.Entry{Path: fmt.Sprintf("%s.entries[%d].%s", path, len(s.Entries), kind), Attestor: signer})
		}
	}
	if s.Count == 0 {
		s.Count = len(s.Entries)
	}
	return s, nil
}

func readText(file string) string {
	text, err := corpus.Read(file)
	if err != nil {
		panic(err)
	}
	return text
}

// compileSigners states who must have signed: one attestor, or one for each key.
func compileSigners(a *corpus.Attestor) (list []*verify.Attestor, kind string, err error) {
	switch {
	case a.Keyless != nil:
		k := &verify.Keyless{}
		if a.Keyless.Roots != "" {
			if k.Roots, err = verify.ParseRoots(readText(a.Keyless.Roots)); err != nil {
				return nil, "", err
			}
		}
		var bad []verify.FieldError
		k.Identity, bad = verify.CompileIdentity(verify.IdentityText{
			Issuer: a.Keyless.Issuer, IssuerRegExp: a.Keyless.IssuerRegExp, Subject: a.Keyless.Subject,
			SubjectRegExp: a.Keyless.SubjectRegExp, AdditionalExtensions: a.Keyless.Extensions,
		})
		if len(bad) > 0 {
			return nil, "", bad[0]
		}
		return []*verify.Attestor{{Keyless: k}}, "keyless", nil
	case a.Certificates != nil:
		var cert *x509.Certificate
		var chain []*x509.Certificate
		if f := a.Certificates.Certificate; f != "" {
			if cert, err = verify.ParseCertificateText(readText(f)); err != nil {
				return nil, "", err
			}
		}
		if f := a.Certificates.Chain; f != "" {
			if chain, err = verify.ParseChain(readText(f)); err != nil {
				return nil, "", err
			}
		}
		return []*verify.Attestor{{Certificates: verify.NewCertificates(cert, chain)}}, "certificates", nil
	}
	text, err := a.PublicKeys()
	if err != nil {
		return nil, "", err
	}
	hash, err := verify.ParseHash(a.Hash)
	if err != nil {
		return nil, "", err
	}
	keys, err := verify.ParseKeys(text)
	for _, key := range keys {
		list = append(list, &verify.Attestor{Key: key, Hash: hash})
	}
	return list, "keys", err
}

func verifierFor(t testing.TB, root string) *sigstore.Verifier {
	t.Helper()
	if root == "" {
		return sigstore.New(nil)
	}
	source, err := trust.FromFile(filepath.Join(corpus.Dir(), root))
	if err != nil {
		t.Fatal(err)
	}
	return sigstore.New(source)
}

func pinned(t testing.TB, c *corpus.Case) image.Pinned {
	t.Helper()
	ref, err := image.Parse(testRegistry+"/"+c.Image, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := image.ParseDigest(c.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return ref.Pin(d)
}

// conditional tells whether the case has conditions on a predicate.
func conditional(c *corpus.Case) bool {
	return slices.ContainsFunc(c.Requirement.Attestations, func(a corpus.Attestation) bool { return len(a.Conditions) > 0 })
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	for mode, registry := range map[string]*layout{
		"referrers API": newLayout(t, true), "fallback tag": newLayout(t, false), "reversed": newLayout(t, true),
	} {
		registry.reversed = mode == "reversed"
		for _, c := range cases {
			if c.Requirement.Hint == "Notary" {
				continue // the command line judges these
			}
			if c.Digest == "" {
				if c.Expected == corpus.Accept {
					t.Errorf("%s: an image that does not exist cannot be accepted", c.Name)
				}
				continue
			}
			t.Run(mode+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				req, err := compile(&c)
				if err != nil {
					t.Fatal(err)
				}
				proof, err := verify.Evaluate(t.Context(), verifierFor(t, c.Requirement.TrustedRoot), registry, pinned(t, &c), req)
				if c.Expected == corpus.Refuse && conditional(&c) {
					// Conditions are for others to evaluate; what they are about is verified here.
					if err != nil || len(proof.Statements) == 0 {
						t.Errorf("%v with %+v", err, proof)
					}
					return
				}
				if got := map[bool]string{true: corpus.Accept, false: corpus.Refuse}[err == nil]; got != c.Expected {
					report := t.Errorf
					if c.Advisory {
						report = t.Logf
					}
					report("%s, want %s: %s\n%v", got, c.Expected, c.Reason, err)
				}
				if err == nil {
					return
				}
				if !errors.Is(err, verify.ErrNotVerified) {
					t.Errorf("no violation: %v", err)
				}
				for _, r := range reasons {
					if (r.group == "" || r.group == c.Group) && strings.Contains(c.Name, r.part) {
						if got := reason.Of(err).Code; got != r.code {
							t.Errorf("reason %s, want %s: %v", got, r.code, err)
						}
						return
					}
				}
			})
		}
	}
}
