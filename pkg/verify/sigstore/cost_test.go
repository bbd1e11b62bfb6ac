package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// huge is a public key by which one verification takes minutes.
func huge(t *testing.T, bits int) *rsa.PublicKey {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		t.Fatal(err)
	}
	n.SetBit(n, bits-1, 1)
	n.SetBit(n, 0, 1)
	return &rsa.PublicKey{N: n, E: 1<<31 - 1}
}

// TestT057EntryKeys attaches log entries with huge keys: of junk, and of a copy of a valid signature. The log's libraries
// would verify by them before anything else; here they never see them.
func TestT057EntryKeys(t *testing.T) {
	t.Parallel()
	img := fuzzImage(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(huge(t, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	public := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	payload := []byte(`{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":"` + string(img.Digest()) + `"},"type":"cosign container image signature"}}`)
	sum := sha256.Sum256(payload)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	own := base64.StdEncoding.EncodeToString(sig)
	large := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 1<<17))
	body := func(signature string) string {
		return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"%x"}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`, sum, signature, public))
	}
	a := &verify.Attestor{Key: &key.PublicKey, LogKeys: []crypto.PublicKey{&key.PublicKey}}
	for name, tc := range map[string]struct{ signature, text string }{
		"another signature":  {large, "another signature"},
		"the same signature": {own, "another signer"},
	} {
		bundle := fmt.Sprintf(`{"SignedEntryTimestamp":"AAAA","Payload":{"body":%q,"integratedTime":1,"logIndex":1,"logID":"00"}}`, body(tc.signature))
		artifact := image.Artifact{MediaType: simpleSigningType, Payload: payload, Annotations: map[string]string{signatureAnnotation: own, logAnnotation: bundle}}
		for _, c := range New(nil).Candidates(img, []image.Artifact{artifact}) {
			_, err := New(nil).Verify(t.Context(), img, &c, a)
			if r := reason.Of(err); r == nil || r.Code != reason.TransparencyLogMissing || !strings.Contains(r.Text, tc.text) {
				t.Errorf("%s: %v", name, err)
			}
		}
		material := fmt.Sprintf(`{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1","verificationMaterial":{"publicKey":{"hint":"x"},"tlogEntries":[{"logIndex":"1","logId":{"keyId":"AAAA"},"kindVersion":{"kind":"hashedrekord","version":"0.0.1"},"integratedTime":"1","inclusionPromise":{"signedEntryTimestamp":"AAAA"},"canonicalizedBody":%q}]},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":%q},"signature":"AAAA"}}`,
			body(tc.signature), base64.StdEncoding.EncodeToString(sum[:]))
		for _, c := range New(nil).Candidates(img, []image.Artifact{{MediaType: bundleTypePrefix, Payload: []byte(material)}}) {
			if _, err := New(nil).Verify(t.Context(), img, &c, a); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	}
}

// TestT057Nesting nests the parts of a timestamp deeper than anybody needs.
func TestT057Nesting(t *testing.T) {
	t.Parallel()
	for name, token := range map[string][]byte{
		"indefinite":       bytes.Repeat([]byte{0x30, 0x80}, 30<<10),
		"definite":         deepDER(15 << 10),
		"definite, ended":  deepDER(maxStampDepth + 1),
		"end of content":   append(bytes.Repeat([]byte{0x30, 0x80}, maxStampDepth+1), bytes.Repeat([]byte{0, 0}, maxStampDepth+1)...),
		"length too large": {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff},
		"length negative":  {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
		"long tag":         bytes.Repeat([]byte{0x3f, 0xff}, 10),
		"nothing":          {},
	} {
		if end, ok := nested(token, 0, maxStampDepth); ok {
			t.Errorf("%s: passed up to %d of %d", name, end, len(token))
		}
		response := wrapped(0, 16, append([]byte{48, 3, 2, 1, 0}, token...))
		if s, err := parseStamp(response); err == nil {
			t.Errorf("%s: read as %+v", name, s)
		}
	}
	if end, ok := nested(deepDER(maxStampDepth), 0, maxStampDepth); !ok || end != len(deepDER(maxStampDepth)) {
		t.Error("not even that deep")
	}
	if _, err := parseStamp(wrapped(0, 16, make([]byte, maxStamp))); err == nil || !strings.Contains(err.Error(), "large") {
		t.Error(err)
	}
}

// deepDER nests empty sequences.
func deepDER(depth int) []byte {
	var inner []byte
	for range depth {
		inner = wrapped(0, 16, inner)
	}
	return inner
}

// TestT065Cliques has intermediates that all issued each other, by keys that cost much, and one of them in the name and
// with the key of a true authority: none of their keys is ever used, and the true chain is found beside them.
func TestT065Cliques(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := func(name, by string, key crypto.PublicKey, issuer crypto.Signer, serial int64) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		parent := *c
		parent.Subject = pkix.Name{CommonName: by}
		der, err := x509.CreateCertificate(rand.Reader, c, &parent, key, issuer)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	top, mid, low, evil := key(), key(), key(), key()
	anchor := ca("root", "root", top.Public(), top, 1)
	middle, lower := ca("middle", "root", mid.Public(), top, 2), ca("lower", "middle", low.Public(), mid, 3)
	// The true middle's name and key, issued by the clique.
	crossed := ca("middle", "evil", mid.Public(), evil, 4)
	junk := []*x509.Certificate{crossed, ca("root", "root", evil.Public(), evil, 5), ca("evil", "evil", huge(t, 1<<17), evil, 6)}
	for i := range int64(6) {
		junk = append(junk, ca("evil", "evil", evil.Public(), evil, 10+i))
	}
	got := rooted([]*x509.Certificate{anchor}, append(junk, lower, middle))
	if len(got) != 2 || !got[0].Equal(middle) || !got[1].Equal(lower) {
		t.Errorf("%d certificates", len(got))
	}
	if got := rooted([]*x509.Certificate{anchor}, append(junk, lower)); len(got) != 0 {
		t.Errorf("%d certificates without what issued them", len(got))
	}
	if got := rooted(nil, junk); len(got) != 0 {
		t.Errorf("%d certificates of nobody", len(got))
	}
	leafKey := key()
	template := &x509.Certificate{SerialNumber: big.NewInt(9), NotBefore: now, NotAfter: now.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, EmailAddresses: []string{"a@b"}}
	der, err := x509.CreateCertificate(rand.Reader, template, lower, leafKey.Public(), low)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	from := &authority{roots: []*x509.Certificate{anchor}}
	chains, err := from.chains(leaf, append(junk[:3:3], lower, middle))
	if err != nil || len(chains) != 1 || len(chains[0]) != 4 {
		t.Errorf("%d chains: %v", len(chains), err)
	}
	if _, err := from.chains(leaf, junk); err == nil {
		t.Error("a chain by the clique")
	}
}
