package expr

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Template is a JSON value of a policy whose texts may hold variables. It never changes and is safe for concurrent use.
type Template struct {
	constant any         // the value, when it holds no variable
	text     text        // of a text
	list     []*Template // of a list
	keys     []text      // of an object, beside list
	isList   bool
	isObject bool
}

// CompileTemplate reads a JSON value: it resolves the references $(./path) between its texts and checks its variables. An error
// tells where in the value the mistake is.
func CompileTemplate(value any) (*Template, error) {
	n := normalizer{budget: &budget{limits: Limits{Depth: defaultDepth}.withDefaults()}}
	value, _, err := n.value(value, 0)
	if err != nil {
		return nil, err
	}
	if value, err = resolveReferences(value); err != nil {
		return nil, err
	}
	return compileTemplate(value, "")
}

// ResolveReferences replaces the references $(./path) between the texts of a JSON value, for who compiles parts of it with
// CompileResolved. The value itself is not changed.
func ResolveReferences(value any) (any, error) {
	n := normalizer{budget: &budget{limits: Limits{Depth: defaultDepth}.withDefaults()}}
	value, _, err := n.value(value, 0)
	if err != nil {
		return nil, err
	}
	return resolveReferences(value)
}

// CompileResolved is CompileTemplate for a part of what ResolveReferences returned: what looks like a reference there is
// text.
func CompileResolved(value any) (*Template, error) { return compileTemplate(value, "") }

func compileTemplate(value any, at string) (*Template, error) {
	switch t := value.(type) {
	case string:
		parsed, err := parseText(t, policyText)
		if err != nil {
			return nil, located(at, err)
		}
		if written, ok := parsed.written(); ok {
			return &Template{constant: written}, nil
		}
		return &Template{text: parsed}, nil
	case []any:
		out := &Template{isList: true, list: make([]*Template, len(t))}
		constant := true
		for i, v := range t {
			c, err := compileTemplate(v, fmt.Sprintf("%s[%d]", at, i))
			if err != nil {
				return nil, err
			}
			out.list[i] = c
			constant = constant && c.isConstant()
		}
		if constant {
			list := make([]any, len(t))
			for i, c := range out.list {
				list[i] = c.constant
			}
			return &Template{constant: list}, nil
		}
		return out, nil
	case map[string]any:
		return compileObject(t, at)
	}
	return &Template{constant: value}, nil
}

func compileObject(object map[string]any, at string) (*Template, error) {
	out := &Template{isObject: true}
	constants := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(object)) {
		inside := strings.TrimPrefix(at+"."+k, ".")
		key, err := parseText(k, policyText)
		if err != nil {
			return nil, located(inside, err)
		}
		c, err := compileTemplate(object[k], inside)
		if err != nil {
			return nil, err
		}
		if name, ok := key.written(); ok && c.isConstant() && constants != nil {
			constants[name] = c.constant
		} else {
			constants = nil
		}
		out.keys = append(out.keys, key)
		out.list = append(out.list, c)
	}
	if constants != nil {
		return &Template{constant: constants}, nil
	}
	return out, nil
}

func located(at string, err error) error {
	if at == "" {
		return err
	}
	return fmt.Errorf("%s: %w", clip(at), err)
}

func (t *Template) isConstant() bool { return t.text == nil && !t.isList && !t.isObject }

// Eval evaluates the template on the scope: the value with every variable replaced by its value. The value must not be changed.
func (t *Template) Eval(ctx context.Context, s *Scope) (any, error) { return t.eval(ctx, s) }

func (t *Template) eval(ctx context.Context, s *Scope) (any, error) {
	if err := s.budget.step(ctx, 1); err != nil {
		return nil, err
	}
	switch {
	case t.text != nil:
		value, _, err := s.resolve(ctx, t.text, 0)
		return value, err
	case t.isList:
		if err := s.budget.grow(overhead * len(t.list)); err != nil {
			return nil, err
		}
		out := make([]any, len(t.list))
		for i, c := range t.list {
			var err error
			if out[i], err = c.eval(ctx, s); err != nil {
				return nil, err
			}
		}
		return out, nil
	case t.isObject:
		return t.evalObject(ctx, s)
	}
	return t.constant, nil
}

func (t *Template) evalObject(ctx context.Context, s *Scope) (any, error) {
	if err := s.budget.grow(overhead * len(t.list)); err != nil {
		return nil, err
	}
	out := make(map[string]any, len(t.list))
	for i, c := range t.list {
		key, _, err := s.resolve(ctx, t.keys[i], 0)
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("a variable that names a field must be a string, not %s", typeName(key))
		}
		if _, ok := out[name]; ok {
			return nil, fmt.Errorf("two fields are named %q", clip(name))
		}
		if out[name], err = c.eval(ctx, s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Constant is the template's value if it holds no variable. The value must not be changed.
func (t *Template) Constant() (value any, ok bool) { return t.constant, t.isConstant() }

// Variables returns the expressions of the variables in the template, each once, in the order of the text, with fields of
// objects sorted. Those inside another come before it; the other is written with them in it.
func (t *Template) Variables() []string {
	seen := map[string]bool{}
	out := []string{}
	t.visit(func(v *variable) {
		if !seen[v.source] {
			seen[v.source] = true
			out = append(out, v.source)
		}
	})
	return out
}

func (t *Template) visit(f func(*variable)) {
	t.text.variables(f)
	for i, c := range t.list {
		if i < len(t.keys) {
			t.keys[i].variables(f)
		}
		c.visit(f)
	}
}

// Substitute replaces every variable and every reference in a JSON value of a policy. Who substitutes the same value more than
// once uses CompileTemplate.
func Substitute(ctx context.Context, s *Scope, value any) (any, error) {
	t, err := CompileTemplate(value)
	if err != nil {
		return nil, err
	}
	return t.Eval(ctx, s)
}

// Variables returns the expressions of the variables in a JSON value, as Template.Variables does; of a value that does not
// compile, those that can be read.
func Variables(value any) []string {
	if t, err := CompileTemplate(value); err == nil {
		return t.Variables()
	}
	out := []string{}
	var visit func(any)
	visit = func(v any) {
		switch t := v.(type) {
		case string:
			parsed, err := parseText(t, dataText)
			if err != nil {
				return
			}
			out = append(out, (&Template{text: parsed}).Variables()...)
		case []any:
			for _, w := range t {
				visit(w)
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(t)) {
				visit(k)
				visit(t[k])
			}
		}
	}
	visit(value)
	return slices.Compact(out)
}

// Query is one JMESPath expression without braces, such as the jmesPath of a context entry. It never changes and is safe for
// concurrent use.
type Query struct{ text text }

// CompileQuery reads an expression, in which there may be variables. Without any it is checked in full.
func CompileQuery(source string) (*Query, error) {
	if strings.Contains(source, opening) {
		p := textParser{source: source, mode: policyText}
		// The expression is read as if it stood in braces, so that quotations around its variables count.
		p.source += closing
		v, end, err := p.variable(0, 1)
		if err != nil {
			return nil, err
		}
		if end != len(p.source) {
			return nil, fmt.Errorf("not a JMESPath expression: %s", clip(source))
		}
		return &Query{text: text{{variable: v}}}, nil
	}
	e, err := parse(source)
	if err != nil {
		return nil, err
	}
	return &Query{text: text{{variable: &variable{source: source, static: e}}}}, nil
}

// Eval evaluates the expression on the scope.
func (q *Query) Eval(ctx context.Context, s *Scope) (any, error) {
	value, _, err := s.resolve(ctx, q.text, 0)
	return value, err
}

// On evaluates the expression on data alone, with the functions and limits of the scope.
func (q *Query) On(ctx context.Context, s *Scope, data any) (any, error) {
	data, err := s.normalize(data)
	if err != nil {
		return nil, err
	}
	value, _, err := s.evaluateVariable(ctx, q.text[0].variable, data, 0)
	return value, err
}
