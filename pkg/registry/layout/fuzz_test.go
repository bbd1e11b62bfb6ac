package layout

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/signet-policy/signet/pkg/fuzztest"
	"github.com/signet-policy/signet/pkg/image"
)

// FuzzIndex: an index.json is refused, or every tag that comes of it is one of content in the directory, by its digest.
func FuzzIndex(f *testing.F) {
	dir := f.TempDir()
	manifest := []byte(`{"schemaVersion": 2, "subject": {"digest": "sha256:x"}, "layers": []}`)
	digest := image.DigestOf(manifest)
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o700); err != nil {
		f.Fatal(err)
	}
	for name, content := range map[string]string{blobPath(digest): string(manifest), "oci-layout": `{"imageLayoutVersion": "1.0.0"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	entry := `{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 70, "digest": "` + digest.String() + `"`
	for _, s := range []string{
		`{"manifests": []}`, `{"manifests": [` + entry + `}]}`, `{"manifests": [` + entry + `, "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}`,
		`{"manifests": [` + entry + `, "annotations": {"io.containerd.image.name": "ghcr.io/acme/app:v1@sha256:"}}]}`,
		`{"manifests": [` + entry + `, "annotations": {"kind": "dev.cosignproject.cosign/image"}}, ` + entry + `, "annotations": {"kind": "dev.cosignproject.cosign/sigs"}}]}`,
		`{"manifests": [{"digest": "sha256:../../../../etc/passwd"}]}`, `[`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, "index.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		fuzztest.Bounded(t, 32<<20, 4000, len(b), func() {
			for _, spec := range []string{dir, "ghcr.io/acme/app=" + dir, "ghcr.io/acme/app:v1=" + dir} {
				s, err := Open([]string{spec})
				if err != nil {
					continue
				}
				for name, r := range s.repositories {
					for tag, d := range r.tags {
						if d.Digest != digest.String() || tag == "" {
							t.Errorf("%s:%s is %s", name, tag, d.Digest)
						}
						resp, err := r.RoundTrip(httptest.NewRequest(http.MethodGet, "/v2/x/manifests/v", nil))
						if err != nil {
							t.Fatal(err)
						}
						resp.Body.Close()
					}
				}
				s.Close()
			}
		})
	})
}
