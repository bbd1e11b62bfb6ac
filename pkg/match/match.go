// Package match decides whether a request falls under a rule's match and exclude blocks.
package match

import "github.com/signet-policy/signet/pkg/wildcard"

// Attributes are what match and exclude look at in a request.
type Attributes struct {
	Group, Version, Kind string
	Subresource          string
	Namespace            string
	// Name is the object's name, or its generateName when it has none yet.
	Name string
}

// NamespaceOf is the namespace that filters are compared with: a Namespace's is itself.
func (a *Attributes) NamespaceOf() string {
	if a.Kind == "Namespace" && a.Group == "" {
		return a.Name
	}
	return a.Namespace
}

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

// Resource is one compiled resource filter. Empty lists restrict nothing; within a list one element suffices.
type Resource struct {
	Kinds      []Kind
	Names      []wildcard.Pattern
	Namespaces []wildcard.Pattern
}

// Matches tells whether the request falls under match and not under exclude.
func (f *Filter) Matches(a *Attributes) bool {
	return f.Match.holds(a) && !f.Exclude.holds(a)
}

func (b *Block) holds(a *Attributes) bool {
	for i := range b.Any {
		if b.Any[i].holds(a) {
			return true
		}
	}
	if len(b.All) == 0 {
		return false
	}
	for i := range b.All {
		if !b.All[i].holds(a) {
			return false
		}
	}
	return true
}

func (r *Resource) holds(a *Attributes) bool {
	if len(r.Kinds) > 0 && !anyKind(r.Kinds, a) {
		return false
	}
	if len(r.Names) > 0 && !wildcard.Any(r.Names, a.Name) {
		return false
	}
	if len(r.Namespaces) > 0 {
		if !wildcard.Any(r.Namespaces, a.NamespaceOf()) {
			return false
		}
	}
	return true
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
