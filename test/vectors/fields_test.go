package vectors_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/test/vectors"
)

// notYet are the fields of verifyImages, with all below them, that this version does not evaluate. Each must be refused
// in some vector; one that is evaluated from now on leaves this list.
var notYet = []string{}

// TestFields keeps a field of verifyImages from having no effect unnoticed: each stands in a vector of an admitted policy,
// or is listed above and refused.
func TestFields(t *testing.T) {
	t.Parallel()
	list, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	used, refused := map[string]bool{}, map[string]bool{}
	for _, v := range list {
		want, err := v.Want(nil)
		if err != nil {
			t.Fatal(err)
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
					if want.Refused == "" {
						collect(used, "", e)
						continue
					}
					in := map[string]bool{}
					collect(in, "", e)
					for _, f := range notYet {
						// The denial names the field, whose path has indexes besides.
						last := f[strings.LastIndexByte(f, '.')+1:]
						if in[f] && strings.Contains(want.Refused, "."+last+": Forbidden: not evaluated by this version of Signet") {
							refused[f] = true
						}
					}
				}
			}
		}
	}
	fields := map[string]bool{}
	schema(fields, "", reflect.TypeFor[v1.ImageVerification]())
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		below := slices.ContainsFunc(notYet, func(n string) bool { return f == n || strings.HasPrefix(f, n+".") })
		switch {
		case !below && !used[f]:
			t.Errorf("%s stands in no vector of an admitted policy", f)
		case below && used[f]:
			t.Errorf("%s is said not to be evaluated and stands in a vector of an admitted policy", f)
		}
	}
	for _, f := range notYet {
		if !fields[f] {
			t.Errorf("%s is no field", f)
		}
		if !refused[f] {
			t.Errorf("%s is not evaluated, and no vector shows that it is refused", f)
		}
	}
	if len(fields) < 40 {
		t.Errorf("only %d fields found", len(fields))
	}
}

// matchNotYet are the fields of match and exclude that this version does not evaluate.
var matchNotYet = []string{}

// TestMatchFields is TestFields for the filters of match and exclude.
func TestMatchFields(t *testing.T) {
	t.Parallel()
	list, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	used, refused := map[string]bool{}, map[string]bool{}
	for _, v := range list {
		want, err := v.Want(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range slices.Concat(v.Policies, v.Later) {
			var p struct {
				Spec struct {
					Rules []struct{ Match, Exclude map[string]any } `json:"rules"`
				} `json:"spec"`
			}
			if err := yaml.Unmarshal([]byte(text), &p); err != nil {
				t.Fatal(err)
			}
			for _, r := range p.Spec.Rules {
				for _, block := range []map[string]any{r.Match, r.Exclude} {
					in := map[string]bool{}
					collect(in, "", block)
					for f := range in {
						short := strings.TrimPrefix(strings.TrimPrefix(f, "any."), "all.")
						used[short] = used[short] || want.Refused == ""
						refused[short] = refused[short] || strings.Contains(want.Refused, "."+short+": Forbidden: not evaluated by this version of Signet")
					}
				}
			}
		}
	}
	fields := map[string]bool{}
	schema(fields, "", reflect.TypeFor[v1.ResourceFilter]())
	for f := range fields {
		switch later := slices.Contains(matchNotYet, f); {
		case later && !refused[f]:
			t.Errorf("%s is not evaluated, and no vector shows that it is refused", f)
		case later && used[f]:
			t.Errorf("%s is said not to be evaluated and stands in a vector of an admitted policy", f)
		case !later && !used[f]:
			t.Errorf("%s stands in no vector of an admitted policy", f)
		}
	}
	if len(fields) < 20 {
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

// schema notes the paths of a type's fields.
func schema(out map[string]bool, path string, t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[apiextensionsv1.JSON]() || t == reflect.TypeFor[json.RawMessage]() {
		return
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			schema(out, path, t.Field(i).Type)
			continue
		}
		p := strings.TrimPrefix(path+"."+name, ".")
		out[p] = true
		schema(out, p, t.Field(i).Type)
	}
}
