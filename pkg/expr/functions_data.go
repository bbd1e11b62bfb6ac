package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/blang/semver"
	"sigs.k8s.io/yaml"
)

func dataFunctions() []function {
	return []function{
		{name: "parse_json", params: []param{isString}, call: parseJSON},
		{name: "parse_yaml", params: []param{isString}, call: parseYAML},
		{name: "lookup", params: []param{isObject | isArray, isString | isNumber}, call: lookup},
		{name: "items", params: []param{isObject | isArray, isString, isString}, call: items},
		{name: "object_from_lists", params: []param{isArray, isArray}, call: objectFromLists},
		{name: "label_match", params: []param{isObject, isObject}, call: labelMatch},
		{name: "semver_compare", params: []param{isString, isString}, call: semverCompare},
		{name: "x509_decode", params: []param{isString}, call: x509Decode},
	}
}

func parseJSON(ev *evaluation, args []any) (any, error) {
	text := args[0].(string)
	if err := ev.parsing(text); err != nil {
		return nil, err
	}
	// The decoder of the standard library refuses what nests too deep for it, and normalizing refuses what does for us.
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	return ev.scope.normalize(v)
}

func (ev *evaluation) parsing(text string) error {
	if len(text) > maxParse {
		return fmt.Errorf("%w: more than %d bytes to parse", ErrLimit, maxParse)
	}
	if err := ev.step(len(text)); err != nil {
		return err
	}
	return ev.grow(4 * len(text))
}

// maxAliases is how many references a YAML text may hold: each stands for a copy of what it refers to.
const maxAliases = 64

func parseYAML(ev *evaluation, args []any) (any, error) {
	text := args[0].(string)
	if err := ev.parsing(text); err != nil {
		return nil, err
	}
	if strings.Count(text, "*") > 0 && strings.Count(text, "&") > maxAliases {
		return nil, fmt.Errorf("%w: more than %d anchors", ErrLimit, maxAliases)
	}
	if err := indentation(text); err != nil {
		return nil, err
	}
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	return parseJSON(ev, []any{string(b)})
}

// indentation refuses text whose brackets would make a recursive parser descend very deep.
func indentation(text string) error {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		}
		if depth > 1000 {
			return fmt.Errorf("%w: nested too deep", ErrLimit)
		}
	}
	return nil
}

// lookup reads a field or an element by a computed name; null when there is none.
func lookup(_ *evaluation, args []any) (any, error) {
	switch t := args[0].(type) {
	case map[string]any:
		key, ok := args[1].(string)
		if !ok {
			return nil, errors.New("the key of an object must be a string")
		}
		return t[key], nil
	case []any:
		if _, ok := args[1].(float64); !ok {
			return nil, errors.New("the index of an array must be a number")
		}
		i, err := integer(args[1])
		if err != nil {
			return nil, fmt.Errorf("the index is %w", err)
		}
		if i < 0 || i >= len(t) {
			return nil, nil
		}
		return t[i], nil
	}
	return nil, nil
}

// items makes a list of {key, value} objects of an object, sorted by key, or of an array, whose keys are the indices.
func items(ev *evaluation, args []any) (any, error) {
	key, value := args[1].(string), args[2].(string)
	out := []any{}
	switch t := args[0].(type) {
	case map[string]any:
		if err := ev.charge(3 * len(t)); err != nil {
			return nil, err
		}
		for _, k := range slices.Sorted(maps.Keys(t)) {
			out = append(out, map[string]any{key: k, value: t[k]})
		}
	case []any:
		if err := ev.charge(3 * len(t)); err != nil {
			return nil, err
		}
		for i, v := range t {
			out = append(out, map[string]any{key: float64(i), value: v})
		}
	}
	return out, nil
}

// objectFromLists pairs keys and values; keys without a value get null, values without a key are left out. Numbers and
// booleans are written out as keys.
func objectFromLists(ev *evaluation, args []any) (any, error) {
	names, values := args[0].([]any), args[1].([]any)
	if err := ev.charge(len(names)); err != nil {
		return nil, err
	}
	out := make(map[string]any, len(names))
	for i, v := range names {
		if !(isString | isNumber | isBool).accepts(v) {
			return nil, fmt.Errorf("a key must be a string, not %s", typeName(v))
		}
		name, err := ev.text(v)
		if err != nil {
			return nil, err
		}
		out[name] = nil
		if i < len(values) {
			out[name] = values[i]
		}
	}
	return out, nil
}

// labelMatch tells whether all labels of the first object are in the second.
func labelMatch(_ *evaluation, args []any) (any, error) {
	labels := args[1].(map[string]any)
	for k, v := range args[0].(map[string]any) {
		want, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("a label must be a string, not %s", typeName(v))
		}
		if have, ok := labels[k].(string); !ok || have != want {
			return false, nil
		}
	}
	return true, nil
}

func semverCompare(_ *evaluation, args []any) (any, error) {
	text, constraint := args[0].(string), args[1].(string)
	if len(text) > maxShown || len(constraint) > maxExpression/32 {
		return nil, fmt.Errorf("%w: version too long", ErrLimit)
	}
	version, err := semver.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a semantic version: %w", clip(text), err)
	}
	inRange, err := semver.ParseRange(constraint)
	if err != nil {
		return nil, fmt.Errorf("%q is not a range of versions: %w", clip(constraint), err)
	}
	return inRange(version), nil
}
