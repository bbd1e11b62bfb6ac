package expr

import (
	"crypto/md5"  //nolint:gosec // md5() and sha1() are part of the language; nothing here trusts them
	"crypto/sha1" //nolint:gosec // see above
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"path"
	"slices"
	"strings"
)

func textFunctions() []function {
	two := []param{isString, isString}
	one := []param{isString}
	return []function{
		{name: "compare", params: two, call: func(_ *evaluation, a []any) (any, error) {
			return float64(strings.Compare(a[0].(string), a[1].(string))), nil
		}},
		{name: "equal_fold", params: two, call: func(_ *evaluation, a []any) (any, error) {
			return strings.EqualFold(a[0].(string), a[1].(string)), nil
		}},
		{name: "replace", params: []param{isString, isString, isString, isNumber}, call: replace},
		{name: "replace_all", params: []param{isString, isString, isString}, call: func(ev *evaluation, a []any) (any, error) {
			return replace(ev, append(slices.Clone(a), -1.0))
		}},
		{name: "to_upper", params: one, call: func(_ *evaluation, a []any) (any, error) {
			return strings.ToUpper(a[0].(string)), nil
		}},
		{name: "to_lower", params: one, call: func(_ *evaluation, a []any) (any, error) {
			return strings.ToLower(a[0].(string)), nil
		}},
		{name: "trim", params: two, call: func(_ *evaluation, a []any) (any, error) {
			return strings.Trim(a[0].(string), a[1].(string)), nil
		}},
		{name: "trim_prefix", params: two, call: func(_ *evaluation, a []any) (any, error) {
			return strings.TrimPrefix(a[0].(string), a[1].(string)), nil
		}},
		{name: "split", params: two, call: split},
		{name: "truncate", params: []param{isString, isNumber}, call: truncate},
		{name: "path_canonicalize", params: one, call: func(_ *evaluation, a []any) (any, error) {
			return path.Join(a[0].(string)), nil // Join, unlike Clean, keeps the empty path empty
		}},
		{name: "to_boolean", params: one, call: func(_ *evaluation, a []any) (any, error) {
			switch s := a[0].(string); {
			case strings.EqualFold(s, "true"):
				return true, nil
			case strings.EqualFold(s, "false"):
				return false, nil
			}
			return nil, errors.New("neither true nor false")
		}},
		{name: "base64_encode", params: one, call: func(_ *evaluation, a []any) (any, error) {
			return base64.StdEncoding.EncodeToString([]byte(a[0].(string))), nil
		}},
		{name: "base64_decode", params: one, call: func(_ *evaluation, a []any) (any, error) {
			b, err := base64.StdEncoding.DecodeString(a[0].(string))
			return string(b), err
		}},
		{name: "sha256", params: one, call: func(_ *evaluation, a []any) (any, error) {
			sum := sha256.Sum256([]byte(a[0].(string)))
			return hex.EncodeToString(sum[:]), nil
		}},
		{name: "sha1", params: one, call: func(_ *evaluation, a []any) (any, error) {
			sum := sha1.Sum([]byte(a[0].(string))) //nolint:gosec // see the import
			return hex.EncodeToString(sum[:]), nil
		}},
		{name: "md5", params: one, call: func(_ *evaluation, a []any) (any, error) {
			sum := md5.Sum([]byte(a[0].(string))) //nolint:gosec // see the import
			return hex.EncodeToString(sum[:]), nil
		}},
		{name: "pattern_match", params: []param{isString, isText}, call: func(ev *evaluation, a []any) (any, error) {
			return ev.wildcard(a[0].(string), scalarText(a[1]))
		}},
	}
}

// scalarText writes out a number that stands where text is wanted.
func scalarText(v any) string {
	if f, ok := v.(float64); ok {
		return formatNumber(f)
	}
	s, _ := v.(string)
	return s
}

// replace replaces the first n occurrences, all when n is negative.
func replace(ev *evaluation, a []any) (any, error) {
	s, old, with := a[0].(string), a[1].(string), a[2].(string)
	n, err := integer(a[3])
	if err != nil {
		return nil, err
	}
	found := strings.Count(s, old)
	if n >= 0 {
		found = min(found, n)
	}
	if grown := len(with) - len(old); grown > 0 && found > int(ev.scope.budget.limits.Bytes)/grown {
		return nil, ev.grow(-1)
	} else if err := ev.grow(len(s) + max(0, found*grown)); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, with, n), nil
}

func split(ev *evaluation, a []any) (any, error) {
	s, sep := a[0].(string), a[1].(string)
	if err := ev.charge(strings.Count(s, sep) + 1); err != nil {
		return nil, err
	}
	parts := strings.Split(s, sep)
	out := make([]any, len(parts))
	for i, part := range parts {
		out[i] = part
	}
	return out, nil
}

// truncate keeps the first n characters, none when n is negative.
func truncate(_ *evaluation, a []any) (any, error) {
	n, err := integer(a[1])
	if err != nil {
		return nil, err
	}
	s := a[0].(string)
	for i := range s {
		if n <= 0 {
			return s[:i], nil
		}
		n--
	}
	return s, nil
}
