package expr_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/expr"
)

func TestReads(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"none":            {"plain", nil},
		"path":            {"{{ request.object.metadata.name }}", []string{"request.object.metadata.name"}},
		"default":         {"{{ request.object.metadata.labels.a || keys.data.b }}", []string{"request.object.metadata.labels.a", "keys.data.b"}},
		"function":        {"{{ to_upper(keys.data.a) }}", []string{"keys.data.a"}},
		"filter":          {"{{ list.items[?name == 'x'].value }}", []string{"list.items"}},
		"pipe":            {"{{ request.object | spec }}", []string{"request.object"}},
		"sorted by":       {"{{ sort_by(list, &name)[0] }}", []string{"list"}},
		"multi-select":    {"{{ {a: one.x, b: two.y} }}", []string{"one.x", "two.y"}},
		"index":           {"{{ list[0].name }}", []string{"list"}},
		"root":            {"{{ list[?a == $.other] }}", []string{"list", "other"}},
		"all":             {"{{ keys(@) }}", []string{"@"}},
		"inner":           {"{{ request.object.metadata.labels.{{ name.value }} }}", []string{"name.value", "request.object.metadata.labels"}},
		"inner in quotes": {"{{ regex_match('^{{ a.b }}$', c.d) }}", []string{"a.b", "c.d"}},
		"begins inside":   {"{{ {{ a }}.b }}", []string{"a"}},
		"let":             {"{{ let $x = a.b in $x.c }}", []string{"a.b"}},
		"twice":           {"{{ a.b }}-{{ a.b }}", []string{"a.b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compiled, err := expr.CompileTemplate(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, compiled.Reads()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestQueryReads(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source string
		on     bool
		want   []string
	}{
		"scope":         {"request.object.kind", false, []string{"request.object.kind"}},
		"data":          {"items[].name", true, nil},
		"data, inner":   {"items[?name == '{{ a.b }}']", true, []string{"a.b"}},
		"scope, inner":  {"items[?name == '{{ a.b }}']", false, []string{"a.b", "items"}},
		"inner outside": {"items[{{ a.b }}]", true, []string{"a.b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, err := expr.CompileQuery(c.source)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, q.Reads(c.on)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConditionsReads(t *testing.T) {
	t.Parallel()
	c, err := expr.Compile([]byte(`{"any":[{"key":"{{ a.b }}","operator":"Equals","value":"{{ c }}"}],"all":[{"key":1,"operator":"Equals","value":2,"message":"{{ d }}"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.b", "c", "d"}, c.Reads()); diff != "" {
		t.Error(diff)
	}
}
