package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/wildcard"
)

// Reason says why a request is let through; empty for one that is judged.
type Reason string

// The reasons.
const (
	ByResource    Reason = "resource_filter"
	ByUser        Reason = "username"
	ByGroup       Reason = "group"
	ByRole        Reason = "role"
	ByClusterRole Reason = "cluster_role"
)

// filter is one of resourceFilters: [kind,namespace,name].
type filter struct {
	kind            match.Kind
	namespace, name wildcard.Pattern
}

// parseFilters reads filters in brackets one after the other. What stands between them may only be white space or commas:
// a filter that lacks a bracket is not to be taken for another one.
func parseFilters(text string) ([]filter, error) {
	var out []filter
	rest := text
	for {
		rest = strings.TrimLeft(rest, ", \t\r\n")
		if rest == "" {
			return out, nil
		}
		body, after, closed := strings.Cut(rest, "]")
		if !strings.HasPrefix(body, "[") || !closed || strings.Contains(body[1:], "[") {
			return nil, fmt.Errorf("%.64q does not begin with a filter of the form [kind,namespace,name]", rest)
		}
		f, err := parseFilter(body[1:])
		if err != nil {
			return nil, err
		}
		if len(out) == limit {
			return nil, errLimit
		}
		out, rest = append(out, f), after
	}
}

// parseFilter reads what stands in the brackets. A namespace or a name that is left out is an empty one, which fits only
// what has none.
func parseFilter(body string) (filter, error) {
	parts := strings.Split(body, ",")
	if len(parts) > 3 {
		return filter{}, fmt.Errorf("[%.64s] has more than three parts", body)
	}
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	kind, err := match.ParseKind(strings.TrimSpace(parts[0]))
	if err != nil {
		return filter{}, fmt.Errorf("[%.64s]: %w", body, err)
	}
	names, err := patterns([]string{strings.TrimSpace(parts[1]), strings.TrimSpace(parts[2])})
	if err != nil {
		return filter{}, fmt.Errorf("[%.64s]: %w", body, err)
	}
	return filter{kind: kind, namespace: names[0], name: names[1]}, nil
}

// Through tells why a request is let through. The name is the object's own: what is only generated from is not yet one.
// Roles are asked for only if they may decide, and a user whose roles are not known is not let through by them.
func (s *Settings) Through(a *match.Attributes, name string) Reason {
	for i := range s.filters {
		f := &s.filters[i]
		if f.kind.Matches(a) && f.name.Matches(name) && (f.namespace.Matches(a.Namespace) || f.namespace.Matches(a.NamespaceOf())) {
			return ByResource
		}
	}
	return s.exclude.reason(a)
}

// LetThrough are those of the kinds, as written, of which every request is let through, in a namespace if one is named.
func (s *Settings) LetThrough(kinds []match.Kind, namespace string) []string {
	var out []string
	for i := range kinds {
		if text := kinds[i].String(); s.All(&kinds[i], namespace) && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// All tells whether every request about a kind is let through, in a namespace if one is named.
func (s *Settings) All(kind *match.Kind, namespace string) bool {
	group, version, name, sub := kind.Parts()
	literal, ok := name.Literal()
	if !ok {
		return false
	}
	any := func(p wildcard.Pattern, other wildcard.Pattern) bool {
		return p.String() == "*" || p.String() == other.String()
	}
	for i := range s.filters {
		f := &s.filters[i]
		g, v, k, subresource := f.kind.Parts()
		if any(g, group) && any(v, version) && k.Matches(literal) && subresource.String() == sub.String() &&
			(f.namespace.String() == "*" || namespace != "" && f.namespace.Matches(namespace)) && f.name.String() == "*" {
			return true
		}
	}
	return false
}
