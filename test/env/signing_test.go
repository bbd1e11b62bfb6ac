package env_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/signet-policy/signet/test/env"
)

// A signature made by the real cosign under a registry's real name, logged to a real Rekor, and verified again.
func TestSigningWithoutInternet(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	registry, err := env.StartRegistry(dir, "ghcr.io")
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Stop()
	rekor, err := env.StartRekor(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer rekor.Stop()
	cosign, err := env.NewCosign(ctx, dir, rekor, registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cosign.Must(ctx, "generate-key-pair"); err != nil {
		t.Fatal(err)
	}
	signed, unsigned := push(t, registry, "acme/signed:1"), push(t, registry, "acme/unsigned:1")

	if _, err := cosign.Must(ctx, "sign", "--key", "cosign.key", "ghcr.io/acme/signed@"+signed); err != nil {
		t.Fatal(err)
	}
	res, err := cosign.Must(ctx, "verify", "--key", "cosign.pub", "ghcr.io/acme/signed:1")
	if err != nil {
		t.Fatal(err)
	}
	if !contains(res.Stderr, "Verification for ghcr.io/acme/signed:1 --", "Existence of the claims in the transparency log was verified offline") {
		t.Errorf("verify did not check the log:\n%s", res.Stderr)
	}
	if res, err := cosign.Run(ctx, "verify", "--key", "cosign.pub", "ghcr.io/acme/unsigned@"+unsigned); err != nil || res.Code == 0 {
		t.Errorf("an unsigned image was verified: %+v, %v", res, err)
	}
	if res, err := cosign.Run(ctx, "verify", "--key", "cosign.pub", "quay.io/acme/signed:1"); err != nil || res.Code == 0 {
		t.Errorf("a host that is not ours was reached: %+v, %v", res, err)
	}

	bare, err := env.NewCosign(ctx, t.TempDir(), nil, registry)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := bare.Run(ctx, "verify", "--key", filepath.Join(dir, "cosign.pub"), "ghcr.io/acme/signed:1"); err != nil || res.Code == 0 {
		t.Errorf("verified against a log that is not trusted: %+v, %v", res, err)
	}

	mirrors := t.TempDir()
	if err := registry.WriteMirrors(mirrors); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(mirrors, "ghcr.io", "hosts.toml"))
	if err != nil || !contains(string(text), `[host."http://`+registry.Addr+`"]`) {
		t.Errorf("hosts.toml is %q, %v", text, err)
	}
}

// push puts a random image into the registry by its loopback address and returns its digest.
func push(t *testing.T, registry *env.Registry, repository string) string {
	t.Helper()
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(registry.Addr+"/"+repository, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
