package policy_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// named is a policy whose rule of the same name matches the kinds.
func named(t testing.TB, name, kinds string) *policy.Policy {
	t.Helper()
	text := strings.NewReplacer("name: p", "name: "+name, "name: r\n", "name: r-"+name+"\n", "[Pod]", kinds).Replace(entries(t, `{imageReferences: ["*"]}`))
	return compile(t, text)
}

func inNamespace(t testing.TB, namespace, name string) *policy.Policy {
	t.Helper()
	text := strings.NewReplacer("name: p", "name: "+name+", namespace: "+namespace, "name: r\n", "name: r-"+name+"\n").Replace(entries(t, `{imageReferences: ["*"]}`))
	p, errs := policy.CompileNamespaced(namespaced(t, text), policy.Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return p
}

func matched(s *policy.Snapshot, a match.Attributes) string {
	var out []string
	for _, r := range s.Match(&a) {
		out = append(out, r.Policy.Key.String()+"/"+r.Name)
	}
	return strings.Join(out, " ")
}

// The order of evaluation is by policy and rule, whichever way they were found; VI 9(3): a Policy sees its namespace.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := policy.NewSnapshot([]*policy.Policy{
		inNamespace(t, "team", "a"), named(t, "d", `["P*"]`), named(t, "b", "[Job, Pod]"), named(t, "c", "[v1/Pod, Pod]"), named(t, "a", `[Deployment]`), inNamespace(t, "zoo", "a"),
	})
	for name, c := range map[string]struct {
		a    match.Attributes
		want string
	}{
		"pod":             {match.Attributes{Version: "v1", Kind: "Pod", Namespace: "prod"}, "b/r-b c/r-c d/r-d"},
		"pod of the team": {match.Attributes{Version: "v1", Kind: "Pod", Namespace: "team"}, "b/r-b c/r-c d/r-d team/a/r-a"},
		"controller":      {match.Attributes{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "zoo"}, "a/r-a zoo/a/autogen-r-a"},
		"cron job":        {match.Attributes{Group: "batch", Version: "v1", Kind: "CronJob", Namespace: "zoo"}, "zoo/a/autogen-cronjob-r-a"},
		"wildcard kind":   {match.Attributes{Group: "x", Version: "v1", Kind: "PX", Namespace: "team"}, "d/r-d"},
		"another kind":    {match.Attributes{Version: "v1", Kind: "ConfigMap", Namespace: "team"}, ""},
		"no namespace":    {match.Attributes{Version: "v1", Kind: "Pod"}, "b/r-b c/r-c d/r-d"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(c.want, matched(s, c.a)); d != "" {
				t.Error(d)
			}
		})
	}
	if n := len(s.Policies()); n != 6 {
		t.Errorf("%d policies", n)
	}
}

// VI 3.6(1): nothing is in force before all has been read; after that each change is published at once, and what is
// not replaced stays.
func TestStore(t *testing.T) {
	t.Parallel()
	pod := match.Attributes{Version: "v1", Kind: "Pod"}
	s := policy.NewStore()
	a, b := named(t, "a", "[v1/Pod]"), named(t, "b", "[v1/Pod]")
	s.Put(a)
	if s.Snapshot() != nil {
		t.Fatal("a snapshot before the first sync")
	}
	s.Delete(policy.Key{Name: "none"})
	s.Sync()
	first := s.Snapshot()
	s.Put(b)
	if got := matched(first, pod); got != "a/r-a" {
		t.Errorf("the first snapshot changed: %s", got)
	}
	if got := matched(s.Snapshot(), pod); got != "a/r-a b/r-b" {
		t.Error(got)
	}
	next := named(t, "a", "[v1/Pod]")
	next.Generation = 2
	s.Put(next)
	if s.Get(policy.Key{Name: "a"}) != next || first.Match(&pod)[0].Policy != a {
		t.Error("the generation is not replaced")
	}
	s.Delete(a.Key)
	if got := matched(s.Snapshot(), pod); got != "b/r-b" || s.Get(a.Key) != nil {
		t.Error(got)
	}
	before := s.Snapshot()
	s.Delete(a.Key)
	if s.Snapshot() != before {
		t.Error("nothing changed and a snapshot was published")
	}
}

func TestStoreConcurrently(t *testing.T) {
	t.Parallel()
	s := policy.NewStore()
	s.Sync()
	policies := []*policy.Policy{named(t, "a", "[v1/Pod]"), named(t, "b", "[v1/Pod]")}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				p := policies[i%2]
				s.Put(p)
				if got := matched(s.Snapshot(), match.Attributes{Version: "v1", Kind: "Pod"}); i%2 == 0 && !strings.Contains(got, "a/r-a") {
					t.Errorf("put and not there: %q", got)
				}
			}
		})
	}
	wg.Wait()
}

// Matching among many policies (A: 1, 100 and 1000), of which one is about the request.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			policies := []*policy.Policy{named(b, "pods", "[Pod]")}
			for i := range n - 1 {
				policies = append(policies, named(b, fmt.Sprintf("p%04d", i), "[v1/Service]"))
			}
			s := policy.NewSnapshot(policies)
			a := match.Attributes{Version: "v1", Kind: "Pod", Namespace: "prod", Name: "web"}
			b.ReportAllocs()
			for b.Loop() {
				if len(s.Match(&a)) != 1 {
					b.Fatal("not one rule")
				}
			}
		})
		b.Run(fmt.Sprint(n, "-other-namespaces"), func(b *testing.B) {
			policies := []*policy.Policy{named(b, "pods", "[Pod]")}
			for i := range n - 1 {
				policies = append(policies, inNamespace(b, fmt.Sprintf("team-%04d", i), "p"))
			}
			s := policy.NewSnapshot(policies)
			a := match.Attributes{Version: "v1", Kind: "Pod", Namespace: "prod", Name: "web"}
			b.ReportAllocs()
			for b.Loop() {
				if len(s.Match(&a)) != 1 {
					b.Fatal("not one rule")
				}
			}
		})
	}
}
