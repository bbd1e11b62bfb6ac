package api_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// VI 1.3-1.5: exactly these defaults, in both versions; v1 adds cosignOCI11.
func TestPolicyDefaults(t *testing.T) {
	t.Parallel()
	common := map[string]string{
		"spec.admission":                           `true`,
		"spec.background":                          `true`,
		"spec.emitWarning":                         `false`,
		"spec.validationFailureAction":             `"Audit"`,
		"spec.rules[].skipBackgroundRequests":      `true`,
		"spec.rules[].context[].apiCall.method":    `"GET"`,
		"spec.rules[].verifyImages[].mutateDigest": `true`,
		"spec.rules[].verifyImages[].verifyDigest": `true`,
		"spec.rules[].verifyImages[].required":     `true`,
		"spec.rules[].verifyImages[].useCache":     `true`,
	}
	maps.Copy(common, attestorPaths(map[string]string{
		".entries[].signatureAlgorithm":            `"sha256"`,
		".entries[].keys.signatureAlgorithm":       `"sha256"`,
		".entries[].keys.rekor.ignoreTlog":         `false`,
		".entries[].keys.ctlog.ignoreSCT":          `false`,
		".entries[].certificates.rekor.ignoreTlog": `false`,
		".entries[].certificates.ctlog.ignoreSCT":  `false`,
		".entries[].keyless.rekor.ignoreTlog":      `false`,
		".entries[].keyless.ctlog.ignoreSCT":       `false`,
	}))
	for name, schema := range policySchemas(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := maps.Clone(common)
			if strings.HasSuffix(name, " v1") {
				want["spec.rules[].verifyImages[].cosignOCI11"] = `false`
			}
			got := map[string]string{}
			walk("", schema, func(path string, s *apiextensionsv1.JSONSchemaProps) {
				if s.Default != nil {
					got[path] = string(s.Default.Raw)
				}
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// VI 1.3-1.5: the values that the API server itself insists on, and no others.
func TestPolicyEnums(t *testing.T) {
	t.Parallel()
	failure := `["Ignore","Fail"]`
	actions := `["audit","enforce","Audit","Enforce"]`
	operations := `["CREATE","CONNECT","UPDATE","DELETE"]`
	providers := `["default","amazon","azure","google","github"]`
	common := map[string]string{
		"spec.applyRules":                                                           `["All","One"]`,
		"spec.failurePolicy":                                                        failure,
		"spec.webhookConfiguration.failurePolicy":                                   failure,
		"spec.validationFailureAction":                                              actions,
		"spec.validationFailureActionOverrides[].action":                            actions,
		"spec.rules[].context[].apiCall.method":                                     `["GET","POST"]`,
		"spec.rules[].verifyImages[].failureAction":                                 `["Audit","Enforce"]`,
		"spec.rules[].verifyImages[].type":                                          `["Cosign","SigstoreBundle","Notary"]`,
		"spec.rules[].context[].imageRegistry.imageRegistryCredentials.providers[]": providers,
		"spec.rules[].verifyImages[].imageRegistryCredentials.providers[]":          providers,
		"status.conditions[].status":                                                `["True","False","Unknown"]`,
	}
	for _, block := range []string{"match", "exclude"} {
		for _, list := range []string{"any", "all"} {
			common["spec.rules[]."+block+"."+list+"[].resources.operations[]"] = operations
		}
	}
	for name, schema := range policySchemas(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := maps.Clone(common)
			if strings.HasSuffix(name, " v1") {
				want["spec.rules[].match.resources.operations[]"] = operations
				want["spec.rules[].exclude.resources.operations[]"] = operations
			}
			got := map[string]string{}
			walk("", schema, func(path string, s *apiextensionsv1.JSONSchemaProps) {
				if s.Enum != nil {
					got[path] = compact(t, s.Enum)
				}
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// VI 1.2(3), 1.4(2), 1.5: content that is kept as written, without pruning and without defaults.
func TestPolicyRawFields(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"spec.rules[].preconditions":                           "",
		"spec.rules[].validate":                                "object",
		"spec.rules[].mutate":                                  "object",
		"spec.rules[].generate":                                "object",
		"spec.rules[].context[].apiCall.default":               "",
		"spec.rules[].context[].apiCall.data[].value":          "",
		"spec.rules[].context[].variable.value":                "",
		"spec.rules[].context[].variable.default":              "",
		"spec.rules[].verifyImages[].validate.deny.conditions": "",
		"status.autogen.rules":                                 "",
	}
	for _, list := range []string{"any", "all"} {
		want["spec.rules[].verifyImages[].attestations[].conditions[]."+list+"[].key"] = ""
		want["spec.rules[].verifyImages[].attestations[].conditions[]."+list+"[].value"] = ""
	}
	maps.Copy(want, attestorPaths(map[string]string{".entries[].attestor": "object"}))
	for name, schema := range policySchemas(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := map[string]string{}
			walk("", schema, func(path string, s *apiextensionsv1.JSONSchemaProps) {
				if s.XPreserveUnknownFields != nil && *s.XPreserveUnknownFields {
					got[path] = s.Type
				}
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// VI 1.4(1), 1.5: limits and required fields. Whatever else a policy must satisfy is said by policy validation, in
// words of its own.
func TestPolicyLimits(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"":                  `required ["spec"]`,
		"spec.rules[]":      `required ["match","name"]`,
		"spec.rules[].name": `maxLength 63`,
		"spec.webhookConfiguration.timeoutSeconds": `minimum 1 maximum 30`,
	}
	maps.Copy(want, attestorPaths(map[string]string{
		".count":                 `minimum 1`,
		".entries[].keys.secret": `required ["name","namespace"]`,
	}))
	// The parts of these paths, and of status, are required by types that come from elsewhere or are told apart by name.
	named := []string{"context[]", "imageExtractors", "subjects[]", "matchExpressions[]", "atchConditions[]", "celPreconditions[]", "status"}
	for name, schema := range policySchemas(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := map[string]string{}
			walk("", schema, func(path string, s *apiextensionsv1.JSONSchemaProps) {
				for _, n := range named {
					if strings.Contains(path, n) {
						return
					}
				}
				var limits []string
				if s.Required != nil {
					limits = append(limits, "required "+compact(t, s.Required))
				}
				if s.MaxLength != nil {
					limits = append(limits, "maxLength "+compact(t, s.MaxLength))
				}
				if s.Minimum != nil {
					limits = append(limits, "minimum "+compact(t, s.Minimum))
				}
				if s.Maximum != nil {
					limits = append(limits, "maximum "+compact(t, s.Maximum))
				}
				if s.Pattern != "" || s.MinLength != nil || s.MinItems != nil || s.MaxItems != nil || s.XValidations != nil || s.OneOf != nil || s.AnyOf != nil {
					t.Errorf("%s: unexpected validation", path)
				}
				if limits != nil {
					got[path] = strings.Join(limits, " ")
				}
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// VI 1.1: v2beta1 is v1 without the shortcuts and without filters outside any and all, and nothing else.
func TestPolicyVersionsDiffer(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"kyverno.io_clusterpolicies.yaml", "kyverno.io_policies.yaml"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			crd := readCRD(t, file)
			paths := func(v string) map[string]bool {
				out := map[string]bool{}
				walk("", version(t, crd, v).Schema.OpenAPIV3Schema, func(path string, _ *apiextensionsv1.JSONSchemaProps) { out[path] = true })
				return out
			}
			v1, v2beta1 := paths("v1"), paths("v2beta1")
			for path := range v2beta1 {
				if !v1[path] {
					t.Errorf("%s is in v2beta1 only", path)
				}
				delete(v1, path)
			}
			got := map[string]bool{}
			for path := range v1 {
				cut := true
				for other := range v1 { // only the topmost path of what is missing
					if other != path && strings.HasPrefix(path, other) && strings.ContainsAny(path[len(other):len(other)+1], ".[{") {
						cut = false
					}
				}
				if cut {
					got[path] = true
				}
			}
			want := map[string]bool{}
			for _, f := range []string{"image", "key", "roots", "subject", "issuer", "annotations", "additionalExtensions", "cosignOCI11"} {
				want["spec.rules[].verifyImages[]."+f] = true
			}
			for _, block := range []string{"match", "exclude"} {
				for _, f := range []string{"resources", "roles", "clusterRoles", "subjects"} {
					want["spec.rules[]."+block+"."+f] = true
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Client-side kubectl apply keeps a copy of the object in an annotation of at most 256 KiB.
func TestDefinitionsFitClientSideApply(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(crdDir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions: %v", err)
	}
	var listed struct {
		Resources []string `json:"resources"`
	}
	kustomization, err := os.ReadFile(filepath.Join(crdDir, "..", "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(kustomization, &listed); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, file := range files {
		want = append(want, "bases/"+filepath.Base(file))
		crd, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := yaml.YAMLToJSON(crd)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(asJSON) || len(asJSON) > 250<<10 {
			t.Errorf("%s: %d bytes", file, len(asJSON))
		}
	}
	if diff := cmp.Diff(want, listed.Resources); diff != "" {
		t.Errorf("kustomization.yaml: %s", diff)
	}
}
