package expr

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSubstitute is about variables in texts and values (VI 6.8(3)).
func TestSubstitute(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"no variable":               {`"plain"`, `"plain"`},
		"other types":               {`[1, true, null, {"a": 1.5}]`, `[1, true, null, {"a": 1.5}]`},
		"whole text keeps its type": {`"{{ request.object.spec.replicas }}"`, `3`},
		"whole text, an object":     {`"{{ request.object.metadata.labels }}"`, `{"app": "web", "team.io/x": "blue"}`},
		"whole text, null":          {`"{{ nothing }}"`, `null`},
		"blanks make it a text":     {`" {{ one }}"`, `" 1"`},
		"several in one text":       {`"{{ one }}-{{text}}-{{ yes }}-{{ names }}-{{ nothing }}"`, `"1-abc-true-[\"b\",\"a\",\"c\"]-null"`},
		"in keys":                   {`{"{{ text }}": "{{ one }}"}`, `{"abc": 1}`},
		"a key that is no text":     {`{"{{ one }}": 1}`, `error: must be a string`},
		"two keys of one name":      {`{"{{ text }}": 1, "abc": 2}`, `error: two fields are named "abc"`},
		"missing":                   {`{"a": ["{{ gone }}"]}`, `error: Unknown key "gone" in path`},
		"empty variable":            {`"{{ }}"`, `error: empty`},
		"not closed":                {`"a {{ one"`, `error: not closed`},
		"not closed in a quotation": {`"{{ 'a }}"`, `error: not closed`},
		"not an expression":         {`{"a": "{{ one two }}"}`, `error: a: variable {{ one two }}`},
		"escaped":                   {`"\\{{ one }} {{ one }}"`, `"{{ one }} 1"`},
		"only escaped":              {`"\\{{ one }}"`, `"{{ one }}"`},
		"closing braces alone":      {`"a }} b"`, `"a }} b"`},
		"object in a variable":      {`"{{ {a: {b: one}} }}"`, `{"a": {"b": 1}}`},
		"braces in a literal":       {"\"{{ gone || `{\\\"a\\\":{}}` }}\"", `{"a": {}}`},
		"brace in a quotation":      {`"{{ contains(text, '{') }}"`, `false`},
		"braces in a quotation":     {`"{{ contains('}}', '}}') }}"`, `true`},
		"inner variable":            {`"{{ regex_match('^a', '{{ text }}') }}"`, `true`},
		"inner of inner":            {`"{{ to_upper('{{ to_lower('{{ text }}') }}') }}"`, `"ABC"`},
		"inner with a quotation":    {`"{{ to_string('{{ quote }}') }}"`, `"it's \\ \"x\" ` + "`" + `"`},
		"inner as a quoted name":    {`"{{ request.object.metadata.labels.\"{{ 'team.io/x' }}\" }}"`, `"blue"`},
		"inner as a name":           {`"{{ request.object.metadata.labels.{{ 'app' }} }}"`, `"web"`},
		"inner name with a hyphen":  {`"{{ {\"a-b\": one}.{{ 'a-b' }} }}"`, `1`},
		"inner as a path":           {`"{{ request.{{ 'object.metadata' }}.name }}"`, `"web"`},
		"inner as an index":         {`"{{ names[{{ one }}] }}"`, `"a"`},
		"inner as a number":         {`"{{ add({{ one }}, {{ one }}) }}"`, `2`},
		"inner as a list":           {`"{{ length({{ names }}) }}"`, `3`},
		"inner as a version":        {`"{{ semver_compare({{ components[0].version }}, '>2.0.0') }}"`, `true`},
		"inner in backticks":        {"\"{{ length(`{{ names }}`) }}\"", `3`},
		"inner number in backticks": {"\"{{ add(`{{ one }}`, `2`) }}\"", `3`},
		"inner text in backticks":   {"\"{{ length(`\\\"{{ quote }}\\\"`) }}\"", `12`},
		"inner text without marks":  {"\"{{ length(`{{ text }}`) }}\"", `error: inside backticks is not JSON`},
		"default in backticks":      {"\"{{ lookup(`{{ gone || `{}` }}`, 'x') || 'none' }}\"", `"none"`},
		"inner missing":             {`"{{ to_upper('{{ gone }}') }}"`, `error: Unknown key "gone"`},
		"inner with a default":      {`"{{ to_upper('{{ gone || 'd' }}') }}"`, `"D"`},
		"dash":                      {`"x{{- text }}"`, `"xabc"`},
		"dash alone":                {`"{{-}}"`, `error: empty`},
		"reference":                 {`{"a": "$(./../b)", "b": "x"}`, `{"a": "x", "b": "x"}`},
		"reference keeps the type":  {`{"a": {"c": "$(./../../b/0)"}, "b": [7]}`, `{"a": {"c": 7}, "b": [7]}`},
		"reference in a text":       {`{"a": "n=$(./../b)", "b": 7}`, `{"a": "n=7", "b": 7}`},
		"reference and operator":    {`{"a": "$(<./../b)", "b": 7}`, `{"a": "<7", "b": 7}`},
		"reference to a variable":   {`{"a": "$(./../b)", "b": "{{ one }}"}`, `{"a": 1, "b": 1}`},
		"reference escaped":         {`{"a": "\\$(./../b)", "b": 7}`, `{"a": "$(./../b)", "b": 7}`},
		"reference to nothing":      {`{"a": "$(./../b)"}`, `error: Unknown key "b" in path`},
		"reference out":             {`{"a": "$(./../../b)"}`, `error: out of the document`},
		"reference to itself":       {`{"a": "$(./)"}`, `error: holds it`},
		"references in a ring":      {`{"a": "$(./../b)", "b": "$(./../a)"}`, `error: nested deeper`},
		"reference to its holder":   {`{"a": {"b": "$(./..)"}}`, `error: holds it`},
		"reference to an object":    {`{"a": "x$(./../b)", "b": {}}`, `error: cannot write an object`},
		"not a reference":           {`"$(POD_NAME) $(echo ./x)"`, `"$(POD_NAME) $(echo ./x)"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Substitute(context.Background(), testScope(t), value(t, c.in))
			check(t, got, err, c.want)
		})
	}
}

// TestRescan is about variables in the values of variables.
func TestRescan(t *testing.T) {
	t.Parallel()
	s := testScope(t)
	s.Set("config", map[string]any{"a": "<{{ config.b }}>", "b": "{{ one }}", "ring": "x{{ config.ring }}", "open": "{{ one",
		"bad": "{{ one two }}", "brace": "{"})
	for in, want := range map[string]string{
		`"x{{ config.a }}"`:                  `"x<1>"`,
		`"x{{- config.a }}"`:                 `"x<{{ config.b }}>"`,
		`"{{ config.a }}"`:                   `"<{{ config.b }}>"`, // the value as it is
		`"{{ to_upper('{{ config.a }}') }}"`: `"<1>"`,
		`"x{{ config.ring }}"`:               `error: nested deeper`,
		`"x{{ config.open }}"`:               `"x{{ one"`,
		`"x{{ config.bad }}"`:                `"x{{ one two }}"`,
		`"{{ config.brace }}{ one }}"`:       `"{{ one }}"`, // braces of two sources never make a variable
	} {
		got, err := Substitute(context.Background(), s.Fork(), value(t, in))
		t.Run(in, func(t *testing.T) { check(t, got, err, want) })
	}
}

// TestT030OutsideText shows that text from a predicate stays text: it names no data, ends no quotation, calls nothing.
func TestT030OutsideText(t *testing.T) {
	t.Parallel()
	for name, evil := range map[string]string{
		"variable":       "{{ allowed }}",
		"quotation":      "x' || 'good",
		"backslash":      `\`,
		"backslash mark": `x\' || 'good`,
		"backtick":       "x` || `\"good\"",
		"double mark":    `x" || "good`,
		"path":           "allowed",
		"call":           "to_string('good')",
		"comment":        "x', 'good') || 'good' == 'good",
		"reference":      "$(./../value)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testScope(t)
			s.Set("allowed", "good")
			s.Push(map[string]any{"builder": map[string]any{"id": evil}})
			for _, key := range []string{"{{ builder.id }}", "{{ '{{ builder.id }}' }}", "{{ {{ builder.id }} }}", "{{ join('', ['{{ builder.id }}']) }}",
				"{{ `[\"{{ builder.id }}\"]`[0] }}", "{{ to_string({{ builder.id }}) }}",
				"{{ contains('good', '{{ builder.id }}') && 'good' || '' }}", "{{ `{{ builder.id }}` }}", "{{ (builder.id) }}x{{ '' }}"} {
				got, err := Substitute(context.Background(), s.Fork(), key)
				if err == nil && got == "good" {
					t.Errorf("%s with %q became %q", key, evil, got)
				}
			}
		})
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	got := Variables(map[string]any{"b": []any{"{{ one }}", "{{ to_upper('{{ two }}') }}", "{{ one }}"}, "{{ three }}": "\\{{ no }}"})
	want := []string{"one", "two", "to_upper('{{ two }}')", "three"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a"}, Variables([]any{"{{ a }}", "{{ a b }}", "{{ c"})); diff != "" {
		t.Errorf("of what does not compile (-want +got)\n%s", diff)
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	s := testScope(t)
	data := map[string]any{"items": []any{map[string]any{"n": int64(1)}, map[string]any{"n": int64(2)}}}
	for source, want := range map[string]string{
		"items[].n":                            `[1, 2]`,
		"items[{{ one }}].n":                   `2`,
		"items[?n == `{{ one }}`] | length(@)": `1`,
		"$.items | length(@)":                  `2`,
		"one":                                  `error: Unknown key "one"`,
	} {
		q, err := CompileQuery(source)
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.On(context.Background(), s, data)
		t.Run(source, func(t *testing.T) { check(t, got, err, want) })
	}
	for _, bad := range []string{"a b", "{{ a", "a }} b", "a}}", "f(", "{{ a }} }}"} {
		if _, err := CompileQuery(bad); err == nil {
			t.Errorf("%q compiled", bad)
		}
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	eval := func(t *testing.T, s *Scope, source, want string) {
		t.Helper()
		got, err := query(t, s, source)
		check(t, got, err, want)
	}
	t.Run("push and restore", func(t *testing.T) {
		t.Parallel()
		s := testScope(t)
		restore := s.Push(map[string]any{"one": 2, "new": "n"})
		eval(t, s, "[one, new]", `[2, "n"]`)
		s.Set("later", 1)
		restore()
		eval(t, s, "one", `1`)
		eval(t, s, "new", `error: Unknown key "new"`)
		eval(t, s, "later", `error: Unknown key "later"`)
	})
	t.Run("a value that is no JSON", func(t *testing.T) {
		t.Parallel()
		s := testScope(t)
		restore := s.Push(map[string]any{"bad": make(chan int)})
		eval(t, s, "one", `error: the value of bad cannot be used`)
		restore()
		eval(t, s, "one", `1`)
	})
	t.Run("lazy", func(t *testing.T) {
		t.Parallel()
		s := testScope(t)
		loads := 0
		s.SetLazy("config", func(context.Context) (any, error) { loads++; return map[string]any{"n": int64(loads)}, nil })
		s.SetLazy("broken", func(context.Context) (any, error) { loads += 10; return nil, errors.New("not there") })
		s.SetLazy("panics", func(context.Context) (any, error) { panic("oh") })
		eval(t, s, "one", `1`)
		if loads != 0 {
			t.Fatal("loaded without being read")
		}
		f := s.Fork()
		eval(t, s, "config.n + config.n", `2`)
		eval(t, f, "config.n", `1`)
		eval(t, s, "broken.x || 'default'", `error: broken cannot be loaded: not there`)
		eval(t, s, "panics", `error: panic: oh`)
		if loads != 11 {
			t.Fatalf("%d loads, want one of each", loads)
		}
	})
	t.Run("a fork does not change its origin", func(t *testing.T) {
		t.Parallel()
		s := testScope(t)
		f := s.Fork()
		f.Set("one", 2)
		eval(t, s, "one", `1`)
		eval(t, f, "one", `2`)
	})
	t.Run("the object of a DELETE", func(t *testing.T) {
		t.Parallel()
		s := NewScope(Env{})
		request := map[string]any{"operation": "DELETE", "object": nil, "oldObject": map[string]any{"n": 1}}
		s.Set("request", request)
		eval(t, s, "request.object.n", `1`)
		if request["object"] != nil {
			t.Error("the request was changed")
		}
	})
	t.Run("data is not changed", func(t *testing.T) {
		t.Parallel()
		data := map[string]any{"list": []any{map[string]any{"n": int64(2)}, map[string]any{"n": int64(1)}}}
		s := NewScope(Env{})
		s.Set("data", data)
		eval(t, s, "sort_by(data.list, &n)[].n", `[1, 2]`)
		eval(t, s, "sort(data.list[].n)", `[1, 2]`)
		want := map[string]any{"list": []any{map[string]any{"n": int64(2)}, map[string]any{"n": int64(1)}}}
		if diff := cmp.Diff(want, data); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		stopped, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := Substitute(stopped, testScope(t), "{{ one }}"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was stopped", err)
		}
	})
}
