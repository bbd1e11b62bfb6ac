package sigstore_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// stamper is a timestamp authority with a certificate of the test's choice.
type stamper struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// purposes is an extension with the key purposes.
func purposes(t testing.TB, critical bool, ids ...asn1.ObjectIdentifier) pkix.Extension {
	t.Helper()
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: der(t, ids, "")}
}

var (
	stamping = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	coding   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	unknown  = asn1.ObjectIdentifier{1, 2, 3, 4, 5}
)

func (p *pki) stamper(t testing.TB, purpose pkix.Extension, change func(*x509.Certificate)) *stamper {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "stamps"}, NotBefore: p.now.Add(-time.Hour), NotAfter: p.now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{purpose}, BasicConstraintsValid: true,
	}
	if change != nil {
		change(c)
	}
	key := newKey(t)
	return &stamper{issue(t, c, p.intermediate, key.Public(), p.intermediateKey), key}
}

// stampOf is a response over what was signed, with its own certificate or without, behind further ones.
func (s *stamper) stampOf(t testing.TB, sig []byte, at time.Time, own bool, extra ...*x509.Certificate) string {
	t.Helper()
	ts := &timestamp.Timestamp{HashAlgorithm: crypto.SHA256, Time: at, SerialNumber: big.NewInt(1), Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: own}
	sum := sha256.Sum256(sig)
	ts.HashedMessage = sum[:]
	response, err := ts.CreateResponseWithOpts(s.cert, s.key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if len(extra) > 0 {
		response = withCertificates(t, response, extra...)
	}
	return b64(response)
}

// withCertificates puts certificates before those of a response; its signature does not cover them.
func withCertificates(t testing.TB, response []byte, extra ...*x509.Certificate) []byte {
	t.Helper()
	read := func(b []byte, into any) {
		if rest, err := asn1.Unmarshal(b, into); err != nil || len(rest) > 0 {
			t.Fatal(err, len(rest))
		}
	}
	var outer struct{ Status, Token asn1.RawValue }
	var info struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,tag:0"`
	}
	var data struct{ Version, Algorithms, Content, Certificates, Signers asn1.RawValue }
	read(response, &outer)
	read(outer.Token.FullBytes, &info)
	read(info.Content.Bytes, &data)
	var all []byte
	for _, c := range extra {
		all = append(all, c.Raw...)
	}
	data.Certificates = asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: append(all, data.Certificates.Bytes...)}
	info.Content = asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: der(t, data, "")}
	outer.Token = asn1.RawValue{FullBytes: der(t, struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{info.Type, info.Content}, "")}
	return der(t, outer, "")
}

// TestT056Stamps has odd timestamp authorities vouch for a signature: the certificate that signed is the one that counts.
func TestT056Stamps(t *testing.T) {
	t.Parallel()
	img, p, foreign, s := testImage(t), newPKI(t, nil), newPKI(t, nil), newSigner(t)
	only := purposes(t, true, stamping)
	good := p.stamper(t, only, nil)
	stranger := foreign.stamper(t, only, nil)
	// Of the same issuer's name and number as the good one, by another authority.
	namesake := foreign.stamper(t, only, func(c *x509.Certificate) { c.Subject = good.cert.Subject })
	chain := func(leaf ...*x509.Certificate) []*x509.Certificate { return append(leaf, p.intermediate, p.root) }
	text := payload(img.Digest().String(), "cosign container image signature", "")
	artifact := s.simple(t, text)
	sig := unbase64(t, artifact.Annotations["dev.cosignproject.cosign/signature"])
	const missing = reason.TimestampMissing
	by := func(st *stamper, extra ...*x509.Certificate) string {
		return st.stampOf(t, sig, p.now, true, extra...)
	}
	odd := func(purpose pkix.Extension, change func(*x509.Certificate)) (string, []*x509.Certificate) {
		st := p.stamper(t, purpose, change)
		return by(st), chain()
	}
	type test struct {
		stamp string
		chain []*x509.Certificate
		code  reason.Code
	}
	tests := map[string]test{
		"good":                    {by(good), chain(good.cert), ""},
		"good, behind others":     {by(good, foreign.intermediate, foreign.root), chain(good.cert), ""},
		"good, behind a namesake": {by(good, namesake.cert), chain(good.cert), missing},
		"good, its certificate not in the policy": {by(good), chain(), ""},
		"a stranger's": {by(stranger), chain(good.cert), missing},
		"a stranger's, no certificate in the policy": {by(stranger), chain(), missing},
		"a namesake's": {by(namesake), chain(good.cert), missing},
		"a namesake's, the good certificate in it":  {by(namesake, good.cert), chain(good.cert), missing},
		"a namesake's without certificates":         {namesake.stampOf(t, sig, p.now, false), chain(good.cert), missing},
		"a stranger's, the good certificates in it": {by(stranger, good.cert, p.intermediate, p.root), chain(), missing},
		"a stranger's with its own root":            {by(stranger, foreign.intermediate, foreign.root), chain(), missing},
		"A-28 after its certificate ended":          {good.stampOf(t, sig, p.now.Add(2*time.Hour), true), chain(good.cert), missing},
		"A-28 in the far future":                    {good.stampOf(t, sig, p.now.AddDate(100, 0, 0), true), chain(good.cert), missing},
		"T-073 the authority has ended":             {good.stampOf(t, sig, p.now.Add(72*time.Hour), true), chain(), missing},
		"of other bytes":                            {good.stampOf(t, []byte("x"), p.now, true), chain(good.cert), missing},
		"of the payload":                            {good.stampOf(t, []byte(text), p.now, true), chain(good.cert), missing},
		"T-065 no root":                             {by(good), []*x509.Certificate{good.cert, p.intermediate}, reason.TrustMaterialInvalid},
	}
	for name, tc := range map[string]struct {
		purpose pkix.Extension
		change  func(*x509.Certificate)
	}{
		"two purposes":            {purposes(t, true, stamping, coding), nil},
		"an unknown purpose":      {purposes(t, true, stamping, unknown), nil},
		"another purpose":         {purposes(t, true, coding), nil},
		"the purpose not binding": {purposes(t, false, stamping), nil},
		"an authority's": {only, func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		}},
	} {
		stamp, chain := odd(tc.purpose, tc.change)
		tests["certificate: "+name] = test{stamp, chain, missing}
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stamped := artifact
			stamped.Annotations = map[string]string{
				"dev.cosignproject.cosign/signature":   b64(sig),
				"dev.sigstore.cosign/rfc3161timestamp": fmt.Sprintf(`{"SignedRFC3161Timestamp":%q}`, tc.stamp),
			}
			a := &verify.Attestor{Key: s.key.Public(), IgnoreLog: true, TSAChain: tc.chain}
			if got, err := verdict(t, sigstore.New(nil), img, a, false, stamped); got != tc.code {
				t.Errorf("%q, want %q: %v", got, tc.code, err)
			}
			if tc.code == "" {
				return
			}
			// Beside a good one, in the same place, the odd one does no harm.
			right := artifact
			right.Annotations = map[string]string{
				"dev.cosignproject.cosign/signature":   b64(sig),
				"dev.sigstore.cosign/rfc3161timestamp": fmt.Sprintf(`{"SignedRFC3161Timestamp":%q}`, by(good)),
			}
			if tc.code == missing {
				if got, err := verdict(t, sigstore.New(nil), img, a, false, stamped, right); got != "" {
					t.Errorf("it hides a good one: %v", err)
				}
			}
		})
	}
}
