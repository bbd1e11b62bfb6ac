package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jmespath-community/go-jmespath/pkg/functions"
)

// standardFunctions are those of JMESPath itself, as the library has them, except for the ones that would depend on the order
// of a Go map, change their argument, make any amount of output from little input, or stop at a value of another type.
func standardFunctions() []function {
	table := []function{}
	for _, entry := range functions.GetDefaultFunctions() {
		f := function{name: entry.Name}
		for _, argument := range entry.Arguments {
			var p param
			for _, t := range argument.Types {
				p |= standardType(t)
			}
			f.params = append(f.params, p)
			if argument.Optional {
				f.optional++
			}
			f.variadic = f.variadic || argument.Variadic
		}
		handler := entry.Handler
		f.call = func(_ *evaluation, args []any) (any, error) { return handler(args) }
		table = append(table, f)
	}
	return append(table, []function{
		{name: "contains", params: []param{isArray | isString, isAny}, call: contains},
		{name: "join", params: []param{isString, isStrings}, call: join},
		{name: "keys", params: []param{isObject}, call: keys},
		{name: "values", params: []param{isObject}, call: values},
		{name: "not_null", params: []param{isAny}, variadic: true, lenient: true, call: notNull},
		{name: "pad_left", params: []param{isString, isNumber, isString}, optional: 1, call: padLeft},
		{name: "pad_right", params: []param{isString, isNumber, isString}, optional: 1, call: padRight},
		{name: "sort_by", params: []param{isArray, isExpression}, call: sortBy},
		{name: "to_number", params: []param{isAny}, call: toNumber},
		{name: "to_string", params: []param{isAny}, call: toString},
		{name: "merge", params: []param{isObject}, variadic: true, call: merge},
		{name: "zip", params: []param{isArray}, variadic: true, call: zip},
	}...)
}

func standardType(t functions.JpType) param {
	switch t {
	case functions.JpString:
		return isString
	case functions.JpNumber:
		return isNumber
	case functions.JpArray, functions.JpArrayArray:
		return isArray
	case functions.JpObject:
		return isObject
	case functions.JpArrayNumber:
		return isArray | ofNumbers
	case functions.JpArrayString:
		return isArray | ofStrings
	case functions.JpExpref:
		return isExpression
	}
	return isAny
}

func contains(ev *evaluation, args []any) (any, error) {
	if s, ok := args[0].(string); ok {
		part, ok := args[1].(string)
		return ok && strings.Contains(s, part), nil
	}
	for _, v := range args[0].([]any) {
		if same, err := ev.equal(v, args[1], 0); err != nil || same {
			return same, err
		}
	}
	return false, nil
}

func join(ev *evaluation, args []any) (any, error) {
	sep, list := args[0].(string), args[1].([]any)
	total := 0
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.(string)
		total += len(texts[i]) + len(sep)
	}
	if err := ev.grow(total); err != nil {
		return nil, err
	}
	return strings.Join(texts, sep), nil
}

func keys(_ *evaluation, args []any) (any, error) {
	object := args[0].(map[string]any)
	list := make([]any, 0, len(object))
	for _, k := range slices.Sorted(maps.Keys(object)) {
		list = append(list, k)
	}
	return list, nil
}

func values(_ *evaluation, args []any) (any, error) {
	object := args[0].(map[string]any)
	list := make([]any, 0, len(object))
	for _, k := range slices.Sorted(maps.Keys(object)) {
		list = append(list, object[k])
	}
	return list, nil
}

func notNull(_ *evaluation, args []any) (any, error) {
	for _, v := range args {
		if v != nil {
			return v, nil
		}
	}
	return nil, nil
}

func padding(ev *evaluation, args []any) (string, error) {
	width, err := integer(args[1])
	if err != nil || width < 0 {
		return "", errors.New("the width must be a whole number and not negative")
	}
	pad := " "
	if len(args) > 2 {
		pad = args[2].(string)
		if len([]rune(pad)) != 1 {
			return "", errors.New("the padding must be one character")
		}
	}
	n := width - len([]rune(args[0].(string)))
	if n <= 0 {
		return "", nil
	}
	if err := ev.grow(len(pad) * n); err != nil {
		return "", err
	}
	return strings.Repeat(pad, n), nil
}

func padLeft(ev *evaluation, args []any) (any, error) {
	pad, err := padding(ev, args)
	return pad + args[0].(string), err
}

func padRight(ev *evaluation, args []any) (any, error) {
	pad, err := padding(ev, args)
	return args[0].(string) + pad, err
}

// sortBy sorts a copy, since the list may belong to data that others read.
func sortBy(ev *evaluation, args []any) (any, error) {
	list, key := args[0].([]any), args[1].(func(any) (any, error))
	type keyed struct {
		text   string
		number float64
		value  any
	}
	items := make([]keyed, len(list))
	numbers := 0
	for i, v := range list {
		k, err := key(v)
		if err != nil {
			return nil, err
		}
		items[i].value = v
		switch t := k.(type) {
		case string:
			items[i].text = t
		case float64:
			items[i].number = t
			numbers++
		default:
			return nil, fmt.Errorf("cannot sort by %s", typeName(k))
		}
	}
	if numbers != 0 && numbers != len(items) {
		return nil, errors.New("cannot sort numbers and strings together")
	}
	if err := ev.step(8 * len(items)); err != nil {
		return nil, err
	}
	slices.SortStableFunc(items, func(a, b keyed) int {
		if numbers == 0 {
			return strings.Compare(a.text, b.text)
		}
		switch {
		case a.number < b.number:
			return -1
		case a.number > b.number:
			return 1
		}
		return 0
	})
	out := make([]any, len(items))
	for i := range items {
		out[i] = items[i].value
	}
	return out, nil
}

func toNumber(_ *evaluation, args []any) (any, error) {
	switch t := args[0].(type) {
	case float64:
		return t, nil
	case string:
		f, err := strconv.ParseFloat(t, 64)
		if err != nil || finite(f) != nil || strings.ContainsAny(t, "_xXpP") {
			return nil, nil //nolint:nilerr // JMESPath: what is no number becomes null
		}
		return f, nil
	}
	return nil, nil
}

func toString(ev *evaluation, args []any) (any, error) {
	if s, ok := args[0].(string); ok {
		return s, nil
	}
	n, err := ev.size(args[0], 0)
	if err != nil {
		return nil, err
	}
	if err := ev.grow(n); err != nil {
		return nil, err
	}
	if f, ok := args[0].(float64); ok {
		return formatNumber(f), nil
	}
	b, err := json.Marshal(args[0])
	return string(b), err
}

func merge(ev *evaluation, args []any) (any, error) {
	out := map[string]any{}
	for _, v := range args {
		object := v.(map[string]any)
		if err := ev.grow(overhead * len(object)); err != nil {
			return nil, err
		}
		maps.Copy(out, object)
	}
	return out, nil
}

func zip(ev *evaluation, args []any) (any, error) {
	shortest := len(args[0].([]any))
	for _, v := range args {
		shortest = min(shortest, len(v.([]any)))
	}
	if err := ev.charge(shortest * len(args)); err != nil {
		return nil, err
	}
	out := make([]any, shortest)
	for i := range out {
		row := make([]any, len(args))
		for j, v := range args {
			row[j] = v.([]any)[i]
		}
		out[i] = row
	}
	return out, nil
}

var errNotInteger = errors.New("not a whole number")

// integer returns the whole number v.
func integer(v any) (int, error) {
	f, ok := v.(float64)
	if !ok || f != float64(int64(f)) || f > 1<<53 || f < -1<<53 {
		return 0, errNotInteger
	}
	return int(f), nil
}
