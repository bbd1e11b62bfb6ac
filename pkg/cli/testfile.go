package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	kjson "sigs.k8s.io/json"
)

// testSpec is a file of tests (VI 10.2(1)).
type testSpec struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Name       string         `json:"name"` // of old, in place of metadata
	Metadata   map[string]any `json:"metadata"`
	Policies   []string       `json:"policies"`
	Resources  []string       `json:"resources"`
	Exceptions []string       `json:"exceptions"`
	Variables  string         `json:"variables"`
	Values     *valuesSpec    `json:"values"`
	UserInfo   string         `json:"userinfo"`
	Results    []testResult   `json:"results"`
}

// testResult is what is expected of a rule.
type testResult struct {
	Policy        string         `json:"policy"`
	Rule          string         `json:"rule"`
	Kind          string         `json:"kind"`
	Resources     []string       `json:"resources"`
	ResourceSpecs []resourceSpec `json:"resourceSpecs"`
	Result        string         `json:"result"`
	Patched       string         `json:"patchedResources"`
}

// resourceSpec names a resource in parts.
type resourceSpec struct {
	Group     string `json:"group"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Sub       string `json:"subresource"`
}

// The fields of a file and of a result that concern what is not judged here, with the reason. Those that are set to false
// or to nothing say nothing.
var (
	otherFields = map[string]string{
		"targetResources":      "it concerns mutate rules",
		"clusterResources":     "it concerns rules of other kinds",
		"paramResources":       "it concerns admission policies of Kubernetes",
		"checks":               "assertion trees are not evaluated; say what is expected in results",
		"context":              "it concerns CEL policies; say in variables what context entries are",
		"apiCallResponses":     "say in variables what context entries are",
		"globalContextEntries": "say in variables what context entries are",
		"attestations":         "attestations are read and verified where the image is, never taken from a file",
		"jsonPayload":          "it concerns policies of other kinds",
		"jsonPayloads":         "it concerns policies of other kinds",
		"envoyPayloads":        "it concerns policies of other kinds",
		"httpPayloads":         "it concerns policies of other kinds",
	}
	otherResults = map[string]string{
		"isValidatingAdmissionPolicy": "admission policies of Kubernetes are not evaluated",
		"isMutatingAdmissionPolicy":   "admission policies of Kubernetes are not evaluated",
		"isValidatingPolicy":          "only ClusterPolicy and Policy are evaluated",
		"isImageValidatingPolicy":     "only ClusterPolicy and Policy are evaluated",
		"isMutatingPolicy":            "only ClusterPolicy and Policy are evaluated",
		"isGeneratingPolicy":          "only ClusterPolicy and Policy are evaluated",
		"isDeletingPolicy":            "only ClusterPolicy and Policy are evaluated",
		"generatedResource":           "generate rules are not evaluated",
		"generatedResources":          "generate rules are not evaluated",
		"cloneSourceResource":         "generate rules are not evaluated",
		"failOnMissingResources":      "a resource that is missing always fails",
		"patchedResource":             "the field is patchedResources",
		"resource":                    "the field is resources, a list",
		"namespace":                   "write namespace/name in resources",
		"status":                      "the field is result",
	}
)

// testWords are the results that a test can expect.
var testWords = []string{"pass", "fail", "skip", "warn", "error"}

// readTest reads a file of tests.
func readTest(path string) (*testSpec, error) {
	spec, n := &testSpec{}, 0
	err := eachDocument(path, bytes.NewReader(nil), func(_ string, raw []byte) error {
		if n++; n > 1 {
			return errors.New("the file has more than one document")
		}
		return spec.decode(raw)
	})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("the file is empty")
	}
	return spec, spec.check()
}

// decode reads a document, with the fields that it must not have as errors.
func (s *testSpec) decode(raw []byte) error {
	raw, err := withoutOthers(raw)
	if err != nil {
		return err
	}
	unknown, err := kjson.UnmarshalStrict(raw, s)
	return errors.Join(append(unknown, err)...)
}

// withoutOthers refuses the fields that concern others, and drops them where they say nothing.
func withoutOthers(raw []byte) ([]byte, error) {
	var object map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object); err != nil {
		return nil, err
	}
	errs := drop(object, otherFields, "")
	results, _ := object["results"].([]any)
	for i := range results {
		if r, ok := results[i].(map[string]any); ok {
			errs = append(errs, drop(r, otherResults, fmt.Sprintf("results[%d].", i))...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return json.Marshal(object)
}

func drop(object map[string]any, fields map[string]string, prefix string) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value, there := object[name]
		delete(object, name)
		list, isList := value.([]any)
		if there && value != nil && value != false && value != "" && !(isList && len(list) == 0) {
			errs = append(errs, fmt.Errorf("%s%s is not supported: %s", prefix, name, fields[name]))
		}
	}
	return errs
}

func (s *testSpec) check() error {
	errs := []error{checkKind(s.APIVersion, s.Kind, "Test")}
	for _, list := range []struct {
		name  string
		paths []string
	}{{"policies", s.Policies}, {"resources", s.Resources}, {"results", make([]string, len(s.Results))}} {
		if len(list.paths) == 0 {
			errs = append(errs, fmt.Errorf("%s is missing", list.name))
		}
	}
	if s.Variables != "" && s.Values != nil {
		errs = append(errs, errors.New("values: they are in the file of variables, or here, not in both"))
	}
	for i := range s.Results {
		r, at := &s.Results[i], fmt.Sprintf("results[%d]", i)
		if r.Policy == "" {
			errs = append(errs, fmt.Errorf("%s.policy is missing", at))
		}
		if r.Rule == "" {
			errs = append(errs, fmt.Errorf("%s.rule is missing", at))
		}
		if !slices.Contains(testWords, r.Result) {
			errs = append(errs, fmt.Errorf("%s.result %.40q: pass, fail, skip, warn or error is expected", at, r.Result))
		}
		for k := range r.ResourceSpecs {
			if r.ResourceSpecs[k].Name == "" {
				errs = append(errs, fmt.Errorf("%s.resourceSpecs[%d].name is missing", at, k))
			}
		}
		for k, name := range r.Resources {
			if name == "" {
				errs = append(errs, fmt.Errorf("%s.resources[%d] is empty", at, k))
			}
		}
	}
	return errors.Join(errs...)
}

// resolve finds the files that a test names beside it. Those of a repository stay in it.
func resolve(testFile, root string, paths []string) ([]string, error) {
	out := make([]string, 0, len(paths))
	for _, p := range paths {
		switch {
		case p == "" || p == "-" || scheme.MatchString(p):
			return nil, fmt.Errorf("%.80q: the path of a file is expected", p)
		case !filepath.IsAbs(p):
			p = filepath.Join(filepath.Dir(testFile), filepath.FromSlash(p))
		}
		if root != "" {
			if err := within(root, p); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// selects tells whether one of the cases of a result is to be run.
func (r *testResult) selects(s selection) bool {
	if !s.has("policy", r.Policy) || !s.has("rule", r.Rule) {
		return false
	}
	if len(r.Resources)+len(r.ResourceSpecs) == 0 {
		return true
	}
	return slices.ContainsFunc(r.Resources, func(n string) bool { return s.has("resource", n, filepath.Base(n)) }) ||
		slices.ContainsFunc(r.ResourceSpecs, func(n resourceSpec) bool { return s.has("resource", n.Name, n.Namespace+"/"+n.Name) })
}
