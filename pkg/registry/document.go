package registry

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"mime"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/signet-policy/signet/pkg/untrusted"
)

const (
	acceptManifest = string(types.OCIManifestSchema1) + ", " + string(types.OCIImageIndex) + ", " +
		string(types.DockerManifestSchema2) + ", " + string(types.DockerManifestList)
	acceptIndex = string(types.OCIImageIndex)
)

var (
	errNotJSON   = errors.New("the answer is not a JSON document")
	errTwice     = errors.New("the document names one of its fields twice")
	errBothKinds = errors.New("the document is both a manifest and an index, or neither")
	errMediaType = errors.New("the document's media type disagrees with its content or is not known")
)

// descriptor is what a manifest or an index says about content. Nothing of it is checked yet.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations"`
}

// document is a manifest or an index, never both. Lists stay raw, so that one broken entry does not take the others
// with it.
type document struct {
	MediaType    string      `json:"mediaType"`
	ArtifactType string      `json:"artifactType"`
	Config       *descriptor `json:"config"`
	Layers       entries     `json:"layers"`
	Manifests    entries     `json:"manifests"`
	Subject      *descriptor `json:"subject"`

	index bool
	// kind is the media type by which descriptors refer to it.
	kind string
}

// entries is a list of descriptors, as far as anybody would look at it.
type entries struct {
	list []json.RawMessage
	// cut is set when there were more than maxEntries.
	cut bool
}

// maxEntries is far above every limit on what is looked at; it keeps a page full of nothing from costing memory.
const maxEntries = 4096

// UnmarshalJSON takes the first maxEntries of a list apart.
func (e *entries) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	switch t, err := dec.Token(); {
	case err != nil:
		return err
	case t == nil:
		return nil
	case t != json.Delim('['):
		return errNotJSON
	}
	for dec.More() {
		if len(e.list) == maxEntries {
			e.cut = true
			return nil
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		e.list = append(e.list, raw)
	}
	return nil
}

// parseDocument reads a manifest or an index that says one thing to every reader: unique fields, one shape, and media
// types that agree with it. The errors hold nothing of the body.
func parseDocument(body []byte, contentType string, depth int) (*document, error) {
	if err := untrusted.CheckDepth(body, depth); err != nil {
		return nil, err
	}
	fields, err := fieldNames(body)
	if err != nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, errNotJSON
	}
	d.index = fields["manifests"]
	if d.index == (fields["layers"] || fields["config"] || fields["fslayers"]) {
		return nil, errBothKinds
	}
	served, generic := mediaType(contentType)
	declared := d.MediaType
	if declared == "" && generic {
		// OCI documents need not name their type.
		d.kind = string(types.OCIManifestSchema1)
		if d.index {
			d.kind = acceptIndex
		}
		return &d, nil
	}
	d.kind = cmp.Or(declared, served)
	for _, t := range []string{served, declared} {
		if t == "" {
			continue
		}
		if index, known := kindOf(t); !known || index != d.index {
			return nil, errMediaType
		}
	}
	if served != "" && declared != "" && served != declared {
		return nil, errMediaType
	}
	return &d, nil
}

// mediaType reads a Content-Type. Types that say nothing about the content come back empty and generic.
func mediaType(contentType string) (t string, generic bool) {
	if contentType == "" {
		return "", true
	}
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "invalid", false
	}
	if t == "application/json" || t == "application/octet-stream" {
		return "", true
	}
	return t, false
}

func kindOf(t string) (index, known bool) {
	switch types.MediaType(t) {
	case types.OCIManifestSchema1, types.DockerManifestSchema2:
		return false, true
	case types.OCIImageIndex, types.DockerManifestList:
		return true, true
	default:
		return false, false
	}
}

// fieldNames returns the lower-cased names of an object's fields. A name that appears twice, in whatever case, is an
// error, because readers differ in which one they take.
func fieldNames(body []byte) (map[string]bool, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errNotJSON
	}
	names := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errNotJSON
		}
		// Both ways, because the decoder takes "layer\u017f" for "layers" as well.
		name = strings.ToLower(strings.ToUpper(name))
		if names[name] {
			return nil, errTwice
		}
		names[name] = true
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return nil, errNotJSON
		}
	}
	return names, nil
}
