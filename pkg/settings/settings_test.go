package settings_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/settings"
)

func read(t testing.TB, data map[string]string, before *settings.Settings) (*settings.Settings, []string) {
	t.Helper()
	s, errs := settings.Read(data, before)
	var out []string
	for _, err := range errs {
		out = append(out, err.Error())
	}
	return s, out
}

func shown(t testing.TB, s *settings.Settings, short string) string {
	t.Helper()
	named, err := s.Images().Parse(short)
	if err != nil {
		t.Fatal(err)
	}
	return named.Ref.String()
}

func pod(namespace string) *match.Attributes {
	return &match.Attributes{Version: "v1", Kind: "Pod", Namespace: namespace, User: match.User{Name: "ann", Groups: []string{"dev"}}}
}

// VI 3.5: a key that cannot be read keeps what it had before as a whole, and the others are followed; a key that is gone has
// its default.
func TestReadKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	good := map[string]string{"resourceFilters": "[Pod,a,*]", "excludeGroups": "ops", "defaultRegistry": "r.io", "enableDefaultRegistryMutation": "true",
		"generateSuccessEvents": "true", "successEventActions": "Resource Passed", "somethingElse": "x"}
	first, errs := read(t, good, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	bad := map[string]string{"resourceFilters": "[Pod,b,*] [Pod,a", "excludeGroups": "dev", "defaultRegistry": "not a host", "enableDefaultRegistryMutation": "perhaps",
		"generateSuccessEvents": "maybe"}
	second, errs := read(t, bad, first)
	want := []string{
		`key resourceFilters: "[Pod,a" does not begin with a filter of the form [kind,namespace,name]`, `key defaultRegistry: "not a host" is no registry`,
		`key enableDefaultRegistryMutation: "perhaps" is neither true nor false`, `key generateSuccessEvents: "maybe" is neither true nor false`,
	}
	if d := cmp.Diff(want, errs); d != "" {
		t.Error(d)
	}
	b := pod("b")
	b.User.Groups = nil
	if second.Through(pod("a"), "x") != settings.ByResource || second.Through(b, "x") != "" {
		t.Error("not the filters of before")
	}
	if r := second.Through(pod("c"), "x"); r != settings.ByGroup {
		t.Errorf("a key that can be read is not followed: %q", r)
	}
	if s := shown(t, second, "nginx"); s != "r.io/nginx:latest" || second.Images() != first.Images() {
		t.Errorf("images: %s", s)
	}
	if on, actions := second.SuccessEvents(); !on || len(actions) > 0 {
		t.Errorf("success events: %v %v", on, actions)
	}
	third, errs := read(t, nil, second)
	if len(errs) > 0 || third.Through(pod("a"), "x") != "" || shown(t, third, "nginx") != "docker.io/nginx:latest" {
		t.Errorf("not the defaults: %v", errs)
	}
	if on, _ := third.SuccessEvents(); on {
		t.Error("success events by default")
	}
	// Without anything before, what cannot be read lets nothing through.
	fresh, errs := read(t, bad, nil)
	if len(errs) != len(want) || fresh.Through(b, "x") != "" || shown(t, fresh, "nginx") != "docker.io/nginx:latest" {
		t.Errorf("half a key is in force: %v", errs)
	}
}

// VI 3.5(2): kinds by the grammar of policies, namespaces and names by wildcards.
func TestResourceFilters(t *testing.T) {
	t.Parallel()
	with := func(change func(*match.Attributes)) *match.Attributes {
		a := pod("a")
		change(a)
		return a
	}
	for name, c := range map[string]struct {
		filters string
		a       *match.Attributes
		name    string
		want    bool
	}{
		"all":                        {"[Pod,*,*]", pod("a"), "x", true},
		"another kind":               {"[Job,*,*]", pod("a"), "x", false},
		"second, blanks, lines":      {"[Job,*,*],\n\t[ Pod , a , x ]", pod("a"), "x", true},
		"namespace":                  {"[Pod,b,*]", pod("a"), "x", false},
		"name":                       {"[Pod,a,y]", pod("a"), "x", false},
		"no name yet":                {"[Pod,a,x*]", pod("a"), "", false},
		"no name yet, any name":      {"[Pod,a,*]", pod("a"), "", true},
		"version":                    {"[v2/Pod,*,*]", pod("a"), "x", false},
		"group":                      {"[apps/v1/Pod,*,*]", pod("a"), "x", false},
		"any kind":                   {"[*/*,a,*]", pod("a"), "x", true},
		"any kind, subresource":      {"[*/*,a,*]", with(func(a *match.Attributes) { a.Subresource = "status" }), "x", false},
		"any kind, ephemeral":        {"[*/*,a,*]", with(func(a *match.Attributes) { a.Subresource = "ephemeralcontainers" }), "x", true},
		"subresource":                {"[Pod/?*,*,*]", with(func(a *match.Attributes) { a.Subresource = "binding" }), "x", true},
		"subresource, not the Pod":   {"[Pod/?*,*,*]", pod("a"), "x", false},
		"kind alone":                 {"[Pod]", pod("a"), "x", false},
		"kind alone, cluster-scoped": {"[Node]", &match.Attributes{Version: "v1", Kind: "Node"}, "", true},
		"a Namespace by its name":    {"[*/*,kube-system,*]", &match.Attributes{Version: "v1", Kind: "Namespace", Name: "kube-system", Namespace: "kube-system"}, "kube-system", true},
		"prefix of a name (A-19)":    {"[*/*,kube-system,*]", pod("kube-system-x"), "x", false},
		"none":                       {" ", pod("a"), "x", false},
	} {
		s, errs := read(t, map[string]string{"resourceFilters": c.filters}, nil)
		if got := s.Through(c.a, c.name); got == settings.ByResource != c.want || len(errs) > 0 {
			t.Errorf("%s: %q %v", name, got, errs)
		}
	}
	for _, text := range []string{"Pod,*,*", "[Pod,*,*", "[Pod,*,*]]", "[Pod,*,*]x", "[[Pod,*,*]", "[]", "[,a,b]", "[Pod,a,b,c]", "[a/b/c/d/e,*,*]", "[Pod,*,*][Pod", strings.Repeat("[Pod,*,*]", 1025)} {
		if _, errs := read(t, map[string]string{"resourceFilters": text}, nil); len(errs) != 1 {
			t.Errorf("%.40q is read: %v", text, errs)
		}
	}
	if _, errs := read(t, map[string]string{"resourceFilters": strings.Repeat("[Pod,*,*]", 1024)}, nil); len(errs) > 0 {
		t.Error(errs)
	}
}

// roles are the roles of a user, or why they are not known.
type roles struct {
	match.Bound
	err   error
	asked int
}

func (r *roles) Roles() (match.Bound, error) { r.asked++; return r.Bound, r.err }

// VI 3.5(1): exclusions, re-inclusions, and roles only where they may decide.
func TestExclusions(t *testing.T) {
	t.Parallel()
	admin := func() *roles {
		return &roles{Bound: match.Bound{Roles: []string{"prod:deployer"}, ClusterRoles: []string{"cluster-admin"}}}
	}
	down := func() *roles { return &roles{err: errors.New("down")} }
	for name, c := range map[string]struct {
		data  map[string]string
		roles *roles
		want  settings.Reason
		asked int
	}{
		"nobody":                      {nil, admin(), "", 0},
		"user":                        {map[string]string{"excludeUsernames": "bob, a?n"}, admin(), settings.ByUser, 0},
		"group":                       {map[string]string{"excludeGroups": "d*"}, admin(), settings.ByGroup, 0},
		"role":                        {map[string]string{"excludeRoles": "prod:*"}, admin(), settings.ByRole, 1},
		"cluster role":                {map[string]string{"excludeClusterRoles": "cluster-admin"}, admin(), settings.ByClusterRole, 1},
		"another role":                {map[string]string{"excludeRoles": "dev:*", "excludeClusterRoles": "view"}, admin(), "", 1},
		"user taken back in":          {map[string]string{"excludeGroups": "*", "excludeUsernames": "!ann"}, admin(), "", 0},
		"group taken back in":         {map[string]string{"excludeUsernames": "ann, ! , !x", "excludeGroups": "! dev"}, admin(), "", 0},
		"role taken back in":          {map[string]string{"excludeUsernames": "ann", "excludeRoles": "!prod:deployer"}, admin(), "", 1},
		"other role taken back in":    {map[string]string{"excludeUsernames": "ann", "excludeRoles": "!dev:deployer"}, admin(), settings.ByUser, 1},
		"roles unknown":               {map[string]string{"excludeRoles": "*"}, down(), "", 1},
		"roles unknown, back in":      {map[string]string{"excludeUsernames": "ann", "excludeClusterRoles": "!x"}, down(), "", 1},
		"roles not needed by a match": {map[string]string{"excludeUsernames": "bob", "excludeClusterRoles": "!x"}, down(), "", 0},
		"nobody to ask":               {map[string]string{"excludeRoles": "*"}, nil, "", 0},
	} {
		s, errs := read(t, c.data, nil)
		a := pod("a")
		if c.roles != nil {
			a.Roles = c.roles
		}
		if got := s.Through(a, "x"); got != c.want || len(errs) > 0 || c.roles != nil && c.roles.asked != c.asked {
			t.Errorf("%s: %q %v, asked %v", name, got, errs, c.roles)
		}
	}
	var many []string
	for i := range 1025 {
		many = append(many, fmt.Sprint("u", i))
	}
	if _, errs := read(t, map[string]string{"excludeUsernames": strings.Join(many, ",")}, nil); len(errs) != 1 {
		t.Error(errs)
	}
}

// Which kinds no request reaches a policy of.
func TestAll(t *testing.T) {
	t.Parallel()
	s, _ := read(t, map[string]string{"resourceFilters": "[ReplicaSet,*,*][apps/v1/Deployment,*,*][Job,a,*][Pod/binding,*,*][*/*,kube-*,*][Pod,b,c]"}, nil)
	for text, want := range map[string]bool{
		"ReplicaSet": true, "apps/v1/ReplicaSet": true, "Deployment": false, "apps/v1/Deployment": true, "Job": false, "Pod": false, "Pod/binding": true, "Replica*": false, "*/*": false,
		"Job in a": true, "Job in b": false, "Pod in kube-system": true, "Pod in b": false, "ReplicaSet in b": true,
	} {
		kind, namespace, _ := strings.Cut(text, " in ")
		k, err := match.ParseKind(kind)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.All(&k, namespace); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	l := settings.NewLive()
	if l.Loaded() || l.Current().Through(pod("a"), "x") != "" {
		t.Error("not the defaults")
	}
	s, _ := read(t, map[string]string{"resourceFilters": "[Pod,*,*]"}, nil)
	l.Set(s)
	if !l.Loaded() || l.Current() != s {
		t.Error("not in force")
	}
}

// What is let through on a warm request costs no memory.
func TestThroughAllocatesNothing(t *testing.T) {
	s, _ := read(t, map[string]string{"resourceFilters": "[Job,*,*][*/*,kube-system,*]", "excludeGroups": "system:nodes"}, nil)
	a := pod("a")
	if n := testing.AllocsPerRun(100, func() { s.Through(a, "x") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// No text of a key makes it panic, or lets a request through that it does not name.
func FuzzRead(f *testing.F) {
	f.Add("[Pod,*,*]", "a,!b", "r.io")
	f.Fuzz(func(t *testing.T, filters, users, registry string) {
		s, _ := settings.Read(map[string]string{"resourceFilters": filters, "excludeUsernames": users, "defaultRegistry": registry}, nil)
		if !strings.Contains(filters, "[") && s.Through(pod("a"), "x") == settings.ByResource {
			t.Error("let through by no filter")
		}
		_, _ = s.Images().Parse("nginx")
	})
}
