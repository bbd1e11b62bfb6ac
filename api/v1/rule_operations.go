package v1

import (
	"encoding/json"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// OtherOperations are the fields by which the rule does something besides verifying images. A block in which nothing is
// written is none of them: Kyverno up to 1.12 wrote validate, mutate and generate into every rule that it stored, the last
// with clone and cloneList, and the schema of later ones adds its default to the first.
func (r *Rule) OtherOperations() []string {
	var out []string
	for _, o := range []struct {
		name  string
		raw   *apiextensionsv1.JSON
		inert map[string]string // fields that say nothing when they hold this
	}{
		{"validate", r.Validate, map[string]string{"allowExistingViolations": "true"}},
		{"mutate", r.Mutate, nil},
		{"generate", r.Generate, map[string]string{"clone": "{}", "cloneList": "{}"}},
	} {
		if o.raw != nil && !blank(o.raw.Raw, o.inert) {
			out = append(out, o.name)
		}
	}
	return out
}

// blank tells whether a block holds nothing but what stands for nothing written. An empty object does not, except where
// that is known: deny: {} denies everything.
func blank(raw []byte, inert map[string]string) bool {
	var doc map[string]json.RawMessage
	if len(raw) > 0 && json.Unmarshal(raw, &doc) != nil {
		return false
	}
	for name, value := range doc {
		switch text := string(value); text {
		case "null", "false", `""`, "0", "[]":
		default:
			if known, ok := inert[name]; !ok || known != text {
				return false
			}
		}
	}
	return true
}
