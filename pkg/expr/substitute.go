package expr

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// resolve evaluates the text. A text that is one variable and nothing else has the value of the variable, of any type; literal
// tells whether that value holds text from outside.
func (s *Scope) resolve(ctx context.Context, t text, level int) (value any, literal bool, err error) {
	if written, ok := t.written(); ok {
		return written, false, nil
	}
	if len(t) == 1 {
		return s.resolveVariable(ctx, t[0].variable, level)
	}
	var b strings.Builder
	for _, p := range t {
		if p.variable == nil {
			if err := s.budget.grow(len(p.literal)); err != nil {
				return nil, false, err
			}
			b.WriteString(p.literal)
			continue
		}
		v, outside, err := s.resolveInner(ctx, p.variable, level)
		if err != nil {
			return nil, false, err
		}
		literal = literal || outside
		part, err := s.written(ctx, v)
		if err != nil {
			return nil, false, err
		}
		b.WriteString(part)
	}
	return b.String(), literal, nil
}

func (s *Scope) written(ctx context.Context, v any) (string, error) {
	ev := evaluation{ctx: ctx, scope: s}
	return ev.text(v)
}

// resolveInner evaluates a variable that stands in other text; variables in its own value are evaluated too, unless it was
// written {{- }} or the value comes from outside: who signs or creates something shall not choose which data a policy reads.
func (s *Scope) resolveInner(ctx context.Context, v *variable, level int) (value any, literal bool, err error) {
	value, literal, err = s.resolveVariable(ctx, v, level)
	found, ok := value.(string)
	if err != nil || !ok || v.shallow || literal || !strings.Contains(found, opening) {
		return value, literal, err
	}
	if level >= maxNesting {
		return nil, false, fmt.Errorf("%w: variables nested deeper than %d", ErrLimit, maxNesting)
	}
	if err := s.budget.step(ctx, parseCost*len(found)); err != nil {
		return nil, false, err
	}
	t, err := parseText(found, dataText)
	if err != nil {
		return nil, false, fmt.Errorf("variable {{ %s }}: %w", clip(v.source), err)
	}
	return s.resolve(ctx, t, level+1)
}

func (s *Scope) resolveVariable(ctx context.Context, v *variable, level int) (value any, literal bool, err error) {
	return s.evaluateVariable(ctx, v, s, level)
}

// evaluateVariable evaluates a variable on root, and those inside it on the scope.
func (s *Scope) evaluateVariable(ctx context.Context, v *variable, root any, level int) (value any, literal bool, err error) {
	if level >= maxNesting {
		return nil, false, fmt.Errorf("%w: variables nested deeper than %d", ErrLimit, maxNesting)
	}
	e, outside, values := v.static, false, []string(nil)
	if e == nil {
		var source string
		if source, outside, err = s.assemble(ctx, v, level); err != nil {
			return nil, false, err
		}
		if e, err = parse(source); err != nil {
			return nil, false, fmt.Errorf("variable {{ %s }}: %w", clip(v.source), err)
		}
	} else if len(v.holes) > 0 {
		if values, outside, err = s.fillings(ctx, v, level); err != nil {
			return nil, false, err
		}
	}
	value, literal, err = s.evaluate(ctx, e, root, values)
	if err != nil {
		return nil, false, fmt.Errorf("variable {{ %s }}: %w", clip(v.source), err)
	}
	return value, literal || outside, nil
}

// fillings evaluates what fills the holes of a variable.
func (s *Scope) fillings(ctx context.Context, v *variable, level int) (values []string, literal bool, err error) {
	values = make([]string, len(v.holes))
	for i, inner := range v.holes {
		value, outside, err := s.resolveInner(ctx, inner, level+1)
		if err != nil {
			return nil, false, err
		}
		literal = literal || outside
		if values[i], err = s.written(ctx, value); err != nil {
			return nil, false, err
		}
	}
	return values, literal, nil
}

// parseCost is what a byte of an expression costs that is read during an evaluation, in steps.
const parseCost = 16

// assemble writes the expression of a variable with the values of its inner variables filled in, so that each stays a value:
// in a quotation it cannot end the quotation, and elsewhere it is a name, a number or a literal, never a part of an expression.
func (s *Scope) assemble(ctx context.Context, v *variable, level int) (source string, literal bool, err error) {
	var b strings.Builder
	for _, p := range v.inner {
		if p.variable == nil {
			b.WriteString(p.literal)
			continue
		}
		value, outside, err := s.resolveInner(ctx, p.variable, level+1)
		if err != nil {
			return "", false, err
		}
		literal = literal || outside
		written, err := s.written(ctx, value)
		if err != nil {
			return "", false, err
		}
		if written, err = p.at.quoted(value, written, outside); err != nil {
			return "", false, fmt.Errorf("variable {{ %s }}: %w", clip(p.variable.source), err)
		}
		if b.Len()+len(written) > maxExpression {
			return "", false, fmt.Errorf("%w: expression of more than %d bytes", ErrLimit, maxExpression)
		}
		b.WriteString(written)
	}
	if err := s.budget.step(ctx, parseCost*b.Len()); err != nil {
		return "", false, err
	}
	return strings.TrimSpace(b.String()), literal, s.budget.grow(b.Len())
}

// pathForm is what a variable may put into an expression as it is: fields and indices.
var pathForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*|\[(\d{1,9}|\*)?\])*$`)

// quoted writes a value so that it stays one at its place.
func (p place) quoted(value any, written string, outside bool) (string, error) {
	_, isText := value.(string)
	switch {
	case p.quote == '\'':
		return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(written), nil
	case p.quote == '"' || p.inJSON:
		return escapeJSON(written)
	case p.quote == '`':
		if isText && !json.Valid([]byte(written)) {
			return "", fmt.Errorf("%q inside backticks is not JSON", clip(written))
		}
		return strings.ReplaceAll(written, "`", "\\u0060"), nil
	}
	switch f, isNumber := value.(float64); {
	case isNumber && (p.before == '[' || p.before == ':') && f == float64(int64(f)):
		return written, nil
	case !isText:
		return "`" + strings.ReplaceAll(written, "`", "\\u0060") + "`", nil
	case p.before == '.' && outside, p.before == '.' && !pathForm.MatchString(written):
		quoted, err := json.Marshal(written)
		return string(quoted), err
	case !outside && pathForm.MatchString(written):
		return written, nil
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(written) + "'", nil
}

// escapeJSON writes s as it stands between the quotation marks of JSON, also inside backticks.
func escapeJSON(s string) (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(string(b[1:len(b)-1]), "`", "\\u0060"), nil
}
