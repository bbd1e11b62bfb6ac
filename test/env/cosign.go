package env

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Cosign runs the real cosign with its own home directory, password and trust, so that it needs neither the internet
// nor the developer's configuration.
type Cosign struct {
	// Dir is the working directory of every invocation: key files are written and read there.
	Dir string
	// TrustedRoot is the file made by `cosign trusted-root create`.
	TrustedRoot string
	// SigningConfig is the file made by `cosign signing-config create`.
	SigningConfig string
	// Env is added to the environment. Cosign reads every flag from a variable COSIGN_<FLAG>, so the trust of this place
	// is given here and the command lines stay those of a public setting.
	Env []string

	path string
}

// NewCosign prepares a home in dir. With a log, signatures are logged there and must be found there; with nil, trusted
// root and signing config are empty and `--insecure-ignore-tlog` is needed to verify. With a registry, its hosts are
// reached under their own names.
func NewCosign(ctx context.Context, dir string, rekor *Rekor, registry *Registry) (*Cosign, error) {
	c, err := newCosign(dir, registry)
	if err != nil {
		return nil, err
	}
	root := []string{"trusted-root", "create", "--out", c.TrustedRoot}
	config := []string{"signing-config", "create", "--out", c.SigningConfig}
	if rekor != nil {
		root = append(root, fmt.Sprintf("--rekor=url=http://%s,public-key=%s,%s,origin=%s", rekor.Origin, rekor.PublicKeyFile, since, rekor.Origin))
		config = append(config, fmt.Sprintf("--rekor=url=%s,api-version=2,%s,operator=local", rekor.URL, since), "--rekor-config=ANY")
	}
	for _, args := range [][]string{root, config} {
		if _, err := c.Must(ctx, args...); err != nil {
			return nil, fmt.Errorf("preparing cosign: %w", err)
		}
	}
	c.Env = append(c.Env, "COSIGN_TRUSTED_ROOT="+c.TrustedRoot, "COSIGN_SIGNING_CONFIG="+c.SigningConfig)
	return c, nil
}

// newCosign prepares a home in dir, without any trust.
func newCosign(dir string, registry *Registry) (*Cosign, error) {
	path, err := Tool("cosign")
	if err != nil {
		return nil, err
	}
	c := &Cosign{
		Dir: dir, path: path,
		TrustedRoot: filepath.Join(dir, "trusted_root.json"), SigningConfig: filepath.Join(dir, "signing_config.json"),
	}
	home := filepath.Join(dir, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("preparing cosign: %w", err)
	}
	c.Env = []string{"HOME=" + home, "COSIGN_PASSWORD=signet", "COSIGN_YES=true", "DOCKER_CONFIG=" + home}
	if registry != nil {
		c.Env = append(c.Env, registry.ClientEnv()...)
	}
	return c, nil
}

// With is the same cosign with more environment variables; an empty one takes a flag's value away.
func (c *Cosign) With(variables ...string) *Cosign {
	d := *c
	d.Env = append(append([]string(nil), c.Env...), variables...)
	return &d
}

// Run runs cosign. A cosign that fails is a Result with its code; the error is for one that could not run.
func (c *Cosign) Run(ctx context.Context, args ...string) (Result, error) {
	return RunCommand(ctx, c.Dir, c.Env, c.path, args...)
}

// Must runs cosign and turns a failure into an error with what it printed.
func (c *Cosign) Must(ctx context.Context, args ...string) (Result, error) {
	r, err := c.Run(ctx, args...)
	if err == nil {
		err = r.OK()
	}
	if err != nil {
		return r, fmt.Errorf("cosign %v: %w", args, err)
	}
	return r, nil
}
