package sigstore

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
)

// certificateSeeds are the certificates of the corpus: those of its trust files, and those in layers' annotations.
func certificateSeeds(f *testing.F) []*x509.Certificate {
	f.Helper()
	var seeds []*x509.Certificate
	add := func(text string) {
		for rest := []byte(text); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				return
			}
			if c, err := x509.ParseCertificate(block.Bytes); err == nil && !slices.ContainsFunc(seeds, c.Equal) {
				seeds = append(seeds, c)
			}
		}
	}
	for _, pattern := range []string{"trust/*.pem", "trust/*.crt", "images/blobs/sha256/*"} {
		files, err := filepath.Glob(filepath.Join(corpus.Dir(), pattern))
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			add(strings.NewReplacer(`\n`, "\n", `"`, "\n").Replace(string(b)))
		}
	}
	if len(seeds) < 20 {
		f.Fatalf("%d certificates", len(seeds))
	}
	return seeds
}

// FuzzCertificate reads and chains anything; no root is trusted but a fresh one, so nothing may be.
func FuzzCertificate(f *testing.F) {
	for _, c := range certificateSeeds(f) {
		f.Add(c.Raw, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
	}
	f.Add([]byte{48, 0}, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----")
	// Of a key that the fuzzer does not have.
	text, err := corpus.Read("trust/foreign/fulcio-chain.pem")
	if err != nil {
		f.Fatal(err)
	}
	roots, err := verify.ParseRoots(text)
	if err != nil {
		f.Fatal(err)
	}
	known := certificateSeeds(f)
	v := New(nil)
	f.Fuzz(func(t *testing.T, der []byte, chain string) {
		carried, err := chainAnnotation(chain)
		if err == nil && len(carried) >= maxCertificate {
			t.Error("too many certificates")
		}
		c, err := parseCertificate(der)
		if err != nil {
			return
		}
		says := certified(c)
		checkCertified(t, says)
		s := &signed{certificate: c, certified: says, intermediates: func() ([]*x509.Certificate, error) { return carried, nil }}
		a := &verify.Attestor{Keyless: &verify.Keyless{Roots: roots}}
		if paths, err := v.paths(s, a, &signer{certificate: c}); err == nil && !slices.ContainsFunc(known, c.Equal) {
			t.Errorf("%d paths to a root that nobody has", len(paths))
		}
	})
}

// FuzzNames reads alternative names, issuers and extensions that no parser of certificates looked at before.
func FuzzNames(f *testing.F) {
	for _, c := range certificateSeeds(f) {
		var names, first, second []byte
		for _, e := range c.Extensions {
			switch e.Id.String() {
			case "2.5.29.17":
				names = e.Value
			case verify.IssuerOID:
				first = e.Value
			case verify.IssuerV2OID:
				second = e.Value
			}
		}
		f.Add(names, first, second)
	}
	oid := func(last int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, last} }
	f.Fuzz(func(t *testing.T, names, first, second []byte) {
		checkCertified(t, certified(&x509.Certificate{Extensions: []pkix.Extension{
			{Id: oidNames, Value: names}, {Id: oid(1), Value: first}, {Id: oid(8), Value: second}, {Id: oid(5), Value: first},
		}}))
	})
}

// checkCertified holds what was read against what patterns may match.
func checkCertified(t *testing.T, says *verify.Certified) {
	t.Helper()
	id, bad := verify.CompileIdentity(verify.IdentityText{Subject: "*", Issuer: "*"})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	usable := slices.DeleteFunc(slices.Clone(says.Subjects), func(s string) bool { return slices.Contains(says.Misleading, s) })
	err := id.Check(says)
	if err == nil && (says.Err != nil || len(usable) == 0 || says.Issuer == "") {
		t.Errorf("%+v is somebody", says)
	}
	if err != nil && strings.ContainsFunc(err.Text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("a message with control characters: %q", err.Text)
	}
	for _, s := range usable {
		if s == "" || strings.ContainsFunc(s, unicode.IsControl) {
			t.Errorf("the name %q can match", s)
		}
	}
}

// FuzzCertifiedArtifact opens anything as a candidate by a certificate; nobody trusted certified it.
func FuzzCertifiedArtifact(f *testing.F) {
	img := fuzzImage(f)
	for _, c := range certificateSeeds(f) {
		text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		f.Add([]byte("MEUCIQDx"), text, text)
	}
	v := New(nil)
	v.now = func() time.Time { return time.Unix(1764000000, 0) }
	payload := []byte(`{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":"` + string(img.Digest()) + `"},"type":"cosign container image signature"}}`)
	f.Fuzz(func(t *testing.T, signature []byte, certificate, chain string) {
		a := image.Artifact{MediaType: simpleSigningType, Payload: bytes.Clone(payload), Annotations: map[string]string{
			signatureAnnotation: string(signature), certificateAnnotation: certificate, chainAnnotationName: chain,
		}}
		for _, c := range v.Candidates(img, []image.Artifact{a}) {
			attestor := &verify.Attestor{Keyless: &verify.Keyless{}, IgnoreLog: true, IgnoreSCT: true}
			if s, err := v.Verify(t.Context(), img, &c, attestor); err == nil || s != nil {
				t.Error("a stranger's signature was accepted")
			}
		}
	})
}
