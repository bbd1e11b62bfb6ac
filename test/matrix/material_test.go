package matrix

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
)

// Who signs without a key.
const (
	subject = "dev@example.test"
	issuer  = "https://oidc.example.test"
)

// party is all that certifies, logs and stamps. There are two: ours, and strangers who do everything as well as ours.
type party struct {
	key                      *ecdsa.PrivateKey // of a signer without certificate
	root, intermediate       *x509.Certificate
	rootKey, intermediateKey *ecdsa.PrivateKey
	ct, rekor1               *ecdsa.PrivateKey
	rekor2                   ed25519.PrivateKey
	stamps                   *ca.VirtualSigstore
	now                      time.Time
}

func newParty(t testing.TB, now time.Time) *party {
	t.Helper()
	p := &party{now: now}
	for _, k := range []**ecdsa.PrivateKey{&p.key, &p.rootKey, &p.intermediateKey, &p.ct, &p.rekor1} {
		*k = newKey(t)
	}
	var err error
	if _, p.rekor2, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	if p.stamps, err = ca.NewVirtualSigstore(); err != nil {
		t.Fatal(err)
	}
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	top := authority("root")
	p.root = issue(t, top, top, p.rootKey.Public(), p.rootKey)
	p.intermediate = issue(t, authority("intermediate"), p.root, p.intermediateKey.Public(), p.rootKey)
	return p
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
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

// The extensions of Fulcio's certificates that are needed: the issuer, and the promises of certificate logs.
var (
	issuerOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	sctOID    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// leaf certifies the signer for ten minutes that begin at the time, with a promise of the log; nil for none.
func (p *party) leaf(t testing.TB, begins time.Time, log *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: begins, NotAfter: begins.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, EmailAddresses: []string{subject},
		ExtraExtensions: []pkix.Extension{{Id: issuerOID, Value: marshal(t, issuer, "utf8")}},
	}
	bare := issue(t, template, p.intermediate, key.Public(), p.intermediateKey)
	if log == nil {
		return bare, key
	}
	sct := promise(t, bare.RawTBSCertificate, p.intermediate, log, begins)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(sct))), sct...)
	list = append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...)
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: sctOID, Value: marshal(t, list, "")})
	return issue(t, template, p.intermediate, key.Public(), p.intermediateKey), key
}

func marshal(t testing.TB, v any, params string) []byte {
	t.Helper()
	der, err := asn1.MarshalWithParams(v, params)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// promise is a certificate log's signed timestamp for a certificate (RFC 6962), given as what is certified.
func promise(t testing.TB, tbs []byte, by *x509.Certificate, log *ecdsa.PrivateKey, at time.Time) []byte {
	t.Helper()
	stamp := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))
	about := append([]byte{0, 0}, stamp...)
	about = append(about, 0, 1) // a precertificate
	spki := sha256.Sum256(by.RawSubjectPublicKeyInfo)
	about = append(about, spki[:]...)
	about = append(about, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	about = append(append(about, tbs...), 0, 0)
	sig := sign(t, log, about)
	sct := append([]byte{0}, keyID(t, log.Public())...)
	sct = append(append(sct, stamp...), 0, 0, 4, 3) // no extensions; ECDSA with SHA-256
	return append(binary.BigEndian.AppendUint16(sct, uint16(len(sig))), sig...)
}

// sign signs as the key's kind does: ECDSA over the SHA-256, Ed25519 over the message.
func sign(t testing.TB, key crypto.Signer, message []byte) []byte {
	t.Helper()
	hash := crypto.Hash(0)
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		sum := sha256.Sum256(message)
		message, hash = sum[:], crypto.SHA256
	}
	sig, err := key.Sign(rand.Reader, message, hash)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func spki(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// keyID is how Rekor v1 and certificate logs are named.
func keyID(t testing.TB, key crypto.PublicKey) []byte {
	sum := sha256.Sum256(spki(t, key))
	return sum[:]
}

// The names of the logs.
const (
	origin1 = "rekor1.example.test"
	origin2 = "rekor2.example.test"
)

// originID is how Rekor v2 is named.
func originID(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	_, id, err := note.KeyHash(origin2, key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// stamp is an RFC 3161 response over the content, at the time of the call.
func (p *party) stamp(t testing.TB, content []byte) []byte {
	t.Helper()
	response, err := p.stamps.TimestampResponse(content)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// stampChain is what tsaCertChain holds for it: leaf first, root last.
func (p *party) stampChain(t testing.TB) []*x509.Certificate {
	t.Helper()
	authority, ok := p.stamps.TimestampingAuthorities()[0].(*root.SigstoreTimestampingAuthority)
	if !ok {
		t.Fatal("the timestamp authority is of another kind")
	}
	chain := append([]*x509.Certificate{authority.Leaf}, authority.Intermediates...)
	return append(chain, authority.Root)
}

// trusted is a trusted root that names a party.
type trusted struct {
	root.BaseTrustedMaterial
	authorities []root.CertificateAuthority
	rekor, ct   map[string]*root.TransparencyLog
	stamps      []root.TimestampingAuthority
}

func (m *trusted) FulcioCertificateAuthorities() []root.CertificateAuthority { return m.authorities }
func (m *trusted) RekorLogs() map[string]*root.TransparencyLog               { return m.rekor }
func (m *trusted) CTLogs() map[string]*root.TransparencyLog                  { return m.ct }
func (m *trusted) TimestampingAuthorities() []root.TimestampingAuthority     { return m.stamps }

// Material and Generation make it the verifier's source.
func (m *trusted) Material(context.Context) (root.TrustedMaterial, error) { return m, nil }

// Generation is the same forever.
func (m *trusted) Generation() string { return "matrix" }

func (p *party) trust(t testing.TB) *trusted {
	t.Helper()
	log := func(id []byte, url string, key crypto.PublicKey) *root.TransparencyLog {
		return &root.TransparencyLog{
			BaseURL: "https://" + url, ID: id, PublicKey: key, HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
			ValidityPeriodStart: p.now.Add(-1000 * time.Hour),
		}
	}
	id1, id2, ctID := keyID(t, p.rekor1.Public()), originID(t, p.rekor2.Public()), keyID(t, p.ct.Public())
	return &trusted{
		authorities: []root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: p.root, Intermediates: []*x509.Certificate{p.intermediate}}},
		rekor: map[string]*root.TransparencyLog{
			hex.EncodeToString(id1): log(id1, origin1, p.rekor1.Public()), hex.EncodeToString(id2): log(id2, origin2, p.rekor2.Public()),
		},
		ct:     map[string]*root.TransparencyLog{hex.EncodeToString(ctID): log(ctID, "ct.example.test", p.ct.Public())},
		stamps: p.stamps.TimestampingAuthorities(),
	}
}
