package settings

import (
	"strings"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/wildcard"
)

// excludeKeys are the keys of the lists of exclusions, in the order of exclusions.of.
var excludeKeys = [...]string{"excludeUsernames", "excludeGroups", "excludeRoles", "excludeClusterRoles"}

// exclusions are whose requests are let through.
type exclusions struct {
	users, groups, roles, clusterRoles exclusion
}

func (e *exclusions) of(i int) *exclusion {
	return [...]*exclusion{&e.users, &e.groups, &e.roles, &e.clusterRoles}[i]
}

// exclusion is one list: whom it excludes, and whom it takes back in.
type exclusion struct {
	out, in []wildcard.Pattern
}

// parseExclusion reads names divided by commas. A name after an exclamation mark is taken back in, whatever else
// excludes it.
func parseExclusion(text string) (exclusion, error) {
	var out, in []string
	for _, name := range list(text) {
		if back, ok := strings.CutPrefix(name, "!"); !ok {
			out = append(out, name)
		} else if back = strings.TrimSpace(back); back != "" {
			in = append(in, back)
		}
	}
	var e exclusion
	var err error
	if e.out, err = patterns(out); err != nil {
		return exclusion{}, err
	}
	e.in, err = patterns(in)
	return e, err
}

// NeedRoles tells whether it may depend on a user's roles whether their requests are let through.
func (s *Settings) NeedRoles() bool { return s.exclude.needRoles() }

func (e *exclusions) needRoles() bool {
	return len(e.roles.out)+len(e.roles.in)+len(e.clusterRoles.out)+len(e.clusterRoles.in) > 0
}

// reason tells why the requests of a user are let through.
func (e *exclusions) reason(a *match.Attributes) Reason {
	user := []string{a.User.Name}
	if anyOf(e.users.in, user) || anyOf(e.groups.in, a.User.Groups) {
		return ""
	}
	var why Reason
	switch {
	case anyOf(e.users.out, user):
		why = ByUser
	case anyOf(e.groups.out, a.User.Groups):
		why = ByGroup
	case len(e.roles.out)+len(e.clusterRoles.out) == 0:
		return ""
	}
	if !e.needRoles() {
		return why
	}
	// Whoever may be taken back in is judged, and whoever may be excluded too.
	if a.Roles == nil {
		return ""
	}
	bound, err := a.Roles.Roles()
	switch {
	case err != nil, anyOf(e.roles.in, bound.Roles), anyOf(e.clusterRoles.in, bound.ClusterRoles):
		return ""
	case why != "":
		return why
	case anyOf(e.roles.out, bound.Roles):
		return ByRole
	case anyOf(e.clusterRoles.out, bound.ClusterRoles):
		return ByClusterRole
	}
	return ""
}

func anyOf(patterns []wildcard.Pattern, texts []string) bool {
	for _, s := range texts {
		if wildcard.Any(patterns, s) {
			return true
		}
	}
	return false
}
