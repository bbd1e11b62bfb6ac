package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/signet-policy/signet/test/env"
)

const sandboxImage = "node.local/pause:1"

// program is an image with bin/ncat, which answers on the port if one is given.
func program(message string, port string) (v1.Image, error) {
	raw, err := os.ReadFile(filepath.Join(env.Root(), programFile))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "ncat", Mode: 0o755, Size: int64(len(raw))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config := &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, Config: v1.Config{Entrypoint: []string{"/ncat"}, User: "65532"}}
	if port != "" {
		config.Config.Env = []string{"NCAT_MESSAGE=" + message, "NCAT_HEADER=HTTP/1.1 200 OK", "NCAT_PORT=" + port}
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config.RootFS = file.RootFS
	return mutate.ConfigFile(img, config)
}

// writeSandboxImage writes the image of Pods' sandboxes as an archive for ctr.
func writeSandboxImage(path string) error {
	img, err := program("", "")
	if err != nil {
		return err
	}
	tag, err := name.NewTag(sandboxImage)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(path, tag, img)
}

// push puts an image into the registry and returns its digest.
func (m *machine) push(ctx context.Context, repositoryAndTag string, img v1.Image) (digest string, err error) {
	tag, err := name.NewTag(m.registry.Addr+"/"+repositoryAndTag, name.Insecure)
	if err != nil {
		return "", err
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("pushing %s: %w", repositoryAndTag, err)
	}
	d, err := img.Digest()
	return d.String(), err
}

// pushSignet pushes the archive of `make image` under the name in config/manager/kustomization.yaml.
func (m *machine) pushSignet(ctx context.Context) error {
	dir := filepath.Join(m.dir, "signet-image")
	if err := unpack(filepath.Join(env.Root(), imageFile), dir); err != nil {
		return fmt.Errorf("unpacking Signet's image: %w", err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return fmt.Errorf("reading Signet's image: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		return fmt.Errorf("reading Signet's image: %d manifests instead of an index: %w", len(manifest.Manifests), err)
	}
	platforms, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return fmt.Errorf("reading Signet's image: %w", err)
	}
	tag, err := name.NewTag(m.registry.Addr+"/signet-policy/signet:v0.1.0", name.Insecure)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(tag, platforms, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("pushing Signet's image: %w", err)
	}
	return nil
}

func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		w, err := os.Create(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, r)
		if err := errors.Join(err, w.Close()); err != nil {
			return err
		}
	}
}
