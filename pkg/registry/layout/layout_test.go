package layout_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/layout"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeSigning  = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeBundle   = "application/vnd.dev.sigstore.bundle.v0.3+json"
	refName      = "org.opencontainers.image.ref.name"
)

// written is a directory with an image, a signature tag of it and a referrer of it; edit changes index.json.
type written struct {
	dir           string
	image, signed string
	referrer      string
	index         registrytest.Index
}

func write(t *testing.T, edit func(w *written)) *written {
	t.Helper()
	s := registrytest.New(t)
	w := &written{image: s.PushImage("a", "v1", []byte("image"))}
	w.signed = s.AttachTag("a", w.image, "sig", registrytest.Layer{MediaType: typeSigning, Payload: []byte(`{"by": "tag"}`)})
	w.referrer = s.Attach("a", w.image, typeBundle, typeBundle, nil, []byte(`{"by": "referrer"}`))
	w.dir = s.WriteLayouts(t.TempDir())["a"]
	b, err := os.ReadFile(filepath.Join(w.dir, "index.json"))
	if err == nil {
		err = json.Unmarshal(b, &w.index)
	}
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(w)
	}
	w.save(t, "index.json", w.index)
	return w
}

func (w *written) save(t *testing.T, name string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, name), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// annotate gives the entry with the digest other annotations.
func (w *written) annotate(digest string, annotations map[string]string) {
	for i := range w.index.Manifests {
		if w.index.Manifests[i].Digest == digest {
			w.index.Manifests[i].Annotations = annotations
		}
	}
}

func (w *written) blob(digest string) string {
	return filepath.Join(w.dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func client(t *testing.T, specs ...string) *registry.Client {
	t.Helper()
	set, err := layout.Open(specs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	// No network: what is no directory's is asked for in vain.
	c, err := registry.New(registry.Options{Local: set.Repository, Limits: registry.Limits{Tries: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t *testing.T, s string) image.Ref {
	t.Helper()
	r, err := image.Parse(s, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// payloads are what is attached to an image, and where it was found.
func payloads(t *testing.T, c *registry.Client, name string) (digest string, found []string) {
	t.Helper()
	pinned, err := c.Resolve(t.Context(), parse(t, name))
	if err != nil {
		return reason.Of(err).Text, nil
	}
	if err := c.Exists(t.Context(), pinned); err != nil {
		return reason.Of(err).Text, nil
	}
	attached, err := c.Attached(t.Context(), pinned, image.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attached.Artifacts {
		found = append(found, strings.ReplaceAll(a.Place, pinned.Digest().Hex(), "HEX")+" "+string(a.Payload))
	}
	for _, p := range attached.Problems {
		found = append(found, p.Error())
	}
	return string(pinned.Digest()), found
}

const (
	byTag      = `tag sha256-HEX.sig {"by": "tag"}`
	byReferrer = `referrers API {"by": "referrer"}`
)

// The ways in which tools name what they write, and in which users do.
func TestNames(t *testing.T) {
	t.Parallel()
	cosign := func(kind, name string) map[string]string {
		a := map[string]string{"kind": "dev.cosignproject.cosign/" + kind}
		if name != "" {
			a[refName] = name
		}
		return a
	}
	all := []string{byTag, byReferrer}
	for name, c := range map[string]struct {
		edit func(w *written)
		// spec has DIR for the directory.
		spec, image string
		want        []string
	}{
		"a repository by the user":          {nil, "ghcr.io/acme/app=DIR", "ghcr.io/acme/app:v1", all},
		"the same host in another spelling": {nil, "GHCR.io/acme/app=DIR", "ghcr.io/acme/app:v1", all},
		"Docker Hub":                        {nil, "nginx=DIR", "docker.io/library/nginx:v1", all},
		"Docker Hub, the other way around":  {nil, "index.docker.io/library/nginx=DIR", "nginx:v1", all},
		"containerd's full name": {func(w *written) {
			w.annotate(w.image, map[string]string{"io.containerd.image.name": "ghcr.io/acme/app:v2", refName: "v2"})
		}, "DIR", "ghcr.io/acme/app:v2", all},
		"a full name as the reference":         {func(w *written) { w.annotate(w.image, map[string]string{refName: "ghcr.io/acme/app:v2"}) }, "DIR", "ghcr.io/acme/app:v2", all},
		"a full name, and another by the user": {func(w *written) { w.annotate(w.image, map[string]string{refName: "ghcr.io/acme/app:v2"}) }, "mirror.example/app=DIR", "mirror.example/app:v2", all},
		"a tag by the user for a nameless one": {func(w *written) { w.annotate(w.image, nil) }, "ghcr.io/acme/app:v3=DIR", "ghcr.io/acme/app:v3", all},
		"a tag by the user that is there":      {nil, "ghcr.io/acme/app:v1=DIR", "ghcr.io/acme/app:v1", all},
		"cosign save": {func(w *written) {
			w.annotate(w.image, cosign("image", ""))
			w.annotate(w.signed, cosign("sigs", ""))
		}, "ghcr.io/acme/app:v1=DIR", "ghcr.io/acme/app:v1", all},
		"cosign save with names": {func(w *written) {
			w.annotate(w.image, cosign("image", "ghcr.io/acme/app:v1"))
			w.annotate(w.signed, cosign("sigs", "ghcr.io/acme/app:v1"))
		}, "DIR", "ghcr.io/acme/app:v1", all},
		"a name by digest is none": {func(w *written) { w.annotate(w.image, map[string]string{refName: w.image}) }, "ghcr.io/acme/app:v9=DIR", "ghcr.io/acme/app:v9", all},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := write(t, c.edit)
			digest, found := payloads(t, client(t, strings.Replace(c.spec, "DIR", w.dir, 1)), c.image)
			if digest != w.image {
				t.Errorf("%s, want %s", digest, w.image)
			}
			if d := cmp.Diff(c.want, found); d != "" {
				t.Error(d)
			}
		})
	}
}

// What is in several directories is together what a repository holds.
func TestSeveral(t *testing.T) {
	t.Parallel()
	app := write(t, func(w *written) { w.index.Manifests = w.index.Manifests[:0] })
	images := write(t, func(w *written) {
		w.index.Manifests = []registrytest.Descriptor{{MediaType: typeManifest, Digest: w.image, Annotations: map[string]string{refName: "v1"}}}
	})
	signatures := write(t, func(w *written) {
		w.index.Manifests = []registrytest.Descriptor{{MediaType: typeManifest, Digest: w.referrer}}
		os.Remove(w.blob(w.image))
	})
	const name = "ghcr.io/acme/app"
	digest, found := payloads(t, client(t, name+"="+app.dir, name+"="+signatures.dir, name+"="+images.dir), name+":v1")
	if digest != images.image {
		t.Error(digest)
	}
	if d := cmp.Diff([]string{byReferrer}, found); d != "" {
		t.Error(d)
	}
	if _, err := layout.Open([]string{name + "=" + images.dir, name + "=" + write(t, func(w *written) {
		w.annotate(w.signed, map[string]string{refName: "v1"})
		w.annotate(w.image, nil)
	}).dir}); err == nil || !strings.Contains(err.Error(), `the tag "v1" of ghcr.io/acme/app is both`) {
		t.Error(err)
	}
}

// What is not there is told apart from what must not be read, and both from what has been changed.
func TestContent(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	const name = "ghcr.io/acme/app"
	for title, c := range map[string]struct {
		spoil func(w *written) error
		tag   string
		code  reason.Code
	}{
		"no such tag": {nil, "v2", reason.ImageNotFound},
		"taken away":  {func(w *written) error { return os.Remove(w.blob(w.image)) }, "v1", reason.ImageNotFound},
		"changed":     {func(w *written) error { return os.WriteFile(w.blob(w.image), []byte(`{"layers": []}`), 0o600) }, "v1", reason.DigestMismatch},
		"a link to the outside": {func(w *written) error {
			return errorsOf(os.Remove(w.blob(w.image)), os.Symlink(outside, w.blob(w.image)))
		}, "v1", reason.RegistryUnauthorized},
		"a link upwards": {func(w *written) error {
			return errorsOf(os.Remove(w.blob(w.image)), os.Symlink("../../../../../etc/passwd", w.blob(w.image)))
		}, "v1", reason.RegistryUnauthorized},
		"a pipe": {func(w *written) error {
			return errorsOf(os.Remove(w.blob(w.image)), syscall.Mkfifo(w.blob(w.image), 0o600))
		}, "v1", reason.RegistryUnauthorized},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w := write(t, nil)
			asked := client(t, name+"="+w.dir)
			if c.spoil != nil {
				if err := c.spoil(w); err != nil {
					t.Fatal(err)
				}
			}
			_, err := asked.Resolve(t.Context(), parse(t, name+":"+c.tag))
			if code := reason.Of(err).Code; code != c.code {
				t.Errorf("%s (%v), want %s", code, err, c.code)
			}
			if strings.Contains(err.Error(), "https://") || !strings.Contains(err.Error(), "oci-layout://ghcr.io/v2/acme/app/") {
				t.Error(err)
			}
		})
	}
}

// What is in the way of an honest answer is an error at once.
func TestRefused(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		spoil func(w *written)
		spec  string
		want  string
	}{
		"no names":       {nil, "DIR", "gives no image a full name"},
		"a digest":       {nil, "ghcr.io/acme/app@sha256:" + strings.Repeat("a", 64) + "=DIR", "a name without a digest"},
		"no name at all": {nil, "Not A Name=DIR", "bad image"},
		"no directory":   {nil, "ghcr.io/acme/app=DIR/none", "no such file"},
		"a file":         {nil, "ghcr.io/acme/app=DIR/index.json", "not a directory"},
		"no index":       {func(w *written) { os.Remove(filepath.Join(w.dir, "index.json")) }, "a=DIR", "no OCI image layout"},
		"no marker":      {func(w *written) { os.Remove(filepath.Join(w.dir, "oci-layout")) }, "a=DIR", "no OCI image layout"},
		"a marker of another": {func(w *written) {
			os.WriteFile(filepath.Join(w.dir, "oci-layout"), []byte(`{"imageLayoutVersion": "2.0"}`), 0o600)
		}, "a=DIR", `version "2.0" is not known`},
		"an index that is none": {func(w *written) { os.WriteFile(filepath.Join(w.dir, "index.json"), []byte(`[`), 0o600) }, "a=DIR", "index.json is not what it should be"},
		"a manifest is missing": {func(w *written) { os.Remove(w.blob(w.referrer)) }, "a=DIR", "no such file"},
		"a manifest is another": {func(w *written) { os.WriteFile(w.blob(w.referrer), []byte("{}"), 0o600) }, "a=DIR", "another digest"},
		"two without a name": {func(w *written) {
			w.annotate(w.image, nil)
			w.annotate(w.signed, nil)
			w.save(t, "index.json", w.index)
		}, "a:v5=DIR", "several images without a tag"},
		"none without a name": {nil, "a:v5=DIR", "no image without a tag"},
		"signatures of nothing": {func(w *written) {
			w.annotate(w.signed, map[string]string{"kind": "dev.cosignproject.cosign/sigs"})
			w.save(t, "index.json", w.index)
		}, "a=DIR", "names no image for the signatures"},
		"an unusable digest": {func(w *written) {
			w.index.Manifests[0].Digest = "sha256:../../../etc/passwd"
			w.save(t, "index.json", w.index)
		}, "a=DIR", "not a sha256 digest"},
		"too much": {func(w *written) {
			for range 16385 {
				w.index.Manifests = append(w.index.Manifests, w.index.Manifests[0])
			}
			w.save(t, "index.json", w.index)
		}, "a=DIR", "16384 are the limit"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w := write(t, nil)
			if c.spoil != nil {
				c.spoil(w)
			}
			set, err := layout.Open([]string{strings.Replace(c.spec, "DIR", w.dir, 1)})
			if err == nil || set != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
