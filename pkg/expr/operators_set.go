package expr

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// among is the operators AnyIn, AllIn, AnyNotIn and AllNotIn: how many elements of the key are found in the value. Null
// satisfies none of them, and an object cannot be compared.
func (ev *evaluation) among(op operator, key, value any) (bool, error) {
	if key == nil || value == nil {
		return false, nil
	}
	keys, err := ev.elements(key)
	if err != nil {
		return false, fmt.Errorf("key: %w", err)
	}
	set, err := ev.newSet(value)
	if err != nil {
		return false, fmt.Errorf("value: %w", err)
	}
	for _, k := range keys {
		found, err := ev.inSet(set, k)
		if err != nil {
			return false, err
		}
		switch {
		case op == opAnyIn && found, op == opAnyNotIn && !found:
			return true, nil
		case op == opAllIn && !found, op == opAllNotIn && found:
			return false, nil
		}
	}
	return op == opAllIn || op == opAllNotIn, nil
}

// set is the value of a set operator.
type set struct {
	texts     []string
	isRange   bool // of quantities
	low, high resource.Quantity
	isSpan    bool // a range of durations; 1m-5m is both
	from, to  time.Duration
}

// rangeForm is a-b, where both may have a sign, a fraction and a unit.
var rangeForm = regexp.MustCompile(`^([+-]?[0-9.]+[A-Za-z]*)-([+-]?[0-9.]+[A-Za-z]*)$`)

func (ev *evaluation) newSet(value any) (set, error) {
	s, isText := value.(string)
	if isText {
		if list, ok := listText(s); ok {
			value, isText = list, false
		}
	}
	if !isText {
		texts, err := ev.elements(value)
		return set{texts: texts}, err
	}
	out := set{texts: []string{s}}
	if len(s) > maxShown {
		return out, nil
	}
	if m := rangeForm.FindStringSubmatch(s); m != nil {
		low, isLow := parseQuantity(m[1])
		high, isHigh := parseQuantity(m[2])
		out.low, out.high, out.isRange = low, high, isLow && isHigh
		from, isFrom := asDuration(m[1])
		to, isTo := asDuration(m[2])
		out.from, out.to, out.isSpan = from, to, isFrom && isTo
	}
	return out, nil
}

// listText reads a text that is a JSON array.
func listText(s string) ([]any, bool) {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, "[") || len(s) > maxParse {
		return nil, false
	}
	var list []any
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, false
	}
	return list, true
}

// inSet compares in both directions: the key may be the pattern as well as the element.
func (ev *evaluation) inSet(s set, key string) (bool, error) {
	if s.isSpan {
		if d, ok := asDuration(key); ok {
			return d >= s.from && d <= s.to, ev.step(1)
		}
	}
	if s.isRange {
		if q, ok := parseQuantity(key); ok {
			return q.Cmp(s.low) >= 0 && q.Cmp(s.high) <= 0, ev.step(1)
		}
	}
	for _, text := range s.texts {
		if err := ev.step(1); err != nil {
			return false, err
		}
		if text == key {
			return true, nil
		}
		if found, err := ev.wildcard(text, key); err != nil || found {
			return found, err
		}
		if found, err := ev.wildcard(key, text); err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// elements writes out a scalar, or what a list holds. An element that is no scalar is written as JSON: it is like no text that
// a policy lists, so it cannot hide from AnyNotIn.
func (ev *evaluation) elements(v any) ([]string, error) {
	switch v.(type) {
	case string, float64, bool:
		v = []any{v}
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("cannot look for %s in a set", typeName(v))
	}
	out := make([]string, len(list))
	for i, element := range list {
		var err error
		if out[i], err = ev.text(element); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// in is the deprecated operators In and NotIn. A list key is in when all of its elements are, compared exactly; it is not in when
// any is not. They need lists of strings; what is none satisfies neither.
func (ev *evaluation) in(key, value any, not bool) (bool, error) {
	values, ok := value.([]any)
	text, isText := value.(string)
	if !ok && isText {
		if values, ok = listText(text); !ok {
			values, ok = []any{text}, true
		}
	}
	if !ok || !all[string](values) {
		return false, nil
	}
	if err := ev.step(len(values)); err != nil {
		return false, err
	}
	keys, isList := key.([]any)
	if !isList {
		if _, isObject := key.(map[string]any); isObject || key == nil {
			return false, nil
		}
		text, err := ev.text(key)
		if err != nil {
			return false, err
		}
		found, err := ev.inSet(set{texts: stringsOf(values)}, text)
		return found != not && err == nil, err
	}
	if !all[string](keys) {
		return false, nil
	}
	have := make(map[string]bool, len(values))
	for _, v := range stringsOf(values) {
		have[v] = true
	}
	for _, k := range stringsOf(keys) {
		if err := ev.step(1); err != nil {
			return false, err
		}
		if !have[k] {
			return not, nil
		}
	}
	return !not, nil
}

func stringsOf(list []any) []string {
	out := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
