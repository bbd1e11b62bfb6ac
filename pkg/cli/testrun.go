package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
)

// testRow is one case: a rule, a resource, and whether the result is the expected one.
type testRow struct {
	policy, rule, resource string
	ok                     bool
	reason, message        string
}

// file runs a file of tests.
func (t *tested) file(ctx context.Context, name, path, root string) ([]testRow, error) {
	fmt.Fprintf(t.progress, "Loading test  ( %s ) ...\n", clean(name))
	spec, err := readTest(path)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(spec.Results, func(r testResult) bool { return r.selects(t.flags.selected) }) {
		return nil, nil
	}
	a, err := t.load(spec, path, root)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(t.progress, "  Applying %s to %s with %s ...\n",
		number(len(a.policies), "policy", "policies"), number(len(a.resources), "resource", "resources"), number(len(a.exceptions), "exception", "exceptions"))
	if err := a.judgeAll(ctx, t.options); err != nil {
		return nil, err
	}
	fmt.Fprintln(t.progress, "  Checking results ...")
	c := &checker{applied: a, selected: t.flags.selected}
	for i := range spec.Results {
		r := &spec.Results[i]
		if r.Patched != "" {
			if c.patched, err = t.patched(a, path, root, r.Patched); err != nil {
				return nil, fmt.Errorf("results[%d].patchedResources: %w", i, err)
			}
		}
		c.result(r)
		c.patched = nil
	}
	return c.rows, nil
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// load reads what a test names, as signet apply would.
func (t *tested) load(spec *testSpec, path, root string) (*applied, error) {
	f := &applyFlags{flags: t.flags.flags, registry: t.flags.registry}
	a := &applied{flags: f}
	if spec.Values != nil {
		var err error
		if a.values, err = spec.Values.compile("values."); err != nil {
			return nil, err
		}
	}
	for _, list := range []struct {
		name string
		in   []string
		out  *[]string
	}{{"policies", spec.Policies, &f.paths}, {"resources", spec.Resources, &f.resources}, {"exceptions", spec.Exceptions, &f.exceptions}} {
		var err error
		if *list.out, err = resolve(path, root, list.in); err != nil {
			return nil, fmt.Errorf("%s: %w", list.name, err)
		}
	}
	for _, one := range []struct {
		name, in string
		out      *string
	}{{"variables", spec.Variables, &f.valuesFile}, {"userinfo", spec.UserInfo, &f.userInfo}} {
		if one.in == "" {
			continue
		}
		paths, err := resolve(path, root, []string{one.in})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		*one.out = paths[0]
	}
	for _, step := range []struct {
		doing string
		read  func(io.Reader, io.Writer) error
	}{
		{"values/variables", a.readValues}, {"policies", a.readPolicies}, {"resources", a.readResources}, {"exceptions", a.readExceptions}, {"", a.readUser},
	} {
		if step.doing != "" {
			fmt.Fprintf(t.progress, "  Loading %s ...\n", step.doing)
		}
		if err := step.read(strings.NewReader(""), t.options.Stderr); err != nil {
			return nil, err
		}
	}
	if len(a.invalid) > 0 {
		return nil, errors.New("policies that an API server would refuse:\n" + strings.Join(a.invalid, "\n"))
	}
	return a, nil
}

// patched reads the resources that a result compares with.
func (t *tested) patched(a *applied, path, root, file string) ([]*resource, error) {
	paths, err := resolve(path, root, []string{file})
	if err != nil {
		return nil, err
	}
	f := *a.flags
	f.resources = paths
	other := &applied{flags: &f}
	if err := other.readResources(strings.NewReader(""), t.options.Stderr); err != nil {
		return nil, err
	}
	return other.resources, nil
}

// checker compares what was expected with what came out.
type checker struct {
	*applied
	selected selection
	patched  []*resource // of the result at hand
	rows     []testRow
}

// result adds the rows of one expected result.
func (c *checker) result(r *testResult) {
	if !c.selected.has("policy", r.Policy) || !c.selected.has("rule", r.Rule) {
		return
	}
	i := slices.IndexFunc(c.policies, func(p *policy.Policy) bool { return isPolicy(p, r.Policy) })
	switch {
	case i < 0:
		c.add(r, r.wanted(), "Policy not found")
	case !slices.ContainsFunc(c.policies[i].Rules, func(rule *policy.Rule) bool { return isRule(rule.Name, r.Rule) }):
		c.add(r, r.wanted(), "Rule not found")
	default:
		c.cases(r, c.policies[i])
	}
}

// wanted are the names of the resources of a result, as written.
func (r *testResult) wanted() []string {
	names := slices.Clone(r.Resources)
	for _, s := range r.ResourceSpecs {
		names = append(names, strings.TrimPrefix(s.Namespace+"/"+s.Name, "/"))
	}
	if len(names) == 0 {
		names = []string{""}
	}
	return names
}

// add adds failures of a result that has no resources here.
func (c *checker) add(r *testResult, names []string, reason string) {
	for _, n := range names {
		if n == "" || c.selected.has("resource", n, n[strings.LastIndexByte(n, '/')+1:]) {
			c.rows = append(c.rows, testRow{policy: r.Policy, rule: r.Rule, resource: n, reason: reason})
		}
	}
}

// cases adds a row for every resource that a result names, or without names for every one that the rule judged.
func (c *checker) cases(r *testResult, p *policy.Policy) {
	for _, name := range r.Resources {
		c.each(r, p, name, func(x *resource) bool { return x.named(name) })
	}
	for _, s := range r.ResourceSpecs {
		c.each(r, p, strings.TrimPrefix(s.Namespace+"/"+s.Name, "/"), func(x *resource) bool {
			return s.Name == x.kind.Name && (s.Namespace == "" || s.Namespace == x.kind.Namespace) && s.Group == x.kind.Group &&
				(s.Version == "" || s.Version == x.kind.Version) && (s.Kind == "" || s.Kind == x.kind.Kind) && s.Sub == x.kind.Subresource
		})
	}
	if len(r.Resources)+len(r.ResourceSpecs) == 0 {
		c.each(r, p, "", func(x *resource) bool { return len(c.responses(r, p, x)) > 0 })
	}
}

// each adds the rows of the resources that are meant, and a failure when there is none.
func (c *checker) each(r *testResult, p *policy.Policy, name string, meant func(*resource) bool) {
	found := false
	for _, x := range c.resources {
		if (r.Kind != "" && r.Kind != x.kind.Kind) || !meant(x) {
			continue
		}
		found = true
		if c.selected.has("resource", x.kind.Name, x.kind.Namespace+"/"+x.kind.Name) {
			c.rows = append(c.rows, c.row(r, p, x))
		}
	}
	switch {
	case found:
	case name == "" && r.Result == "skip":
		c.rows = append(c.rows, testRow{policy: r.Policy, rule: r.Rule, ok: true, reason: "Excluded"})
	default:
		c.add(r, []string{name}, "Resource not found")
	}
}

// responses are what both phases said of a resource under a rule or what was generated from it.
func (c *checker) responses(r *testResult, p *policy.Policy, x *resource) []*response {
	var out []*response
	for i := range c.outcome {
		o := &c.outcome[i]
		if o.policy == p && o.resource == x && isRule(o.result.Rule.Name, r.Rule) {
			out = append(out, o)
		}
	}
	return out
}

// row judges one case: every response has to be the expected one (VI 10.2(2)). A rule that did not judge the resource has
// skipped it, and nothing else.
func (c *checker) row(r *testResult, p *policy.Policy, x *resource) testRow {
	row := testRow{policy: r.Policy, rule: r.Rule, resource: x.full(), reason: "Ok"}
	var words, messages []string
	for _, o := range c.responses(r, p, x) {
		word := outcome(o)
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
		if !slices.Contains(messages, o.result.Message) && o.result.Message != "" {
			messages = append(messages, o.result.Message)
		}
	}
	row.message = strings.Join(messages, "; ")
	switch {
	case len(words) == 0 && r.Result == "skip":
		row.ok, row.reason = true, "Excluded"
	case len(words) == 0:
		row.reason = "Want " + r.Result + ", got excluded"
	case len(words) > 1 || words[0] != r.Result:
		row.reason = "Want " + r.Result + ", got " + strings.Join(words, " and ")
	default:
		row.ok = true
	}
	if row.ok && r.Patched != "" {
		row.ok, row.reason = c.compare(p, x)
	}
	return row
}

// full is the resource with the version of its kind.
func (r *resource) full() string {
	parts := []string{r.kind.Group, r.kind.Version, r.kind.Kind, r.kind.Namespace, r.kind.Name}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "/")
}

// outcome is the result as a test spells it: an unscored violation is only a warning.
func outcome(o *response) string {
	if o.result.Status == engine.Fail && o.policy.Report.Unscored {
		return "warn"
	}
	return o.result.Status.String()
}

// compare compares a resource as the policy would store it with the one that the test expects.
func (c *checker) compare(p *policy.Policy, x *resource) (ok bool, why string) {
	for _, want := range c.patched {
		if want.full() != x.full() {
			continue
		}
		if at := difference(want.object, x.stored[p], ""); at != "" {
			return false, "Patched resource differs at " + at
		}
		return true, "Ok"
	}
	return false, "Patched resource not found"
}

// difference is the path of the first difference between two JSON values; empty for none.
func difference(want, got any, at string) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		names := slices.AppendSeq(slices.Collect(maps.Keys(w)), maps.Keys(g))
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			left, inWant := w[name]
			right, inGot := g[name]
			here := at + "/" + name
			if inWant != inGot {
				return here
			}
			if d := difference(left, right, here); d != "" {
				return d
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			if d := difference(w[i], g[i], fmt.Sprintf("%s/%d", at, i)); d != "" {
				return d
			}
		}
		return ""
	}
	if reflect.DeepEqual(want, got) {
		return ""
	}
	if at == "" {
		return "/"
	}
	return at
}
