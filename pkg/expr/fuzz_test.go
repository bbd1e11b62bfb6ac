package expr

import (
	"context"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func seeds(f *testing.F) {
	for _, cases := range functionCases() {
		for source := range cases {
			f.Add("{{ "+source+" }}", `{"builder":{"id":"x"}}`)
		}
	}
	for _, s := range []string{"{{ regex_match('^x','{{ builder.id }}') }}", "\\{{ a }} {{- b }}", "$(./../a)", "{{ a.{{ b }}[{{ c }}] }}", "{{ `{{ a || `{}` }}` }}",
		"{{ [?a].b[].c[*].* | [0] || {a: b, c: `1`} }}", "{{ let $a = b in $a && !$c }}", "10-20", "1h", "1Gi", "*?*"} {
		f.Add(s, `{"a":{"b":[1,"{{ c }}",null]},"b":"'","c":0,"builder":{"id":"' || '"}}`)
	}
}

func fuzzScope(t *testing.T, data string) *Scope {
	var fields map[string]any
	if json.Unmarshal([]byte(data), &fields) != nil {
		t.Skip()
	}
	env := testEnv()
	env.Limits = Limits{Steps: 200_000, Bytes: 4 << 20}
	s := NewScope(env)
	s.Set("allowed", "good")
	s.Push(fields)
	return s
}

// FuzzSubstitute looks for panics, for values that are no JSON, and for evaluations that change their data.
func FuzzSubstitute(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text, data string) {
		s := fuzzScope(t, data)
		before, err := json.Marshal(s.entries["builder"])
		if err != nil {
			t.Fatal(err)
		}
		v, err := Substitute(context.Background(), s, map[string]any{"x": text, text: []any{text}})
		if err != nil {
			return
		}
		if _, err := json.Marshal(v); err != nil {
			t.Errorf("%q became a value that is no JSON: %v", text, err)
		}
		if after, err := json.Marshal(s.entries["builder"]); err != nil || string(after) != string(before) {
			t.Errorf("%q changed its data: %v", text, err)
		}
	})
}

// FuzzCompile looks for panics, and for conditions that hold one time and not another.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`null`, `[]`, `{"any":[]}`, `{"all":[{"key":"{{ builder.id }}","operator":"Equals","value":"x*","message":"m {{ a }}"}]}`,
		`[{"any":[{"key":["a",1],"operator":"AnyNotIn","value":"1-2"}]}]`, `[{"key":"1.2.3","operator":"GreaterThan","value":"1.0.0"}]`, `[{"key":"$(./../value)","operator":"In","value":["a"]}]`} {
		f.Add(s, `{"builder":{"id":"x"},"a":1}`)
	}
	f.Fuzz(func(t *testing.T, raw, data string) {
		c, err := Compile([]byte(raw))
		if err != nil {
			return
		}
		first, _, err := c.Eval(context.Background(), fuzzScope(t, data))
		second, _, errAgain := c.Eval(context.Background(), fuzzScope(t, data))
		if first != second || (err == nil) != (errAgain == nil) {
			t.Errorf("%s: %v, %v and then %v, %v", raw, first, err, second, errAgain)
		}
		if first && err != nil {
			t.Errorf("%s holds with an error: %v", raw, err)
		}
	})
}

// FuzzOutsideText shows that text of a predicate is the same text wherever a policy quotes it.
func FuzzOutsideText(f *testing.F) {
	for _, s := range []string{"x", "{{ allowed }}", "' || 'good", `\`, `\'`, "`", `"`, "\n", "${{", "}}", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, evil string) {
		if !utf8.ValidString(evil) || len(evil) > 4096 {
			t.Skip()
		}
		env := testEnv()
		s := NewScope(env)
		s.Set("allowed", "good")
		s.Push(map[string]any{"id": evil})
		for _, key := range []string{"{{ id }}", "{{ '{{ id }}' }}", "{{ `\"{{ id }}\"` }}", "{{ `[\"{{ id }}\"]`[0] }}", "{{ to_string('{{ id }}') }}", "{{ join('', ['{{ id }}']) }}",
			"{{ {{ id }} }}", "{{ keys({\"{{ id }}\": `1`})[0] }}"} {
			got, err := Substitute(context.Background(), s, key)
			if err != nil || got != evil {
				t.Errorf("%s with %q became %q, %v", key, evil, got, err)
			}
		}
	})
}
