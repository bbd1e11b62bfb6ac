package expr

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/jmespath-community/go-jmespath/pkg/parsing"
)

// evaluation is one run of one expression.
type evaluation struct {
	ctx      context.Context //nolint:containedctx // an evaluation lives no longer than the call that was given the context
	scope    *Scope
	root     any      // what $ is
	holes    []string // what fills the holes of raw strings
	regexes  map[string]*regexp.Regexp
	bindings []binding // of let, innermost last
	literal  bool      // whether data from outside was read
}

type binding struct {
	name  string
	value any
}

// evaluate runs e on root, which is the scope itself or other data. The second result tells whether text in the value may come from outside, in which variables
// must not be evaluated.
func (s *Scope) evaluate(ctx context.Context, e *expression, root any, holes []string) (value any, literal bool, err error) {
	if s.stored != nil {
		return nil, false, s.stored
	}
	if err := ctx.Err(); err != nil {
		return nil, false, fmt.Errorf("evaluation stopped: %w", err)
	}
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, fmt.Errorf("the expression cannot be evaluated: %v", clip(fmt.Sprint(p)))
		}
	}()
	for i := range holes {
		if err := s.budget.step(ctx, 1+len(holes[i])/64); err != nil {
			return nil, false, err
		}
	}
	ev := evaluation{ctx: ctx, scope: s, root: root, holes: holes, regexes: e.regexes}
	value, err = ev.eval(&e.root, root, true, 0)
	if err != nil {
		return nil, false, err
	}
	if value, err = ev.plain(value); err != nil {
		return nil, false, err
	}
	// What an expression builds can share parts so often that writing it out would never end.
	if err := ev.weigh(value, 0); err != nil {
		return nil, false, err
	}
	return value, ev.literal, nil
}

func (ev *evaluation) step(n int) error { return ev.scope.budget.step(ev.ctx, n) }

func (ev *evaluation) grow(n int) error { return ev.scope.budget.grow(n) }

// eval evaluates n on v. When strict, a missing field is an error; else it is null. The value v is a *Scope at the root, where
// entries are loaded one by one.
func (ev *evaluation) eval(n *parsing.ASTNode, v any, strict bool, depth int) (any, error) {
	if err := ev.step(1); err != nil {
		return nil, err
	}
	if depth > 2*maxNodes {
		return nil, fmt.Errorf("%w: expression nested too deep", ErrLimit)
	}
	depth++
	switch n.NodeType {
	case parsing.ASTField:
		name, _ := n.Value.(string)
		return ev.field(name, v, strict)
	case parsing.ASTSubexpression, parsing.ASTIndexExpression:
		left, err := ev.left(&n.Children[0], v, strict, depth)
		if err != nil {
			return nil, err
		}
		right := &n.Children[1]
		if left == nil && right.NodeType != parsing.ASTField {
			return nil, nil
		}
		return ev.eval(right, left, strict, depth)
	case parsing.ASTPipe:
		var err error
		for i := range n.Children {
			if v, err = ev.left(&n.Children[i], v, strict, depth); err != nil {
				return nil, err
			}
		}
		return v, nil
	case parsing.ASTLiteral:
		if s, ok := n.Value.(string); ok && len(ev.holes) > 0 && strings.Contains(s, hole) {
			filled := fill(s, ev.holes)
			return filled, ev.grow(len(filled))
		}
		return n.Value, nil
	case parsing.ASTIdentity, parsing.ASTCurrentNode:
		return ev.plain(v)
	case parsing.ASTRootNode:
		return ev.plain(ev.root)
	case parsing.ASTOrExpression:
		left, err := ev.eval(&n.Children[0], v, strict, depth)
		if err != nil && !isMissing(err) {
			return nil, err
		}
		if err == nil && !isFalse(left) {
			return left, nil
		}
		return ev.eval(&n.Children[1], v, strict, depth)
	case parsing.ASTAndExpression:
		left, err := ev.eval(&n.Children[0], v, strict, depth)
		if err != nil || isFalse(left) {
			return left, err
		}
		return ev.eval(&n.Children[1], v, strict, depth)
	case parsing.ASTNotExpression:
		value, err := ev.eval(&n.Children[0], v, strict, depth)
		if err != nil {
			return nil, err
		}
		return isFalse(value), nil
	case parsing.ASTComparator:
		return ev.compare(n, v, strict, depth)
	case parsing.ASTFunctionExpression:
		return ev.call(n, v, strict, depth)
	case parsing.ASTArithmeticExpression, parsing.ASTArithmeticUnaryExpression:
		return ev.arithmetic(n, v, strict, depth)
	case parsing.ASTMultiSelectList, parsing.ASTMultiSelectHash:
		return ev.multiSelect(n, v, depth)
	case parsing.ASTKeyValPair:
		return ev.eval(&n.Children[0], v, strict, depth)
	case parsing.ASTLetExpression:
		return ev.let(n, v, strict, depth)
	case parsing.ASTVariable:
		name, _ := n.Value.(string)
		for _, b := range slices.Backward(ev.bindings) {
			if b.name == name {
				return b.value, nil
			}
		}
		return nil, fmt.Errorf("%s is not bound by let", clip(name))
	}
	return ev.project(n, v, strict, depth)
}

// left evaluates what stands left of a dot or a pipe, where the scope itself can stand without loading all of it.
func (ev *evaluation) left(n *parsing.ASTNode, v any, strict bool, depth int) (any, error) {
	switch n.NodeType {
	case parsing.ASTRootNode:
		return ev.root, ev.step(1)
	case parsing.ASTCurrentNode, parsing.ASTIdentity:
		return v, ev.step(1)
	}
	return ev.eval(n, v, strict, depth)
}

func (ev *evaluation) field(name string, v any, strict bool) (any, error) {
	switch t := v.(type) {
	case *Scope:
		value, literal, err := t.read(ev.ctx, name)
		if err != nil {
			if !strict && isMissing(err) {
				return nil, nil
			}
			return nil, err
		}
		ev.literal = ev.literal || literal
		return value, nil
	case map[string]any:
		if value, ok := t[name]; ok {
			return value, nil
		}
	}
	if strict {
		return nil, &MissingKeyError{Key: name}
	}
	return nil, nil
}

// plain turns the scope into an object, which loads all of it, and leaves other values as they are.
func (ev *evaluation) plain(v any) (any, error) {
	s, ok := v.(*Scope)
	if !ok {
		return v, nil
	}
	all := make(map[string]any, len(s.entries))
	for _, name := range s.names() {
		value, literal, err := s.read(ev.ctx, name)
		if err != nil {
			return nil, err
		}
		ev.literal = ev.literal || literal
		all[name] = value
	}
	return all, ev.grow(overhead * len(all))
}

func (ev *evaluation) compare(n *parsing.ASTNode, v any, strict bool, depth int) (any, error) {
	a, err := ev.eval(&n.Children[0], v, strict, depth)
	if err != nil {
		return nil, err
	}
	b, err := ev.eval(&n.Children[1], v, strict, depth)
	if err != nil {
		return nil, err
	}
	switch n.Value {
	case parsing.TOKEQ:
		return ev.equal(a, b, 0)
	case parsing.TOKNE:
		same, err := ev.equal(a, b, 0)
		return !same, err
	}
	x, ok := a.(float64)
	y, alike := b.(float64)
	if !ok || !alike {
		return nil, nil // JMESPath orders numbers only
	}
	switch n.Value {
	case parsing.TOKGT:
		return x > y, nil
	case parsing.TOKGTE:
		return x >= y, nil
	case parsing.TOKLT:
		return x < y, nil
	case parsing.TOKLTE:
		return x <= y, nil
	}
	return nil, errors.New("unknown comparison")
}

func (ev *evaluation) arithmetic(n *parsing.ASTNode, v any, strict bool, depth int) (any, error) {
	operands := [2]float64{}
	for i := range n.Children {
		value, err := ev.eval(&n.Children[i], v, strict, depth)
		if err != nil {
			return nil, err
		}
		f, ok := value.(float64)
		if !ok {
			return nil, fmt.Errorf("cannot calculate with %s", typeName(value))
		}
		operands[i] = f
	}
	x, y := operands[0], operands[1]
	if n.NodeType == parsing.ASTArithmeticUnaryExpression {
		x, y = 0, operands[0]
	}
	var r float64
	switch n.Value {
	case parsing.TOKPlus:
		r = x + y
	case parsing.TOKMinus:
		r = x - y
	case parsing.TOKStar, parsing.TOKMultiply:
		r = x * y
	case parsing.TOKDivide:
		r = x / y
	case parsing.TOKModulo:
		r = math.Mod(x, y)
	case parsing.TOKDiv:
		r = math.Floor(x / y)
	default:
		return nil, errors.New("unknown operation")
	}
	return r, finite(r)
}

func (ev *evaluation) multiSelect(n *parsing.ASTNode, v any, depth int) (any, error) {
	if v == nil {
		return nil, nil
	}
	if err := ev.grow(overhead * len(n.Children)); err != nil {
		return nil, err
	}
	list := make([]any, len(n.Children))
	for i := range n.Children {
		value, err := ev.eval(&n.Children[i], v, false, depth)
		if err != nil {
			return nil, err
		}
		if list[i], err = ev.plain(value); err != nil {
			return nil, err
		}
	}
	if n.NodeType == parsing.ASTMultiSelectList {
		return list, nil
	}
	object := make(map[string]any, len(list))
	for i := range n.Children {
		key, _ := n.Children[i].Value.(string)
		object[key] = list[i]
	}
	return object, nil
}

func (ev *evaluation) let(n *parsing.ASTNode, v any, strict bool, depth int) (any, error) {
	outer := len(ev.bindings)
	defer func() { ev.bindings = ev.bindings[:outer] }()
	bound := n.Children[0].Children
	for i := range bound {
		value, err := ev.eval(&bound[i].Children[1], v, strict, depth)
		if err != nil {
			return nil, err
		}
		name, _ := bound[i].Children[0].Value.(string)
		ev.bindings = append(ev.bindings, binding{name, value})
	}
	return ev.eval(&n.Children[1], v, strict, depth)
}

// call evaluates a function. The arguments of not_null() are the one place besides || where a missing field is expected.
func (ev *evaluation) call(n *parsing.ASTNode, v any, strict bool, depth int) (any, error) {
	name, _ := n.Value.(string)
	f := lookupFunction(name)
	if f == nil {
		return nil, fmt.Errorf("unknown function %s()", clip(name))
	}
	args := make([]any, len(n.Children))
	for i := range n.Children {
		c := &n.Children[i]
		if c.NodeType == parsing.ASTExpRef {
			args[i] = ev.reference(&c.Children[0], depth)
			continue
		}
		value, err := ev.eval(c, v, strict && !f.lenient, depth)
		if err != nil {
			return nil, err
		}
		if args[i], err = ev.plain(value); err != nil {
			return nil, err
		}
	}
	return ev.apply(f, args)
}

// reference makes the argument of functions such as sort_by() and map().
func (ev *evaluation) reference(n *parsing.ASTNode, depth int) func(any) (any, error) {
	bindings := slices.Clone(ev.bindings)
	return func(v any) (any, error) {
		outer := ev.bindings
		defer func() { ev.bindings = outer }()
		ev.bindings = bindings
		return ev.eval(n, v, false, depth)
	}
}

func isMissing(err error) bool {
	var m *MissingKeyError
	return errors.As(err, &m)
}

// isFalse is JMESPath's idea of false: null, false, and what is empty.
func isFalse(v any) bool {
	switch t := v.(type) {
	case nil:
		return true
	case bool:
		return !t
	case string:
		return t == ""
	case []any:
		return len(t) == 0
	case map[string]any:
		return len(t) == 0
	}
	return false
}

func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case float64:
		return "a number"
	case []any:
		return "an array"
	case map[string]any, *Scope:
		return "an object"
	}
	if reflect.TypeOf(v).Kind() == reflect.Func {
		return "an expression reference"
	}
	return "an unknown value"
}
