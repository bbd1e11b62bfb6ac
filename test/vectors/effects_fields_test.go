package vectors_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1 "github.com/signet-policy/signet/api/v1"
	v2 "github.com/signet-policy/signet/api/v2"
)

// fieldPath is a field by its name in reports and the places where it stands, without indexes.
type fieldPath struct {
	name  string
	kind  int
	paths []string
}

// alike are parts that have the same fields wherever they stand and are compiled by the same code, so that their fields
// are counted once. Their places are fields of their own.
var alike = []struct{ place, name string }{
	{"rules.match.any.", "filter."}, {"rules.match.all.", "filter."}, {"rules.match.", "filter."},
	{"rules.exclude.any.", "filter."}, {"rules.exclude.all.", "filter."}, {"rules.exclude.", "filter."},
	{"exception.match.any.", "filter."}, {"exception.match.all.", "filter."},
	{"rules.verifyImages.attestors.entries.", "attestor."}, {"rules.verifyImages.attestations.attestors.entries.", "attestor."},
}

// allFields are the fields of the specs that hold no others, and the places of what is counted once.
func allFields() []fieldPath {
	byName := map[string]*fieldPath{}
	for _, of := range []struct {
		root string
		kind int
		of   reflect.Type
	}{
		{"", ofPolicy, reflect.TypeFor[v1.Spec]()}, {"exception.", ofException, reflect.TypeFor[v2.PolicyExceptionSpec]()},
		{"entry.", ofEntry, reflect.TypeFor[v2.GlobalContextEntrySpec]()},
	} {
		found := map[string]bool{}
		fieldsOf(found, "", of.of)
		for path := range found {
			place, inside := "", false
			name := of.root + path
			for _, c := range alike {
				if rest, ok := strings.CutPrefix(name, c.place); ok && rest != "any" && rest != "all" {
					name, inside = c.name+rest, true
					break
				}
				if name+"." == c.place {
					place = name
				}
			}
			below := func(other string) bool { return strings.HasPrefix(other, path+".") }
			if place == "" && slices.ContainsFunc(slices.Collect(maps.Keys(found)), below) {
				continue // what is below shows it
			}
			if inside && of.kind != ofPolicy {
				continue
			}
			if byName[name] == nil {
				byName[name] = &fieldPath{name: name, kind: of.kind}
			}
			byName[name].paths = append(byName[name].paths, path)
		}
	}
	var out []fieldPath
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		slices.Sort(byName[name].paths)
		out = append(out, *byName[name])
	}
	return out
}

// shapes are the types of fields that the schema keeps as they are written.
var shapes = map[string]reflect.Type{
	"rules.preconditions":                         reflect.TypeFor[v1.AnyAllConditions](),
	"rules.verifyImages.validate.deny.conditions": reflect.TypeFor[v1.AnyAllConditions](),
}

// fieldsOf notes the paths of a type's fields; a "*" stands for the keys of a map.
func fieldsOf(out map[string]bool, path string, t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		if t.Kind() == reflect.Map {
			path += ".*"
		}
		t = t.Elem()
	}
	if shape := shapes[path]; shape != nil {
		t = shape
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[apiextensionsv1.JSON]() || t == reflect.TypeFor[json.RawMessage]() {
		return
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		p := strings.TrimPrefix(path+"."+name, ".")
		switch {
		case name == "":
			fieldsOf(out, path, t.Field(i).Type)
			continue
		case p == "rules.validate", p == "rules.mutate", p == "rules.generate":
			continue
		}
		out[p] = true
		fieldsOf(out, p, t.Field(i).Type)
	}
}
