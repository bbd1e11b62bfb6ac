package controllers

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// ServingLife is how long a serving certificate holds.
const ServingLife = 150 * 24 * time.Hour

// How long an authority holds, and by how much the start of certificates lies in the past for clocks that are behind.
const (
	authorityLife = 365 * 24 * time.Hour
	backdate      = time.Hour
)

// maxBundle is the most authorities that a bundle keeps.
const maxBundle = 8

// authority is a certificate authority with its key.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// KeyAlgorithm is the algorithm of certificates' keys.
type KeyAlgorithm string

// The key algorithms. The zero value means ECDSA (P-256), which is the cheapest for a handshake.
const (
	RSA     KeyAlgorithm = "RSA"
	ECDSA   KeyAlgorithm = "ECDSA"
	Ed25519 KeyAlgorithm = "Ed25519"
)

// ParseKeyAlgorithm reads the name of a key algorithm without regard to case.
func ParseKeyAlgorithm(s string) (KeyAlgorithm, error) {
	for _, a := range []KeyAlgorithm{RSA, ECDSA, Ed25519} {
		if strings.EqualFold(s, string(a)) {
			return a, nil
		}
	}
	return "", fmt.Errorf("%q is not a key algorithm, want RSA, ECDSA or Ed25519", s)
}

func (a KeyAlgorithm) generate() (crypto.Signer, error) {
	switch a {
	case RSA:
		return rsa.GenerateKey(rand.Reader, 2048)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "", ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("%q is not a key algorithm", string(a))
}

// names are what the serving certificate has to be valid for.
type names struct {
	dns []string
	ips []net.IP
}

// missing returns the names that a certificate is not valid for.
func (n names) missing(c *x509.Certificate) []string {
	var out []string
	for _, d := range n.dns {
		if c.VerifyHostname(d) != nil {
			out = append(out, d)
		}
	}
	for _, ip := range n.ips {
		if c.VerifyHostname(ip.String()) != nil {
			out = append(out, ip.String())
		}
	}
	return out
}

// newAuthority makes a self-signed authority.
func newAuthority(name string, algorithm KeyAlgorithm, now time.Time) (*authority, error) {
	key, err := algorithm.generate()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template, err := newTemplate(name, now, now.Add(authorityLife))
	if err != nil {
		return nil, err
	}
	template.IsCA, template.MaxPathLenZero, template.BasicConstraintsValid = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the authority: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("signing the authority: %w", err)
	}
	return &authority{certificate: c, key: key}, nil
}

// issue makes a serving certificate, which does not outlive the authority.
func (a *authority) issue(n names, algorithm KeyAlgorithm, now time.Time) (*tls.Certificate, error) {
	key, err := algorithm.generate()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	end := now.Add(ServingLife)
	if a.certificate.NotAfter.Before(end) {
		end = a.certificate.NotAfter
	}
	template, err := newTemplate(n.dns[0], now, end)
	if err != nil {
		return nil, err
	}
	template.BasicConstraintsValid = true
	template.DNSNames, template.IPAddresses = n.dns, n.ips
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("signing the serving certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("signing the serving certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func newTemplate(name string, now, end time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: end,
	}, nil
}

// encode writes certificates and their key as the data of a Secret of type kubernetes.io/tls.
func encode(key crypto.PrivateKey, certificates ...*x509.Certificate) (map[string][]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return map[string][]byte{
		"tls.crt": encodeBundle(certificates),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}, nil
}

func encodeBundle(certificates []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certificates {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer takes everything
	}
	return b.Bytes()
}

var errNoAuthority = errors.New("the certificate is not that of an authority")

// decodeAuthority reads an authority and the bundle that it stands first in.
func decodeAuthority(data map[string][]byte) (*authority, []*x509.Certificate, error) {
	pair, err := decodePair(data)
	if err != nil {
		return nil, nil, err
	}
	var bundle []*x509.Certificate
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the bundle: %w", err)
		}
		bundle = append(bundle, c)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !bundle[0].IsCA {
		return nil, nil, errNoAuthority
	}
	return &authority{certificate: bundle[0], key: key}, bundle, nil
}

// decodePair reads a certificate with its key, which have to belong together.
func decodePair(data map[string][]byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(data["tls.crt"], data["tls.key"])
	if err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	return &pair, nil
}

// join makes one bundle, each authority once and none that has expired, in the order given.
func join(now time.Time, lists ...[]*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, list := range lists {
		for _, c := range list {
			if c.IsCA && now.Before(c.NotAfter) && len(out) < maxBundle && !slices.ContainsFunc(out, c.Equal) {
				out = append(out, c)
			}
		}
	}
	return out
}

// trusted tells whether a client that trusts the bundle accepts the certificate at a time.
func trusted(leaf *x509.Certificate, bundle []*x509.Certificate, at time.Time) bool {
	roots := x509.NewCertPool()
	for _, c := range bundle {
		roots.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err == nil
}
