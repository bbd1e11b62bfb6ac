package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// startScript is the lab's build/start-ws.sh.
const startScript = `#!/bin/sh

/bin/nc -l -k -p ${NCAT_PORT} -e /bin/echo -e "${NCAT_HEADER}\n\n${NCAT_MESSAGE}"
`

// labImage is what the lab's Dockerfile makes, less the base image: there is no internet to get busybox from, and no
// node here that would run it.
func labImage(message string) (v1.Image, error) {
	return image(map[string]string{"usr/local/bin/start-ws.sh": startScript}, v1.Config{
		Labels: map[string]string{"org.opencontainers.image.description": "Kiratech Training Labs Sample Containter"},
		Env:    []string{"NCAT_MESSAGE=" + message, "NCAT_HEADER=HTTP/1.1 200 OK", "NCAT_PORT=8888"},
		User:   "nonroot",
		Cmd:    []string{"/usr/local/bin/start-ws.sh"},
	})
}

// nginxImage stands in for Docker Hub's nginx: what matters is that nobody signed it with our key.
func nginxImage() (v1.Image, error) {
	return image(map[string]string{"etc/nginx/nginx.conf": "events {}\n"}, v1.Config{Cmd: []string{"nginx", "-g", "daemon off;"}})
}

// image is one layer of files and a configuration.
func image(files map[string]string, config v1.Config) (v1.Image, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for path, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, content); err != nil {
			return nil, err
		}
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
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", "amd64", config
	return mutate.ConfigFile(img, file)
}

// push puts an image into the playground's registry, by its loopback address, and returns the digest.
func (p *playground) push(ctx context.Context, repositoryAndTag string, img v1.Image) (digest string, err error) {
	tag, err := name.NewTag(p.registry.Addr+"/"+repositoryAndTag, name.Insecure)
	if err != nil {
		return "", fmt.Errorf("pushing %s: %w", repositoryAndTag, err)
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("pushing %s: %w", repositoryAndTag, err)
	}
	d, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("pushing %s: %w", repositoryAndTag, err)
	}
	return d.String(), nil
}
