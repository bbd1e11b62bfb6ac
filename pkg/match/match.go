// Package match decides whether a request falls under a rule's match and exclude blocks.
//
// The answer may be that it cannot be told: a filter may depend on the labels of a namespace that nobody can get. Filters
// that do not depend on them are judged all the same.
package match

import "github.com/signet-policy/signet/pkg/wildcard"

// Filter is a compiled pair of match and exclude blocks.
type Filter struct {
	Match   Block
	Exclude Block
}

// Block is a list of resource filters: Any needs one of them, All every one. An empty block holds nothing.
type Block struct {
	Any []Resource
	All []Resource
}

// Resource is one compiled resource filter. Empty fields restrict nothing; within a list one element suffices, but all
// Annotations have to be there.
type Resource struct {
	Kinds       []Kind
	Names       []wildcard.Pattern
	Namespaces  []wildcard.Pattern
	Operations  Operations
	Annotations []Pair
	// Selector is about the object's labels, NamespaceSelector about those of its namespace; nil for none.
	Selector, NamespaceSelector *Selector
	Subjects                    []Subject
	// Roles are namespace:name, with wildcards as everywhere.
	Roles, ClusterRoles []wildcard.Pattern
}

// Matches tells whether the request falls under match and not under exclude. The error is that of the labels of the
// request's namespace, or of the user's roles; it is there only if the answer depends on them.
func (f *Filter) Matches(a *Attributes) (bool, error) {
	matched, err := f.Match.holds(a)
	if !matched && err == nil {
		return false, nil
	}
	excluded, unknown := f.Exclude.holds(a)
	switch {
	case excluded:
		return false, nil
	case err != nil:
		return false, err
	case unknown != nil:
		return false, unknown
	}
	return true, nil
}

// NeedsNamespace tells whether an answer may depend on the labels of the namespace.
func (f *Filter) NeedsNamespace() bool {
	return f.some(func(r *Resource) bool { return r.NamespaceSelector != nil })
}

// NeedsRoles tells whether an answer may depend on the roles of the user.
func (f *Filter) NeedsRoles() bool {
	return f.some(func(r *Resource) bool { return len(r.Roles)+len(r.ClusterRoles) > 0 })
}

func (f *Filter) some(is func(*Resource) bool) bool {
	for _, list := range [...][]Resource{f.Match.Any, f.Match.All, f.Exclude.Any, f.Exclude.All} {
		for i := range list {
			if is(&list[i]) {
				return true
			}
		}
	}
	return false
}

// holds is true or false wherever some filters decide that whatever the others say, and else an error if there is one.
func (b *Block) holds(a *Attributes) (bool, error) {
	var unknown error
	for i := range b.Any {
		switch held, err := b.Any[i].holds(a); {
		case held:
			return true, nil
		case err != nil:
			unknown = err
		}
	}
	if len(b.All) == 0 {
		return false, unknown
	}
	var unknownAll error
	for i := range b.All {
		switch held, err := b.All[i].holds(a); {
		case err != nil:
			unknownAll = err
		case !held:
			return false, unknown
		}
	}
	if unknownAll != nil {
		return false, unknownAll
	}
	return true, nil
}

// holds looks at the user's roles and the namespace's labels last: they are what may take long to get, or not be had at
// all. What is known not to hold does not hold whatever they are.
func (r *Resource) holds(a *Attributes) (bool, error) {
	switch {
	case len(r.Kinds) > 0 && !anyKind(r.Kinds, a),
		len(r.Names) > 0 && !wildcard.Any(r.Names, a.Name),
		len(r.Namespaces) > 0 && !wildcard.Any(r.Namespaces, a.NamespaceOf()),
		r.Operations != 0 && !r.Operations.Has(a.Operation),
		len(r.Subjects) > 0 && !anySubject(r.Subjects, &a.User),
		!allAnnotations(r.Annotations, a.Annotations),
		r.Selector != nil && !r.Selector.Matches(a.Labels):
		return false, nil
	}
	var unknown error
	if len(r.Roles)+len(r.ClusterRoles) > 0 {
		bound, err := a.bound()
		switch {
		case err != nil:
			unknown = err
		case len(r.Roles) > 0 && !anyOf(r.Roles, bound.Roles), len(r.ClusterRoles) > 0 && !anyOf(r.ClusterRoles, bound.ClusterRoles):
			return false, nil
		}
	}
	if r.NamespaceSelector != nil {
		labels, err := a.namespaceLabels()
		switch {
		case err != nil:
			unknown = err
		case !r.NamespaceSelector.Matches(labels):
			return false, nil
		}
	}
	return unknown == nil, unknown
}

func anyOf(patterns []wildcard.Pattern, texts []string) bool {
	for _, text := range texts {
		if wildcard.Any(patterns, text) {
			return true
		}
	}
	return false
}

func anyKind(kinds []Kind, a *Attributes) bool {
	for i := range kinds {
		if kinds[i].Matches(a) {
			return true
		}
	}
	return false
}

// ephemeral is the subresource that the kind Pod includes, because it is the other way to add a container to a Pod.
const ephemeral = "ephemeralcontainers"

// Matches tells whether the request's kind and subresource are the selected ones.
func (k *Kind) Matches(a *Attributes) bool {
	if !k.group.Matches(a.Group) || !k.version.Matches(a.Version) || !k.kind.Matches(a.Kind) {
		return false
	}
	if sub, ok := k.subresource.Literal(); ok && sub == "" {
		return a.Subresource == "" || a.Subresource == ephemeral && a.Kind == "Pod" && a.Group == ""
	}
	return k.subresource.Matches(a.Subresource)
}
