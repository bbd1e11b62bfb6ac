package expr

import (
	"fmt"
	"maps"
	"slices"

	"github.com/jmespath-community/go-jmespath/pkg/parsing"
	"github.com/jmespath-community/go-jmespath/pkg/util"
)

// project evaluates what selects from lists and objects. What stands left of a projection must exist; the elements need not
// have the fields that are asked of them.
func (ev *evaluation) project(n *parsing.ASTNode, v any, strict bool, depth int) (any, error) {
	switch n.NodeType {
	case parsing.ASTIndex:
		list, ok := v.([]any)
		i, isInt := n.Value.(int)
		if i < 0 {
			i += len(list)
		}
		if !ok || !isInt || i < 0 || i >= len(list) {
			return nil, nil
		}
		return list[i], nil
	case parsing.ASTSlice:
		return ev.slice(n, v)
	case parsing.ASTFlatten:
		left, err := ev.eval(&n.Children[0], v, strict, depth)
		if err != nil {
			return nil, err
		}
		return ev.flatten(left)
	case parsing.ASTProjection:
		left, err := ev.eval(&n.Children[0], v, strict, depth)
		if err != nil {
			return nil, err
		}
		if s, ok := left.(string); ok && sliced(&n.Children[0]) {
			return ev.eval(&n.Children[1], s, strict, depth) // what is asked of it is not there
		}
		list, ok := left.([]any)
		if !ok {
			return nil, nil
		}
		return ev.each(list, &n.Children[1], nil, depth)
	case parsing.ASTFilterProjection:
		left, err := ev.eval(&n.Children[0], v, strict, depth)
		if err != nil {
			return nil, err
		}
		list, ok := left.([]any)
		if !ok {
			return nil, nil
		}
		return ev.each(list, &n.Children[1], &n.Children[2], depth)
	case parsing.ASTValueProjection:
		left, err := ev.eval(&n.Children[0], v, strict, depth)
		if err != nil {
			return nil, err
		}
		object, ok := left.(map[string]any)
		if !ok {
			return nil, nil
		}
		if err := ev.grow(overhead * len(object)); err != nil {
			return nil, err
		}
		list := make([]any, 0, len(object))
		for _, key := range slices.Sorted(maps.Keys(object)) {
			list = append(list, object[key])
		}
		return ev.each(list, &n.Children[1], nil, depth)
	}
	return nil, fmt.Errorf("the expression holds an unknown element %s", n.NodeType)
}

// each evaluates n on every element that satisfies filter, and leaves nulls out.
func (ev *evaluation) each(list []any, n, filter *parsing.ASTNode, depth int) (any, error) {
	if filter == nil && n.NodeType == parsing.ASTIdentity && !slices.Contains(list, nil) {
		return list, ev.step(len(list))
	}
	out := []any{}
	for _, element := range list {
		if filter != nil {
			ok, err := ev.eval(filter, element, false, depth)
			if err != nil {
				return nil, err
			}
			if isFalse(ok) {
				continue
			}
		}
		value, err := ev.eval(n, element, false, depth)
		if err != nil {
			return nil, err
		}
		if value == nil {
			continue
		}
		if err := ev.grow(overhead); err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

func (ev *evaluation) flatten(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, nil
	}
	out := make([]any, 0, len(list))
	for _, element := range list {
		inner, ok := element.([]any)
		if !ok {
			inner = []any{element}
		}
		if err := ev.step(1 + len(inner)); err != nil {
			return nil, err
		}
		if err := ev.grow(overhead * len(inner)); err != nil {
			return nil, err
		}
		out = append(out, inner...)
	}
	return out, nil
}

// sliced tells whether n is a slice, which on a string yields a string.
func sliced(n *parsing.ASTNode) bool {
	return n.NodeType == parsing.ASTIndexExpression && len(n.Children) == 2 && n.Children[1].NodeType == parsing.ASTSlice
}

func (ev *evaluation) slice(n *parsing.ASTNode, v any) (any, error) {
	parts, ok := n.Value.([]*int)
	if !ok || len(parts) != 3 {
		return nil, fmt.Errorf("the expression holds an unknown element %s", n.NodeType)
	}
	params := util.MakeSliceParams(parts)
	switch t := v.(type) {
	case []any:
		if err := ev.charge(len(t)); err != nil {
			return nil, err
		}
		return anyError(util.Slice(t, params))
	case string:
		if err := ev.charge(len(t)); err != nil {
			return nil, err
		}
		runes, err := util.Slice([]rune(t), params)
		return string(runes), err
	}
	return nil, nil
}

// charge accounts for a copy of n elements.
func (ev *evaluation) charge(n int) error {
	if err := ev.step(n); err != nil {
		return err
	}
	return ev.grow(overhead * n)
}

func anyError[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}
