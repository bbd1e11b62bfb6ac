package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/env"
)

// signedImages are the images that cosign signed, to be copied to the repositories of tests. A signature is about a
// digest and holds wherever its image goes.
type signedImages struct {
	// key and strangerKey are the public keys of the signer that policies trust and of another one, in PEM.
	key, strangerKey string
	// signed is signed by key in cosign 3's format, with an entry in the log; second is another such image.
	signed, second artifact
	// older is signed by key in cosign 2's format, without an entry in a log.
	older artifact
	// foreign is signed by strangerKey, with an entry in the log.
	foreign artifact
}

// artifact is an image with what cosign attached to it.
type artifact struct {
	digest    string
	manifests []manifest
	blobs     [][]byte
}

type manifest struct {
	tag, mediaType string
	content        []byte
}

// signImages makes the images with the real cosign.
func signImages(ctx context.Context, r *registrytest.Server, cosign *env.Cosign) (*signedImages, error) {
	out := &signedImages{}
	for prefix, pem := range map[string]*string{"cosign": &out.key, "stranger": &out.strangerKey} {
		if _, err := cosign.Must(ctx, "generate-key-pair", "--output-key-prefix="+prefix); err != nil {
			return nil, err
		}
		raw, err := os.ReadFile(filepath.Join(cosign.Dir, prefix+".pub"))
		if err != nil {
			return nil, err
		}
		*pem = string(raw)
	}
	older := []string{"--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false"}
	for repository, s := range map[string]struct {
		to   *artifact
		key  string
		args []string
		with *env.Cosign
	}{
		"source/signed":  {&out.signed, "cosign.key", nil, cosign},
		"source/second":  {&out.second, "cosign.key", nil, cosign},
		"source/foreign": {&out.foreign, "stranger.key", nil, cosign},
		"source/older":   {&out.older, "cosign.key", older, cosign.With("COSIGN_SIGNING_CONFIG=")},
	} {
		digest := r.PushImage(repository, "1", nil)
		args := append(append([]string{"sign", "--key", s.key}, s.args...), r.Host()+"/"+repository+"@"+digest)
		if _, err := s.with.Must(ctx, args...); err != nil {
			return nil, err
		}
		a, err := collect(r, repository, digest)
		if err != nil {
			return nil, err
		}
		if len(a.manifests) < 2 {
			return nil, fmt.Errorf("cosign left no signature in %s", repository)
		}
		*s.to = a
	}
	return out, nil
}

// collect reads an image and its signature, by tag or as a referrer, from the registry.
func collect(r *registrytest.Server, repository, digest string) (artifact, error) {
	a := artifact{digest: digest}
	add := func(reference, tag string) error {
		body, header, err := get(r.URL() + "/v2/" + repository + "/manifests/" + reference)
		if err != nil || body == nil {
			return err
		}
		a.manifests = append(a.manifests, manifest{tag: tag, mediaType: header.Get("Content-Type"), content: body})
		var m registrytest.ImageManifest
		if err := json.Unmarshal(body, &m); err != nil {
			return err
		}
		for _, d := range append(m.Layers, m.Config) {
			blob, _, err := get(r.URL() + "/v2/" + repository + "/blobs/" + d.Digest)
			if err != nil {
				return err
			}
			a.blobs = append(a.blobs, blob)
		}
		return nil
	}
	if err := add(digest, ""); err != nil {
		return a, err
	}
	signature := registrytest.FallbackTag(digest) + ".sig"
	if err := add(signature, signature); err != nil {
		return a, err
	}
	body, _, err := get(r.URL() + "/v2/" + repository + "/referrers/" + digest)
	if err != nil {
		return a, err
	}
	var index registrytest.Index
	if err := json.Unmarshal(body, &index); err != nil {
		return a, err
	}
	for _, d := range index.Manifests {
		if err := add(d.Digest, ""); err != nil {
			return a, err
		}
	}
	return a, nil
}

// get reads a URL; a body of nil is one that is not there.
func get(url string) ([]byte, http.Header, error) {
	res, err := http.Get(url) //nolint:gosec,noctx // a loopback address of this test
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return nil, nil, nil
	}
	if res.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("GET %s: %s", url, res.Status)
	}
	body, err := io.ReadAll(res.Body)
	return body, res.Header, err
}

// push copies an image with its signatures to a repository of host, under the tag unless that is empty, and returns the
// repository's name with the host. No request is logged for that.
func push(r *registrytest.Server, repository, tag string, a *artifact) string {
	for _, b := range a.blobs {
		r.PushBlob(repository, "application/octet-stream", b)
	}
	for i, m := range a.manifests {
		r.PushManifest(repository, m.tag, m.mediaType, m.content)
		if i == 0 && tag != "" {
			r.Tag(repository, tag, a.digest)
		}
	}
	return host + "/" + repository
}

// repository is a name in the registry that no other test uses, nor the same one when it runs again.
func repository(t *testing.T, name string) string {
	t.Helper()
	return fmt.Sprintf("e2e/%s/%s-%d", lower(t.Name()), name, shared.names.Add(1))
}

// requests are the requests for a repository since the log had the length from.
func requests(r *registrytest.Server, from int, repository string) []registrytest.Entry {
	var out []registrytest.Entry
	for _, e := range r.Log()[from:] {
		if e.Repository == repository {
			out = append(out, e)
		}
	}
	return out
}
