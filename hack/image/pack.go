package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nobody is the numeric user of the image. Kubernetes can check a number for runAsNonRoot, not a name.
const nobody = "65532:65532"

// binary is the program for one architecture.
type binary struct {
	Architecture string
	Content      []byte
}

// contents is what goes into the image.
type contents struct {
	Version string
	// Authorities is a PEM bundle; nil for none.
	Authorities []byte
	Binaries    []binary
}

// index packs one image per binary and an index over them.
func (c contents) index() (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range c.Binaries {
		img, err := c.image(b)
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", b.Architecture, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        img,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: b.Architecture}},
		})
	}
	return index, nil
}

func (c contents) image(b binary) (v1.Image, error) {
	layer, err := c.layer(b)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{
		Layer: layer, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "make image"},
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", b.Architecture, v1.Time{Time: epoch}
	config.Config = v1.Config{
		Entrypoint: []string{"/signet"}, Cmd: []string{"serve"}, User: nobody, WorkingDir: "/",
		ExposedPorts: map[string]struct{}{"9443/tcp": {}, "8000/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":    "signet",
			"org.opencontainers.image.version":  c.Version,
			"org.opencontainers.image.source":   "https://github.com/signet-policy/signet",
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(img, config)
}

// file is one entry of a tar file; a name that ends in a slash is a directory.
type file struct {
	name    string
	mode    int64
	content []byte
}

func (f file) writeTo(w *tar.Writer) error {
	h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: epoch, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
	if strings.HasSuffix(f.name, "/") {
		h.Typeflag = tar.TypeDir
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(f.content)
	return err
}

// layer holds the program, a /tmp, and the certificate authorities where Go looks for them.
func (c contents) layer(b binary) (v1.Layer, error) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	files := []file{{"signet", 0o755, b.Content}, {"tmp/", 0o1777, nil}}
	if c.Authorities != nil {
		files = append(files, file{"etc/ssl/certs/ca-certificates.crt", 0o644, c.Authorities})
	}
	for _, f := range files {
		if err := f.writeTo(w); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
}

// writeArchive writes an OCI image layout as a tar file that holds the index under the given name.
func writeArchive(path string, index v1.ImageIndex, name string) error {
	dir, err := os.MkdirTemp("", "signet-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	var options []layout.Option
	if name != "" {
		options = append(options, layout.WithAnnotations(map[string]string{
			"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name,
		}))
	}
	if err := l.AppendIndex(index, options...); err != nil {
		return err
	}
	names, err := layoutFiles(l)
	if err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	for _, n := range names {
		raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(n)))
		if err != nil {
			return err
		}
		if err := (file{n, 0o644, raw}).writeTo(w); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Close()
}
