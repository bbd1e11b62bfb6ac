package expr

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// param is the set of types that an argument may have.
type param uint16

const (
	isString param = 1 << iota
	isNumber
	isBool
	isArray
	isObject
	isNull
	isExpression
	ofStrings // with isArray: every element is a string
	ofNumbers // with isArray: every element is a number

	isAny     = isString | isNumber | isBool | isArray | isObject | isNull
	isText    = isString | isNumber // a number is written out
	isScalar  = isString | isNumber
	isStrings = isArray | ofStrings
)

func (p param) expression() bool { return p&isExpression != 0 }

func (p param) accepts(v any) bool {
	switch t := v.(type) {
	case nil:
		return p&isNull != 0
	case bool:
		return p&isBool != 0
	case string:
		return p&isString != 0
	case float64:
		return p&isNumber != 0
	case map[string]any:
		return p&isObject != 0
	case []any:
		return p&isArray != 0 && (p&(ofStrings|ofNumbers) == 0 || p&ofStrings != 0 && all[string](t) ||
			p&ofNumbers != 0 && all[float64](t))
	case func(any) (any, error):
		return p&isExpression != 0
	}
	return false
}

func all[T any](list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool {
		_, ok := v.(T)
		return !ok
	})
}

func (p param) String() string {
	names := []string{}
	for _, t := range []struct {
		bits param
		name string
	}{{isString, "a string"}, {isNumber, "a number"}, {isBool, "a boolean"}, {isArray, "an array"}, {isObject, "an object"},
		{isExpression, "an expression reference"}} {
		if p&t.bits != 0 {
			names = append(names, t.name)
		}
	}
	s := strings.Join(names, " or ")
	switch {
	case p&ofStrings != 0 && p&ofNumbers != 0:
		s += " of strings or of numbers"
	case p&ofStrings != 0:
		s += " of strings"
	case p&ofNumbers != 0:
		s += " of numbers"
	}
	return s
}

// function is one function of the expression language. Its types are checked before it is called.
type function struct {
	name     string
	params   []param
	optional int  // how many of the last params may be absent
	variadic bool // the last param may be repeated
	lenient  bool // missing fields among the arguments are null
	call     func(ev *evaluation, args []any) (any, error)
}

func (f *function) param(i int) param {
	switch {
	case i < len(f.params):
		return f.params[i]
	case f.variadic:
		return f.params[len(f.params)-1]
	}
	return 0
}

func (f *function) arity(n int) error {
	least, most := len(f.params)-f.optional, len(f.params)
	switch {
	case n >= least && (n <= most || f.variadic):
		return nil
	case f.variadic:
		return fmt.Errorf("%s() takes at least %d arguments, not %d", f.name, least, n)
	case least == most:
		return fmt.Errorf("%s() takes %d arguments, not %d", f.name, most, n)
	}
	return fmt.Errorf("%s() takes %d to %d arguments, not %d", f.name, least, most, n)
}

func (f *function) wrongType(i int, v any) error {
	return fmt.Errorf("%s(): argument %d must be %s, not %s", f.name, i+1, f.param(i), typeName(v))
}

// apply calls f. A function that panics fails; nothing else does.
func (ev *evaluation) apply(f *function, args []any) (value any, err error) {
	if err := f.arity(len(args)); err != nil {
		return nil, err
	}
	for i, v := range args {
		if !f.param(i).accepts(v) {
			return nil, f.wrongType(i, v)
		}
		// A function may look at all of its text or list.
		switch t := v.(type) {
		case string:
			err = ev.step(len(t) / 64)
		case []any:
			err = ev.step(len(t))
		case map[string]any:
			err = ev.step(len(t))
		}
		if err != nil {
			return nil, err
		}
	}
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, fmt.Errorf("%s() failed: %s", f.name, clip(fmt.Sprint(p)))
		}
	}()
	value, err = f.call(ev, args)
	if err != nil {
		return nil, fmt.Errorf("%s(): %w", f.name, err)
	}
	switch t := value.(type) {
	case float64:
		err = finite(t)
	case string:
		err = ev.grow(len(t))
	case []any:
		err = ev.grow(overhead * len(t))
	case map[string]any:
		err = ev.grow(overhead * len(t))
	}
	if err != nil {
		return nil, fmt.Errorf("%s(): %w", f.name, err)
	}
	return value, nil
}

// regex returns the compiled form of a pattern.
func (ev *evaluation) regex(pattern string) (*regexp.Regexp, error) {
	if re := ev.regexes[pattern]; re != nil {
		return re, nil
	}
	if err := ev.step(len(pattern)); err != nil {
		return nil, err
	}
	return compileRegex(pattern)
}

// functionTable holds every function by name; it is built once and only read.
var functionTable = sync.OnceValue(func() map[string]*function {
	table := map[string]*function{}
	for _, group := range [][]function{standardFunctions(), textFunctions(), regexFunctionTable(), numberFunctions(),
		dataFunctions(), timeFunctions(), imageFunctions()} {
		for i := range group {
			table[group[i].name] = &group[i]
		}
	}
	return table
})

func lookupFunction(name string) *function { return functionTable()[name] }

// Functions returns the names of all functions of the expression language, sorted.
func Functions() []string { return slices.Sorted(maps.Keys(functionTable())) }
