package vectors_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/test/vectors"
)

// TestFields wants each field of verifyImages in a vector of an admitted policy. TestEffects shows that they have an effect,
// and counts those of attestors once; here they stand in attestors of signatures and of attestations.
func TestFields(t *testing.T) {
	t.Parallel()
	list, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, v := range list {
		want, err := v.Want(nil)
		if err != nil {
			t.Fatal(err)
		}
		if want.Refused != "" {
			continue
		}
		for _, text := range slices.Concat(v.Policies, v.Later) {
			var p struct {
				Spec struct {
					Rules []struct {
						VerifyImages []map[string]any `json:"verifyImages"`
					} `json:"rules"`
				} `json:"spec"`
			}
			if err := yaml.Unmarshal([]byte(text), &p); err != nil {
				t.Fatal(err)
			}
			for _, r := range p.Spec.Rules {
				for _, e := range r.VerifyImages {
					collect(used, "", e)
				}
			}
		}
	}
	fields := map[string]bool{}
	fieldsOf(fields, "", reflect.TypeFor[v1.ImageVerification]())
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		if !used[f] {
			t.Errorf("%s stands in no vector of an admitted policy", f)
		}
	}
	if len(fields) < 40 {
		t.Errorf("only %d fields found", len(fields))
	}
}

// collect notes the paths of a value, without the indexes of lists.
func collect(out map[string]bool, path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for k, e := range v {
			p := strings.TrimPrefix(path+"."+k, ".")
			out[p] = true
			collect(out, p, e)
		}
	case []any:
		for _, e := range v {
			collect(out, path, e)
		}
	}
}
