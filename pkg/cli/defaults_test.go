package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write defaults.json and the expected outputs anew")

// prune keeps of a schema what leads to defaults.
func prune(t *testing.T, s *apiextensionsv1.JSONSchemaProps) *defaults {
	d := &defaults{}
	if s.Default != nil {
		if err := json.Unmarshal(s.Default.Raw, &d.Default); err != nil {
			t.Fatal(err)
		}
	}
	if s.Items != nil && s.Items.Schema != nil {
		d.Items = prune(t, s.Items.Schema)
	}
	for name := range s.Properties {
		property := s.Properties[name]
		if child := prune(t, &property); child != nil {
			if d.Properties == nil {
				d.Properties = map[string]*defaults{}
			}
			d.Properties[name] = child
		}
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil && prune(t, s.AdditionalProperties.Schema) != nil {
		t.Fatal("defaults in the values of a map are not provided for")
	}
	if d.Default == nil && d.Items == nil && d.Properties == nil {
		return nil
	}
	return d
}

// TestDefaults compares the defaults that files get with those that an API server sets.
func TestDefaults(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"kyverno.io_clusterpolicies.yaml", "kyverno.io_policies.yaml"} {
		b, err := os.ReadFile("../../config/crd/bases/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(b, &crd); err != nil {
			t.Fatal(err)
		}
		if crd.Spec.Versions[0].Name != "v1" {
			t.Fatalf("the first version is %s", crd.Spec.Versions[0].Name)
		}
		want := prune(t, crd.Spec.Versions[0].Schema.OpenAPIV3Schema)
		delete(want.Properties, "status")
		if *update {
			out, err := json.MarshalIndent(want, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile("defaults.json", append(out, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := readDefaults()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: run go test ./pkg/cli -run TestDefaults -update\n%s", file, d)
		}
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	schema := &defaults{Properties: map[string]*defaults{
		"set":  {Default: "default"},
		"null": {Default: true},
		"list": {Items: &defaults{Properties: map[string]*defaults{"x": {Default: float64(1)}}}},
		"made": {Default: map[string]any{}, Properties: map[string]*defaults{"inner": {Default: "in"}}},
		"gone": {Properties: map[string]*defaults{"never": {Default: "set"}}},
	}}
	var object any
	if err := json.NewDecoder(bytes.NewBufferString(`{"set":"own","null":null,"list":[{},{"x":2},3],"other":1}`)).Decode(&object); err != nil {
		t.Fatal(err)
	}
	schema.fill(object)
	want := map[string]any{
		"set": "own", "null": true, "other": float64(1), "made": map[string]any{"inner": "in"},
		"list": []any{map[string]any{"x": float64(1)}, map[string]any{"x": float64(2)}, float64(3)},
	}
	if d := cmp.Diff(want, object); d != "" {
		t.Error(d)
	}
	schema.fill(object)
	if schema.Properties["made"].Default.(map[string]any)["inner"] != nil {
		t.Error("filling changed a default")
	}
}
