package main

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var sample = contents{
	Version: "v1.2.3", Authorities: []byte("-----BEGIN CERTIFICATE-----\n"),
	Binaries: []binary{{"amd64", []byte("one program")}, {"arm64", []byte("another program")}},
}

func TestArchiveIsAnOCILayout(t *testing.T) {
	t.Parallel()
	index, err := sample.index()
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "signet.oci.tar")
	if err := writeArchive(archive, index, "example.test/signet:v1.2.3"); err != nil {
		t.Fatal(err)
	}
	dir := unpack(t, archive)
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(root); err != nil {
		t.Fatal(err)
	}
	top, err := root.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Manifests) != 1 || top.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "example.test/signet:v1.2.3" {
		t.Fatalf("the archive does not name the image: %+v", top.Manifests)
	}
	inner, err := root.ImageIndex(top.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := inner.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"amd64": "one program", "arm64": "another program"}
	got := map[string]string{}
	for _, d := range manifest.Manifests {
		img, err := inner.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Config.User != "65532:65532" || config.Architecture != d.Platform.Architecture || config.OS != "linux" {
			t.Errorf("configuration of %s: user %q, %s/%s", d.Platform, config.Config.User, config.OS, config.Architecture)
		}
		got[d.Platform.Architecture] = fileIn(t, img, "signet")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("programs in the images (-want +got):\n%s", diff)
	}
}

func TestArchiveIsReproducible(t *testing.T) {
	t.Parallel()
	var sums [2][sha256.Size]byte
	for i := range sums {
		index, err := sample.index()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "a.tar")
		if err := writeArchive(path, index, "example.test/signet:v1.2.3"); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(raw)
	}
	if sums[0] != sums[1] {
		t.Error("the same contents gave different archives")
	}
}

func TestArgumentsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no binaries":     {"--version=v1"},
		"no architecture": {"bin/signet"},
		"no such binary":  {"amd64=/does/not/exist"},
		"unknown flag":    {"--what"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := run(args); err == nil {
				t.Error("want an error")
			}
		})
	}
}

func fileIn(t *testing.T, img v1.Image, name string) string {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	return entries(t, r)[name]
}

func unpack(t *testing.T, archive string) string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	for name, content := range entries(t, f) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func entries(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	all := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		raw, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = string(raw)
	}
}
