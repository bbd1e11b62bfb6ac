package expr

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// equal compares two JSON values deeply.
func (ev *evaluation) equal(a, b any, depth int) (bool, error) {
	if err := ev.step(1); err != nil {
		return false, err
	}
	if depth > ev.scope.budget.limits.Depth {
		return false, fmt.Errorf("%w: nested deeper than %d", ErrLimit, ev.scope.budget.limits.Depth)
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case bool:
		y, ok := b.(bool)
		return ok && x == y, nil
	case string:
		y, ok := b.(string)
		return ok && x == y, nil
	case float64:
		y, ok := b.(float64)
		return ok && x == y, nil
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false, nil
		}
		for i := range x {
			if same, err := ev.equal(x[i], y[i], depth+1); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false, nil
		}
		for k, v := range x {
			w, ok := y[k]
			if !ok {
				return false, nil
			}
			if same, err := ev.equal(v, w, depth+1); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	}
	return false, nil
}

// weigh visits v as often as writing it out would.
func (ev *evaluation) weigh(v any, depth int) error {
	if depth > ev.scope.budget.limits.Depth {
		return fmt.Errorf("%w: nested deeper than %d", ErrLimit, ev.scope.budget.limits.Depth)
	}
	switch t := v.(type) {
	case nil, bool, string:
		return nil
	case float64:
		return finite(t)
	case []any:
		if err := ev.step(len(t)); err != nil {
			return err
		}
		for _, w := range t {
			if err := ev.weigh(w, depth+1); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		if err := ev.step(len(t)); err != nil {
			return err
		}
		for _, w := range t {
			if err := ev.weigh(w, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("the value of an expression cannot be %s", typeName(v))
}

// size is about how long v is as JSON; it stops counting at an error of the budget.
func (ev *evaluation) size(v any, depth int) (int, error) {
	if err := ev.step(1); err != nil {
		return 0, err
	}
	if depth > ev.scope.budget.limits.Depth {
		return 0, fmt.Errorf("%w: nested deeper than %d", ErrLimit, ev.scope.budget.limits.Depth)
	}
	total := 8
	switch t := v.(type) {
	case string:
		total += len(t)
	case float64:
		return 24, finite(t)
	case []any:
		for _, w := range t {
			n, err := ev.size(w, depth+1)
			if err != nil {
				return 0, err
			}
			total += n
		}
	case map[string]any:
		for k, w := range t {
			n, err := ev.size(w, depth+1)
			if err != nil {
				return 0, err
			}
			total += len(k) + n
		}
	}
	if int64(total) > ev.scope.budget.limits.Bytes {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrLimit, ev.scope.budget.limits.Bytes)
	}
	return total, nil
}

// text writes v into a text: a string as it is, other values as JSON.
func (ev *evaluation) text(v any) (string, error) {
	switch t := v.(type) {
	case nil:
		return "null", nil
	case bool:
		return strconv.FormatBool(t), nil
	case string:
		return t, ev.grow(len(t))
	case float64:
		return formatNumber(t), nil
	}
	n, err := ev.size(v, 0)
	if err != nil {
		return "", err
	}
	if err := ev.grow(n); err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// formatNumber writes a number as JSON does, but large whole numbers without an exponent.
func formatNumber(f float64) string {
	if f == float64(int64(f)) && f > -1e15 && f < 1e15 {
		return strconv.FormatInt(int64(f), 10)
	}
	b, err := json.Marshal(f)
	if err != nil {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return string(b)
}
