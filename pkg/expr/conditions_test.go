package expr

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOperators is the truth table of VI 6.8(2). A row is key, operator, value; "!" before the outcome that the counterpart is
// the same, which is so where the types do not fit.
func TestOperators(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		key, operator, value string
		want                 bool
	}{
		// Equals and NotEquals: texts
		{`"a"`, "Equals", `"a"`, true}, {`"a"`, "Equals", `"b"`, false}, {`"a"`, "equal", `"a"`, true}, {`"a"`, "EQUALS", `"a"`, true},
		{`"abc"`, "Equals", `"a*"`, true}, {`"abc"`, "Equals", `"a?c"`, true}, {`"a*"`, "Equals", `"abc"`, false}, {`""`, "Equals", `"*"`, true},
		{`"a[b]"`, "Equals", `"a[b]"`, true}, {`"ab"`, "Equals", `"a[b]"`, false}, {`"A"`, "Equals", `"a"`, false}, {`""`, "Equals", `""`, true},
		{`"a"`, "NotEquals", `"a"`, false}, {`"a"`, "NotEquals", `"b"`, true}, {`"a"`, "notequal", `"b"`, true}, {`"abc"`, "NotEquals", `"a*"`, false},
		// durations
		{`"1h"`, "Equals", `"60m"`, true}, {`"1h"`, "Equals", `3600`, true}, {`"1h"`, "Equals", `"2h"`, false}, {`"1h"`, "NotEquals", `"60m"`, false},
		{`"1h"`, "NotEquals", `3600`, false}, {`"0"`, "Equals", `"0s"`, false}, {`"0s"`, "Equals", `0`, true}, {`"x"`, "Equals", `"1h"`, false},
		{`"1h"`, "Equals", `"1*"`, true},
		// quantities
		{`"1Gi"`, "Equals", `"1024Mi"`, true}, {`"1"`, "Equals", `"1.0"`, true}, {`"1.10"`, "Equals", `"1.1"`, true}, {`"1000m"`, "Equals", `"1"`, true},
		{`"1000m"`, "Equals", `1`, false} /* minutes and a second */, {`"1Gi"`, "NotEquals", `"1024Mi"`, false}, {`"1Gi"`, "Equals", `"1G"`, false},
		// numbers
		{`1`, "Equals", `1`, true}, {`1`, "Equals", `1.0`, true}, {`1`, "Equals", `2`, false}, {`1`, "Equals", `"1"`, true}, {`1.5`, "Equals", `"1.5"`, true},
		{`1`, "Equals", `"x"`, false}, {`1`, "Equals", `true`, false}, {`"1"`, "Equals", `1`, true}, {`"1.5"`, "Equals", `1.5`, true}, {`"x"`, "Equals", `1`, false},
		{`1`, "NotEquals", `2`, true}, {`1`, "NotEquals", `"1"`, false}, {`1`, "NotEquals", `"x"`, true}, {`1`, "NotEquals", `[1]`, true}, {`1`, "Equals", `"*"`, false},
		// booleans
		{`true`, "Equals", `true`, true}, {`true`, "Equals", `false`, false}, {`true`, "Equals", `"true"`, false}, {`"true"`, "Equals", `true`, false},
		{`true`, "NotEquals", `false`, true}, {`true`, "NotEquals", `"true"`, true}, {`true`, "NotEquals", `true`, false}, {`true`, "Equals", `"*"`, false},
		// null
		{`null`, "Equals", `null`, false}, {`null`, "Equals", `""`, false}, {`null`, "NotEquals", `null`, false}, {`null`, "NotEquals", `"a"`, false},
		{`"a"`, "Equals", `null`, false}, {`"a"`, "NotEquals", `null`, true}, {`""`, "Equals", `null`, false},
		// lists and objects
		{`[1,"a"]`, "Equals", `[1,"a"]`, true}, {`[1]`, "Equals", `["1"]`, false}, {`["a"]`, "Equals", `["*"]`, false}, {`[1]`, "Equals", `1`, false},
		{`[1]`, "NotEquals", `[2]`, true}, {`[1]`, "NotEquals", `1`, true}, {`[]`, "Equals", `[]`, true}, {`[]`, "NotEquals", `[]`, false},
		{`{"a":{"b":1}}`, "Equals", `{"a":{"b":1}}`, true}, {`{"a":1}`, "Equals", `{"a":2}`, false}, {`{"a":1}`, "Equals", `{"b":1}`, false}, {`{}`, "Equals", `"*"`, false},
		{`{"a":1}`, "NotEquals", `{"a":2}`, true}, {`{"a":1}`, "NotEquals", `"x"`, true}, {`"a"`, "NotEquals", `["a"]`, true},

		// AnyIn and the others: scalars and lists on both sides
		{`"a"`, "AnyIn", `["a","b"]`, true}, {`"c"`, "AnyIn", `["a","b"]`, false}, {`"a"`, "AnyIn", `"a"`, true}, {`"a"`, "AnyIn", `"[\"a\",\"b\"]"`, true},
		{`1`, "AnyIn", `[1]`, true}, {`1`, "AnyIn", `["1"]`, true}, {`true`, "AnyIn", `["true"]`, true}, {`1.5`, "AnyIn", `["1.5"]`, true},
		{`["a","c"]`, "AnyIn", `["a","b"]`, true}, {`["c","d"]`, "AnyIn", `["a","b"]`, false}, {`[]`, "AnyIn", `["a"]`, false}, {`"a"`, "AnyIn", `[]`, false},
		{`"abc"`, "AnyIn", `["a*"]`, true}, {`"a*"`, "AnyIn", `["abc"]`, true}, {`"abc"`, "AnyIn", `"a*"`, true},
		{`["a","b"]`, "AllIn", `["a","b","c"]`, true}, {`["a","d"]`, "AllIn", `["a","b"]`, false}, {`[]`, "AllIn", `["a"]`, true}, {`"a"`, "AllIn", `["a"]`, true}, {`"d"`, "AllIn", `["a"]`, false},
		{`["a","d"]`, "AnyNotIn", `["a","b"]`, true}, {`["a","b"]`, "AnyNotIn", `["a","b"]`, false}, {`[]`, "AnyNotIn", `["a"]`, false}, {`"d"`, "AnyNotIn", `["a"]`, true}, {`"d"`, "AnyNotIn", `[]`, true},
		{`["c","d"]`, "AllNotIn", `["a","b"]`, true}, {`["a","d"]`, "AllNotIn", `["a","b"]`, false}, {`[]`, "AllNotIn", `["a"]`, true}, {`"a"`, "AllNotIn", `["a"]`, false}, {`"d"`, "AllNotIn", `"a"`, true},
		{`null`, "AnyIn", `["null"]`, false}, {`null`, "AllIn", `["a"]`, false}, {`null`, "AnyNotIn", `["a"]`, false}, {`null`, "AllNotIn", `["a"]`, false},
		{`"a"`, "AnyIn", `null`, false}, {`"a"`, "AnyNotIn", `null`, false},
		{`["a",null]`, "AnyNotIn", `["a"]`, true}, {`["a",{}]`, "AnyNotIn", `["a"]`, true}, {`["a",{}]`, "AllIn", `["a"]`, false},
		// ranges
		{`15`, "AnyIn", `"10-20"`, true}, {`10`, "AnyIn", `"10-20"`, true}, {`20`, "AnyIn", `"10-20"`, true}, {`21`, "AnyIn", `"10-20"`, false}, {`"15"`, "AnyIn", `"10-20"`, true},
		{`-3`, "AnyIn", `"-5--1"`, true}, {`1.5`, "AnyIn", `"1-2"`, true}, {`"500Mi"`, "AnyIn", `"1Mi-1Gi"`, true}, {`"2Gi"`, "AnyIn", `"1Mi-1Gi"`, false},
		{`[5,15]`, "AnyIn", `"10-20"`, true}, {`[5,15]`, "AllIn", `"10-20"`, false}, {`[12,15]`, "AllIn", `"10-20"`, true}, {`[5,15]`, "AnyNotIn", `"10-20"`, true}, {`[5,25]`, "AllNotIn", `"10-20"`, true}, {`[5,15]`, "AllNotIn", `"10-20"`, false},
		{`"90m"`, "AnyIn", `"1h-2h"`, true}, {`"3h"`, "AnyIn", `"1h-2h"`, false}, {`"1h"`, "AllNotIn", `"1h-2h"`, false}, {`["1h30m0s","3h"]`, "AnyNotIn", `"0-2h"`, true}, {`["1h30m0s","5s"]`, "AnyNotIn", `"0-2h"`, false},
		{`"60s"`, "AnyIn", `"1m-5m"`, true}, {`0.002`, "AnyIn", `"1m-5m"`, true} /* thousandths */, {`5400`, "AnyIn", `"1h-2h"`, false},
		{`"10-20"`, "AnyIn", `"10-20"`, true}, {`"x"`, "AnyIn", `"10-20"`, false}, {`"x"`, "AnyNotIn", `"10-20"`, true}, {`"a-b"`, "AnyIn", `"a-b"`, true},

		// In and NotIn
		{`"a"`, "In", `["a","b"]`, true}, {`"c"`, "In", `["a","b"]`, false}, {`"a"`, "NotIn", `["a","b"]`, false}, {`"c"`, "NotIn", `["a","b"]`, true},
		{`"abc"`, "In", `["a*"]`, true}, {`1`, "In", `["1"]`, true}, {`"a"`, "In", `"a"`, true}, {`"a"`, "In", `"[\"a\"]"`, true},
		{`["a","b"]`, "In", `["a","b","c"]`, true}, {`["a","d"]`, "In", `["a","b"]`, false}, {`["a","d"]`, "NotIn", `["a","b"]`, true}, {`["a"]`, "NotIn", `["a","b"]`, false},
		{`["abc"]`, "In", `["a*"]`, false}, {`["abc"]`, "NotIn", `["a*"]`, true},
		{`[1]`, "In", `["1"]`, false}, {`[1]`, "NotIn", `["1"]`, false}, {`"a"`, "In", `[1]`, false}, {`"a"`, "NotIn", `[1]`, false}, {`null`, "In", `["a"]`, false}, {`null`, "NotIn", `["a"]`, false},
		{`{}`, "In", `["a"]`, false}, {`{}`, "NotIn", `["a"]`, false}, {`"a"`, "In", `null`, false}, {`"a"`, "NotIn", `{}`, false},

		// Greater and Less
		{`2`, "GreaterThan", `1`, true}, {`1`, "GreaterThan", `1`, false}, {`1`, "GreaterThanOrEquals", `1`, true}, {`1`, "LessThan", `2`, true}, {`2`, "LessThan", `2`, false}, {`2`, "LessThanOrEquals", `2`, true},
		{`"2"`, "GreaterThan", `1`, true}, {`2`, "GreaterThan", `"1"`, true}, {`"10"`, "GreaterThan", `"9"`, true}, {`1.5`, "GreaterThan", `1`, true}, {`"1e3"`, "GreaterThan", `"999"`, true},
		{`"2h"`, "GreaterThan", `"90m"`, true}, {`"1h"`, "LessThan", `3601`, true}, {`3601`, "GreaterThan", `"1h"`, true}, {`"1h"`, "LessThanOrEquals", `"60m"`, true},
		{`"3599"`, "LessThan", `"1h"`, true}, {`"3601"`, "LessThan", `"1h"`, false}, {`"0"`, "LessThanOrEquals", `"1s"`, true}, {`"2h"`, "GreaterThan", `"3600"`, false}, {`"x"`, "LessThan", `"1h"`, false},
		{`"1Gi"`, "GreaterThan", `"1000Mi"`, true}, {`"500m"`, "LessThan", `"1"`, true}, {`"500m"`, "LessThan", `1`, false} /* minutes and a second */, {`"1.10"`, "LessThan", `"1.9"`, true},
		{`"1.10.0"`, "GreaterThan", `"1.9.0"`, true}, {`"1.0.0-rc1"`, "LessThan", `"1.0.0"`, true}, {`"1.9.0"`, "GreaterThanOrEquals", `"1.9.0"`, true}, {`"v1.0.0"`, "GreaterThan", `"0.1.0"`, false},
		{`"x"`, "GreaterThan", `"a"`, false}, {`"x"`, "LessThan", `"z"`, false}, {`null`, "LessThan", `1`, false}, {`null`, "GreaterThanOrEquals", `0`, false}, {`true`, "GreaterThan", `false`, false},
		{`[2]`, "GreaterThan", `1`, false}, {`2`, "GreaterThan", `[1]`, false}, {`"NaN"`, "LessThan", `1`, false}, {`"1h"`, "GreaterThan", `"x"`, false}, {`"-1"`, "LessThan", `0`, true},

		// durations only
		{`"2h"`, "DurationGreaterThan", `"1h"`, true}, {`"1h"`, "DurationGreaterThan", `"1h"`, false}, {`"1h"`, "DurationGreaterThanOrEquals", `3600`, true}, {`3599`, "DurationLessThan", `"1h"`, true}, {`1`, "DurationLessThan", `2`, true},
		{`"1h"`, "DurationLessThanOrEquals", `"60m"`, true}, {`"0"`, "DurationLessThan", `"1s"`, true}, {`"5"`, "DurationLessThan", `"1h"`, false}, {`"x"`, "DurationGreaterThan", `"1h"`, false}, {`null`, "DurationLessThan", `"1h"`, false},
		{`true`, "DurationLessThan", `"1h"`, false}, {`"1Gi"`, "DurationGreaterThan", `1`, false}, {`1e300`, "DurationGreaterThan", `1`, false},
	} {
		t.Run(fmt.Sprintf("%s %s %s", row.key, row.operator, row.value), func(t *testing.T) {
			t.Parallel()
			raw := fmt.Sprintf(`{"all": [{"key": %s, "operator": %q, "value": %s}]}`, row.key, row.operator, row.value)
			c, err := Compile([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			s := testScope(t)
			got, _, err := c.Eval(context.Background(), s)
			if err != nil || got != row.want {
				t.Errorf("got %v, %v, want %v", got, err, row.want)
			}
			// The same by variables, which must not change a type.
			s.Push(map[string]any{"k": value(t, row.key), "v": value(t, row.value)})
			raw = fmt.Sprintf(`[{"key": "{{ k }}", "operator": %q, "value": "{{ v }}"}]`, row.operator)
			if c, err = Compile([]byte(raw)); err != nil {
				t.Fatal(err)
			}
			if got, _, err = c.Eval(context.Background(), s); err != nil || got != row.want {
				t.Errorf("by variables: got %v, %v, want %v", got, err, row.want)
			}
		})
	}
}

func TestSetOperatorsRefuseObjects(t *testing.T) {
	t.Parallel()
	for _, operator := range []string{"AnyIn", "AllIn", "AnyNotIn", "AllNotIn"} {
		for _, raw := range []string{`[{"key": {"a": 1}, "operator": %q, "value": ["a"]}]`, `[{"key": "a", "operator": %q, "value": {"a": 1}}]`} {
			c, err := Compile(fmt.Appendf(nil, raw, operator))
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Eval(context.Background(), testScope(t)); err == nil || !strings.Contains(err.Error(), "an object in a set") {
				t.Errorf("%s: got %v, want an error", operator, err)
			}
		}
	}
}

// TestBlocks is about any, all and lists of blocks, and about their messages (VI 6.8(1)).
func TestBlocks(t *testing.T) {
	t.Parallel()
	const (
		yes     = `{"key": 1, "operator": "Equals", "value": 1, "message": "yes {{ one }}"}`
		yes2    = `{"key": 1, "operator": "Equals", "value": 1, "message": "yes2"}`
		no      = `{"key": 1, "operator": "Equals", "value": 2, "message": "no {{ text }}"}`
		no2     = `{"key": 1, "operator": "Equals", "value": 2, "message": "no2"}`
		silent  = `{"key": 1, "operator": "Equals", "value": 2}`
		unknown = `{"key": "{{ gone }}", "operator": "Equals", "value": 2}`
		odd     = `{"key": 1, "operator": "Equals", "value": 2, "message": "odd {{ gone }}"}`
	)
	for name, c := range map[string]struct {
		raw      string
		want     bool
		messages string
		err      string
	}{
		"nothing":                    {raw: ``, want: true},
		"null":                       {raw: `null`, want: true},
		"no blocks":                  {raw: `[]`, want: true},
		"empty block":                {raw: `{}`, want: true},
		"any empty":                  {raw: `{"any": []}`},
		"any null":                   {raw: `{"any": null}`, want: true},
		"all empty":                  {raw: `{"all": []}`, want: true},
		"any, second":                {raw: `{"any": [` + no + `,` + yes + `]}`, want: true, messages: "yes 1"},
		"any, none":                  {raw: `{"any": [` + no + `,` + silent + `,` + no2 + `]}`, messages: "no abc; no2"},
		"all":                        {raw: `{"all": [` + yes + `,` + yes2 + `]}`, want: true, messages: "yes 1; yes2"},
		"all, first failure":         {raw: `{"all": [` + yes + `,` + no + `,` + no2 + `]}`, messages: "no abc"},
		"both hold":                  {raw: `{"any": [` + yes + `], "all": [` + yes2 + `]}`, want: true, messages: "yes 1; yes2"},
		"any fails":                  {raw: `{"any": [` + no + `], "all": [` + yes + `]}`, messages: "no abc"},
		"all fails":                  {raw: `{"any": [` + yes + `], "all": [` + no + `]}`, messages: "no abc"},
		"blocks":                     {raw: `[{"any": [` + yes + `]}, {"all": [` + yes2 + `]}]`, want: true, messages: "yes 1; yes2"},
		"blocks, first failure":      {raw: `[{"any": [` + no + `]}, {"all": [` + no2 + `]}]`, messages: "no abc"},
		"plain list":                 {raw: `[` + yes + `,` + no + `]`, messages: "no abc"},
		"not evaluable":              {raw: `{"all": [` + unknown + `]}`, err: `all[0]: key: variable {{ gone }}: Unknown key "gone" in path`},
		"not evaluable, after a yes": {raw: `{"any": [` + yes + `,` + unknown + `]}`, want: true, messages: "yes 1"},
		"not evaluable, after a no":  {raw: `{"any": [` + no + `,` + unknown + `]}`, err: `Unknown key "gone"`},
		"not evaluable, then a yes":  {raw: `{"any": [` + unknown + `,` + yes + `]}`, err: `Unknown key "gone"`},
		"message with no value":      {raw: `[` + odd + `]`, messages: "odd {{ gone }}"},
		"reference":                  {raw: `[{"key": "$(./../value)", "operator": "Equals", "value": "x"}]`, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conditions, err := Compile([]byte(c.raw))
			if err != nil {
				t.Fatal(err)
			}
			ok, messages, err := conditions.Eval(context.Background(), testScope(t))
			if c.err != "" {
				check(t, ok, err, "error: "+c.err)
				return
			}
			if err != nil || ok != c.want || JoinMessages(messages) != c.messages {
				t.Errorf("got %v %q %v, want %v %q", ok, JoinMessages(messages), err, c.want, c.messages)
			}
		})
	}
}

func TestCompileErrors(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{`:                                      "not JSON",
		`{} {}`:                                  "text after",
		`"x"`:                                    "must be an object with any and all, or a list, not a string",
		`[1]`:                                    "[0]: must be an object, not a number",
		`{"some": []}`:                           "some: unknown field",
		`[{"some": []}]`:                         "[0].some: unknown field",
		`{"any": {}}`:                            "any: must be a list, not an object",
		`{"any": [1]}`:                           "any[0]: must be a condition, not a number",
		`{"any": [{}]}`:                          "any[0].operator: must be a string, not null",
		`[{"operator": "Is"}]`:                   `[0].operator: unknown operator "Is"`,
		`[{"operator": "Equals", "kye": 1}]`:     "[0].kye: unknown field",
		`[{"operator": "Equals", "message": 1}]`: "[0].message: must be a string, not a number",
		`{"all": [{"operator": "Equals", "key": "{{ a b }}"}]}`:                "all[0].key: variable {{ a b }}: not a JMESPath expression",
		`{"all": [{"operator": "Equals", "key": "{{ nope(a) }}"}]}`:            "all[0].key: variable {{ nope(a) }}: unknown function nope()",
		`{"all": [{"operator": "Equals", "value": ["{{ f('{{ x y }}') }}"]}]}`: "all[0].value[0]: variable {{ x y }}: not a JMESPath",
		`[{"all": [{"operator": "Equals", "message": "{{ a"}]}]`:               "[0].all[0].message: variable is not closed",
		`[{"operator": "Equals"}, {"any": []}]`:                                "[1].any: unknown field",
		`[{"operator": "Equals", "key": "$(./../x)"}]`:                         `Unknown key "x" in path`,
		`[{"operator": "Equals", "key": 1e999}]`:                               "out of range",
		strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100):                    "nested deeper",
	} {
		if _, err := Compile([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", clip(raw), err, want)
		}
	}
}

func TestConditionsFacts(t *testing.T) {
	t.Parallel()
	c, err := Compile([]byte(`[{"any": [{"key": "{{ a }}", "operator": "Equals", "value": "{{ b }}", "message": "{{ a }}{{ c }}"}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, c.Variables()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.Empty() {
		t.Error("conditions are taken for none")
	}
	for _, raw := range []string{"", "null", "[]", "{}", `{"all": []}`, "[{}]"} {
		if c, err := Compile([]byte(raw)); err != nil || !c.Empty() {
			t.Errorf("%q: %v, want none", raw, err)
		}
	}
	if c, err := Compile([]byte(`{"any": []}`)); err != nil || c.Empty() {
		t.Errorf("an any of nothing always holds, %v", err)
	}
}

// TestConcurrentUse evaluates one set of conditions on forks of one scope; the race detector judges.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c, err := Compile([]byte(`[{"any": [{"key": "{{ regex_match('^n','{{ lazy.name }}') }}", "operator": "Equals", "value": true}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	s := testScope(t)
	s.SetLazy("lazy", func(context.Context) (any, error) { return map[string]any{"name": "n", "n": int64(1)}, nil })
	done := make(chan error)
	for range 8 {
		f := s.Fork()
		go func() {
			ok, _, err := c.Eval(context.Background(), f)
			if err == nil && !ok {
				err = fmt.Errorf("does not hold")
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestA39AbsentData shows that conditions on an attestation never hold because something is absent or of another type.
func TestA39AbsentData(t *testing.T) {
	t.Parallel()
	predicates := map[string]string{
		"nothing":         `{}`,
		"null":            `{"scanner": null}`,
		"a text":          `{"scanner": "ok"}`,
		"a list":          `{"scanner": []}`,
		"a number":        `{"scanner": 0}`,
		"no result":       `{"scanner": {}}`,
		"a null result":   `{"scanner": {"result": null}}`,
		"another result":  `{"scanner": {"result": "none"}}`,
		"a nested result": `{"scanner": {"result": {"Severity": "CRITICAL"}}}`,
		"another case":    `{"Scanner": {"Result": []}}`,
		"a look-alike":    `{"sсanner": {"result": []}}`,
	}
	for _, raw := range []string{
		`[{"key": "{{ scanner.result[?severity=='CRITICAL'] | length(@) }}", "operator": "Equals", "value": 0}]`,
		`[{"key": "{{ length(scanner.result[]) }}", "operator": "LessThan", "value": 5}]`,
		`[{"key": "{{ scanner.result[].severity }}", "operator": "AllNotIn", "value": ["CRITICAL"]}]`,
		`[{"key": "CRITICAL", "operator": "AnyNotIn", "value": "{{ scanner.result[*].severity }}"}]`,
		`[{"key": "{{ scanner.result[0].severity }}", "operator": "NotEquals", "value": "CRITICAL"}]`,
		`[{"key": "{{ scanner.result.severity }}", "operator": "NotIn", "value": ["CRITICAL"]}]`,
		`[{"key": "{{ !scanner.result.bad }}", "operator": "Equals", "value": true}]`,
		`[{"key": "{{ regex_match('^', '{{ scanner.result.builder }}') }}", "operator": "Equals", "value": true}]`,
		`[{"key": "{{ time_diff('{{ scanner.finished }}', '{{ time_now_utc() }}') }}", "operator": "LessThanOrEquals", "value": "24h"}]`,
	} {
		c, err := Compile([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		for name, predicate := range predicates {
			var fields map[string]any
			if err := json.Unmarshal([]byte(predicate), &fields); err != nil {
				t.Fatal(err)
			}
			s := testScope(t)
			s.Push(fields)
			if ok, _, err := c.Eval(context.Background(), s); ok {
				t.Errorf("%s holds on %s (error %v)", raw, name, err)
			}
		}
	}
}
