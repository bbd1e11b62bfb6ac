package expr

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jmespath-community/go-jmespath/pkg/parsing"
)

// expression is a parsed JMESPath expression, whose functions are known to exist and to be given the right number of
// arguments. It never changes.
type expression struct {
	root    parsing.ASTNode
	regexes map[string]*regexp.Regexp // the patterns that are written out in the expression
}

// parse reads a JMESPath expression.
func parse(text string) (e *expression, err error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("%w: expression of more than %d bytes", ErrLimit, maxExpression)
	}
	if err := nesting(text); err != nil {
		return nil, err
	}
	defer func() {
		// The parser indexes past its tokens on some malformed expressions.
		if p := recover(); p != nil {
			e, err = nil, errors.New("not a JMESPath expression")
		}
	}()
	root, err := parsing.NewParser().Parse(text)
	if err != nil {
		return nil, fmt.Errorf("not a JMESPath expression: %w", err)
	}
	e = &expression{root: root}
	return e, e.check(&e.root, 0)
}

// nesting refuses expressions on which a recursive parser would descend too deep. It counts what opens a level.
func nesting(text string) error {
	var state scanState
	depth, prefix := 0, 0
	for i := range len(text) {
		quoted := state.quote != 0
		state.next(text[i])
		if quoted || state.quote != 0 {
			prefix = 0
			continue
		}
		switch text[i] {
		case '(', '[', '{':
			depth++
			prefix = 0
		case ')', ']', '}':
			depth = max(depth-1, 0)
			prefix = 0
		case '!', '&', '-', '+', '=':
			prefix++
		case ' ', '\t', '\n', '\r':
		default:
			prefix = 0
		}
		if depth > 4*defaultDepth || prefix > defaultDepth {
			return fmt.Errorf("%w: expression nested too deep", ErrLimit)
		}
	}
	return nil
}

// maxNodes is how deep the tree of an expression may be; a path is as deep as it has fields.
const maxNodes = 512

func (e *expression) check(n *parsing.ASTNode, depth int) error {
	if depth > maxNodes {
		return fmt.Errorf("%w: expression nested too deep", ErrLimit)
	}
	switch n.NodeType {
	case parsing.ASTEmpty:
		return errors.New("not a JMESPath expression")
	case parsing.ASTLiteral:
		if err := literalDepth(n.Value, 0); err != nil {
			return err
		}
	case parsing.ASTSlice:
		if p, ok := n.Value.([]*int); ok && len(p) == 3 && p[2] != nil && *p[2] == 0 {
			return errors.New("the step of a slice cannot be 0")
		}
	case parsing.ASTFunctionExpression:
		if err := e.checkCall(n); err != nil {
			return err
		}
	case parsing.ASTBindings:
		for i := range n.Children {
			c := &n.Children[i]
			if c.NodeType != parsing.ASTBinding || len(c.Children) != 2 || c.Children[0].NodeType != parsing.ASTVariable {
				return errors.New("let needs bindings of the form $name = expression")
			}
		}
	}
	for i := range n.Children {
		if err := e.check(&n.Children[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

func literalDepth(v any, depth int) error {
	if depth > defaultDepth {
		return fmt.Errorf("%w: literal nested too deep", ErrLimit)
	}
	switch t := v.(type) {
	case []any:
		for _, w := range t {
			if err := literalDepth(w, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, w := range t {
			if err := literalDepth(w, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *expression) checkCall(n *parsing.ASTNode) error {
	name, _ := n.Value.(string)
	f := lookupFunction(name)
	if f == nil {
		return fmt.Errorf("unknown function %s()", clip(name))
	}
	if err := f.arity(len(n.Children)); err != nil {
		return err
	}
	for i := range n.Children {
		c := &n.Children[i]
		if isRef := c.NodeType == parsing.ASTExpRef; isRef != f.param(i).expression() {
			return fmt.Errorf("%s(): argument %d %s", name, i+1, map[bool]string{true: "cannot be an expression reference",
				false: "must be an expression reference, such as &name"}[isRef])
		}
		if c.NodeType != parsing.ASTLiteral {
			continue
		}
		if !f.param(i).accepts(c.Value) {
			return f.wrongType(i, c.Value)
		}
		if s, ok := c.Value.(string); ok && i == 0 && slices.Contains(regexFunctions, name) && !strings.Contains(s, hole) {
			re, err := compileRegex(s)
			if err != nil {
				return err
			}
			if e.regexes == nil {
				e.regexes = map[string]*regexp.Regexp{}
			}
			e.regexes[s] = re
		}
	}
	return nil
}

func compileRegex(s string) (*regexp.Regexp, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("%w: regular expression of more than %d bytes", ErrLimit, maxPattern)
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("not a regular expression: %w", err)
	}
	return re, nil
}
