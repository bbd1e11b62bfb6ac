package expr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is the time that all tests live at.
var clock = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func testEnv() Env {
	return Env{
		Now:  func() time.Time { return clock },
		Rand: bytes.NewReader(bytes.Repeat([]byte{0, 0, 0, 1, 0, 0, 0, 7, 9, 4, 2, 5}, 1000)),
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			switch host {
			case "inside.example":
				return []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("10.0.0.1")}, nil
			case "outside.example":
				return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
			case "empty.example":
				return nil, nil
			}
			return nil, errors.New("no such host")
		},
	}
}

const testData = `{
	"request": {
		"operation": "UPDATE",
		"namespace": "shop",
		"object": {
			"metadata": {"name": "web", "labels": {"app": "web", "team.io/x": "blue"}, "annotations": null},
			"spec": {"replicas": 3, "containers": [{"name": "a", "image": "nginx:1", "ports": [{"hostPort": 80}]}, {"name": "b", "image": "redis:2"}]}
		},
		"oldObject": {"metadata": {"name": "old"}}
	},
	"names": ["b", "a", "c"],
	"ports": [8080, 80],
	"components": [{"name": "log", "version": "2.17.1"}, {"name": "http", "version": "4.5.0"}, {"name": "none"}],
	"one": 1, "text": "abc", "yes": true, "no": false, "nothing": null, "empty": [], "quote": "it's \\ \"x\" ` + "\\u0060" + `"
}`

func testScope(t testing.TB) *Scope {
	t.Helper()
	s := NewScope(testEnv())
	var data map[string]any
	if err := json.Unmarshal([]byte(testData), &data); err != nil {
		t.Fatal(err)
	}
	for k, v := range data {
		s.Set(k, v)
	}
	return s
}

// value decodes the JSON text of an expectation.
func value(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// check compares a result with the JSON text want, or, when want starts with "error: ", the error with the rest of it.
func check(t *testing.T, got any, err error, want string) {
	t.Helper()
	if fragment, ok := strings.CutPrefix(want, "error: "); ok {
		if err == nil {
			t.Fatalf("got %#v, want an error with %q", got, fragment)
		}
		if !strings.Contains(err.Error(), fragment) {
			t.Fatalf("got error %q, want one with %q", err, fragment)
		}
		return
	}
	if err != nil {
		t.Fatalf("error %v, want %s", err, want)
	}
	if diff := cmp.Diff(value(t, want), got); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func query(t *testing.T, s *Scope, source string) (any, error) {
	t.Helper()
	q, err := CompileQuery(source)
	if err != nil {
		return nil, err
	}
	return q.Eval(context.Background(), s)
}

// TestJMESPath is about the language itself and what a missing field means in it (VI 6.8(4), A-39).
func TestJMESPath(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"one":                          `1`,
		"request.object.metadata.name": `"web"`,
		`request.object.metadata.labels."team.io/x"`: `"blue"`,
		"missing":                                 `error: Unknown key "missing" in path`,
		"request.object.missing":                  `error: Unknown key "missing" in path`,
		"request.object.missing.deeper":           `error: Unknown key "missing" in path`,
		"request.object.metadata.annotations":     `null`,
		"request.object.metadata.annotations.x":   `error: Unknown key "x" in path`,
		"text.x":                                  `error: Unknown key "x" in path`,
		"names.x":                                 `error: Unknown key "x" in path`,
		"missing || 'd'":                          `"d"`,
		"missing.deeper || also.missing || 'd'":   `"d"`,
		"missing || also.missing":                 `error: Unknown key "also" in path`,
		"nothing || 'd'":                          `"d"`,
		"no || 'd'":                               `"d"`,
		"empty || 'd'":                            `"d"`,
		"one || missing":                          `1`,
		"missing && one":                          `error: Unknown key "missing" in path`,
		"no && missing":                           `false`,
		"!missing":                                `error: Unknown key "missing" in path`,
		"!no":                                     `true`,
		"missing == 'x'":                          `error: Unknown key "missing" in path`,
		"missing == null":                         `error: Unknown key "missing" in path`,
		"not_null(missing, nothing, one)":         `1`,
		"not_null(missing)":                       `null`,
		"to_string(missing)":                      `error: Unknown key "missing" in path`,
		"length(missing)":                         `error: Unknown key "missing" in path`,
		"missing[].x":                             `error: Unknown key "missing" in path`,
		"missing[*].x":                            `error: Unknown key "missing" in path`,
		"missing[?x].y":                           `error: Unknown key "missing" in path`,
		"missing.*":                               `error: Unknown key "missing" in path`,
		"missing | length(@)":                     `error: Unknown key "missing" in path`,
		"missing[].x || `[]`":                     `[]`,
		"components[].version":                    `["2.17.1", "4.5.0"]`,
		"components[*].nope":                      `[]`,
		"components[?version == '4.5.0'].name":    `["http"]`,
		"components[?!version].name":              `["none"]`,
		"components[?nope.x == 'y']":              `[]`,
		"components[?name=='gone'].version | [0]": `null`,
		"components[?name=='gone'] | [0].version": `error: Unknown key "version" in path`,
		"components[5]":                           `null`,
		"components[-1].name":                     `"none"`,
		"components[0:2].name":                    `["log", "http"]`,
		"components[::-1].name":                   `["none", "http", "log"]`,
		"components[::0]":                         `error: step of a slice`,
		"text[0:2]":                               `"ab"`,
		"text[0:2][1:]":                           `"b"`,
		"text[0:2].name":                          `error: Unknown key "name" in path`,
		"text[0:2].name || 'd'":                   `"d"`,
		"text[0:2][*]":                            `null`,
		"text[0:2].[name]":                        `[null]`,
		"request.object.spec.[initContainers, containers][].image": `["nginx:1", "redis:2"]`,
		"request.object.spec.{i: initContainers, r: replicas}":     `{"i": null, "r": 3}`,
		"request.object.spec.containers[].ports[].hostPort":        `[80]`,
		"request.object.spec.containers[*].name.to_upper(@)":       `["A", "B"]`,
		"request.object.metadata.labels.*":                         `["web", "blue"]`,
		"keys(@) | length(@)":                                      `11`,
		"@.one":                                                    `1`,
		"$.one":                                                    `1`,
		"components[?name == 'log'] | [0].version == $.components[0].version": `true`,
		"let $x = one in components[?length(name) > $x].name":                 `["log", "http", "none"]`,
		"let $x = one in $y":                 `error: $y`,
		"$x":                                 `error: not bound`,
		"one + `2` * `3`":                    `7`,
		"-one":                               `-1`,
		"one / `0`":                          `error: not a finite number`,
		"text + one":                         `error: cannot calculate with a string`,
		"one < `2`":                          `true`,
		"text < 'b'":                         `null`,
		"names == `[\"b\",\"a\",\"c\"]`":     `true`,
		"request.object == request.object":   `true`,
		"names != ports":                     `true`,
		"sort_by(components, &name)[0].name": `"http"`,
		"map(&version, components)":          `["2.17.1", "4.5.0", null]`,
		"a.":                                 `error: not a JMESPath expression`,
		"a b":                                `error: not a JMESPath expression`,
		"":                                   `error: not a JMESPath expression`,
		"nope(one)":                          `error: unknown function nope()`,
		"length()":                           `error: length() takes 1 arguments, not 0`,
		"length(one, one)":                   `error: length() takes 1 arguments, not 2`,
		"replace('a')":                       `error: replace() takes 4 arguments, not 1`,
		"pad_left('a')":                      `error: pad_left() takes 2 to 3 arguments, not 1`,
		"merge()":                            `error: merge() takes at least 1 arguments`,
		"to_upper(`1`)":                      `error: to_upper(): argument 1 must be a string, not a number`,
		"to_upper(one)":                      `error: to_upper(): argument 1 must be a string, not a number`,
		"length(&one)":                       `error: argument 1 cannot be an expression reference`,
		"sort_by(names, one)":                `error: argument 2 must be an expression reference`,
		"&one":                               `error: `,
		"regex_match('(', text)":             `error: not a regular expression`,
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			got, err := query(t, testScope(t), source)
			check(t, got, err, want)
		})
	}
}

func TestMissingKeyIsTyped(t *testing.T) {
	t.Parallel()
	_, err := Substitute(context.Background(), testScope(t), "x {{ request.object.gone }}")
	var missing *MissingKeyError
	if !errors.As(err, &missing) || missing.Key != "gone" {
		t.Fatalf("got %v, want a MissingKeyError of gone", err)
	}
}

func TestRetarget(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"{{ request.object.spec.replicas }}":            "{{ request.object.spec.template.spec.replicas }}",
		"{{request.object.metadata.labels.\"a\"}}":      "{{request.object.spec.template.metadata.labels.\"a\"}}",
		"request.oldObject.spec || request.object.spec": "request.oldObject.spec.template.spec || request.object.spec.template.spec",
		"request.object.specs":                          "request.object.specs",
		"my.request.object.spec":                        "my.request.object.spec",
		"request.object.kind":                           "request.object.kind",
		"request.object.spec":                           "request.object.spec.template.spec",
		"request.object.":                               "request.object.",
		"nothing":                                       "nothing",
	} {
		if got := Retarget(in, "template"); got != want {
			t.Errorf("Retarget(%q) = %q, want %q", in, got, want)
		}
	}
	got := Retarget("{{ request.object.spec.x }}", "jobTemplate.spec.template")
	if want := "{{ request.object.spec.jobTemplate.spec.template.spec.x }}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
