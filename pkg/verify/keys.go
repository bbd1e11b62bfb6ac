package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	// maxPEM bounds PEM text in bytes, and maxKeys how many keys it may hold.
	maxPEM  = 256 << 10
	maxKeys = 64
	// maxChain bounds the certificates of a timestamp authority.
	maxChain = 12
	// RSA moduli in bits: below, factoring is within reach; above, one signature costs too much time.
	minRSA, maxRSA = 2048, 8192
)

const endPublicKey = "-----END PUBLIC KEY-----"

// ParseKeys reads the public keys of a key attestor. The text is cut after each end line of a PUBLIC KEY block, so that
// several blocks are several keys, in their order (VI 6.4(1)). Each piece is exactly one PEM block, PUBLIC KEY (PKIX) or
// RSA PUBLIC KEY (PKCS #1), with blanks around it at most. Keys are ECDSA on P-256, P-384 or P-521, RSA of 2048 to 8192
// bits, or Ed25519; everything else, private keys and certificates included, is an error that says what was found.
func ParseKeys(pemText string) ([]crypto.PublicKey, error) {
	if len(pemText) > maxPEM {
		return nil, fmt.Errorf("public keys: longer than %d bytes", maxPEM)
	}
	if strings.TrimSpace(pemText) == "" {
		return nil, errors.New("public keys: empty")
	}
	var keys []crypto.PublicKey
	for _, piece := range strings.SplitAfter(pemText, endPublicKey) {
		if piece = strings.TrimSpace(piece); piece == "" {
			continue
		}
		if len(keys) == maxKeys {
			return nil, fmt.Errorf("public keys: more than %d", maxKeys)
		}
		key, err := parseKey(piece)
		if err != nil {
			return nil, fmt.Errorf("public key %d: %w", len(keys)+1, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseKey(piece string) (crypto.PublicKey, error) {
	block, err := onlyBlock(piece)
	if err != nil {
		return nil, err
	}
	var key crypto.PublicKey
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		return nil, errors.New("it is a certificate, not a public key")
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, errors.New("it is a private key; a policy must never hold one")
		}
		return nil, fmt.Errorf("a PEM block of type %.40q is no public key", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("malformed: %w", err)
	}
	return key, CheckKey(key)
}

// CheckKey tells why a public key is not fit to verify signatures with, nil if it is.
func CheckKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("the curve %s is not supported (P-256, P-384, P-521)", k.Curve.Params().Name)
	case *rsa.PublicKey:
		switch bits := k.N.BitLen(); {
		case bits < minRSA || bits > maxRSA:
			return fmt.Errorf("an RSA key of %d bits is not supported (%d to %d)", bits, minRSA, maxRSA)
		case k.E < 3 || k.E%2 == 0 || k.N.Bit(0) == 0:
			return errors.New("the RSA key has an unusable exponent or modulus")
		}
		return nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return errors.New("the Ed25519 key has a wrong size")
		}
		return nil
	default:
		return fmt.Errorf("keys of type %T are not supported (ECDSA, RSA, Ed25519)", key)
	}
}

// onlyBlock reads text that is one PEM block and nothing else.
func onlyBlock(text string) (*pem.Block, error) {
	if !strings.HasPrefix(text, "-----BEGIN ") {
		return nil, errors.New("not PEM: the text does not begin with a BEGIN line")
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("not PEM: no block that begins and ends")
	case len(block.Bytes) == 0, strings.Count(text[:len(text)-len(rest)], "-----BEGIN ") != 1:
		// The decoder passes over a broken block to the next one.
		return nil, errors.New("not PEM: the first block is broken")
	case len(block.Headers) > 0:
		return nil, errors.New("PEM headers are not allowed")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("text after the PEM block")
	}
	return block, nil
}

// ParseHash reads the name of a signature hash: sha224, sha256, sha384 or sha512; empty is sha256.
func ParseHash(name string) (crypto.Hash, error) {
	switch name {
	case "", "sha256":
		return crypto.SHA256, nil
	case "sha224":
		return crypto.SHA224, nil
	case "sha384":
		return crypto.SHA384, nil
	case "sha512":
		return crypto.SHA512, nil
	default:
		return 0, fmt.Errorf("unknown signature algorithm %.40q (sha224, sha256, sha384, sha512)", name)
	}
}

// ParseCertificates reads the chain of a timestamp authority: 1 to 12 PEM certificates, blanks around them at most, in the
// order of the text.
func ParseCertificates(pemText string) ([]*x509.Certificate, error) {
	return parseCertificates(pemText, maxChain)
}

func parseCertificates(pemText string, limit int) ([]*x509.Certificate, error) {
	if len(pemText) > maxPEM {
		return nil, fmt.Errorf("certificates: longer than %d bytes", maxPEM)
	}
	const end = "-----END CERTIFICATE-----"
	var chain []*x509.Certificate
	for _, piece := range strings.SplitAfter(pemText, end) {
		if piece = strings.TrimSpace(piece); piece == "" {
			continue
		}
		if len(chain) == limit {
			return nil, fmt.Errorf("certificates: more than %d", limit)
		}
		block, err := onlyBlock(piece)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("certificate %d: a PEM block of type %.40q is no certificate", len(chain)+1, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: malformed: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("certificates: empty")
	}
	return chain, nil
}
