package expr

import (
	"context"
	"encoding/json"
	"math"
	"testing"
)

// TestNormalize is about the Go types that values may have.
func TestNormalize(t *testing.T) {
	t.Parallel()
	var noMap map[string]any
	var noList []any
	for name, c := range map[string]struct {
		in   any
		want string
	}{
		"int64":                   {int64(3), `3`},
		"int":                     {3, `3`},
		"int32":                   {int32(3), `3`},
		"float32":                 {float32(1.5), `1.5`},
		"json number":             {json.Number("1.5"), `1.5`},
		"no number":               {json.Number("x"), `error: invalid syntax`},
		"texts":                   {[]string{"a"}, `["a"]`},
		"labels":                  {map[string]string{"a": "b"}, `{"a":"b"}`},
		"inside":                  {map[string]any{"a": []any{int64(1), "x", []string{"y"}}}, `{"a":[1,"x",["y"]]}`},
		"nil object":              {noMap, `null`},
		"nil list":                {[]any{noList}, `[null]`},
		"not finite":              {math.Inf(1), `error: not a finite number`},
		"NaN inside":              {[]any{math.NaN()}, `error: not a finite number`},
		"T-081 a struct":          {struct{ secret, Public string }{"x", "y"}, `error: not a JSON value`},
		"T-081 a pointer to one":  {&struct{ secret, Public string }{"x", "y"}, `error: not a JSON value`},
		"T-081 a struct inside":   {map[string]any{"a": []any{struct{ Public string }{"y"}}}, `error: not a JSON value`},
		"T-081 a function":        {func() string { return "x" }, `error: not a JSON value`},
		"T-081 a channel":         {make(chan int), `error: not a JSON value`},
		"T-081 an error":          {context.Canceled, `error: not a JSON value`},
		"T-081 a type of its own": {json.RawMessage(`{"a":1}`), `error: not a JSON value`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewScope(testEnv())
			s.SetData("v", c.in)
			if !s.Has("v") || s.Has("w") {
				t.Error("Has does not tell what there is")
			}
			got, err := query(t, s, "v")
			check(t, got, err, c.want)
		})
	}
}

// TestSetData shows that text set as data is not looked through for variables, and text set otherwise is.
func TestSetData(t *testing.T) {
	t.Parallel()
	s := testScope(t)
	s.Set("config", "{{ one }}")
	s.SetData("data", "{{ one }}")
	for in, want := range map[string]string{"<{{ config }}>": `"<1>"`, "<{{ data }}>": `"<{{ one }}>"`, "<{{ data }}{{ config }}>": `"<{{ one }}1>"`,
		"<{{ join('', [config, data]) }}>": `"<{{ one }}{{ one }}>"`, "<{{ to_string('{{ data }}') }}>": `"<{{ one }}>"`, "<{{ @.data }}>": `"<{{ one }}>"`, "<{{ values(@)[?@ == '{{ data }}'] | [0] }}>": `"<{{ one }}>"`} {
		got, err := Substitute(context.Background(), s, in)
		t.Run(in, func(t *testing.T) { check(t, got, err, want) })
	}
}

func TestRandomIsRandom(t *testing.T) {
	t.Parallel()
	s := NewScope(Env{})
	seen := map[any]bool{}
	for range 20 {
		v, err := query(t, s, "random('([a-f]|[^a-z]|x+|y*|z?|\\d{2,}|^é$){3}[0-9a-f]{16}')")
		if err != nil {
			t.Fatal(err)
		}
		seen[v] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d different texts of 20", len(seen))
	}
	env := testEnv()
	env.Rand = failing{}
	_, err := query(t, NewScope(env), "random('[a-z]')")
	check(t, nil, err, "error: no random bytes")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, context.DeadlineExceeded }
