package verify_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/verify"
)

type fixtures struct {
	p256, p384, p521, p224, ed, rsa2048, pkcs1, rsa1024, rsaEven, private, cert, weakCert string
}

func block(t testing.TB, kind string, der []byte, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func newFixtures(t testing.TB) fixtures {
	t.Helper()
	public := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		return block(t, "PUBLIC KEY", der, err)
	}
	ec := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p256 := ec(elliptic.P256())
	private, err := x509.MarshalPKCS8PrivateKey(p256)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Unix(4e9, 0)}
	cert, certErr := x509.CreateCertificate(rand.Reader, template, template, &p256.PublicKey, p256)
	odd := ec(elliptic.P224())
	weak, weakErr := x509.CreateCertificate(rand.Reader, template, template, &odd.PublicKey, p256)
	small := &rsa.PublicKey{N: new(big.Int).Rsh(big2048.N, 1024), E: 65537}
	small.N.SetBit(small.N, 0, 1)
	return fixtures{
		p256: public(&p256.PublicKey), p384: public(&ec(elliptic.P384()).PublicKey), p521: public(&ec(elliptic.P521()).PublicKey),
		p224: public(&ec(elliptic.P224()).PublicKey), ed: public(ed), rsa2048: public(&big2048.PublicKey),
		pkcs1:   block(t, "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&big2048.PublicKey), nil),
		rsa1024: public(small), rsaEven: public(&rsa.PublicKey{N: big2048.N, E: 4}),
		private: block(t, "PRIVATE KEY", private, err), cert: block(t, "CERTIFICATE", cert, certErr),
		weakCert: block(t, "CERTIFICATE", weak, weakErr),
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	f := newFixtures(t)
	noNewline := func(s string) string { return strings.TrimSpace(s) }
	exponentOne := block(t, "PUBLIC KEY", mustPKIX(t, &rsa.PublicKey{N: mustKey(t, f.rsa2048).(*rsa.PublicKey).N, E: 3}), nil)
	tests := map[string]struct {
		text    string
		keys    int
		wantErr string
	}{
		"P-256":               {text: f.p256, keys: 1},
		"P-384":               {text: f.p384, keys: 1},
		"P-521":               {text: f.p521, keys: 1},
		"Ed25519":             {text: f.ed, keys: 1},
		"RSA 2048":            {text: f.rsa2048, keys: 1},
		"RSA in PKCS 1":       {text: f.pkcs1, keys: 1},
		"exponent 3":          {text: exponentOne, keys: 1},
		"blanks around":       {text: "\n\n  " + f.p256 + "\n \t", keys: 1},
		"two":                 {text: f.p256 + f.p384, keys: 2},
		"two on one line":     {text: noNewline(f.p256) + noNewline(f.p384), keys: 2},
		"CRLF":                {text: strings.ReplaceAll(f.p256, "\n", "\r\n"), keys: 1},
		"64":                  {text: strings.Repeat(f.p256, 64), keys: 64},
		"65":                  {text: strings.Repeat(f.p256, 65), wantErr: "more than 64"},
		"empty":               {text: "", wantErr: "empty"},
		"blank":               {text: " \n", wantErr: "empty"},
		"no PEM":              {text: "MFkwEwYH", wantErr: "not PEM"},
		"URL":                 {text: "https://example.test/key.pub", wantErr: "not PEM"},
		"P-224":               {text: f.p224, wantErr: "P-224"},
		"RSA 1024":            {text: f.rsa1024, wantErr: "bits"},
		"even exponent":       {text: f.rsaEven, wantErr: "unusable exponent"},
		"private key":         {text: f.private, wantErr: "private key"},
		"key and private key": {text: f.p256 + f.private, wantErr: "public key 2: it is a private key"},
		"certificate":         {text: f.cert, wantErr: "certificate"},
		"trailing text":       {text: f.p256 + "garbage", wantErr: "public key 2: not PEM"},
		"text before":         {text: "garbage\n" + f.p256, wantErr: "not PEM"},
		"cut short":           {text: strings.TrimSuffix(noNewline(f.p256), "-----END PUBLIC KEY-----"), wantErr: "not PEM"},
		"broken then whole":   {text: "-----BEGIN PUBLIC KEY-----\nAAAA\n" + f.p256, wantErr: "public key 1"},
		"broken other block":  {text: "-----BEGIN JUNK-----\nAAAA\n" + f.p256, wantErr: "the first block is broken"},
		"wrong DER":           {text: block(t, "PUBLIC KEY", []byte{1, 2, 3}, nil), wantErr: "malformed"},
		"headers":             {text: strings.Replace(f.p256, "KEY-----\n", "KEY-----\nA: b\n\n", 1), wantErr: "headers"},
		"too long":            {text: strings.Repeat(" ", 300<<10), wantErr: "longer"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, err := verify.ParseKeys(tc.text)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) || keys != nil {
					t.Errorf("%d keys, error %v, want one with %q", len(keys), err, tc.wantErr)
				}
				return
			}
			if err != nil || len(keys) != tc.keys {
				t.Errorf("%d keys, error %v, want %d", len(keys), err, tc.keys)
			}
		})
	}
}

func mustPKIX(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func mustKey(t testing.TB, text string) crypto.PublicKey {
	t.Helper()
	keys, err := verify.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

func TestCheckKey(t *testing.T) {
	t.Parallel()
	modulus := mustKey(t, newFixtures(t).rsa2048).(*rsa.PublicKey).N
	for name, key := range map[string]crypto.PublicKey{
		"none":          nil,
		"exponent 1":    &rsa.PublicKey{N: modulus, E: 1},
		"even modulus":  &rsa.PublicKey{N: new(big.Int).Lsh(modulus, 1), E: 3},
		"RSA 16384":     &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int).Lsh(modulus, 14336), 0, 1), E: 3},
		"short Ed25519": ed25519.PublicKey{1},
		"private":       ed25519.PrivateKey(make([]byte, 64)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if verify.CheckKey(key) == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestParseHash(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]crypto.Hash{
		"": crypto.SHA256, "sha224": crypto.SHA224, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
		"sha1": 0, "SHA256": 0, "md5": 0, "sha256 ": 0,
	} {
		got, err := verify.ParseHash(name)
		if got != want || (err == nil) == (want == 0) {
			t.Errorf("ParseHash(%q) = %v, %v", name, got, err)
		}
	}
}

func TestParseCertificates(t *testing.T) {
	t.Parallel()
	f := newFixtures(t)
	tests := map[string]struct {
		text    string
		n       int
		wantErr string
	}{
		"one":           {text: f.cert, n: 1},
		"twelve":        {text: strings.Repeat(f.cert, 12), n: 12},
		"thirteen":      {text: strings.Repeat(f.cert, 13), wantErr: "more than 12"},
		"empty":         {wantErr: "empty"},
		"key":           {text: f.p256, wantErr: "PUBLIC KEY"},
		"key beside":    {text: f.cert + f.p256, wantErr: "certificate 2"},
		"garbage after": {text: f.cert + "x", wantErr: "not PEM"},
		"wrong DER":     {text: block(t, "CERTIFICATE", []byte{48, 0}, nil), wantErr: "malformed"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain, err := verify.ParseCertificates(tc.text)
			if tc.wantErr == "" && (err != nil || len(chain) != tc.n) || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("%d certificates, error %v", len(chain), err)
			}
		})
	}
}

// TestCertificateTexts reads the certificates of attestors; encoded is the first one's base64.
func TestCertificateTexts(t *testing.T) {
	t.Parallel()
	f := newFixtures(t)
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	count := func(list []*x509.Certificate, err error) (int, error) { return len(list), err }
	readers := map[string]func(string) (int, error){
		"cert": func(s string) (int, error) {
			c, err := verify.ParseCertificateText(s)
			if err != nil || c == nil {
				return 0, err
			}
			return 1, nil
		},
		"chain": func(s string) (int, error) { return count(verify.ParseChain(s)) },
		"roots": func(s string) (int, error) { return count(verify.ParseRoots(s)) },
	}
	for name, tc := range map[string]struct {
		text string
		// want is how many each reader finds; 0 is an error.
		cert, chain, roots int
	}{
		"one":             {f.cert, 1, 1, 1},
		"blanks":          {"\n " + f.cert + " \n", 1, 1, 1},
		"base64":          {encoded(f.cert), 1, 0, 0},
		"base64, blanks":  {" " + encoded(f.cert) + "\n", 1, 0, 0},
		"base64 twice":    {encoded(encoded(f.cert)), 0, 0, 0},
		"base64 of junk":  {encoded("x"), 0, 0, 0},
		"two":             {f.cert + f.cert, 1, 2, 2},
		"eleven":          {strings.Repeat(f.cert, 11), 1, 11, 11},
		"twelve":          {strings.Repeat(f.cert, 12), 0, 0, 12},
		"64":              {strings.Repeat(f.cert, 64), 0, 0, 64},
		"65":              {strings.Repeat(f.cert, 65), 0, 0, 0},
		"empty":           {"", 0, 0, 0},
		"blank":           {" \n", 0, 0, 0},
		"key":             {f.p256, 0, 0, 0},
		"private key too": {f.cert + f.private, 0, 0, 0},
		"garbage behind":  {f.cert + "x", 0, 0, 0},
		"weak key":        {f.weakCert, 0, 0, 0},
		"file":            {"/etc/ssl/cert.pem", 0, 0, 0},
		"too long":        {strings.Repeat(" ", 300<<10) + f.cert + strings.Repeat(" ", 300<<10), 1, 0, 0},
		"really too long": {"x" + strings.Repeat(" ", 300<<10), 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for reader, want := range map[string]int{"cert": tc.cert, "chain": tc.chain, "roots": tc.roots} {
				if n, err := readers[reader](tc.text); n != want || (err == nil) != (want > 0) {
					t.Errorf("%s: %d certificates, %v", reader, n, err)
				}
			}
		})
	}
}

func TestNewCertificates(t *testing.T) {
	t.Parallel()
	a, b, c := &x509.Certificate{Raw: []byte("a")}, &x509.Certificate{Raw: []byte("b")}, &x509.Certificate{Raw: []byte("c")}
	list := func(l ...*x509.Certificate) []*x509.Certificate { return l }
	for name, tc := range map[string]struct {
		got, want *verify.Certificates
	}{
		"certificate":      {verify.NewCertificates(a, nil), &verify.Certificates{Leaf: a}},
		"chain":            {verify.NewCertificates(nil, list(b, c)), &verify.Certificates{Roots: list(b, c)}},
		"both":             {verify.NewCertificates(a, list(b, c)), &verify.Certificates{Leaf: a, Intermediates: list(b), Roots: list(c)}},
		"both, root alone": {verify.NewCertificates(a, list(c)), &verify.Certificates{Leaf: a, Intermediates: list(), Roots: list(c)}},
	} {
		names := func(l []*x509.Certificate) (s string) {
			for _, c := range l {
				s += string(c.Raw)
			}
			return s
		}
		if tc.got.Leaf != tc.want.Leaf || names(tc.got.Roots) != names(tc.want.Roots) || names(tc.got.Intermediates) != names(tc.want.Intermediates) {
			t.Errorf("%s: %+v", name, tc.got)
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	f := newFixtures(t)
	base := func() *verify.Requirement {
		a := &verify.Attestor{Key: mustKey(t, f.p256), Hash: crypto.SHA256, Annotations: map[string]string{"a": "b", "c": "d"}}
		b := &verify.Attestor{Key: mustKey(t, f.p384), Hash: crypto.SHA384}
		return &verify.Requirement{Sets: []verify.Set{{Count: 1, Entries: []verify.Entry{{Path: "x", Attestor: a}, {Path: "y", Attestor: b}}}}}
	}
	chain, err := verify.ParseCertificates(f.cert)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := image.Parse("registry.test/sigs", image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	same := base()
	same.Sets[0].Entries[0].Path = "elsewhere"
	same.Fingerprint = "set"
	if verify.Fingerprint(base()) != verify.Fingerprint(same) {
		t.Error("paths or the field itself change the fingerprint")
	}
	first := func(r *verify.Requirement) *verify.Attestor { return r.Sets[0].Entries[0].Attestor }
	identified := func(text verify.IdentityText) func(*verify.Requirement) {
		return func(r *verify.Requirement) { first(r).Keyless = &verify.Keyless{Identity: identity(t, text)} }
	}
	seen := map[string]string{verify.Fingerprint(base()): "base"}
	for name, change := range map[string]func(*verify.Requirement){
		"statement":       func(r *verify.Requirement) { r.AnyStatement = true },
		"count":           func(r *verify.Requirement) { r.Sets[0].Count = 2 },
		"key":             func(r *verify.Requirement) { first(r).Key = mustKey(t, f.p521) },
		"hash":            func(r *verify.Requirement) { first(r).Hash = crypto.SHA512 },
		"ignore log":      func(r *verify.Requirement) { first(r).IgnoreLog = true },
		"log key":         func(r *verify.Requirement) { first(r).LogKeys = []crypto.PublicKey{mustKey(t, f.ed)} },
		"ignore SCT":      func(r *verify.Requirement) { first(r).IgnoreSCT = true },
		"certificate log": func(r *verify.Requirement) { first(r).CTLogKeys = []crypto.PublicKey{mustKey(t, f.ed)} },
		"certificate":     func(r *verify.Requirement) { first(r).Certificates = verify.NewCertificates(chain[0], nil) },
		"roots":           func(r *verify.Requirement) { first(r).Certificates = verify.NewCertificates(nil, chain) },
		"both":            func(r *verify.Requirement) { first(r).Certificates = verify.NewCertificates(chain[0], chain) },
		"longer chain": func(r *verify.Requirement) {
			first(r).Certificates = verify.NewCertificates(chain[0], append(chain[:1:1], chain[0]))
		},
		"identity":           func(r *verify.Requirement) { first(r).Keyless = &verify.Keyless{} },
		"keyless roots":      func(r *verify.Requirement) { first(r).Keyless = &verify.Keyless{Roots: chain} },
		"issuer":             identified(verify.IdentityText{Issuer: "a"}),
		"subject":            identified(verify.IdentityText{Subject: "a"}),
		"issuer regexp":      identified(verify.IdentityText{IssuerRegExp: "a"}),
		"subject regexp":     identified(verify.IdentityText{SubjectRegExp: "a"}),
		"issuer, subject":    identified(verify.IdentityText{Issuer: "a", Subject: "b"}),
		"issuer and subject": identified(verify.IdentityText{Issuer: "ab"}),
		"extension":          identified(verify.IdentityText{AdditionalExtensions: map[string]string{"a": "bc"}}),
		"other extension":    identified(verify.IdentityText{AdditionalExtensions: map[string]string{"ab": "c"}}),
		"two extensions":     identified(verify.IdentityText{AdditionalExtensions: map[string]string{"a": "bc", "d": "e"}}),
		"named extension":    identified(verify.IdentityText{AdditionalExtensions: map[string]string{"githubWorkflowRef": "c"}}),
		"chain":              func(r *verify.Requirement) { first(r).TSAChain = chain },
		"repository":         func(r *verify.Requirement) { first(r).Repository = elsewhere },
		"annotation":         func(r *verify.Requirement) { first(r).Annotations["a"] = "c" },
		"joined annotation":  func(r *verify.Requirement) { first(r).Annotations = map[string]string{"a": "bcd"} },
		"fewer annotations":  func(r *verify.Requirement) { delete(first(r).Annotations, "c") },
		"order":              func(r *verify.Requirement) { e := r.Sets[0].Entries; e[0], e[1] = e[1], e[0] },
		"one set each": func(r *verify.Requirement) {
			e := r.Sets[0].Entries
			r.Sets = []verify.Set{{Count: 1, Entries: e[:1]}, {Count: 1, Entries: e[1:]}}
		},
		"nested": func(r *verify.Requirement) {
			inner := r.Sets[0]
			r.Sets = []verify.Set{{Count: 1, Entries: []verify.Entry{{Nested: &inner}}}}
		},
	} {
		r := base()
		change(r)
		got := verify.Fingerprint(r)
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s have one fingerprint", name, other)
		}
		seen[got] = name
	}
}

func FuzzParsePEM(f *testing.F) {
	x := newFixtures(f)
	for _, s := range []string{x.p256, x.p256 + x.ed, x.pkcs1, x.private, x.cert, x.cert + x.cert, "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := verify.ParseKeys(text)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys with error %v", len(keys), err)
		}
		for _, k := range keys {
			if err := verify.CheckKey(k); err != nil {
				t.Errorf("an unfit key was accepted: %v", err)
			}
			if verify.KeyHint(k) == "" {
				t.Error("a key without a hint")
			}
		}
		if chain, err := verify.ParseCertificates(text); (err == nil) != (len(chain) > 0) {
			t.Errorf("%d certificates with error %v", len(chain), err)
		}
	})
}

// a key has one spelling in PKIX form, so that two spellings are not two keys: a compressed point is refused.
func TestA25CompressedPoint(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	point := elliptic.MarshalCompressed(elliptic.P256(), key.X, key.Y)
	// The header of the whole form, with the lengths of the short one.
	short := append(bytes.Clone(der[:len(der)-65]), point...)
	short[1] -= 32
	short[len(short)-len(point)-2] -= 32
	if keys, err := verify.ParseKeys(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: short}))); err == nil {
		t.Errorf("%v", keys)
	}
	spaced := strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "\n", "\r\n")
	if keys, err := verify.ParseKeys("\n\n" + spaced + "\n"); err != nil || verify.KeyHint(keys[0]) != verify.KeyHint(key.Public()) {
		t.Errorf("other blanks: %v", err)
	}
}
