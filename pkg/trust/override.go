package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// maxPEM bounds a file of keys or certificates in bytes, and maxBlocks what is in it.
const (
	maxPEM    = 1 << 20
	maxBlocks = 100
)

// Root is what supplies a trusted root: Source, Live, TUF and Override.
type Root interface {
	// Material is the parsed root. Only that of TUF may wait for it, as long as ctx lasts.
	Material(ctx context.Context) (root.TrustedMaterial, error)
	// Generation changes whenever the root does.
	Generation() string
}

var _, _, _, _ Root = (*Source)(nil), (*Live)(nil), (*TUF)(nil), (*Override)(nil)

// Overrides are PEM files that each take the place of one part of the trusted root, as cosign's environment variables
// do. An empty path leaves the part as it is.
type Overrides struct {
	// Authorities (SIGSTORE_ROOT_FILE) are certificates: the self-issued ones are roots, the others stand below them.
	Authorities string
	// Rekor (SIGSTORE_REKOR_PUBLIC_KEY) are public keys of Rekor v1 logs.
	Rekor string
	// CTLog (SIGSTORE_CT_LOG_PUBLIC_KEY_FILE) are public keys of certificate logs.
	CTLog string
}

// Override is a root of which parts are replaced.
type Override struct {
	base        Root
	authorities []root.CertificateAuthority
	rekor, ct   map[string]*root.TransparencyLog
	generation  string
}

// Override reads the files and puts what they hold over the root. Without any file it is the root itself.
func (o Overrides) Override(base Root) (Root, error) {
	if o == (Overrides{}) {
		return base, nil
	}
	out, sum := &Override{base: base}, sha256.New()
	for _, part := range []struct {
		name, path string
		set        func([]byte) error
	}{
		{"SIGSTORE_ROOT_FILE", o.Authorities, func(b []byte) (err error) { out.authorities, err = parseAuthorities(b); return err }},
		{"SIGSTORE_REKOR_PUBLIC_KEY", o.Rekor, func(b []byte) (err error) { out.rekor, err = parseLogs(b); return err }},
		{"SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", o.CTLog, func(b []byte) (err error) { out.ct, err = parseLogs(b); return err }},
	} {
		if part.path == "" {
			continue
		}
		b, err := readFile(part.path, maxPEM)
		if err == nil {
			err = part.set(b)
		}
		if err != nil {
			return nil, fmt.Errorf("%s=%.256s: %w", part.name, part.path, err)
		}
		fmt.Fprintf(sum, "%s %x\n", part.name, sha256.Sum256(b))
	}
	out.generation = hex.EncodeToString(sum.Sum(nil))
	return out, nil
}

// Material is the base's root with the replaced parts.
func (o *Override) Material(ctx context.Context) (root.TrustedMaterial, error) {
	m, err := o.base.Material(ctx)
	if err != nil {
		return nil, err
	}
	return &overridden{TrustedMaterial: m, Override: o}, nil
}

// Generation names both the base's root and what is over it.
func (o *Override) Generation() string { return o.base.Generation() + "+" + o.generation }

type overridden struct {
	root.TrustedMaterial
	*Override
}

func (m *overridden) FulcioCertificateAuthorities() []root.CertificateAuthority {
	if m.authorities != nil {
		return m.authorities
	}
	return m.TrustedMaterial.FulcioCertificateAuthorities()
}

func (m *overridden) RekorLogs() map[string]*root.TransparencyLog {
	if m.rekor != nil {
		return m.rekor
	}
	return m.TrustedMaterial.RekorLogs()
}

func (m *overridden) CTLogs() map[string]*root.TransparencyLog {
	if m.ct != nil {
		return m.ct
	}
	return m.TrustedMaterial.CTLogs()
}

// parseAuthorities makes one authority of each root, all with the same intermediates.
func parseAuthorities(b []byte) ([]root.CertificateAuthority, error) {
	var roots, intermediates []*x509.Certificate
	err := eachBlock(b, func(block *pem.Block) error {
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("%.40q is not a certificate", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return err
		case !c.IsCA:
			return errors.New("a certificate is not that of an authority")
		case bytes.Equal(c.RawIssuer, c.RawSubject):
			roots = append(roots, c)
		default:
			intermediates = append(intermediates, c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(roots) == 0 {
		return nil, errors.New("there is no root certificate in it")
	}
	var list []root.CertificateAuthority
	for _, r := range roots {
		list = append(list, &root.FulcioCertificateAuthority{Root: r, Intermediates: intermediates})
	}
	return list, nil
}

// parseLogs reads public keys of logs, which are named by the hash of their key.
func parseLogs(b []byte) (map[string]*root.TransparencyLog, error) {
	logs := map[string]*root.TransparencyLog{}
	err := eachBlock(b, func(block *pem.Block) error {
		if block.Type != "PUBLIC KEY" {
			return fmt.Errorf("%.40q is not a public key", block.Type)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return err
		}
		hash, err := logHash(key)
		if err != nil {
			return err
		}
		id := sha256.Sum256(block.Bytes)
		logs[hex.EncodeToString(id[:])] = &root.TransparencyLog{
			ID: id[:], PublicKey: key, HashFunc: crypto.SHA256, SignatureHashFunc: hash, ValidityPeriodStart: time.Unix(0, 0),
		}
		return nil
	})
	return logs, err
}

// logHash is the hash that a log with the key signs with. Weak keys are refused.
func logHash(key any) (crypto.Hash, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return crypto.SHA256, nil
		case elliptic.P384():
			return crypto.SHA384, nil
		case elliptic.P521():
			return crypto.SHA512, nil
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 {
			return crypto.SHA256, nil
		}
	case ed25519.PublicKey:
		return crypto.SHA256, nil
	}
	return 0, errors.New("a key is weak or of an unknown kind")
}

// eachBlock calls f for every PEM block. Anything else in the file, and a file without any, is an error.
func eachBlock(b []byte, f func(*pem.Block) error) error {
	for n := 0; ; n++ {
		b = bytes.TrimSpace(b)
		if len(b) == 0 && n > 0 {
			return nil
		}
		if n == maxBlocks {
			return fmt.Errorf("more than %d PEM blocks", maxBlocks)
		}
		if !bytes.HasPrefix(b, []byte("-----BEGIN ")) {
			return errors.New("not PEM")
		}
		block, rest := pem.Decode(b)
		// A broken block would be passed over silently.
		if block == nil || bytes.Count(b[:len(b)-len(rest)], []byte("-----BEGIN ")) != 1 {
			return errors.New("broken PEM")
		}
		if err := f(block); err != nil {
			return err
		}
		b = rest
	}
}

// readFile reads a file of at most max bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return b, nil
}
