package expr

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// referenceForm is $(./path), with an operator that patterns may put before the path. What has another form, as $(NAME) of a
// container's command, is text.
var referenceForm = regexp.MustCompile(`\\?\$\((<=|>=|<|>|!)?(\.\.?/[^\s()]*)\)`)

// resolveReferences replaces the references in a document by what they refer to. A path starts at the text that holds it:
// each .. leads to what holds that.
func resolveReferences(doc any) (any, error) {
	r := referenceResolver{doc: doc}
	if !r.any(doc) {
		return doc, nil
	}
	return r.value(doc, nil, 0)
}

// maxReferenced is how many values a document may have, counting what references repeat.
const maxReferenced = 50_000

type referenceResolver struct {
	doc   any
	bytes int // of text made
	steps int // values visited
}

// any tells whether there is a reference in v at all.
func (r *referenceResolver) any(v any) bool {
	switch t := v.(type) {
	case string:
		return strings.Contains(t, "$(")
	case []any:
		return slices.ContainsFunc(t, r.any)
	case map[string]any:
		for _, w := range t {
			if r.any(w) {
				return true
			}
		}
	}
	return false
}

func (r *referenceResolver) step() error {
	if r.steps++; r.steps > maxReferenced {
		return fmt.Errorf("%w: references lead to more than %d values", ErrLimit, maxReferenced)
	}
	return nil
}

func (r *referenceResolver) value(v any, at []string, level int) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	switch t := v.(type) {
	case string:
		return r.text(t, at, level)
	case []any:
		out := make([]any, len(t))
		for i, w := range t {
			var err error
			if out[i], err = r.value(w, append(slices.Clip(at), strconv.Itoa(i)), level); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(t))
		for _, k := range slices.Sorted(maps.Keys(t)) {
			var err error
			if out[k], err = r.value(t[k], append(slices.Clip(at), k), level); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

func (r *referenceResolver) text(s string, at []string, level int) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	matches := referenceForm.FindAllStringSubmatchIndex(s, -1)
	if len(matches) == 0 {
		return s, nil
	}
	if level > maxNesting {
		return nil, fmt.Errorf("%w: references nested deeper than %d", ErrLimit, maxNesting)
	}
	var b strings.Builder
	end := 0
	for _, m := range matches {
		b.WriteString(s[end:m[0]])
		end = m[1]
		if s[m[0]] == '\\' {
			b.WriteString(s[m[0]+1 : m[1]])
			continue
		}
		found, err := r.follow(s[m[4]:m[5]], at, level)
		if err != nil {
			return nil, fmt.Errorf("reference %s: %w", clip(s[m[0]:m[1]]), err)
		}
		if m[0] == 0 && m[1] == len(s) && m[2] < 0 {
			return found, nil
		}
		if m[2] >= 0 {
			b.WriteString(s[m[2]:m[3]])
		}
		written, ok := scalarWritten(found)
		if !ok {
			return nil, fmt.Errorf("reference %s: cannot write %s into text", clip(s[m[0]:m[1]]), typeName(found))
		}
		b.WriteString(written)
	}
	b.WriteString(s[end:])
	if r.bytes += b.Len(); r.bytes > 4*maxTemplate {
		return nil, fmt.Errorf("%w: references make more than %d bytes", ErrLimit, 4*maxTemplate)
	}
	return b.String(), nil
}

func scalarWritten(v any) (string, bool) {
	switch t := v.(type) {
	case bool:
		return strconv.FormatBool(t), true
	case string:
		return t, true
	case float64:
		return formatNumber(t), true
	}
	return "", false
}

// follow finds what a path refers to, with the references in that resolved.
func (r *referenceResolver) follow(path string, at []string, level int) (any, error) {
	to := slices.Clone(at)
	for step := range strings.SplitSeq(path, "/") {
		switch step {
		case "", ".":
		case "..":
			if len(to) == 0 {
				return nil, fmt.Errorf("the path leads out of the document")
			}
			to = to[:len(to)-1]
		default:
			to = append(to, strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~"))
		}
	}
	if len(to) <= len(at) && slices.Equal(to, at[:len(to)]) {
		return nil, fmt.Errorf("the path leads to what holds it")
	}
	v := r.doc
	for _, step := range to {
		switch t := v.(type) {
		case map[string]any:
			next, ok := t[step]
			if !ok {
				return nil, &MissingKeyError{Key: step}
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(t) {
				return nil, &MissingKeyError{Key: step}
			}
			v = t[i]
		default:
			return nil, &MissingKeyError{Key: step}
		}
	}
	if s, ok := v.(string); ok {
		return r.text(s, to, level+1)
	}
	if r.any(v) {
		return r.value(v, to, level+1)
	}
	return v, nil
}
