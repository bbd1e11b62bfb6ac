package sigstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/verify"
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
