package env

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// since is when everything here began to be trusted.
const since = "start-time=2024-01-01T00:00:00Z"

// The parts of a Sigstore that a trusted root may name.
const (
	TrustFulcio  = "fulcio"
	TrustCT      = "ct"
	TrustRekorV1 = "rekor-v1"
	TrustRekorV2 = "rekor-v2"
	TrustTSA     = "tsa"
	// TrustOther is the Fulcio whose certificates carry no SCT; it is named only when it is asked for.
	TrustOther = "fulcio-other"
)

// TrustEverything are the parts that a trusted root usually names.
func TrustEverything() []string {
	return []string{TrustFulcio, TrustCT, TrustRekorV1, TrustRekorV2, TrustTSA}
}

// TrustedRoot has cosign write a trusted root that names the parts.
func (s *Sigstore) TrustedRoot(ctx context.Context, c *Cosign, file string, parts ...string) error {
	all := map[string]string{
		TrustFulcio: fmt.Sprintf("--fulcio=url=%s,certificate-chain=%s", s.Fulcio.URL, s.Fulcio.TrustFile),
		TrustOther:  fmt.Sprintf("--fulcio=url=%s,certificate-chain=%s", s.Other.URL, s.Other.TrustFile),
		TrustCT:     fmt.Sprintf("--ctfe=url=%s,public-key=%s,%s", s.CT.URL, s.CT.PublicKeyFile, since),
		// A log of the first version has no origin in its log ID, one of the second has.
		TrustRekorV1: fmt.Sprintf("--rekor=url=%s,public-key=%s,%s", s.RekorV1.URL, s.RekorV1.TrustFile, since),
		TrustRekorV2: fmt.Sprintf("--rekor=url=http://%s,public-key=%s,%s,origin=%s", s.RekorV2.Origin, s.RekorV2.PublicKeyFile, since, s.RekorV2.Origin),
		TrustTSA:     fmt.Sprintf("--tsa=url=%s,certificate-chain=%s", s.TSA.URL, s.TSA.TrustFile),
	}
	args := []string{"trusted-root", "create", "--out", file}
	for _, part := range parts {
		args = append(args, all[part])
	}
	_, err := c.Must(ctx, args...)
	return err
}

// Cosign prepares a cosign that trusts everything here, with its home in dir. It signs as the Way says that Signing is
// asked for.
func (s *Sigstore) Cosign(ctx context.Context, dir string, registry *Registry) (*Cosign, error) {
	c, err := newCosign(dir, registry)
	if err != nil {
		return nil, err
	}
	if err := s.TrustedRoot(ctx, c, c.TrustedRoot, TrustEverything()...); err != nil {
		return nil, fmt.Errorf("preparing cosign: %w", err)
	}
	c.Env = append(c.Env, "COSIGN_TRUSTED_ROOT="+c.TrustedRoot)
	return c, nil
}

// Way is how something is signed.
type Way struct {
	// Legacy asks for cosign 2's format, whose only log is Rekor v1; else the signature is a bundle.
	Legacy bool
	// Referrer attaches cosign 2's format by the referrers API instead of a tag, which is an experiment of cosign's.
	Referrer bool
	// Log is the version of Rekor, 1 or 2; zero is none.
	Log int
	// Stamped asks the timestamp authority for a timestamp.
	Stamped bool
	// Other has the Fulcio without a certificate log certify the signer.
	Other bool
}

// String is the way in words that can stand in names.
func (w Way) String() string {
	words := []string{"bundle"}
	if w.Legacy {
		words[0] = "legacy"
	}
	if w.Log > 0 {
		words = append(words, fmt.Sprintf("rekor-v%d", w.Log))
	}
	if w.Stamped {
		words = append(words, "stamped")
	}
	if w.Referrer {
		words = append(words, "referrer")
	}
	if w.Other {
		words = append(words, "other")
	}
	return strings.Join(words, "-")
}

// Signing is the cosign c, made to sign that way. Every flag has a variable, so the command lines stay short.
func (s *Sigstore) Signing(ctx context.Context, c *Cosign, w Way) (*Cosign, error) {
	fulcio := s.Fulcio
	if w.Other {
		// cosign looks at what it was given, and in one format for the SCT that this one does not give.
		root := filepath.Join(c.Dir, w.String()+"-root.json")
		if err := s.TrustedRoot(ctx, c, root, TrustOther, TrustRekorV1, TrustRekorV2, TrustTSA); err != nil {
			return nil, err
		}
		fulcio, c = s.Other, c.With("COSIGN_INSECURE_SKIP_VERIFY=true", "COSIGN_TRUSTED_ROOT="+root)
	}
	if w.Legacy {
		vars := []string{
			"COSIGN_SIGNING_CONFIG=", "COSIGN_USE_SIGNING_CONFIG=false", "COSIGN_NEW_BUNDLE_FORMAT=false",
			"COSIGN_FULCIO_URL=" + fulcio.URL, "COSIGN_REKOR_URL=" + s.RekorV1.URL, fmt.Sprintf("COSIGN_TLOG_UPLOAD=%t", w.Log == 1),
		}
		if w.Referrer {
			vars = append(vars, "COSIGN_EXPERIMENTAL=1", "COSIGN_REGISTRY_REFERRERS_MODE=oci-1-1")
		}
		if w.Stamped {
			vars = append(vars, "COSIGN_TIMESTAMP_SERVER_URL="+s.TSA.URL)
		}
		return c.With(vars...), nil
	}
	file := filepath.Join(c.Dir, w.String()+"-config.json")
	args := []string{"signing-config", "create", "--out", file, fmt.Sprintf("--fulcio=url=%s,api-version=1,%s,operator=local", fulcio.URL, since)}
	switch w.Log {
	case 1:
		args = append(args, fmt.Sprintf("--rekor=url=%s,api-version=1,%s,operator=local", s.RekorV1.URL, since), "--rekor-config=ANY")
	case 2:
		args = append(args, fmt.Sprintf("--rekor=url=%s,api-version=2,%s,operator=local", s.RekorV2.URL, since), "--rekor-config=ANY")
	}
	if w.Stamped {
		args = append(args, fmt.Sprintf("--tsa=url=%s,api-version=1,%s,operator=local", s.TSA.URL, since), "--tsa-config=ANY")
	}
	if _, err := c.Must(ctx, args...); err != nil {
		return nil, err
	}
	return c.With("COSIGN_SIGNING_CONFIG=" + file), nil
}
