package match_test

import (
	"testing"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/wildcard"
)

func kinds(t *testing.T, texts ...string) []match.Kind {
	t.Helper()
	var out []match.Kind
	for _, s := range texts {
		k, err := match.ParseKind(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, k)
	}
	return out
}

func patterns(t *testing.T, texts ...string) []wildcard.Pattern {
	t.Helper()
	var out []wildcard.Pattern
	for _, s := range texts {
		p, err := wildcard.Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// T-021: Pod includes the ephemeral containers of core Pods, and no other subresource.
func TestKindMatches(t *testing.T) {
	t.Parallel()
	pod := match.Attributes{Version: "v1", Kind: "Pod"}
	with := func(a match.Attributes, sub string) match.Attributes { a.Subresource = sub; return a }
	deployment := match.Attributes{Group: "apps", Version: "v1", Kind: "Deployment"}
	for name, c := range map[string]struct {
		kind string
		a    match.Attributes
		want bool
	}{
		"kind":                       {"Pod", pod, true},
		"another kind":               {"Pod", deployment, false},
		"version":                    {"v1/Pod", pod, true},
		"another version":            {"v2/Pod", pod, false},
		"group":                      {"apps/v1/Deployment", deployment, true},
		"another group":              {"extensions/v1/Deployment", deployment, false},
		"core group":                 {"apps/v1/Pod", pod, false},
		"any group":                  {"*/v1/Deployment", deployment, true},
		"wildcard kind":              {"Deploy*", deployment, true},
		"ephemeral containers":       {"Pod", with(pod, "ephemeralcontainers"), true},
		"ephemeral, by version":      {"v1/Pod", with(pod, "ephemeralcontainers"), true},
		"ephemeral, by wildcard":     {"*/*", with(pod, "ephemeralcontainers"), true},
		"ephemeral, named":           {"Pod/ephemeralcontainers", with(pod, "ephemeralcontainers"), true},
		"ephemeral named only":       {"Pod/ephemeralcontainers", pod, false},
		"status":                     {"Pod", with(pod, "status"), false},
		"status named":               {"Pod/status", with(pod, "status"), true},
		"any subresource":            {"Pod/*", with(pod, "exec"), true},
		"any subresource, and none":  {"Pod/*", pod, true},
		"any kind's scale":           {"*/scale", with(deployment, "scale"), true},
		"any kind's scale, no scale": {"*/scale", deployment, false},
		"ephemeral of another group": {"Pod", match.Attributes{Group: "x.io", Version: "v1", Kind: "Pod", Subresource: "ephemeralcontainers"}, false},
		"ephemeral of another kind":  {"Deployment", with(deployment, "ephemeralcontainers"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := kinds(t, c.kind)[0].Matches(&c.a); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}

// VI 4.6(2), (3).
func TestFilter(t *testing.T) {
	t.Parallel()
	res := func(k, n, ns []string) match.Resource {
		return match.Resource{Kinds: kinds(t, k...), Names: patterns(t, n...), Namespaces: patterns(t, ns...)}
	}
	pods := res([]string{"Pod"}, nil, nil)
	a := match.Attributes{Version: "v1", Kind: "Pod", Namespace: "prod", Name: "web-1"}
	for name, c := range map[string]struct {
		f    match.Filter
		a    match.Attributes
		want bool
	}{
		"empty match":             {match.Filter{}, a, false},
		"any":                     {match.Filter{Match: match.Block{Any: []match.Resource{res([]string{"Job"}, nil, nil), pods}}}, a, true},
		"none of any":             {match.Filter{Match: match.Block{Any: []match.Resource{res([]string{"Job"}, nil, nil)}}}, a, false},
		"all":                     {match.Filter{Match: match.Block{All: []match.Resource{pods, res(nil, nil, []string{"prod"})}}}, a, true},
		"not all":                 {match.Filter{Match: match.Block{All: []match.Resource{pods, res(nil, nil, []string{"dev"})}}}, a, false},
		"every attribute":         {match.Filter{Match: match.Block{Any: []match.Resource{res([]string{"Pod"}, []string{"web-*"}, []string{"dev", "pr?d"})}}}, a, true},
		"one attribute fails":     {match.Filter{Match: match.Block{Any: []match.Resource{res([]string{"Pod"}, []string{"db-*"}, []string{"prod"})}}}, a, false},
		"excluded":                {match.Filter{Match: match.Block{Any: []match.Resource{pods}}, Exclude: match.Block{Any: []match.Resource{res(nil, nil, []string{"prod"})}}}, a, false},
		"not excluded":            {match.Filter{Match: match.Block{Any: []match.Resource{pods}}, Exclude: match.Block{Any: []match.Resource{res(nil, nil, []string{"prod-*"})}}}, a, true},
		"excluded by all":         {match.Filter{Match: match.Block{Any: []match.Resource{pods}}, Exclude: match.Block{All: []match.Resource{pods, res(nil, []string{"web-1"}, nil)}}}, a, false},
		"half excluded":           {match.Filter{Match: match.Block{Any: []match.Resource{pods}}, Exclude: match.Block{All: []match.Resource{pods, res(nil, []string{"x"}, nil)}}}, a, true},
		"cluster-scoped":          {match.Filter{Match: match.Block{Any: []match.Resource{res([]string{"Pod"}, nil, []string{"*"})}}}, match.Attributes{Version: "v1", Kind: "Pod"}, true},
		"a namespace by its name": {match.Filter{Match: match.Block{Any: []match.Resource{res([]string{"Namespace"}, nil, []string{"prod"})}}}, match.Attributes{Version: "v1", Kind: "Namespace", Name: "prod"}, true},
		"another Namespace kind":  {match.Filter{Match: match.Block{Any: []match.Resource{res([]string{"Namespace"}, nil, []string{"prod"})}}}, match.Attributes{Group: "x.io", Version: "v1", Kind: "Namespace", Name: "prod", Namespace: "dev"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := c.f.Matches(&c.a); got != c.want || err != nil {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
