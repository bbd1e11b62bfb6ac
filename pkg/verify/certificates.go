package verify

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	// maxCertificates bounds the certificates of a chain.
	maxCertificates = 11
	// maxRoots bounds the certificates that a policy names as roots.
	maxRoots = 64
)

// Certificates is the compiled form of a certificates attestor (VI 6.5(10)).
type Certificates struct {
	// Leaf is the certificate whose key must have signed. Nil means that the candidate carries its certificate.
	Leaf *x509.Certificate
	// Roots are what the signing certificate has to be chained to. Without any, only the public key of Leaf counts: its
	// names, its validity and who issued it do not.
	Roots []*x509.Certificate
	// Intermediates may stand between the two.
	Intermediates []*x509.Certificate
}

// NewCertificates combines cert and certChain of a policy, of which at least one is given. A chain alone is a list of
// roots; of a chain beside a certificate the last element is the root.
func NewCertificates(cert *x509.Certificate, chain []*x509.Certificate) *Certificates {
	if cert == nil || len(chain) == 0 {
		return &Certificates{Leaf: cert, Roots: chain}
	}
	last := len(chain) - 1
	return &Certificates{Leaf: cert, Roots: chain[last:], Intermediates: chain[:last]}
}

// Keyless is the compiled form of a keyless attestor: an identity that certificate authorities vouch for.
type Keyless struct {
	Identity Identity
	// Roots replace the certificate authorities of the trust root. Each of them is an anchor of its own.
	Roots []*x509.Certificate
}

// ParseCertificateText reads the certificate of a certificates attestor: PEM, or PEM in base64. Of several certificates
// the first is taken, but all must be well-formed.
func ParseCertificateText(text string) (*x509.Certificate, error) {
	text, err := plainPEM(text)
	if err != nil {
		return nil, err
	}
	list, err := parseCertificates(text, maxCertificates)
	if err != nil {
		return nil, err
	}
	if err := CheckKey(list[0].PublicKey); err != nil {
		return nil, fmt.Errorf("certificate 1: %w", err)
	}
	return list[0], nil
}

// plainPEM takes the base64 off a PEM text that has some around it.
func plainPEM(text string) (string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "-----BEGIN ") || len(text) > maxPEM {
		return text, nil
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(decoded) == 0 {
		return "", errors.New("certificate: neither PEM nor PEM in base64")
	}
	return string(decoded), nil
}

// ParseTrustStore reads the cert or certChain of a Notary attestor: 1 to 64 certificates in PEM, or PEM in base64, each of
// which is trusted.
func ParseTrustStore(text string) ([]*x509.Certificate, error) {
	decoded, err := plainPEM(text)
	if err != nil {
		return nil, err
	}
	return parseAuthorities(decoded, maxRoots)
}

// ParseChain reads the certChain of a certificates attestor: 1 to 11 PEM certificates in their order.
func ParseChain(pemText string) ([]*x509.Certificate, error) {
	return parseAuthorities(pemText, maxCertificates)
}

// ParseRoots reads the roots of a keyless attestor: 1 to 64 PEM certificates.
func ParseRoots(pemText string) ([]*x509.Certificate, error) {
	return parseAuthorities(pemText, maxRoots)
}

// parseAuthorities refuses certificates whose keys are not fit to verify with.
func parseAuthorities(pemText string, limit int) ([]*x509.Certificate, error) {
	list, err := parseCertificates(pemText, limit)
	if err != nil {
		return nil, err
	}
	for i, c := range list {
		if err := CheckKey(c.PublicKey); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	return list, nil
}
