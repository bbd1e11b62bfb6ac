// Package api_test checks the wire types and the generated resource definitions against the contract and each other.
package api_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const crdDir = "../config/crd/bases"

// readCRD reads one generated definition, refusing fields that a definition does not have.
func readCRD(t *testing.T, file string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(crdDir, file))
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return crd
}

// version returns one version of a definition.
func version(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition, name string) apiextensionsv1.CustomResourceDefinitionVersion {
	t.Helper()
	for _, v := range crd.Spec.Versions {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("%s has no version %s", crd.Name, name)
	panic("unreachable")
}

// walk calls visit for every property under schema, with paths such as "spec.rules[].context[].name"; "{}" stands for
// the values of a map.
func walk(path string, schema *apiextensionsv1.JSONSchemaProps, visit func(string, *apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	if schema.Items != nil && schema.Items.Schema != nil {
		walk(path+"[]", schema.Items.Schema, visit)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		walk(path+"{}", schema.AdditionalProperties.Schema, visit)
	}
	for name := range schema.Properties {
		property := schema.Properties[name]
		walk(strings.TrimPrefix(path+"."+name, "."), &property, visit)
	}
}

// policySchemas gives the four policy schemas by "file version".
func policySchemas(t *testing.T) map[string]*apiextensionsv1.JSONSchemaProps {
	t.Helper()
	out := map[string]*apiextensionsv1.JSONSchemaProps{}
	for _, file := range []string{"kyverno.io_clusterpolicies.yaml", "kyverno.io_policies.yaml"} {
		crd := readCRD(t, file)
		for _, v := range []string{"v1", "v2beta1"} {
			out[file+" "+v] = version(t, crd, v).Schema.OpenAPIV3Schema
		}
	}
	return out
}

// compact gives the one-line JSON text of a value.
func compact(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// attestorPaths gives the places where attestor entries stand.
func attestorPaths(suffixes map[string]string) map[string]string {
	out := map[string]string{}
	for _, at := range []string{"attestors", "attestations[].attestors"} {
		for suffix, v := range suffixes {
			out["spec.rules[].verifyImages[]."+at+"[]"+suffix] = v
		}
	}
	return out
}
