package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/extract"
)

// notImages are the endings of string fields that speak of images and name none that runs, each with the reason.
var notImages = map[string]string{
	".imagePullPolicy":                    "when to pull",
	".image.pullPolicy":                   "when to pull",
	".imagePullSecrets[].name":            "a Secret",
	".rbd.image":                          "a block device in a Ceph cluster",
	".containerStatuses[].image":          "what a node says that it runs",
	".initContainerStatuses[].image":      "what a node says that it runs",
	".ephemeralContainerStatuses[].image": "what a node says that it runs",
	"ontainerStatuses[].imageID":          "what a node says that it runs",
	".status.images[].names[]":            "what a node has stored",
	".nodeInfo.osImage":                   "the system of a node",
	".volumeStatus.image.imageRef":        "what a node says that it mounts",
}

// every string of every built-in kind that the API server serves and that speaks of images is found by extraction, or
// is listed above. The kinds and fields come from the API server's own description, so a new field fails the test.
func TestA13AllCarriers(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	get := func(path string, into any) {
		t.Helper()
		raw, err := u.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	var index struct {
		Paths map[string]any
	}
	get("/openapi/v3", &index)
	carriers, versions := map[string]bool{}, 0
	for path := range index.Paths {
		parts := strings.Split(path, "/")
		group := ""
		switch {
		case path == "api/v1":
		case len(parts) == 3 && parts[0] == "apis":
			group = parts[1]
		default:
			continue
		}
		if strings.Contains(group, ".") && !strings.HasSuffix(group, ".k8s.io") {
			continue // custom resources of the other tests
		}
		versions++
		var doc openAPI
		get("/openapi/v3/"+path, &doc)
		for _, schema := range doc.Components.Schemas {
			for _, kind := range schema.Kinds {
				if kind.Group != group || kind.Version != parts[len(parts)-1] || schema.Properties["items"] != nil || schema.Properties["metadata"] == nil {
					continue
				}
				for _, field := range doc.strings(schema, "", nil) {
					if !strings.Contains(strings.ToLower(field), "image") {
						continue
					}
					if found(t, kind.Kind, field) {
						carriers[kind.Kind+field] = true
						continue
					}
					if !slices.ContainsFunc(slices.Collect(keys(notImages)), func(end string) bool { return strings.HasSuffix(field, end) }) {
						t.Errorf("%s/%s %s%s is not found and not listed", kind.Group, kind.Version, kind.Kind, field)
					}
				}
			}
		}
	}
	for _, kind := range []string{"Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController", "PodTemplate"} {
		n := 0
		for field := range carriers {
			if strings.HasPrefix(field, kind+".") {
				n++
			}
		}
		if n < 4 {
			t.Errorf("%s has %d fields with images", kind, n)
		}
	}
	if versions < 10 {
		t.Errorf("only %d versions read", versions)
	}
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// openAPI is the part of the API server's description that is read.
type openAPI struct {
	Components struct{ Schemas map[string]*openAPISchema }
}

type openAPISchema struct {
	Ref                  string `json:"$ref"`
	Type                 string
	Properties           map[string]*openAPISchema
	Items                *openAPISchema
	AdditionalProperties *openAPISchema
	AllOf                []*openAPISchema
	Kinds                []struct{ Group, Version, Kind string } `json:"x-kubernetes-group-version-kind"`
}

// strings are the paths of all strings below a schema; a list is [] and a map {}.
func (d *openAPI) strings(s *openAPISchema, path string, above []string) []string {
	var out []string
	if s.Ref != "" {
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		if slices.Contains(above, name) || d.Components.Schemas[name] == nil {
			return nil // a schema in itself, as that of schemas is
		}
		out = d.strings(d.Components.Schemas[name], path, append(slices.Clone(above), name))
	}
	for _, part := range s.AllOf {
		out = append(out, d.strings(part, path, above)...)
	}
	if s.Type == "string" {
		out = append(out, path)
	}
	for name, property := range s.Properties {
		if path == "" && name == "metadata" {
			continue
		}
		out = append(out, d.strings(property, path+"."+name, above)...)
	}
	if s.Items != nil {
		out = append(out, d.strings(s.Items, path+"[]", above)...)
	}
	if s.AdditionalProperties != nil {
		out = append(out, d.strings(s.AdditionalProperties, path+"{}", above)...)
	}
	return out
}

// found tells whether extraction finds an image at a field of an object that has nothing else.
func found(t *testing.T, kind, field string) bool {
	t.Helper()
	const image = "registry.test/a:1"
	var value any = image
	parts := strings.Split(strings.TrimPrefix(field, "."), ".")
	for _, part := range slices.Backward(parts) {
		name := strings.TrimRight(part, "[]{}")
		for rest := part[len(name):]; len(rest) > 0; rest = rest[:len(rest)-2] {
			if strings.HasSuffix(rest, "[]") {
				value = []any{value}
			} else {
				value = map[string]any{"key": value}
			}
		}
		value = map[string]any{name: value}
	}
	uses, err := extract.Images(kind, value.(map[string]any))
	if err != nil {
		t.Errorf("%s%s: %v", kind, field, fmt.Errorf("extracting: %w", err))
	}
	return len(uses) == 1 && uses[0].Value == image
}
