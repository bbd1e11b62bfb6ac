package registrytest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	emptyType    = "application/vnd.oci.empty.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

// Descriptor describes content in manifests and indexes.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// ImageManifest is a manifest to be pushed.
type ImageManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Index is an index to be pushed.
type Index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []Descriptor `json:"manifests"`
	Subject       *Descriptor  `json:"subject,omitempty"`
}

// Layer is one layer of something attached.
type Layer struct {
	MediaType   string
	Annotations map[string]string
	Payload     []byte
}

// DigestOf is the sha256 digest of b.
func DigestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// PushBlob stores a blob and returns its descriptor.
func (s *Server) PushBlob(repository, mediaType string, content []byte) Descriptor {
	d := Descriptor{MediaType: mediaType, Digest: DigestOf(content), Size: int64(len(content))}
	_, err := s.mem.PushBlob(context.Background(), repository, ociregistry.Descriptor{
		MediaType: mediaType, Digest: ociregistry.Digest(d.Digest), Size: d.Size,
	}, bytes.NewReader(content))
	s.must(err)
	s.hold(repository, func(h *held) { h.blobs = append(h.blobs, d.Digest) })
	return d
}

// PushManifest stores a manifest by its digest, and under the tag unless that is empty, and returns its descriptor.
// What it refers to need not be there.
func (s *Server) PushManifest(repository, tag, mediaType string, content []byte) Descriptor {
	_, err := s.mem.PushManifest(context.Background(), repository, tag, content, mediaType)
	s.must(err)
	d := Descriptor{MediaType: mediaType, Digest: DigestOf(content), Size: int64(len(content))}
	s.hold(repository, func(h *held) {
		h.manifests = append(h.manifests, d)
		if tag != "" {
			h.tags[tag] = true
		}
	})
	return d
}

// PushImage stores a small image and returns its digest. A nil content is a random one.
func (s *Server) PushImage(repository, tag string, content []byte) string {
	if content == nil {
		content = make([]byte, 16)
		rand.Read(content)
	}
	return s.PushManifest(repository, tag, manifestType, marshal(ImageManifest{
		SchemaVersion: 2, MediaType: manifestType,
		Config: s.PushBlob(repository, configType, []byte(`{"architecture":"amd64","os":"linux"}`)),
		Layers: []Descriptor{s.PushBlob(repository, layerType, content)},
	})).Digest
}

// PushIndex stores an index of manifests and returns its digest.
func (s *Server) PushIndex(repository, tag string, manifests ...Descriptor) string {
	if manifests == nil {
		manifests = []Descriptor{}
	}
	return s.PushManifest(repository, tag, indexType, marshal(Index{SchemaVersion: 2, MediaType: indexType, Manifests: manifests})).Digest
}

// Tag points a tag to a manifest that is there.
func (s *Server) Tag(repository, tag, digest string) {
	b, mediaType := s.Get(repository, digest)
	s.PushManifest(repository, tag, mediaType, b)
}

// Untag removes a tag.
func (s *Server) Untag(repository, tag string) {
	s.must(s.mem.DeleteTag(context.Background(), repository, tag))
}

// Get returns the bytes and the media type of a manifest.
func (s *Server) Get(repository, digest string) ([]byte, string) {
	r, err := s.mem.GetManifest(context.Background(), repository, ociregistry.Digest(digest))
	s.must(err)
	defer r.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	s.must(err)
	return b.Bytes(), r.Descriptor().MediaType
}

// Attach stores a referrer of the subject with one layer and returns the digest of its manifest.
func (s *Server) Attach(repository, subject, artifactType, layerMediaType string, annotations map[string]string, payload []byte) string {
	return s.AttachLayers(repository, subject, artifactType, Layer{layerMediaType, annotations, payload}).Digest
}

// AttachLayers is Attach with several layers. It returns the descriptor as a list of referrers has it.
func (s *Server) AttachLayers(repository, subject, artifactType string, layers ...Layer) Descriptor {
	m := s.attachment(repository, artifactType, layers)
	m.Subject = &Descriptor{MediaType: manifestType, Digest: subject, Size: s.sizeOf(repository, subject)}
	d := s.PushManifest(repository, "", manifestType, marshal(m))
	d.ArtifactType = artifactType
	return d
}

// AttachTag stores a manifest with the layers under the subject's tag with the suffix ("sig", "att") and returns its
// digest. What the tag held before is replaced.
func (s *Server) AttachTag(repository, subject, suffix string, layers ...Layer) string {
	m := s.attachment(repository, "", layers)
	return s.PushManifest(repository, FallbackTag(subject)+"."+suffix, manifestType, marshal(m)).Digest
}

// AttachFallback lists the manifests in the subject's fallback tag, after those that are listed already.
func (s *Server) AttachFallback(repository, subject string, manifests ...Descriptor) {
	index := Index{SchemaVersion: 2, MediaType: indexType, Manifests: []Descriptor{}}
	tag := FallbackTag(subject)
	if old, err := s.mem.GetTag(context.Background(), repository, tag); err == nil {
		defer old.Close()
		s.must(json.NewDecoder(old).Decode(&index))
	}
	index.Manifests = append(index.Manifests, manifests...)
	s.PushManifest(repository, tag, indexType, marshal(index))
}

// RetypeFallback makes the subject's fallback tag, where there is one, give one artifact type for everything it lists.
func (s *Server) RetypeFallback(repository, subject, artifactType string) {
	tag := FallbackTag(subject)
	old, err := s.mem.GetTag(context.Background(), repository, tag)
	if err != nil {
		return
	}
	defer old.Close()
	var index Index
	s.must(json.NewDecoder(old).Decode(&index))
	for i := range index.Manifests {
		index.Manifests[i].ArtifactType = artifactType
	}
	s.PushManifest(repository, tag, indexType, marshal(index))
}

// FallbackTag is the tag that lists what is attached to a digest where there is no referrers API.
func FallbackTag(digest string) string { return strings.Replace(digest, ":", "-", 1) }

func (s *Server) attachment(repository, artifactType string, layers []Layer) ImageManifest {
	m := ImageManifest{SchemaVersion: 2, MediaType: manifestType, ArtifactType: artifactType, Layers: []Descriptor{}}
	if artifactType != "" {
		m.Config = s.PushBlob(repository, emptyType, []byte("{}"))
	} else {
		m.Config = s.PushBlob(repository, configType, []byte(`{"rootfs":{"type":"layers"}}`))
	}
	for _, l := range layers {
		d := s.PushBlob(repository, l.MediaType, l.Payload)
		d.Annotations = l.Annotations
		m.Layers = append(m.Layers, d)
	}
	return m
}

// sizeOf is the size of a manifest, or a plausible one when it is not there.
func (s *Server) sizeOf(repository, digest string) int64 {
	d, err := s.mem.ResolveManifest(context.Background(), repository, ociregistry.Digest(digest))
	if err != nil {
		return 2
	}
	return d.Size
}

// Load pushes an OCI image layout that holds many repositories: every descriptor of its index.json names its repository
// in the annotation corpus.repository and, when it is tagged, the tag in org.opencontainers.image.ref.name. Manifest
// bytes stay as they are. With a keep function only the repositories it accepts are loaded.
func (s *Server) Load(layout string, keep func(repository string) bool) {
	blob := func(digest string) []byte {
		algorithm, hexPart, _ := strings.Cut(digest, ":")
		b, err := os.ReadFile(filepath.Join(layout, "blobs", algorithm, filepath.Base(hexPart)))
		s.must(err)
		return b
	}
	raw, err := os.ReadFile(filepath.Join(layout, "index.json"))
	s.must(err)
	var index Index
	s.must(json.Unmarshal(raw, &index))
	for _, d := range index.Manifests {
		repository := d.Annotations["corpus.repository"]
		if repository == "" {
			s.fatal(fmt.Errorf("%s: %s names no repository", layout, d.Digest))
		}
		if keep != nil && !keep(repository) {
			continue
		}
		content := blob(d.Digest)
		var m struct {
			Config *Descriptor  `json:"config"`
			Layers []Descriptor `json:"layers"`
		}
		s.must(json.Unmarshal(content, &m))
		if m.Config != nil {
			m.Layers = append(m.Layers, *m.Config)
		}
		for _, l := range m.Layers {
			s.PushBlob(repository, l.MediaType, blob(l.Digest))
		}
		s.PushManifest(repository, d.Annotations["org.opencontainers.image.ref.name"], d.MediaType, content)
	}
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
