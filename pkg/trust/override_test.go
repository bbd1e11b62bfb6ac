package trust_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/trust/trusttest"
)

func publicKey(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// certificate makes one of an authority, or of nobody in particular; without a parent it is signed by itself.
func certificate(t *testing.T, name string, authority bool, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (string, *x509.Certificate) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: authority, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), c
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// VI 6.13(2): a file takes the place of its part of the root, and of no other.
func TestOverride(t *testing.T) {
	t.Parallel()
	base := trust.Public()
	if same, err := (trust.Overrides{}).Override(base); err != nil || same != trust.Root(base) {
		t.Errorf("nothing to override: %v %v", same, err)
	}
	key := ecKey(t, elliptic.P256())
	rootPEM, rootCert := certificate(t, "root", true, nil, key, nil)
	otherPEM, _ := certificate(t, "other", true, nil, key, nil)
	below := ecKey(t, elliptic.P256())
	belowPEM, _ := certificate(t, "below", true, rootCert, below, key)
	log := ecKey(t, elliptic.P384())
	der, err := x509.MarshalPKIXPublicKey(log.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	id := hex.EncodeToString(sum[:])
	plain, err := base.Material(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	generations := map[string]bool{base.Generation(): true}
	for name, o := range map[string]trust.Overrides{
		"authorities": {Authorities: write(t, rootPEM+"\n"+belowPEM+otherPEM)},
		"rekor":       {Rekor: write(t, publicKey(t, log.Public()))},
		"ct":          {CTLog: write(t, publicKey(t, log.Public())+"\n\n")},
	} {
		r, err := o.Override(base)
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.Material(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if generations[r.Generation()] {
			t.Errorf("%s: the generation is that of another root", name)
		}
		generations[r.Generation()] = true
		authorities, rekor, ct := len(plain.FulcioCertificateAuthorities()), len(plain.RekorLogs()), len(plain.CTLogs())
		switch name {
		case "authorities":
			authorities = 2
			f, ok := m.FulcioCertificateAuthorities()[0].(*root.FulcioCertificateAuthority)
			if !ok || !f.Root.Equal(rootCert) || len(f.Intermediates) != 1 {
				t.Errorf("authority %+v", f)
			}
		case "rekor":
			rekor = 1
			if l := m.RekorLogs()[id]; l == nil || l.SignatureHashFunc != crypto.SHA384 || hex.EncodeToString(l.ID) != id {
				t.Errorf("log %+v", l)
			}
		case "ct":
			ct = 1
			if m.CTLogs()[id] == nil {
				t.Error("no certificate log")
			}
		}
		if len(m.FulcioCertificateAuthorities()) != authorities || len(m.RekorLogs()) != rekor || len(m.CTLogs()) != ct {
			t.Errorf("%s replaces another part", name)
		}
		if len(m.TimestampingAuthorities()) != len(plain.TimestampingAuthorities()) {
			t.Errorf("%s: the timestamp authorities changed", name)
		}
	}

	// What the base lacks, nothing makes up for; and its changes are seen.
	live := trust.NewLive("x")
	r, err := trust.Overrides{Rekor: write(t, publicKey(t, log.Public()))}.Override(live)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Material(context.Background())
	wantUnavailable(t, err, false, "x has given")
	before := r.Generation()
	if _, err := live.Set(trusttest.EmptyRoot(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Material(t.Context()); err != nil || r.Generation() == before {
		t.Errorf("the base's change is not seen: %v", err)
	}
}

// files that are not what they should be stop the start, and the error names the variable.
func TestA40OverrideRefuses(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	rootPEM, rootCert := certificate(t, "root", true, nil, key, nil)
	belowPEM, _ := certificate(t, "below", true, rootCert, ecKey(t, elliptic.P256()), key)
	leafPEM, _ := certificate(t, "leaf", false, rootCert, ecKey(t, elliptic.P256()), key)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	privatePEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	good := publicKey(t, key.Public())
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (trust.Overrides{Rekor: write(t, good+publicKey(t, edPublic))}).Override(trust.Public()); err != nil {
		t.Errorf("two keys: %v", err)
	}
	const certs, keys = "SIGSTORE_ROOT_FILE", "SIGSTORE_REKOR_PUBLIC_KEY"
	for name, tc := range map[string]struct{ variable, content string }{
		"empty":                      {keys, " \n"},
		"no PEM":                     {keys, "garbage"},
		"trailing garbage":           {keys, good + "x"},
		"leading garbage":            {keys, "x" + good},
		"broken block before":        {keys, "-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----\n" + good},
		"private key":                {keys, privatePEM},
		"private key beside":         {keys, good + privatePEM},
		"certificate instead of key": {keys, rootPEM},
		"weak key":                   {keys, publicKey(t, weak.Public())},
		"other curve":                {keys, publicKey(t, ecKey(t, elliptic.P224()).Public())},
		"no key":                     {keys, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
		"large":                      {keys, strings.Repeat(" ", 2<<20)},
		"many":                       {keys, strings.Repeat(good, 101)},
		"key instead of certificate": {certs, good},
		"no root":                    {certs, belowPEM},
		"leaf":                       {certs, rootPEM + leafPEM},
		"no certificate":             {certs, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := trust.Overrides{Rekor: write(t, tc.content)}
			if tc.variable == certs {
				o = trust.Overrides{Authorities: o.Rekor}
			}
			if _, err := o.Override(trust.Public()); err == nil || !strings.Contains(err.Error(), tc.variable+"=") {
				t.Errorf("the error is %v", err)
			}
		})
	}
	if _, err := (trust.Overrides{CTLog: "/does/not/exist"}).Override(trust.Public()); err == nil {
		t.Error("a file that is not there")
	}
}
