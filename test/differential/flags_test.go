package differential

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/signet-policy/signet/test/env"
	"github.com/signet-policy/signet/testdata/corpus"
)

// errNoFlags is for a requirement that cosign has no flags for.
var errNoFlags = errors.New("cosign has no flags for it")

// command is one call of cosign, less the image.
type command struct {
	args []string
	env  []string
	own  trust
}

// commands translates a case's requirement: one call for the signatures, one for each attestation.
func commands(ctx context.Context, cosign *env.Cosign, c *corpus.Case, dir, registry string) ([]command, error) {
	r := &c.Requirement
	var out []command
	add := func(verb []string, sets []corpus.Set) error {
		if len(sets) != 1 || len(sets[0].Attestors) != 1 || sets[0].Attestors[0].Nested != nil {
			return fmt.Errorf("several attestors: %w", errNoFlags)
		}
		cmd, err := attestor(&sets[0].Attestors[0], dir)
		if err != nil {
			return err
		}
		annotations := sets[0].Attestors[0].Annotations
		if annotations == nil {
			annotations = r.Annotations
		}
		for _, k := range slices.Sorted(maps.Keys(annotations)) {
			if verb[0] != "verify" {
				return fmt.Errorf("annotations of an attestation: %w", errNoFlags)
			}
			if strings.ContainsAny(annotations[k], "*?") {
				return fmt.Errorf("a pattern for an annotation: %w", errNoFlags)
			}
			cmd.args = append(cmd.args, "-a", k+"="+annotations[k])
		}
		if repository := or(sets[0].Attestors[0].Repository, r.SignatureRepository); repository != "" {
			cmd.env = append(cmd.env, "COSIGN_REPOSITORY="+registry+"/"+repository)
		}
		if strings.Contains(c.Format, "oci11") {
			cmd.args = append(cmd.args, "--experimental-oci11")
			cmd.env = append(cmd.env, "COSIGN_EXPERIMENTAL=1")
		}
		if strings.Contains(c.Format, "chain") {
			cmd.args = append(cmd.args, "--allow-certificate-chain")
		}
		root := ""
		if r.TrustedRoot != "" {
			root = file(r.TrustedRoot)
		}
		if cmd.own.any() {
			if root, err = cmd.own.root(ctx, cosign, r.TrustedRoot, dir); err != nil {
				return err
			}
		}
		if root != "" {
			cmd.env = append(cmd.env, "COSIGN_TRUSTED_ROOT="+root)
		}
		cmd.args = append(slices.Clone(verb), cmd.args...)
		out = append(out, cmd)
		return nil
	}
	if len(r.Signatures) > 0 {
		if err := add([]string{"verify"}, r.Signatures); err != nil {
			return nil, err
		}
	}
	for i := range r.Attestations {
		a := &r.Attestations[i]
		if len(a.Conditions) > 0 && c.Expected == corpus.Refuse {
			return nil, fmt.Errorf("conditions: %w", errNoFlags)
		}
		if err := add([]string{"verify-attestation", "--type", a.PredicateType}, a.Attestors); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func file(name string) string { return filepath.Join(corpus.Dir(), name) }

// attestor is who must have signed, and with which proofs.
func attestor(a *corpus.Attestor, dir string) (command, error) {
	var cmd command
	if a.Hash != "" {
		cmd.args = append(cmd.args, "--signature-digest-algorithm", a.Hash)
	}
	if a.IgnoreTlog {
		cmd.args = append(cmd.args, "--insecure-ignore-tlog")
	}
	if a.IgnoreSCT {
		cmd.args = append(cmd.args, "--insecure-ignore-sct")
	}
	if a.TSAChain != "" {
		cmd.own.tsa = file(a.TSAChain)
	}
	if a.TSAChain != "" || a.IgnoreTlog && a.Keyless != nil {
		// Without a log only a timestamp tells the time, and cosign wants to be told.
		cmd.args = append(cmd.args, "--use-signed-timestamps")
	}
	if a.RekorKey != "" {
		cmd.own.rekor = file(a.RekorKey)
	}
	if a.CTLogKey != "" {
		return cmd, fmt.Errorf("a certificate log's key beside the trusted root: %w", errNoFlags)
	}
	var err error
	switch {
	case a.Keyless != nil:
		err = cmd.identity(a.Keyless)
	case a.Certificates != nil:
		err = cmd.certificates(a.Certificates, dir)
	case a.Key == "":
		err = fmt.Errorf("several keys: %w", errNoFlags)
	default:
		cmd.args = append(cmd.args, "--key", file(a.Key))
	}
	return cmd, err
}

// identity gives cosign patterns as regular expressions, and any where the policy asks nothing: cosign insists on both.
func (c *command) identity(k *corpus.Keyless) error {
	if k.Roots != "" {
		c.own.fulcio = file(k.Roots)
	}
	for _, part := range []struct{ flag, glob, expression string }{
		{"--certificate-identity", k.Subject, k.SubjectRegExp}, {"--certificate-oidc-issuer", k.Issuer, k.IssuerRegExp},
	} {
		switch {
		case part.glob != "" && part.expression != "":
			return fmt.Errorf("a pattern and an expression: %w", errNoFlags)
		case part.expression != "":
			c.args = append(c.args, part.flag+"-regexp", part.expression)
		case part.glob == "":
			c.args = append(c.args, part.flag+"-regexp", ".*")
		case strings.ContainsAny(part.glob, "*?"):
			text := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(part.glob))
			c.args = append(c.args, part.flag+"-regexp", "^"+text+"$")
		default:
			c.args = append(c.args, part.flag, part.glob)
		}
	}
	names := map[string]string{
		"githubWorkflowTrigger": "trigger", "githubWorkflowSha": "sha", "githubWorkflowName": "name",
		"githubWorkflowRepository": "repository", "githubWorkflowRef": "ref",
	}
	for _, key := range slices.Sorted(maps.Keys(k.Extensions)) {
		if names[key] == "" || strings.ContainsAny(k.Extensions[key], "*?") {
			return fmt.Errorf("the extension %s: %w", key, errNoFlags)
		}
		c.args = append(c.args, "--certificate-github-workflow-"+names[key], k.Extensions[key])
	}
	return nil
}

// certificates gives cosign a certificate without a chain as what it stands for, its key, and a chain as the trusted root's
// authorities. That a certificate with a chain is the only one that counts, cosign has no flag for.
func (c *command) certificates(from *corpus.Certificates, dir string) error {
	switch {
	case from.Chain == "":
		text, err := corpus.Read(from.Certificate)
		if err != nil {
			return err
		}
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			return fmt.Errorf("%s holds no PEM", from.Certificate)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKIXPublicKey(certificate.PublicKey)
		if err != nil {
			return err
		}
		key := filepath.Join(dir, filepath.Base(from.Certificate)+".pub")
		c.args = append(c.args, "--key", key)
		return os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
	default:
		c.own.fulcio = file(from.Chain)
		c.args = append(c.args, "--certificate-identity-regexp", ".*", "--certificate-oidc-issuer-regexp", ".*")
	}
	return nil
}
