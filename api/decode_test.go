package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	v2 "github.com/signet-policy/signet/api/v2"
	"github.com/signet-policy/signet/api/v2beta1"
	"github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
)

// newScheme registers everything the project serves.
func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1.AddToScheme, v2.AddToScheme, v2beta1.AddToScheme, v1alpha2.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// decode reads one YAML document into the Go type of its kind, refusing unknown fields, and returns it beside its plain
// form.
func decode(t *testing.T, scheme *runtime.Scheme, data []byte) (runtime.Object, map[string]any) {
	t.Helper()
	var plain map[string]any
	if err := yaml.UnmarshalStrict(data, &plain); err != nil {
		t.Fatal(err)
	}
	obj, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode(data, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return obj, plain
}

// jsonForm gives what a value is once written as JSON.
func jsonForm(t *testing.T, v any) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(compact(t, v)), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// documents gives the samples and the test policies by name.
func documents(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, pattern := range []string{"../config/samples/*.yaml", "testdata/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: nothing found: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(file) != "kustomization.yaml" {
				for i, document := range strings.Split("\n"+string(data), "\n---\n") {
					name := file
					if i > 0 {
						name = fmt.Sprintf("%s %d", file, i+1)
					}
					if !strings.HasPrefix(document, "apiVersion: v1\n") { // what a sample needs of Kubernetes itself
						out[name] = []byte(document)
					}
				}
			}
		}
	}
	return out
}

// Every document decodes without unknown fields, and decoding loses nothing that was written, through JSON, through the
// unstructured form and through a deep copy.
func TestDocumentsSurviveTheTypes(t *testing.T) {
	t.Parallel()
	scheme := newScheme(t)
	for name, data := range documents(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj, plain := decode(t, scheme, data)
			want := jsonForm(t, plain)
			if diff := cmp.Diff(want, jsonForm(t, obj)); diff != "" {
				t.Errorf("JSON: %s", diff)
			}
			if diff := cmp.Diff(want, jsonForm(t, obj.DeepCopyObject())); diff != "" {
				t.Errorf("deep copy: %s", diff)
			}
			u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, jsonForm(t, u)); diff != "" {
				t.Errorf("unstructured: %s", diff)
			}
			back := obj.DeepCopyObject()
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u, back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, jsonForm(t, back)); diff != "" {
				t.Errorf("and back: %s", diff)
			}
		})
	}
}

// A misspelt field is an error, wherever it stands, and so is one in other letter case.
func TestUnknownFieldsAreRefused(t *testing.T) {
	t.Parallel()
	const policy = "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nspec:\n  rules: [{name: r, match: {any: []}, verifyImages: [%]}]\n"
	decoder := serializer.NewCodecFactory(newScheme(t), serializer.EnableStrict).UniversalDeserializer()
	tests := map[string]string{
		"entry":    "{imageReference: [a]}",
		"set":      "{attestors: [{counts: 1}]}",
		"attestor": "{attestors: [{entries: [{key: {}}]}]}",
		"rekor":    "{attestors: [{entries: [{keys: {rekor: {ignoreTLog: true}}}]}]}",
	}
	for name, entry := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := decoder.Decode([]byte(strings.Replace(policy, "%", entry, 1)), nil, nil)
			if !runtime.IsStrictDecodingError(err) {
				t.Errorf("got %v, want a strict decoding error", err)
			}
		})
	}
}

// The test policy of every field is what its name says, so that the test above speaks for the whole schema.
func TestEveryFieldIsExercised(t *testing.T) {
	t.Parallel()
	_, plain := decode(t, newScheme(t), documents(t)["testdata/every-field.yaml"])
	written := map[string]bool{}
	properties := version(t, readCRD(t, "kyverno.io_clusterpolicies.yaml"), "v1").Schema.OpenAPIV3Schema.Properties
	spec := properties["spec"]
	markWritten("spec", plain["spec"], &spec, written)
	walk("spec", &spec, func(path string, _ *apiextensionsv1.JSONSchemaProps) {
		if !written[path] {
			t.Errorf("%s is not in every-field.yaml", path)
		}
	})
}

// markWritten notes the schema paths that a value uses.
func markWritten(path string, value any, s *apiextensionsv1.JSONSchemaProps, written map[string]bool) {
	written[path] = true
	switch v := value.(type) {
	case []any:
		if s.Items != nil {
			for _, item := range v {
				markWritten(path+"[]", item, s.Items.Schema, written)
			}
		}
	case map[string]any:
		for name, item := range v {
			if property, ok := s.Properties[name]; ok {
				markWritten(path+"."+name, item, &property, written)
			} else if s.AdditionalProperties != nil {
				markWritten(path+"{}", item, s.AdditionalProperties.Schema, written)
			}
		}
	}
}
