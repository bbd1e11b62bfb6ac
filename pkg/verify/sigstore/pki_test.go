package sigstore_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"

	"github.com/signet-policy/signet/pkg/image"
)

const (
	devSubject = "dev@example.test"
	devIssuer  = "https://oidc.example.test"
)

// pki is a certificate authority with the logs and the timestamp authority around it, for candidates that the real ones
// would not make. Timestamps are made at the time of the test.
type pki struct {
	root, intermediate       *x509.Certificate
	rootKey, intermediateKey *ecdsa.PrivateKey
	rekor, ct                *ecdsa.PrivateKey
	stamps                   *ca.VirtualSigstore
	now                      time.Time
}

func newKey(t testing.TB) *ecdsa.PrivateKey { return newSigner(t).key.(*ecdsa.PrivateKey) }

// newPKI makes one; change may alter the templates of its two certificates.
func newPKI(t testing.TB, change func(root, intermediate *x509.Certificate)) *pki {
	t.Helper()
	p := &pki{rootKey: newKey(t), intermediateKey: newKey(t), rekor: newKey(t), ct: newKey(t), now: time.Now().Truncate(time.Second)}
	var err error
	if p.stamps, err = ca.NewVirtualSigstore(); err != nil {
		t.Fatal(err)
	}
	top, mid := p.authority("root"), p.authority("intermediate")
	if change != nil {
		change(top, mid)
	}
	p.root = issue(t, top, top, p.rootKey.Public(), p.rootKey)
	p.intermediate = issue(t, mid, p.root, p.intermediateKey.Public(), p.rootKey)
	return p
}

func (p *pki) authority(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: p.now.Add(-48 * time.Hour), NotAfter: p.now.Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

func issue(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func extension(t testing.TB, id string, value []byte) pkix.Extension {
	t.Helper()
	oid, err := x509.ParseOID(id)
	if err != nil {
		t.Fatal(err)
	}
	var numbers asn1.ObjectIdentifier
	for _, n := range strings.Split(oid.String(), ".") {
		i, _ := new(big.Int).SetString(n, 10)
		numbers = append(numbers, int(i.Int64()))
	}
	return pkix.Extension{Id: numbers, Value: value}
}

func der(t testing.TB, value any, params string) []byte {
	t.Helper()
	b, err := asn1.MarshalWithParams(value, params)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// leaf issues a certificate for ten minutes around now, with an SCT of each log; change may alter its template.
func (p *pki) leaf(t testing.TB, change func(c *x509.Certificate), logs ...*ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: p.now.Add(-5 * time.Minute), NotAfter: p.now.Add(5 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		EmailAddresses:  []string{devSubject},
		ExtraExtensions: []pkix.Extension{extension(t, "1.3.6.1.4.1.57264.1.8", der(t, devIssuer, "utf8"))},
	}
	if change != nil {
		change(template)
	}
	bare := issue(t, template, p.intermediate, key.Public(), p.intermediateKey)
	if len(logs) == 0 {
		return bare, key
	}
	return p.promised(t, template, key, bare, logs...), key
}

// promised issues a certificate from the template with SCTs over another certificate: its own bare form, usually.
func (p *pki) promised(t testing.TB, template *x509.Certificate, key *ecdsa.PrivateKey, over *x509.Certificate, logs ...*ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	var list []byte
	for _, log := range logs {
		sct := sctOver(t, over.RawTBSCertificate, p.intermediate, log, p.now)
		list = append(binary.BigEndian.AppendUint16(list, uint16(len(sct))), sct...)
	}
	list = append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...)
	with := *template
	with.ExtraExtensions = append(with.ExtraExtensions[:len(with.ExtraExtensions):len(with.ExtraExtensions)], extension(t, "1.3.6.1.4.1.11129.2.4.2", der(t, list, "")))
	return issue(t, &with, p.intermediate, key.Public(), p.intermediateKey)
}

// sctOver is an RFC 6962 promise for a certificate's content.
func sctOver(t testing.TB, tbs []byte, issuer *x509.Certificate, log *ecdsa.PrivateKey, at time.Time) []byte {
	t.Helper()
	stamp := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))
	about := append([]byte{0, 0}, stamp...)
	about = append(about, 0, 1)
	by := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	about = append(about, by[:]...)
	about = append(about, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	about = append(append(about, tbs...), 0, 0)
	sig := signer{log, crypto.SHA256}.sign(t, about)
	public, err := x509.MarshalPKIXPublicKey(log.Public())
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(public)
	sct := append(append([]byte{0}, id[:]...), stamp...)
	sct = append(sct, 0, 0, 4, 3)
	return append(binary.BigEndian.AppendUint16(sct, uint16(len(sig))), sig...)
}

// material is the trust root of a pki, less what a test takes away.
type material struct {
	root.BaseTrustedMaterial
	authorities []root.CertificateAuthority
	rekor, ct   map[string]*root.TransparencyLog
	stamps      []root.TimestampingAuthority
}

func (m *material) FulcioCertificateAuthorities() []root.CertificateAuthority { return m.authorities }
func (m *material) RekorLogs() map[string]*root.TransparencyLog               { return m.rekor }
func (m *material) CTLogs() map[string]*root.TransparencyLog                  { return m.ct }
func (m *material) TimestampingAuthorities() []root.TimestampingAuthority     { return m.stamps }

// Material and Generation make it a Source.
func (m *material) Material(context.Context) (root.TrustedMaterial, error) { return m, nil }
func (m *material) Generation() string                                     { return "test" }

func logID(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(der)
	return hex.EncodeToString(id[:])
}

func (p *pki) trust(t testing.TB) *material {
	t.Helper()
	log := func(key *ecdsa.PrivateKey) map[string]*root.TransparencyLog {
		return map[string]*root.TransparencyLog{logID(t, key): {
			BaseURL: "https://log.example.test", PublicKey: key.Public(), HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
			ValidityPeriodStart: p.now.Add(-1000 * time.Hour),
		}}
	}
	return &material{
		authorities: []root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: p.root, Intermediates: []*x509.Certificate{p.intermediate}}},
		rekor:       log(p.rekor), ct: log(p.ct), stamps: p.stamps.TimestampingAuthorities(),
	}
}

// made is how a candidate is made.
type made struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// carried are certificates beside the signer's.
	carried []*x509.Certificate
	// logged are the times of log entries; who they name is cert, unless named is set.
	logged []time.Time
	named  string
	// stamped asks for a timestamp.
	stamped bool
	// annotation is signed as a=<annotation>.
	annotation string
}

func pemOf(list ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range list {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

func (m *made) signer() string {
	if m.named != "" {
		return m.named
	}
	return pemOf(m.cert)
}

// set is a log's signed entry timestamp.
func (p *pki) set(t testing.TB, body string, at time.Time) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"body": body, "integratedTime": at.Unix(), "logIndex": 1, "logID": logID(t, p.rekor)})
	if err != nil {
		t.Fatal(err)
	}
	return signer{p.rekor, crypto.SHA256}.sign(t, b)
}

func (p *pki) stamp(t testing.TB, sig []byte) string {
	t.Helper()
	response, err := p.stamps.TimestampResponse(sig)
	if err != nil {
		t.Fatal(err)
	}
	return b64(response)
}

// simple makes a candidate in cosign's format, with at most one log entry.
func (p *pki) simple(t testing.TB, img image.Pinned, m made) image.Artifact {
	t.Helper()
	text := payload(img.Digest().String(), "cosign container image signature", fmt.Sprintf(`,"optional":{"a":%q}`, m.annotation))
	s := signer{m.key, crypto.SHA256}
	sig := s.sign(t, []byte(text))
	a := s.simple(t, text)
	a.Annotations = map[string]string{"dev.cosignproject.cosign/signature": b64(sig)}
	if m.cert != nil {
		a.Annotations["dev.sigstore.cosign/certificate"] = pemOf(m.cert)
		a.Annotations["dev.sigstore.cosign/chain"] = pemOf(m.carried...)
	}
	sum := sha256.Sum256([]byte(text))
	for _, at := range m.logged {
		body := b64(fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"%x"}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`,
			sum, b64(sig), b64([]byte(m.signer()))))
		a.Annotations["dev.sigstore.cosign/bundle"] = fmt.Sprintf(`{"SignedEntryTimestamp":%q,"Payload":{"body":%q,"integratedTime":%d,"logIndex":1,"logID":%q}}`,
			b64(p.set(t, body, at)), body, at.Unix(), logID(t, p.rekor))
	}
	if m.stamped {
		a.Annotations["dev.sigstore.cosign/rfc3161timestamp"] = fmt.Sprintf(`{"SignedRFC3161Timestamp":%q}`, p.stamp(t, sig))
	}
	return a
}

// bundle makes a candidate in the form of a bundle of the first version, whose log entries need no inclusion proof.
func (p *pki) bundle(t testing.TB, img image.Pinned, m made) image.Artifact {
	t.Helper()
	text := statement(fmt.Sprintf(`[{"digest":{"sha256":%q},"annotations":{"a":%q}}]`, img.Digest().Hex(), m.annotation), signType, "")
	sig := signer{m.key, crypto.SHA256}.sign(t, pae(inToto, text))
	certificates := []any{}
	for _, c := range append([]*x509.Certificate{m.cert}, m.carried...) {
		certificates = append(certificates, map[string]any{"rawBytes": b64(c.Raw)})
	}
	var entries, stamps []any
	sum := sha256.Sum256([]byte(text))
	for _, at := range m.logged {
		body := b64(fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"%x"},"payloadHash":{"algorithm":"sha256","value":"%x"},"signatures":[{"signature":%q,"verifier":%q}]}}`,
			sum, sum, b64(sig), b64([]byte(m.signer()))))
		id, _ := hex.DecodeString(logID(t, p.rekor))
		entries = append(entries, map[string]any{
			"logIndex": "1", "logId": map[string]any{"keyId": b64(id)}, "kindVersion": map[string]any{"kind": "dsse", "version": "0.0.1"},
			"integratedTime": fmt.Sprint(at.Unix()), "inclusionPromise": map[string]any{"signedEntryTimestamp": b64(p.set(t, body, at))}, "canonicalizedBody": body,
		})
	}
	if m.stamped {
		stamps = append(stamps, map[string]any{"signedTimestamp": p.stamp(t, sig)})
	}
	b := encode(t, map[string]any{
		"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
		"verificationMaterial": map[string]any{
			"x509CertificateChain": map[string]any{"certificates": certificates}, "tlogEntries": entries,
			"timestampVerificationData": map[string]any{"rfc3161Timestamps": stamps},
		},
		"dsseEnvelope": map[string]any{"payload": b64([]byte(text)), "payloadType": inToto, "signatures": []any{map[string]any{"sig": b64(sig)}}},
	})
	return image.Artifact{MediaType: bundleV3, Payload: b, Place: "referrers API"}
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
