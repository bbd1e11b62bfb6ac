package registrytest

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
)

// held is what was pushed to a repository by this package's functions.
type held struct {
	manifests []Descriptor
	blobs     []string
	tags      map[string]bool
}

// hold remembers what was pushed.
func (s *Server) hold(repository string, remember func(*held)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[string]*held{}
	}
	h := s.held[repository]
	if h == nil {
		h = &held{tags: map[string]bool{}}
		s.held[repository] = h
	}
	remember(h)
}

// Repositories are those to which something was pushed by this package's functions.
func (s *Server) Repositories() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.held {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// WriteLayouts writes what the repositories hold into OCI image layouts below a directory, one for each repository, and
// returns where, by repository.
func (s *Server) WriteLayouts(dir string) map[string]string {
	paths := map[string]string{}
	for i, repository := range s.Repositories() {
		path := filepath.Join(dir, strconv.Itoa(i))
		paths[repository] = path
		s.mu.Lock()
		h := *s.held[repository]
		s.mu.Unlock()
		index := Index{SchemaVersion: 2, MediaType: indexType, Manifests: []Descriptor{}}
		for tag := range h.tags {
			d, err := s.mem.ResolveTag(context.Background(), repository, tag)
			if err != nil {
				continue // it was taken away
			}
			index.Manifests = append(index.Manifests, Descriptor{
				MediaType: d.MediaType, Digest: string(d.Digest), Size: d.Size,
				Annotations: map[string]string{"org.opencontainers.image.ref.name": tag},
			})
		}
		slices.SortFunc(index.Manifests, func(a, b Descriptor) int {
			const name = "org.opencontainers.image.ref.name"
			return strings.Compare(a.Annotations[name], b.Annotations[name])
		})
		for _, m := range h.manifests {
			if !slices.ContainsFunc(index.Manifests, func(d Descriptor) bool { return d.Digest == m.Digest }) {
				index.Manifests = append(index.Manifests, m)
			}
			content, _ := s.Get(repository, m.Digest)
			s.writeBlob(path, m.Digest, content)
		}
		for _, digest := range h.blobs {
			r, err := s.mem.GetBlob(context.Background(), repository, ociregistry.Digest(digest))
			s.must(err)
			content, err := io.ReadAll(r)
			s.must(err)
			r.Close()
			s.writeBlob(path, digest, content)
		}
		text, err := json.Marshal(index)
		s.must(err)
		s.must(os.WriteFile(filepath.Join(path, "index.json"), text, 0o600))
		s.must(os.WriteFile(filepath.Join(path, "oci-layout"), []byte(`{"imageLayoutVersion": "1.0.0"}`), 0o600))
	}
	return paths
}

func (s *Server) writeBlob(dir, digest string, content []byte) {
	algorithm, name, _ := strings.Cut(digest, ":")
	path := filepath.Join(dir, "blobs", algorithm, name)
	s.must(os.MkdirAll(filepath.Dir(path), 0o700))
	s.must(os.WriteFile(path, content, 0o600))
}
