package match

import (
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/signet-policy/signet/pkg/wildcard"
)

// Operations is a set of operations of admission requests.
type Operations uint8

// The operations.
const (
	Create Operations = 1 << iota
	Update
	Delete
	Connect
)

// ParseOperation reads an operation as the API server spells it; 0 for another text.
func ParseOperation(s string) Operations {
	switch s {
	case "CREATE":
		return Create
	case "UPDATE":
		return Update
	case "DELETE":
		return Delete
	case "CONNECT":
		return Connect
	}
	return 0
}

// Has tells whether one of the others is in the set.
func (o Operations) Has(others Operations) bool { return o&others != 0 }

// Subject is a compiled user, group or service account. Names may hold wildcards.
type Subject struct {
	kind            string
	namespace, name wildcard.Pattern
}

const accountPrefix = "system:serviceaccount:"

// CompileSubject compiles a subject whose kind is User, Group or ServiceAccount.
func CompileSubject(kind, namespace, name string) (Subject, error) {
	switch kind {
	case rbacv1.UserKind, rbacv1.GroupKind, rbacv1.ServiceAccountKind:
	default:
		return Subject{}, fmt.Errorf("%q is no kind of subjects", kind)
	}
	ns, err := wildcard.Compile(namespace)
	if err != nil {
		return Subject{}, err
	}
	n, err := wildcard.Compile(name)
	return Subject{kind: kind, namespace: ns, name: n}, err
}

func (s *Subject) is(u *User) bool {
	switch s.kind {
	case rbacv1.UserKind:
		return s.name.Matches(u.Name)
	case rbacv1.GroupKind:
		for _, g := range u.Groups {
			if s.name.Matches(g) {
				return true
			}
		}
		return false
	}
	account, ok := strings.CutPrefix(u.Name, accountPrefix)
	if !ok {
		return false
	}
	namespace, name, ok := strings.Cut(account, ":")
	return ok && s.namespace.Matches(namespace) && s.name.Matches(name)
}

func anySubject(subjects []Subject, u *User) bool {
	for i := range subjects {
		if subjects[i].is(u) {
			return true
		}
	}
	return false
}
