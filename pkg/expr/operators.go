package expr

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/blang/semver"
)

// operator compares the key of a condition with its value.
type operator int

const (
	opEquals operator = iota + 1
	opNotEquals
	opIn
	opNotIn
	opAnyIn
	opAllIn
	opAnyNotIn
	opAllNotIn
	opGreater
	opGreaterOrEqual
	opLess
	opLessOrEqual
	opDurationGreater
	opDurationGreaterOrEqual
	opDurationLess
	opDurationLessOrEqual
)

func parseOperator(v any) (operator, error) {
	name, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("must be a string, not %s", typeName(v))
	}
	switch strings.ToLower(name) {
	case "equals", "equal":
		return opEquals, nil
	case "notequals", "notequal":
		return opNotEquals, nil
	case "in":
		return opIn, nil
	case "notin":
		return opNotIn, nil
	case "anyin":
		return opAnyIn, nil
	case "allin":
		return opAllIn, nil
	case "anynotin":
		return opAnyNotIn, nil
	case "allnotin":
		return opAllNotIn, nil
	case "greaterthan":
		return opGreater, nil
	case "greaterthanorequals":
		return opGreaterOrEqual, nil
	case "lessthan":
		return opLess, nil
	case "lessthanorequals":
		return opLessOrEqual, nil
	case "durationgreaterthan":
		return opDurationGreater, nil
	case "durationgreaterthanorequals":
		return opDurationGreaterOrEqual, nil
	case "durationlessthan":
		return opDurationLess, nil
	case "durationlessthanorequals":
		return opDurationLessOrEqual, nil
	}
	return 0, fmt.Errorf("unknown operator %q", clip(name))
}

func (ev *evaluation) operate(op operator, key, value any) (bool, error) {
	if err := ev.step(1); err != nil {
		return false, err
	}
	switch op {
	case opEquals:
		return ev.equals(key, value)
	case opNotEquals:
		if key == nil {
			return false, nil // null is neither equal nor unequal to anything
		}
		same, err := ev.equals(key, value)
		return !same, err
	case opIn, opNotIn:
		return ev.in(key, value, op == opNotIn)
	case opAnyIn, opAllIn, opAnyNotIn, opAllNotIn:
		return ev.among(op, key, value)
	case opGreater, opGreaterOrEqual, opLess, opLessOrEqual:
		order, ok := ordered(key, value)
		return ok && ordersAs(op, order), nil
	case opDurationGreater, opDurationGreaterOrEqual, opDurationLess, opDurationLessOrEqual:
		order, ok := durationOrder(key, value)
		return ok && ordersAs(op, order), nil
	}
	return false, fmt.Errorf("unknown operator %d", op)
}

// equals is the operator Equals; its exact rules are VI 6.8(2).
func (ev *evaluation) equals(key, value any) (bool, error) {
	switch k := key.(type) {
	case bool, []any, map[string]any:
		return ev.equal(key, value, 0)
	case float64:
		switch v := value.(type) {
		case float64:
			return k == v, nil
		case string:
			f, err := strconv.ParseFloat(v, 64)
			return err == nil && k == f, nil
		}
		return false, nil
	case string:
		return ev.textEquals(k, value)
	}
	return false, nil
}

func (ev *evaluation) textEquals(key string, value any) (bool, error) {
	if x, y, ok := durations(key, value); ok {
		return x == y, nil
	}
	switch v := value.(type) {
	case float64:
		if f, err := strconv.ParseFloat(key, 64); err == nil {
			return f == v, nil
		}
	case string:
		x, isX := parseQuantity(key)
		y, isY := parseQuantity(v)
		if isX && isY {
			return x.Cmp(y) == 0, nil
		}
		return ev.wildcard(v, key)
	}
	if x, ok := quantityOf(key); ok {
		if y, ok := quantityOf(value); ok {
			return x.Cmp(y) == 0, nil
		}
	}
	return false, nil
}

func ordersAs(op operator, order int) bool {
	switch op {
	case opGreater, opDurationGreater:
		return order > 0
	case opGreaterOrEqual, opDurationGreaterOrEqual:
		return order >= 0
	case opLess, opDurationLess:
		return order < 0
	case opLessOrEqual, opDurationLessOrEqual:
		return order <= 0
	}
	return false
}

// ordered compares as durations, quantities, numbers, or semantic versions, the first of these that both can be read as.
func ordered(key, value any) (order int, ok bool) {
	if x, y, ok := durations(key, value); ok {
		return compareNumbers(x, y), true
	}
	a, aNumber := key.(float64)
	b, bNumber := value.(float64)
	if aNumber && bNumber {
		return compareNumbers(a, b), true
	}
	x, isX := quantityOf(key)
	y, isY := quantityOf(value)
	if isX && isY {
		return x.Cmp(y), true
	}
	a, aNumber = numberOf(key)
	if x, y, ok := durations(a, value); aNumber && ok {
		return compareNumbers(x, y), true // a number in the text of a label, say, is as good as a number
	}
	b, bNumber = numberOf(value)
	if aNumber && bNumber {
		return compareNumbers(a, b), true
	}
	return versionOrder(key, value)
}

func compareNumbers[T ~int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// numberOf reads a number, or a text that is one.
func numberOf(v any) (float64, bool) {
	switch t := v.(type) {
	case float64:
		return t, true
	case string:
		f, err := strconv.ParseFloat(t, 64)
		return f, err == nil && finite(f) == nil
	}
	return 0, false
}

func versionOrder(key, value any) (order int, ok bool) {
	a, isText := key.(string)
	b, alsoText := value.(string)
	if !isText || !alsoText || len(a) > maxShown || len(b) > maxShown {
		return 0, false
	}
	x, err := semver.Parse(a)
	if err != nil {
		return 0, false
	}
	y, err := semver.Parse(b)
	if err != nil {
		return 0, false
	}
	return x.Compare(y), true
}

// durationOrder compares two durations; numbers are seconds.
func durationOrder(key, value any) (order int, ok bool) {
	x, ok := asDuration(key)
	if !ok {
		return 0, false
	}
	y, ok := asDuration(value)
	return compareNumbers(x, y), ok
}
