package match_test

import (
	"errors"
	"testing"

	"github.com/signet-policy/signet/pkg/match"
)

// bound is what is known of a user's roles.
type bound struct {
	match.Bound
	err   error
	asked int
}

func (b *bound) Roles() (match.Bound, error) {
	b.asked++
	return b.Bound, b.err
}

// VI 1.4(3), 4.6(2): roles are required beside all else, and where they decide and cannot be had, that is an error.
func TestRoles(t *testing.T) {
	t.Parallel()
	pods := match.Resource{Kinds: kinds(t, "Pod")}
	with := func(roles, clusterRoles []string) match.Resource {
		return match.Resource{Kinds: kinds(t, "Pod"), Roles: patterns(t, roles...), ClusterRoles: patterns(t, clusterRoles...)}
	}
	jobs := with([]string{"*"}, nil)
	jobs.Kinds = kinds(t, "Job")
	reader, admin := with([]string{"x:none", "a:read*"}, nil), with(nil, []string{"admin"})
	both, neither := with([]string{"a:reader"}, []string{"admin"}), with([]string{"a:reader"}, []string{"edit"})
	inProd := reader
	inProd.NamespaceSelector = selector(t, map[string]string{"env": "prod"})
	any := func(r ...match.Resource) match.Block { return match.Block{Any: r} }
	for name, c := range map[string]struct {
		f match.Filter
		// in are the outcomes for somebody with the roles, without any, and where it cannot be told: + - ?
		in    string
		asked bool
	}{
		"role":                         {match.Filter{Match: any(reader)}, "+-?", true},
		"cluster role":                 {match.Filter{Match: any(admin)}, "+-?", true},
		"both":                         {match.Filter{Match: any(both)}, "+-?", true},
		"one of both":                  {match.Filter{Match: any(neither)}, "--?", true},
		"another kind asks nobody":     {match.Filter{Match: any(jobs)}, "---", false},
		"holds anyway":                 {match.Filter{Match: any(reader, pods)}, "+++", true},
		"excluded":                     {match.Filter{Match: any(pods), Exclude: any(admin)}, "-+?", true},
		"not matched, unknown exclude": {match.Filter{Match: any(jobs), Exclude: any(admin)}, "---", false},
		"another namespace":            {match.Filter{Match: any(inProd)}, "---", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, asked := "", false
			for _, b := range []*bound{{Bound: match.Bound{Roles: []string{"a:reader"}, ClusterRoles: []string{"admin"}}}, {}, {err: errDown}} {
				held, err := c.f.Matches(&match.Attributes{Version: "v1", Kind: "Pod", Namespace: "n", User: match.User{Name: "ann"}, Roles: b, NamespaceLabels: &namespace{}})
				switch {
				case err != nil && (held || !errors.Is(err, errDown) || err.Error() != "failed to look up the roles of user ann: down"):
					t.Errorf("%v, %v", held, err)
				case err != nil:
					got += "?"
				case held:
					got += "+"
				default:
					got += "-"
				}
				asked = asked || b.asked > 0
			}
			if got != c.in || asked != c.asked {
				t.Errorf("%s, asked %v", got, asked)
			}
			if !c.f.NeedsRoles() {
				t.Error("needs no roles")
			}
		})
	}
	f := match.Filter{Match: any(reader)}
	if held, err := f.Matches(&match.Attributes{Version: "v1", Kind: "Pod"}); held || err == nil {
		t.Errorf("%v, %v without anybody to ask", held, err)
	}
}
