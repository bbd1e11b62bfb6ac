package v1_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
)

// VI 1.4(2), 2.1: blocks that Kyverno wrote into stored rules without saying anything by them are no operations.
func TestOtherOperations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule string
		want []string
	}{
		"none":                     {`{name: r}`, nil},
		"as Kyverno stored it":     {`{validate: {}, mutate: {}, generate: {clone: {}, cloneList: {}}}`, nil},
		"with a schema's default":  {`{validate: {allowExistingViolations: true}}`, nil},
		"scalars without a word":   {`{validate: {message: ""}, generate: {synchronize: false, clone: {}}, mutate: {targets: []}}`, nil},
		"null":                     {`{validate: null, mutate: null}`, nil},
		"deny everything":          {`{validate: {deny: {}}}`, []string{"validate"}},
		"a pattern of nothing":     {`{validate: {pattern: {}}}`, []string{"validate"}},
		"a message":                {`{validate: {message: m}}`, []string{"validate"}},
		"other form of a default":  {`{validate: {allowExistingViolations: {}}}`, []string{"validate"}},
		"mutate":                   {`{mutate: {patchStrategicMerge: {}}}`, []string{"mutate"}},
		"clone":                    {`{generate: {clone: {name: a}}}`, []string{"generate"}},
		"generate":                 {`{generate: {kind: Secret, clone: {}}}`, []string{"generate"}},
		"several":                  {`{validate: {cel: {}}, mutate: {foreach: [{}]}, generate: {data: {}}}`, []string{"validate", "mutate", "generate"}},
		"a block that is no block": {`{validate: [a]}`, []string{"validate"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r v1.Rule
			if err := yaml.Unmarshal([]byte(c.rule), &r); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, r.OtherOperations()); d != "" {
				t.Error(d)
			}
		})
	}
}
