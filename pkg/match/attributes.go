package match

import (
	"errors"
	"fmt"
)

// Attributes are what match and exclude look at in a request.
type Attributes struct {
	Group, Version, Kind string
	Subresource          string
	Namespace            string
	// Name is the object's name, or its generateName when it has none yet.
	Name      string
	Operation Operations // one of them; 0 when it is not known
	// Labels and Annotations are the object's.
	Labels, Annotations Texts
	User                User
	// NamespaceLabels gives the labels of Namespace; nil when there is nobody to ask.
	NamespaceLabels NamespaceLabels
	// Roles gives what is bound to User; nil when there is nobody to ask.
	Roles Roles
}

// User is who makes a request.
type User struct {
	Name   string
	Groups []string
}

// Roles finds out the roles of one user. It may be asked several times and has to give the same answer each time.
type Roles interface {
	Roles() (Bound, error)
}

// Bound are the roles that bindings give to a user: roles as namespace:name, and the names of cluster roles, those that
// are bound within one namespace included.
type Bound struct {
	Roles, ClusterRoles []string
}

// NamespaceLabels finds out the labels of one namespace. It may be asked several times and has to give the same answer
// each time.
type NamespaceLabels interface {
	Labels() (Texts, error)
}

// Texts are labels or annotations as an object holds them. What is not a text counts as not there.
type Texts map[string]any

// Has, Get and Lookup make labels of them.
func (t Texts) Has(key string) bool { _, ok := t.Lookup(key); return ok }

// Get is the value of a key, empty when there is none.
func (t Texts) Get(key string) string { s, _ := t.Lookup(key); return s }

// Lookup is the value of a key, and whether there is one.
func (t Texts) Lookup(key string) (string, bool) { s, ok := t[key].(string); return s, ok }

// Describe takes the labels and annotations from the object. The error is that of an object which has something else in
// their place.
func (a *Attributes) Describe(object map[string]any) error {
	a.Labels, a.Annotations = nil, nil
	value, ok := object["metadata"]
	if !ok || value == nil {
		return nil
	}
	metadata, ok := value.(map[string]any)
	if !ok {
		return errors.New("metadata is no object")
	}
	var err error
	if a.Labels, err = texts(metadata, "labels"); err != nil {
		return err
	}
	a.Annotations, err = texts(metadata, "annotations")
	return err
}

func texts(metadata map[string]any, field string) (Texts, error) {
	value, ok := metadata[field]
	if !ok || value == nil {
		return nil, nil
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("metadata.%s is no object", field)
	}
	for _, v := range m {
		if _, ok := v.(string); !ok {
			return nil, fmt.Errorf("metadata.%s holds something else than texts", field)
		}
	}
	return m, nil
}

// isNamespace tells whether the object is a Namespace.
func (a *Attributes) isNamespace() bool { return a.Kind == "Namespace" && a.Group == "" }

// NamespaceOf is the namespace that filters are compared with: a Namespace's is itself.
func (a *Attributes) NamespaceOf() string {
	if a.isNamespace() {
		return a.Name
	}
	return a.Namespace
}

// namespaceLabels are the labels that a namespaceSelector is compared with: a Namespace's are its own, and what is in no
// namespace has none.
func (a *Attributes) namespaceLabels() (Texts, error) {
	switch {
	case a.isNamespace():
		return a.Labels, nil
	case a.Namespace == "":
		return nil, nil
	}
	labels, err := Texts(nil), errNobody
	if a.NamespaceLabels != nil {
		labels, err = a.NamespaceLabels.Labels()
	}
	if err != nil {
		return nil, fmt.Errorf("failed to look up labels of namespace %s: %w", a.Namespace, err)
	}
	return labels, nil
}

var errNobody = errors.New("there is no cluster to ask")

// bound are the roles of the user.
func (a *Attributes) bound() (Bound, error) {
	bound, err := Bound{}, errNobody
	if a.Roles != nil {
		bound, err = a.Roles.Roles()
	}
	if err != nil {
		return Bound{}, fmt.Errorf("failed to look up the roles of user %.253s: %w", a.User.Name, err)
	}
	return bound, nil
}

// RolesKnown is the error of looking up the user's roles, if there is one.
func (a *Attributes) RolesKnown() error {
	_, err := a.bound()
	return err
}

// InNamespace tells whether the selector selects the labels of the namespace. The error is that of getting them.
func (a *Attributes) InNamespace(selector *Selector) (bool, error) {
	labels, err := a.namespaceLabels()
	if err != nil {
		return false, err
	}
	return selector.Matches(labels), nil
}
