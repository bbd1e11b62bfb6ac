package expr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func small(t *testing.T, l Limits) *Scope {
	t.Helper()
	env := testEnv()
	env.Limits = l
	s := NewScope(env)
	return s
}

func wantLimit(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrLimit) {
		t.Errorf("got %v, want that a limit was exceeded", err)
	}
}

// TestT012DoublingVariables chains entries that double in size: the chain stops at the limit of bytes.
func TestT012DoublingVariables(t *testing.T) {
	t.Parallel()
	s := small(t, Limits{Bytes: 4 << 20})
	s.Set("v0", strings.Repeat("x", 1024))
	var err error
	for i := range 40 {
		var v any
		v, err = Substitute(context.Background(), s, fmt.Sprintf("{{ v%d }}{{ v%d }}", i, i))
		if err != nil {
			break
		}
		s.Set(fmt.Sprintf("v%d", i+1), v)
		if _, err = Substitute(context.Background(), s, "{{ 'x' }}"); err != nil {
			break
		}
	}
	wantLimit(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s = small(t, Limits{})
	s.Set("list", []any{"x", "x"})
	source := "list"
	for range 60 {
		source += " | [@, @]" // shares, and would be 2^60 elements when written out
	}
	_, err = query(t, s, source)
	wantLimit(t, err)
	for _, f := range []string{"to_string(%s)", "(%[1]s) == (%[1]s)", "contains([%[1]s], %[1]s)", "merge({a: %[1]s}, {b: %[1]s})"} {
		_, err = query(t, s.Fork(), fmt.Sprintf(f, source))
		wantLimit(t, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 512<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

// TestT012DoublingText nests variables in the values of variables.
func TestT012DoublingText(t *testing.T) {
	t.Parallel()
	s := small(t, Limits{Bytes: 1 << 20})
	config := map[string]any{"a0": strings.Repeat("x", 100)}
	for i := range 15 {
		config[fmt.Sprintf("a%d", i+1)] = strings.Repeat(fmt.Sprintf("{{ c.a%d }}", i), 4)
	}
	s.Set("c", config)
	_, err := Substitute(context.Background(), s, "x{{ c.a15 }}")
	wantLimit(t, err)

	doc := map[string]any{"a0": "x"}
	for i := range 15 {
		doc[fmt.Sprintf("a%d", i+1)] = strings.Repeat(fmt.Sprintf("$(./../a%d)", i), 8)
	}
	_, err = CompileTemplate(doc)
	wantLimit(t, err)
	lists := map[string]any{"a0": []any{"x"}}
	for i := range 15 {
		ref := fmt.Sprintf("$(./../../a%d)", i)
		lists[fmt.Sprintf("a%d", i+1)] = []any{ref, ref, ref, ref}
	}
	_, err = CompileTemplate(lists)
	wantLimit(t, err)
}

func TestSteps(t *testing.T) {
	t.Parallel()
	list := make([]any, 1000)
	for i := range list {
		list[i] = map[string]any{"n": float64(i)}
	}
	const source = "length(list[?n > `5`].n)"
	s := small(t, Limits{})
	s.Set("list", list)
	if _, err := query(t, s, source); err != nil {
		t.Fatal(err)
	}
	need := s.budget.steps
	for steps, fails := range map[int64]bool{need: false, need - 1: true, 10: true} {
		s := small(t, Limits{Steps: steps})
		s.Set("list", list)
		_, err := query(t, s, source)
		if errors.Is(err, ErrLimit) != fails {
			t.Errorf("with %d of %d steps: %v", steps, need, err)
		}
	}
	// What is spent once is spent for all that follows, and a default does not hide it.
	s = small(t, Limits{Steps: 3 * need / 2})
	s.Set("list", list)
	if _, err := query(t, s, source); err != nil {
		t.Fatal(err)
	}
	_, err := query(t, s, source+" || 'default'")
	wantLimit(t, err)
}

func TestPushReturnsItsBytes(t *testing.T) {
	t.Parallel()
	s := small(t, Limits{Bytes: 1 << 20})
	for range 10 {
		restore := s.Push(map[string]any{"big": strings.Repeat("x", 900<<10)})
		if _, err := query(t, s, "length(big)"); err != nil {
			t.Fatal(err)
		}
		restore()
	}
	s.Push(map[string]any{"big": strings.Repeat("x", 1<<20+1)})
	_, err := query(t, s, "length(big)")
	wantLimit(t, err)
}

// TestT022Regex shows that patterns that blow up elsewhere take time in proportion, and that the text they look at is limited.
func TestT022Regex(t *testing.T) {
	t.Parallel()
	s := small(t, Limits{Regex: 64 << 10})
	s.Set("name", strings.Repeat("a", 60<<10)+"!")
	s.Set("long", strings.Repeat("a", 64<<10+1))
	s.Set("limit", strings.Repeat("a", 64<<10))
	for _, source := range []string{"regex_match('^(a+)+$', name)", "regex_match('^(a|a)*$', name)", "regex_match('^(.*a){20}$', name)",
		"pattern_match('{{ 'x' }}*a*a*a*a*a*a*a*a*b', name)"} {
		if got, err := query(t, s.Fork(), source); err != nil || got != false {
			t.Errorf("%s: %v, %v", source, got, err)
		}
	}
	for source, fails := range map[string]bool{"regex_match('a', limit)": false, "regex_match('a', long)": true, "regex_replace_all('a', long, 'b')": true,
		"pattern_match('a*', limit)": false, "pattern_match('a*', long)": true, "regex_match(long, 'a')": true, "pattern_match(join('', ['*', long]), 'a')": true} {
		_, err := query(t, s.Fork(), source)
		if errors.Is(err, ErrLimit) != fails {
			t.Errorf("%s: %v", source, err)
		}
	}
	c, err := Compile([]byte(`[{"key": "{{ long }}", "operator": "AnyIn", "value": ["a*b"]}]`))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Eval(context.Background(), s.Fork())
	wantLimit(t, err)
}

// TestT011Hostile holds expressions and data that crash or stall what does not expect them.
func TestT011Hostile(t *testing.T) {
	t.Parallel()
	s := testScope(t)
	s.Set("big", strings.Repeat("a", 1<<20))
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	s.Set("deepText", deep)
	s.Set("bomb", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"+
		"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n")
	for name, source := range map[string]string{
		"nested brackets":       strings.Repeat("(", 10000) + "a",
		"nested lists":          strings.Repeat("[", 10000) + "a",
		"negations":             strings.Repeat("!", 10000) + "a",
		"references":            strings.Repeat("&", 10000) + "a",
		"minus":                 strings.Repeat("-", 10000) + "a",
		"long path":             "one" + strings.Repeat(".a", 10000),
		"many or":               "a" + strings.Repeat("||a", 10000),
		"too long":              strings.Repeat("a", maxExpression+1),
		"unfinished hash":       "{a:",
		"unfinished hash 2":     "{a: b,",
		"unfinished let":        "let $a = b",
		"let of nothing":        "let in a",
		"let of something else": "let a = b in a",
		"unfinished bracket":    "a[",
		"unfinished slice":      "a[1:",
		"unfinished literal":    "`[1",
		"unfinished filter":     "a[?",
		"operator only":         "||",
		"a binding":             "$a = b",
		"deep literal":          "`" + deep + "`",
		"huge index":            "names[99999999999999999999]",
		"replace everywhere":    "replace_all(big, '', big)",
		"replace repeatedly":    "replace_all(replace_all(replace_all(big, 'a', 'aaaaaaaaaa'), 'a', 'aaaaaaaaaa'), 'a', 'aaaaaaaaaa')",
		"regex growth":          "regex_replace_all('a', big, '$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0$0')",
		"padding":               "pad_left('a', `1e15`)",
		"join growth":           "join(big, [big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big, big])",
		"deep parse":            "parse_json(deepText)",
		"deep yaml":             "parse_yaml(deepText)",
		"yaml bomb":             "parse_yaml(bomb)",
		"quantity exponent":     "add('1e999999999', '1')",
		"quantity digits":       "add('" + strings.Repeat("9", 10000) + "', '1')",
		"to_array of reference": "to_array(&a)",
		"map of references":     "map(&(&a), names)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			q, err := CompileQuery(source)
			if err == nil {
				_, err = q.Eval(ctx, s.Fork())
			}
			if err == nil {
				t.Error("no error")
			} else if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestT011Panic shows that a panic inside a function is an error of that evaluation.
func TestT011Panic(t *testing.T) {
	t.Parallel()
	env := testEnv()
	env.NormalizeImage = func(string) (string, error) { panic("oh no") }
	s := NewScope(env)
	_, err := query(t, s, "image_normalize('x')")
	check(t, nil, err, "error: image_normalize() failed: oh no")
	c, err := Compile([]byte(`[{"key": "{{ image_normalize('x') }}", "operator": "Equals", "value": 1}]`))
	if err != nil {
		t.Fatal(err)
	}
	if ok, _, err := c.Eval(context.Background(), s); ok || err == nil {
		t.Errorf("got %v, %v, want an error", ok, err)
	}
}

func TestDepthAndSize(t *testing.T) {
	t.Parallel()
	nested := func(n int) any {
		var v any = "x"
		for range n {
			v = []any{v}
		}
		return v
	}
	for n, fails := range map[int]bool{defaultDepth: false, defaultDepth + 1: true, 100_000: true} {
		s := small(t, Limits{})
		s.Set("v", nested(n))
		_, err := query(t, s, "v")
		if errors.Is(err, ErrLimit) != fails {
			t.Errorf("%d levels: %v", n, err)
		}
		if _, err := CompileTemplate(nested(n)); errors.Is(err, ErrLimit) != fails {
			t.Errorf("a template of %d levels: %v", n, err)
		}
	}
	braces := strings.Repeat("{{ ", maxNesting+2) + "a" + strings.Repeat(" }}", maxNesting+2)
	if _, err := CompileTemplate(braces); !errors.Is(err, ErrLimit) {
		t.Errorf("nested braces: %v", err)
	}
	_, err := Substitute(context.Background(), testScope(t), strings.Repeat("{{", 200_000))
	wantLimit(t, err)
	s := small(t, Limits{})
	s.Set("open", strings.Repeat("{{ '", 100_000))
	_, err = Substitute(context.Background(), s, "x{{ open }}")
	if err != nil && !errors.Is(err, ErrLimit) {
		t.Errorf("open braces in data: %v", err)
	}
}

// TestTimeLimit stops an evaluation that is under way.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	s := small(t, Limits{Steps: 1 << 50})
	list := make([]any, 1000)
	for i := range list {
		list[i] = float64(i)
	}
	s.Set("list", list)
	s.SetLazy("stop", func(context.Context) (any, error) { cancel(); return true, nil })
	q, err := CompileQuery("stop && list[?$.list[?$.list[?$.list[?@ < `0`]]]]")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Eval(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was stopped", err)
	}
}

// TestA39LargePredicate evaluates a condition on 100,000 components within the usual limits, and refuses it within smaller
// ones.
func TestA39LargePredicate(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString(`{"components":[`)
	for i := range 100_000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"component-%d","version":"1.2.%d","purl":"pkg:golang/example.com/component-%d@1.2.%d"}`, i, i, i, i)
	}
	b.WriteString(`]}`)
	var fields map[string]any
	if err := json.Unmarshal(b.Bytes(), &fields); err != nil {
		t.Fatal(err)
	}
	c, err := Compile([]byte(`[{"key": "{{ components[?name=='component-99999'].version | [0] }}", "operator": "Equals", "value": "1.2.99999"}]`))
	if err != nil {
		t.Fatal(err)
	}
	s := testScope(t)
	s.Push(fields)
	if ok, _, err := c.Eval(context.Background(), s); err != nil || !ok {
		t.Errorf("got %v, %v", ok, err)
	}
	s = small(t, Limits{Steps: 100_000})
	s.Push(fields)
	_, _, err = c.Eval(context.Background(), s)
	wantLimit(t, err)
}
