package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/signet-policy/signet/pkg/image"
)

// Limits of a directory. What is beyond is an error when it is read: nothing is left out in silence.
const (
	// maxIndex is the size of index.json in bytes.
	maxIndex = 16 << 20
	// maxManifest is the size of a manifest in bytes, as registry clients bound it.
	maxManifest = 4 << 20
	// maxEntries is the number of manifests that index.json names.
	maxEntries = 16384
	// maxManifests is the sum of their sizes in bytes, each as often as it is named.
	maxManifests = 256 << 20
)

// Annotations of index.json's entries.
const (
	// annotationRef is a tag, or a full name; annotationName, which containerd writes, is always a full name.
	annotationRef  = "org.opencontainers.image.ref.name"
	annotationName = "io.containerd.image.name"
	// annotationKind is what cosign save says of what it writes.
	annotationKind = "kind"
	kindImage      = "dev.cosignproject.cosign/image"
	kindIndex      = "dev.cosignproject.cosign/imageIndex"
	kindSignatures = "dev.cosignproject.cosign/sigs"
	kindStatements = "dev.cosignproject.cosign/atts"
)

// descriptor is what index.json and answers about referrers say of a manifest.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// entry is a manifest that index.json names, with what it is called there.
type entry struct {
	descriptor
	repository, tag string
	// kind is what cosign says of it, and ref the name that an image and its signatures share.
	kind, ref string
	// subject is what the manifest refers to; empty for an image.
	subject string
}

// directory is a layout.
type directory struct {
	root    *os.Root
	entries []entry
	// types are the media types of the manifests by digest.
	types map[string]string
	// referrers are what refers to a digest.
	referrers map[string][]descriptor
}

var tagForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// read reads what a directory says of its content, and the manifests for what they refer to.
func read(root *os.Root) (*directory, error) {
	var version struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := readJSON(root, "oci-layout", &version); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(version.Version, "1.") {
		return nil, fmt.Errorf("oci-layout: version %.20q is not known; 1.0.0 is", version.Version)
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := readJSON(root, "index.json", &index); err != nil {
		return nil, err
	}
	if len(index.Manifests) > maxEntries {
		return nil, fmt.Errorf("index.json names %d manifests, and %d are the limit", len(index.Manifests), maxEntries)
	}
	d := &directory{root: root, types: map[string]string{}, referrers: map[string][]descriptor{}}
	var sum int64
	listed := map[string]bool{}
	for _, m := range index.Manifests {
		e, size, err := d.entry(m)
		if err != nil {
			return nil, err
		}
		if sum += size; sum > maxManifests {
			return nil, fmt.Errorf("the manifests that index.json names are larger than %d bytes together", maxManifests)
		}
		d.entries = append(d.entries, e)
		d.types[e.Digest] = e.MediaType
		if e.subject != "" && !listed[e.Digest] {
			listed[e.Digest] = true
			d.referrers[e.subject] = append(d.referrers[e.subject], e.descriptor)
		}
	}
	return d, d.nameSignatures()
}

// entry reads the manifest of a descriptor, and says how many bytes that took: what index.json says of it need not be so. Tools
// list a manifest as often as it has tags.
func (d *directory) entry(m descriptor) (e entry, size int64, err error) {
	e = entry{descriptor: m, kind: m.Annotations[annotationKind], ref: m.Annotations[annotationRef]}
	digest, err := image.ParseDigest(m.Digest)
	if err != nil {
		return e, size, fmt.Errorf("index.json: digest %.100q: %w", m.Digest, err)
	}
	if err := e.name(); err != nil {
		return e, size, err
	}
	b, err := readFile(d.root, blobPath(digest), maxManifest)
	if err != nil {
		return e, size, fmt.Errorf("index.json names %s: %w", digest, err)
	}
	size = int64(len(b))
	var doc struct {
		ArtifactType string            `json:"artifactType"`
		Annotations  map[string]string `json:"annotations"`
		Config       *descriptor       `json:"config"`
		Subject      *descriptor       `json:"subject"`
	}
	if image.DigestOf(b) != digest {
		return e, size, fmt.Errorf("index.json names %s: the file has another digest", digest)
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return e, size, fmt.Errorf("index.json names %s: no manifest", digest)
	}
	if doc.Subject == nil {
		return e, size, nil
	}
	// As a registry would describe it.
	e.subject = doc.Subject.Digest
	e.descriptor = descriptor{
		MediaType: m.MediaType, Digest: m.Digest, Size: size, ArtifactType: doc.ArtifactType, Annotations: doc.Annotations,
	}
	if e.ArtifactType == "" && doc.Config != nil {
		e.ArtifactType = doc.Config.MediaType
	}
	return e, size, nil
}

// name reads what the entry is called.
func (e *entry) name() error {
	text := e.Annotations[annotationName]
	if text == "" {
		text = e.Annotations[annotationRef]
	}
	switch {
	case text == "":
		return nil
	case tagForm.MatchString(text):
		e.tag = text
		return nil
	}
	if _, err := image.ParseDigest(text); err == nil {
		return nil // the digest as the name: no name
	}
	n, err := parseName(text)
	if err != nil {
		return fmt.Errorf("index.json: name of %s: %w", e.Digest, err)
	}
	e.repository, e.tag = n.repository, n.tag
	return nil
}

// nameSignatures gives what cosign saved beside an image the tags that it has in a registry.
func (d *directory) nameSignatures() error {
	for i := range d.entries {
		e := &d.entries[i]
		suffix := map[string]string{kindSignatures: ".sig", kindStatements: ".att"}[e.kind]
		if suffix == "" {
			continue
		}
		digest := ""
		for k := range d.entries {
			of := &d.entries[k]
			if of.kind != kindImage && of.kind != kindIndex || of.ref != e.ref || of.Digest == digest {
				continue
			}
			if digest != "" {
				return fmt.Errorf("index.json does not say which of its images the signatures in %s are for", e.Digest)
			}
			digest = of.Digest
		}
		if digest == "" {
			return fmt.Errorf("index.json names no image for the signatures in %s", e.Digest)
		}
		e.tag = strings.Replace(digest, ":", "-", 1) + suffix
	}
	return nil
}

// call gives the tag to the one image that has no name, unless an image has it already.
func (d *directory) call(tag string) error {
	var nameless *entry
	for i := range d.entries {
		e := &d.entries[i]
		switch {
		case e.tag == tag:
			return nil
		case e.tag != "" || e.subject != "":
		case nameless != nil && nameless.Digest != e.Digest:
			return fmt.Errorf("index.json names several images without a tag, and it is not clear which is %.128q", tag)
		default:
			nameless = e
		}
	}
	if nameless == nil {
		return fmt.Errorf("index.json has no image without a tag that could be %.128q", tag)
	}
	nameless.tag = tag
	return nil
}

// blobPath is where a layout has content.
func blobPath(d image.Digest) string { return "blobs/sha256/" + d.Hex() }

func readJSON(root *os.Root, name string, into any) error {
	b, err := readFile(root, name, maxIndex)
	if err != nil {
		return fmt.Errorf("no OCI image layout: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("no OCI image layout: %s is not what it should be", name)
	}
	return nil
}

// readFile reads a file of at most limit bytes.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, _, err := openFile(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, err
}

var errNoFile = errors.New("not a regular file")

// openFile opens a regular file. Links that lead out of the directory are errors; of anything else, such as a pipe, nothing
// is read, for that may take for ever.
func openFile(root *os.Root, name string) (*os.File, int64, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: %w", name, errNoFile)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
