package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
)

func compile(t *testing.T, text string) *policy.Policy {
	t.Helper()
	var p v1.ClusterPolicy
	if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	c, errs := policy.CompileCluster(&p, policy.Options{})
	if len(errs) > 0 {
		t.Fatalf("%v\n%s", errs, text)
	}
	return c
}

// policyFor is a policy with one rule for Pods; namespaces and entries are YAML.
func policyFor(t *testing.T, name, namespaces string, entries ...string) *policy.Policy {
	t.Helper()
	return compile(t, "metadata: {name: "+name+"}\nspec:\n  rules:\n  - name: r\n    match: {any: [{resources: {kinds: [Pod]"+namespaces+"}}]}\n    verifyImages:\n    - "+strings.Join(entries, "\n    - "))
}

func podOf(images ...string) map[string]any {
	var containers []any
	for i, img := range images {
		containers = append(containers, map[string]any{"name": fmt.Sprint("c", i), "image": img})
	}
	return map[string]any{"spec": map[string]any{"containers": containers}}
}

// outline writes a plan as text.
func outline(p *plan.Plan) []string {
	var out []string
	for _, img := range p.Images {
		text := img.Ref.String()
		for _, u := range img.Uses {
			text += fmt.Sprintf(" %s=%v", u.Pointer, u.Unchanged)
		}
		out = append(out, text)
	}
	for _, bad := range p.Found.Invalid {
		out = append(out, fmt.Sprintf("invalid %s=%v", bad.Pointer, bad.Unchanged))
	}
	for _, r := range p.Rules {
		text := fmt.Sprintf("%s/%s held=%v:", r.Rule.Policy.Key, r.Rule.Name, r.HeldBefore)
		for _, ri := range r.Images {
			text += fmt.Sprintf(" %d judged by %d, skipped by %d;", ri.Image.Index, len(ri.Entries), len(ri.Skipping))
		}
		out = append(out, text)
	}
	return out
}

// VI 5(5), 4.2(1), 6.15(1): every image once, in image order, for the rules that it concerns.
func TestNew(t *testing.T) {
	t.Parallel()
	attributes := &match.Attributes{Version: "v1", Kind: "Pod", Namespace: "n"}
	rules := slices.Concat(
		policyFor(t, "a", "", `{imageReferences: ["ghcr.io/*"], skipImageReferences: ["ghcr.io/s*"]}`, `{imageReferences: ["*"]}`).Rules[:1],
		policyFor(t, "b", "", `{imageReferences: ["quay.io/*"]}`).Rules[:1],
		policyFor(t, "c", "", `{imageReferences: ["docker.io/nginx:*"]}`).Rules[:1])
	in := &plan.Input{Images: image.NewParser(image.Options{}), Attributes: attributes, Object: podOf("ghcr.io/x:1", "nginx", "ghcr.io/s:1", "docker.io/nginx:latest", "ghcr.io/x:1")}
	want := []string{
		"ghcr.io/x:1 /spec/containers/0/image=false /spec/containers/4/image=false",
		"docker.io/nginx:latest /spec/containers/1/image=false /spec/containers/3/image=false",
		"ghcr.io/s:1 /spec/containers/2/image=false",
		"a/r held=false: 0 judged by 2, skipped by 0; 1 judged by 1, skipped by 0; 2 judged by 1, skipped by 1;",
		"c/r held=false: 1 judged by 1, skipped by 0;",
	}
	if d := cmp.Diff(want, outline(plan.New(rules, in))); d != "" {
		t.Error(d)
	}
	in.Object = podOf("ghcr.io/x:1", "UPPER", "nginx")
	in.Old, in.OldAttributes = podOf("ghcr.io/x:1", "UPPER", "other"), attributes
	want = []string{
		"ghcr.io/x:1 /spec/containers/0/image=true",
		"docker.io/nginx:latest /spec/containers/2/image=false",
		"invalid /spec/containers/1/image=true",
		"a/r held=true: 0 judged by 2, skipped by 0; 1 judged by 1, skipped by 0;",
		"b/r held=true:",
		"c/r held=true: 1 judged by 1, skipped by 0;",
	}
	if d := cmp.Diff(want, outline(plan.New(rules, in))); d != "" {
		t.Error(d)
	}
	in.Object = map[string]any{"spec": 1}
	if p := plan.New(rules, in); p.Found.Err == nil || len(p.Rules) != 3 || p.Found.Unchanged() {
		t.Errorf("%v", outline(p))
	}
	in.Object = map[string]any{}
	if p := plan.New(rules, in); p.Found.Err != nil || len(p.Rules)+len(p.Images) > 0 {
		t.Errorf("%v", outline(p))
	}
}

// What the index leaves out early never had anything to say: the plan of the indexed rules is the plan of all.
func TestIndexLeavesNothingOut(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	patterns := []string{
		`"*"`, `"ghcr.io/*"`, `"GHCR.IO/a*"`, `"ghcr.io:443/*"`, `"ghcr.io:80/*"`, `"docker.io/nginx:*"`, `"docker.io/library/nginx*"`,
		`"index.docker.io/*"`, `"registry-1.docker.io/*"`, `"docker.io/*"`, `"nginx*"`, `"a/*"`, `"*.io/a/*"`, `"ghcr.io*"`, `"?hcr.io/*"`, `"localhost:5000/*"`, `"*/nginx:*"`, `"my_host/*"`,
	}
	images := []string{
		"nginx", "library/nginx", "docker.io/nginx:1", "index.docker.io/nginx", "registry-1.docker.io/library/nginx", "registry-1.docker.io:443/nginx", "ghcr.io/a/b:1", "GHCR.IO/a/b", "ghcr.io:443/a/b:1",
		"ghcr.io:80/a/b", "ghcr.io:8443/a/b", "a/b", "localhost:5000/a", "UPPER", "Foo/bar", "my_host/a/b", "ghcr.io/a/b@sha256:" + strings.Repeat("a", 64), "docker.io:80/nginx",
	}
	namespaces := []string{"", ", namespaces: [prod]", ", namespaces: [prod, dev]", ", namespaces: ['p*']", ", namespaces: [prod, 'd*']", ", names: [x]"}
	for round := range 300 {
		var all []*policy.Policy
		for i := range 1 + r.IntN(6) {
			var entries []string
			for range 1 + r.IntN(2) {
				entries = append(entries, "{imageReferences: ["+pick(patterns...)+", "+pick(patterns...)+"], skipImageReferences: ["+pick(patterns...)+"]}")
			}
			all = append(all, policyFor(t, fmt.Sprint("p", i), pick(namespaces...), entries...))
		}
		snapshot := policy.NewSnapshot(all)
		attributes := &match.Attributes{Version: "v1", Kind: "Pod", Namespace: pick("prod", "dev", "other", ""), Name: pick("x", "y")}
		var wanted []*policy.Rule
		for _, p := range snapshot.Policies() {
			for _, rule := range p.Rules {
				if got, _ := rule.Filter.Matches(attributes); got {
					wanted = append(wanted, rule)
				}
			}
		}
		opts := image.Options{KeepShort: r.IntN(4) == 0}
		in := &plan.Input{Attributes: attributes, Object: podOf(pick(images...), pick(images...)), Images: image.NewParser(opts)}
		if d := cmp.Diff(names(wanted), names(snapshot.Match(attributes))); d != "" {
			t.Fatalf("round %d: %s", round, d)
		}
		read := plan.Read(in)
		rules := wanted
		if hosts, any := read.Hosts(); !any {
			rules = snapshot.MatchHosts(attributes, hosts)
		}
		if d := cmp.Diff(outline(plan.New(wanted, in)), outline(plan.New(rules, in))); d != "" {
			t.Fatalf("round %d: %s", round, d)
		}
	}
}

func names(rules []*policy.Rule) []string {
	var out []string
	for _, r := range rules {
		out = append(out, r.Policy.Name+"/"+r.Name)
	}
	return out
}

// VI 6.15(1), A-83: of two elements with one name nobody can tell which of them an element of today was, so neither is
// unchanged.
func TestA83SameNameTwice(t *testing.T) {
	t.Parallel()
	attributes := &match.Attributes{Group: "own.io", Version: "v1", Kind: "Pod", Namespace: "n"}
	list := func(images ...string) map[string]any {
		var containers []any
		for _, img := range images {
			containers = append(containers, map[string]any{"name": "same", "image": img})
		}
		return map[string]any{"spec": map[string]any{"containers": containers}}
	}
	p := plan.New(nil, &plan.Input{Images: image.NewParser(image.Options{}), Attributes: attributes, OldAttributes: attributes,
		Object: list("r.io/evil:1", "r.io/evil:1"), Old: list("r.io/good:1", "r.io/evil:1")})
	if p.Found.Unchanged() {
		t.Error("an element that cannot be told from another is unchanged")
	}
}
