package expr

import (
	"regexp"
	"slices"
	"strings"

	"github.com/jmespath-community/go-jmespath/pkg/parsing"
)

// Reads returns what the variables of the template read of a scope, as dotted paths of as many names as are written out,
// such as request.object.metadata: each once, in the order of the text. What an expression reads of other values than the
// scope, such as the elements of a list, is not among it. "$" and "@" stand for the scope as a whole.
func (t *Template) Reads() []string {
	var r reads
	t.visit(r.variable)
	return r.paths
}

// Reads returns what the variables in the conditions read, as Template.Reads does.
func (c *Conditions) Reads() []string {
	var r reads
	for _, b := range c.blocks {
		for _, list := range [][]condition{b.any, b.all} {
			for i := range list {
				for _, t := range []*Template{list[i].key, list[i].value, list[i].message} {
					t.visit(r.variable)
				}
			}
		}
	}
	return r.paths
}

// Reads returns what the query reads of a scope, as Template.Reads does. With on, the query is one for On: then only the
// variables inside it read the scope.
func (q *Query) Reads(on bool) []string {
	var r reads
	v := q.text[0].variable
	v.inner.variables(r.variable)
	for _, hole := range v.holes {
		r.variable(hole)
	}
	if !on {
		r.variable(v)
	}
	return r.paths
}

// reads collects paths.
type reads struct{ paths []string }

func (r *reads) add(path string) {
	if !slices.Contains(r.paths, path) {
		r.paths = append(r.paths, path)
	}
}

// leading is the path that an expression begins with, if it is written out: not the name of a function, and not a name that
// a variable goes on with.
var leading = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*`)

// variable adds what one variable reads. Inner ones are visited by themselves; of an expression that they take part in, only
// its beginning is known.
func (r *reads) variable(v *variable) {
	if v.static != nil {
		r.node(&v.static.root, true)
		return
	}
	if len(v.inner) == 0 || v.inner[0].variable != nil {
		return
	}
	text := strings.TrimSpace(v.inner[0].literal)
	path := leading.FindString(text)
	rest := text[len(path):]
	if path == "" || rest == "" || rest[0] != '.' && rest[0] != '[' && rest[0] != ' ' {
		return
	}
	r.add(path)
}

// node adds what n reads when it is evaluated on the scope (root), or on another value.
func (r *reads) node(n *parsing.ASTNode, root bool) {
	if path, ok := written(n); ok && root {
		r.add(path)
		return
	}
	switch n.NodeType {
	case parsing.ASTRootNode:
		r.add("$")
	case parsing.ASTIdentity, parsing.ASTCurrentNode:
		if root {
			r.add("@")
		}
	case parsing.ASTSubexpression, parsing.ASTIndexExpression, parsing.ASTPipe, parsing.ASTProjection, parsing.ASTFilterProjection,
		parsing.ASTValueProjection:
		if len(n.Children) > 0 && n.Children[0].NodeType == parsing.ASTRootNode && len(n.Children) > 1 {
			if name, ok := written(&n.Children[1]); ok {
				r.add(name)
				return
			}
		}
		for i := range n.Children {
			r.node(&n.Children[i], root && i == 0)
		}
	case parsing.ASTExpRef:
		for i := range n.Children {
			r.node(&n.Children[i], false)
		}
	default:
		for i := range n.Children {
			r.node(&n.Children[i], root)
		}
	}
}

// written is the dotted path that n is, if it is one.
func written(n *parsing.ASTNode) (string, bool) {
	switch n.NodeType {
	case parsing.ASTField:
		name, ok := n.Value.(string)
		return name, ok
	case parsing.ASTSubexpression:
		if len(n.Children) != 2 || n.Children[1].NodeType != parsing.ASTField {
			return "", false
		}
		left, ok := written(&n.Children[0])
		right, named := n.Children[1].Value.(string)
		return left + "." + right, ok && named
	}
	return "", false
}
