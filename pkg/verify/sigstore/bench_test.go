package sigstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"path/filepath"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
	"github.com/signet-policy/signet/testdata/corpus"
)

// BenchmarkVerify measures opening and verifying one candidate of each format next to the floor, one P-256 signature.
func BenchmarkVerify(b *testing.B) {
	b.Run("floor/ecdsa-p256", func(b *testing.B) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		sum := sha256.Sum256([]byte("message"))
		sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig) {
				b.Fatal("not verified")
			}
		}
	})
	cases, err := corpus.Load()
	if err != nil {
		b.Fatal(err)
	}
	registry := newLayout(b, true)
	wanted := map[string]string{
		"key-notlog/v3-legacy": "legacy", "key-notlog/v3-bundle": "bundle", "message-signature": "bundle-message",
		"key-rekor1/v3-legacy": "legacy-rekor1", "key-rekor1/v3-bundle": "bundle-rekor1", "key-rekor2/v3-bundle": "bundle-rekor2",
		"key-tsa/v3-bundle": "bundle-tsa", "keyless/rekor1-v3-legacy": "keyless-legacy-rekor1",
		"keyless/rekor1-v3-bundle": "keyless-bundle-rekor1", "keyless/rekor2-tsa-v3-bundle": "keyless-bundle-rekor2-tsa",
		"keyless/tsa-v3-bundle": "keyless-bundle-tsa", "cert/v3-bundle": "certificate-bundle", "cert/v3-legacy": "certificate-legacy",
	}
	for _, c := range cases {
		name, ok := wanted[c.Name]
		if !ok {
			continue
		}
		b.Run(name, func(b *testing.B) {
			img := pinned(b, &c)
			req, err := compile(&c)
			if err != nil {
				b.Fatal(err)
			}
			v := verifierFor(b, c.Requirement.TrustedRoot)
			attached, err := registry.Attached(b.Context(), img, image.Ref{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify.Evaluate(b.Context(), v, found{attached}, img, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFirst measures what a certificate costs that was never seen before: its chain is verified too. The corpus has
// a chain of P-384 keys, as the public instance does; the other chain is all P-256, like the floor.
func BenchmarkFirst(b *testing.B) {
	get := samples(b)
	real := get("keyless/rekor1-v3-bundle")
	source, err := trust.FromFile(filepath.Join(corpus.Dir(), "trust/trusted_root.json"))
	if err != nil {
		b.Fatal(err)
	}
	p := newPKI(b, nil)
	cert, key := p.leaf(b, nil, p.ct)
	made := made{cert: cert, key: key, logged: []time.Time{p.now}}
	img := testImage(b)
	own := keyless(b, verify.IdentityText{Issuer: devIssuer, Subject: devSubject})
	for name, bc := range map[string]struct {
		sample sample
		source sigstore.Source
	}{
		"keyless-bundle-rekor1/p384-chain": {real, source},
		"keyless-bundle-rekor1/p256-chain": {sample{p.bundle(b, img, made), img, *own}, p.trust(b)},
		"keyless-legacy-rekor1/p256-chain": {sample{p.simple(b, img, made), img, *own}, p.trust(b)},
	} {
		b.Run(name, func(b *testing.B) {
			req := &verify.Requirement{Sets: []verify.Set{{Count: 1, Entries: []verify.Entry{{Attestor: &bc.sample.attestor}}}}}
			attached := &image.Attached{Artifacts: []image.Artifact{bc.sample.artifact}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify.Evaluate(b.Context(), sigstore.New(bc.source), found{attached}, bc.sample.image, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
