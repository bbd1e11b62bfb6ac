package expr_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/expr"
)

// A prepared value reads as the value itself does, wherever it stands.
func TestPrepared(t *testing.T) {
	t.Parallel()
	var items []expr.Prepared
	for _, v := range []any{map[string]any{"name": "a", "count": int64(1)}, map[string]any{"name": "b", "count": int64(2)}} {
		p, err := expr.Prepare(v, expr.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, p)
	}
	list := expr.PrepareList(items)
	whole, err := expr.Prepare([]any{map[string]any{"name": "a", "count": 1}, map[string]any{"name": "b", "count": 2}}, expr.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if list.Bytes() != whole.Bytes() || list.Bytes() == 0 {
		t.Errorf("%d and %d bytes", list.Bytes(), whole.Bytes())
	}
	for name, c := range map[string]struct {
		source string
		want   any
	}{
		"names": {"list[].name", []any{"a", "b"}},
		"sum":   {"sum(list[].count)", 3.0},
		"equal": {"list == whole", true},
		"deep":  {"within.list[1].name", "b"},
		"whole": {"list[0]", map[string]any{"name": "a", "count": 1.0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := expr.NewScope(expr.Env{})
			s.SetData("list", list)
			s.SetData("whole", whole)
			s.SetData("within", map[string]any{"list": list})
			q, err := expr.CompileQuery(c.source)
			if err != nil {
				t.Fatal(err)
			}
			got, err := q.Eval(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	q, err := expr.CompileQuery("[?name == 'b'].count")
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.On(t.Context(), expr.NewScope(expr.Env{}), list)
	if diff := cmp.Diff([]any{2.0}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if !(expr.Prepared{}).IsNull() || list.IsNull() {
		t.Error("null is null, and nothing else is")
	}
}

// What is over a limit is not prepared, and one that is prepared is not read where it would be nested too deep.
func TestPreparedLimits(t *testing.T) {
	t.Parallel()
	nested := func(n int) any {
		var v any = "a"
		for range n {
			v = []any{v}
		}
		return v
	}
	for name, c := range map[string]struct {
		value any
		ok    bool
	}{
		"text":          {strings.Repeat("a", 100), true},
		"long text":     {strings.Repeat("a", 101), false},
		"many elements": {make([]any, 7), false},
		"no JSON":       {struct{}{}, false},
		"deep":          {nested(4), true},
		"too deep":      {nested(5), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := expr.Prepare(c.value, expr.Limits{Bytes: 100, Depth: 4})
			if (err == nil) != c.ok || err != nil && name != "no JSON" && !errors.Is(err, expr.ErrLimit) {
				t.Error(err)
			}
		})
	}
	p, err := expr.Prepare(nested(3), expr.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	s := expr.NewScope(expr.Env{Limits: expr.Limits{Depth: 4}})
	s.SetData("deep", map[string]any{"a": map[string]any{"b": p}})
	q, err := expr.CompileQuery("deep")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Eval(t.Context(), s); !errors.Is(err, expr.ErrLimit) {
		t.Error(err)
	}
}
