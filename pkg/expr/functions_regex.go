package expr

import (
	"fmt"
	"regexp"
)

// regexFunctions are those whose first argument is a regular expression. All of them are RE2: their time grows with the text
// alone, and the text is limited.
var regexFunctions = []string{"regex_match", "regex_replace_all", "regex_replace_all_literal"}

func regexFunctionTable() []function {
	return []function{
		{name: "regex_match", params: []param{isString, isText}, call: func(ev *evaluation, a []any) (any, error) {
			re, text, err := ev.regexOn(a)
			if err != nil {
				return nil, err
			}
			return re.MatchString(text), nil
		}},
		{name: "regex_replace_all", params: []param{isString, isText, isText}, call: func(ev *evaluation, a []any) (any, error) {
			return regexReplace(ev, a, func(re *regexp.Regexp, out []byte, with, text string, match []int) []byte {
				return re.ExpandString(out, with, text, match)
			})
		}},
		{name: "regex_replace_all_literal", params: []param{isString, isText, isText}, call: func(ev *evaluation, a []any) (any, error) {
			return regexReplace(ev, a, func(_ *regexp.Regexp, out []byte, with, _ string, _ []int) []byte {
				return append(out, with...)
			})
		}},
	}
}

func (ev *evaluation) regexOn(a []any) (*regexp.Regexp, string, error) {
	re, err := ev.regex(a[0].(string))
	if err != nil {
		return nil, "", err
	}
	text := scalarText(a[1])
	if limit := ev.scope.budget.limits.Regex; int64(len(text)) > limit {
		return nil, "", fmt.Errorf("%w: a regular expression on more than %d bytes", ErrLimit, limit)
	}
	return re, text, ev.step(len(text))
}

// regexReplace replaces match by match, so that a replacement that grows is stopped while it grows.
func regexReplace(ev *evaluation, a []any, expand func(*regexp.Regexp, []byte, string, string, []int) []byte) (any, error) {
	re, text, err := ev.regexOn(a)
	if err != nil {
		return nil, err
	}
	with := scalarText(a[2])
	if len(with) > maxPattern {
		return nil, fmt.Errorf("%w: replacement of more than %d bytes", ErrLimit, maxPattern)
	}
	matches := re.FindAllStringSubmatchIndex(text, -1)
	if err := ev.charge(len(matches)); err != nil {
		return nil, err
	}
	var out []byte
	end := 0
	for _, match := range matches {
		// A replacement repeats a group at most once in two of its bytes.
		if err := ev.grow(len(with) + (len(with)/2+1)*(match[1]-match[0])); err != nil {
			return nil, err
		}
		if err := ev.step(1 + len(with)); err != nil {
			return nil, err
		}
		out = append(out, text[end:match[0]]...)
		out = expand(re, out, with, text, match)
		end = match[1]
	}
	return string(append(out, text[end:]...)), nil
}
