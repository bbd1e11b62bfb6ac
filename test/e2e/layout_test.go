package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/env"
	"github.com/signet-policy/signet/testdata/corpus"
)

// What the real cosign saves of an image is verified without the registry that it came from.
func TestSavedByCosign(t *testing.T) {
	t.Parallel()
	const repository = "acme/key-notlog-v3-legacy"
	s := registrytest.New(t)
	s.Load(corpus.Images(), func(name string) bool { return name == repository })
	dir := filepath.Join(t.TempDir(), "saved")
	if _, err := shared.cosign.Must(t.Context(), "save", "--allow-http-registry", "--dir", dir, s.Host()+"/"+repository+":v1"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for key, code := range map[string]int{"trust/cosign.pub": 0, "trust/other.pub": 1} {
		got, err := env.RunCommand(t.Context(), t.TempDir(), nil, shared.binary, "verify", "ghcr.io/acme/saved:v1", "--oci-layout", "ghcr.io/acme/saved:v1="+dir,
			"--key", filepath.Join(corpus.Dir(), key), "--insecure-ignore-tlog")
		if err != nil {
			t.Fatal(err)
		}
		if got.Code != code || !strings.Contains(got.Stdout, "ghcr.io/acme/saved:v1") {
			t.Errorf("%s: exit %d\n%s%s", key, got.Code, got.Stdout, got.Stderr)
		}
	}
}
