package match_test

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-policy/signet/pkg/match"
)

// namespace is a namespace's labels, or why they cannot be had. It counts how often it is asked.
type namespace struct {
	labels match.Texts
	err    error
	asked  int
}

func (n *namespace) Labels() (match.Texts, error) { n.asked++; return n.labels, n.err }

var errDown = errors.New("down")

func selector(t *testing.T, labels map[string]string, expressions ...metav1.LabelSelectorRequirement) *match.Selector {
	t.Helper()
	s, err := match.CompileSelector(&metav1.LabelSelector{MatchLabels: labels, MatchExpressions: expressions})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func expression(key string, operator metav1.LabelSelectorOperator, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: operator, Values: values}
}

// VI 1.4(3): label selectors, with wildcards in keys and values of matchLabels.
func TestSelector(t *testing.T) {
	t.Parallel()
	labels := match.Texts{"app": "web", "team.test/name": "payments-eu", "empty": "", "number": 5}
	for name, c := range map[string]struct {
		s    *match.Selector
		want bool
	}{
		"empty":                     {selector(t, nil), true},
		"label":                     {selector(t, map[string]string{"app": "web"}), true},
		"another value":             {selector(t, map[string]string{"app": "db"}), false},
		"another key":               {selector(t, map[string]string{"App": "web"}), false},
		"empty value":               {selector(t, map[string]string{"empty": ""}), true},
		"absent is not empty":       {selector(t, map[string]string{"absent": ""}), false},
		"every label":               {selector(t, map[string]string{"app": "web", "empty": "x"}), false},
		"wildcard value":            {selector(t, map[string]string{"app": "w?b*"}), true},
		"any value":                 {selector(t, map[string]string{"empty": "*"}), true},
		"some value":                {selector(t, map[string]string{"empty": "?*"}), false},
		"any value of an absent":    {selector(t, map[string]string{"absent": "*"}), false},
		"wildcard key":              {selector(t, map[string]string{"team.test/*": "payments-eu"}), true},
		"wildcards":                 {selector(t, map[string]string{"team.test/n*": "payments-??"}), true},
		"wildcards, another value":  {selector(t, map[string]string{"*": "none"}), false},
		"not a text":                {selector(t, map[string]string{"numbe?": "*"}), false},
		"in":                        {selector(t, nil, expression("app", "In", "db", "web")), true},
		"in is literal":             {selector(t, nil, expression("app", "NotIn", "web")), false},
		"not in, absent":            {selector(t, nil, expression("x", "NotIn", "web")), true},
		"exists":                    {selector(t, nil, expression("empty", "Exists")), true},
		"exists not":                {selector(t, nil, expression("x", "Exists")), false},
		"does not exist":            {selector(t, nil, expression("x", "DoesNotExist")), true},
		"does not exist, but does":  {selector(t, nil, expression("app", "DoesNotExist")), false},
		"labels and expressions":    {selector(t, map[string]string{"app": "web"}, expression("x", "Exists")), false},
		"number exists for no rule": {selector(t, nil, expression("number", "Exists")), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.s.Matches(labels); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestBadSelector(t *testing.T) {
	t.Parallel()
	for want, in := range map[string]metav1.LabelSelector{
		"matchLabels[a b]":     {MatchLabels: map[string]string{"a b": "c"}},
		"matchLabels[a]":       {MatchLabels: map[string]string{"a": "b c"}},
		"matchLabels[]":        {MatchLabels: map[string]string{"": "b"}},
		"matchLabels[*/*/*]":   {MatchLabels: map[string]string{"*/*/*": "b"}},
		"matchExpressions[0]":  {MatchExpressions: []metav1.LabelSelectorRequirement{expression("a", "In")}},
		"matchExpressions[1]":  {MatchExpressions: []metav1.LabelSelectorRequirement{expression("a", "Exists"), expression("a", "Gt", "1")}},
		"matchExpressions[ 0]": {MatchExpressions: []metav1.LabelSelectorRequirement{expression("a", "Exists", "b")}},
	} {
		_, err := match.CompileSelector(&in)
		var bad *match.SelectorError
		if want == "matchExpressions[ 0]" {
			want = "matchExpressions[0]"
		}
		if !errors.As(err, &bad) || bad.Field != want {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// VI 1.4(3): users, groups and service accounts.
func TestSubjects(t *testing.T) {
	t.Parallel()
	account := match.User{Name: "system:serviceaccount:ci:build-1", Groups: []string{"system:serviceaccounts"}}
	for name, c := range map[string]struct {
		kind, namespace, name string
		u                     match.User
		want                  bool
	}{
		"user":                         {"User", "", "ann", match.User{Name: "ann"}, true},
		"another user":                 {"User", "", "ann", match.User{Name: "anna"}, false},
		"user by wildcard":             {"User", "", "ann*", match.User{Name: "anna"}, true},
		"a user is no group":           {"Group", "", "ann", match.User{Name: "ann"}, false},
		"a group is no user":           {"User", "", "ops", match.User{Name: "ann", Groups: []string{"ops"}}, false},
		"group":                        {"Group", "", "ops", match.User{Groups: []string{"dev", "ops"}}, true},
		"group by wildcard":            {"Group", "", "o*", match.User{Groups: []string{"dev", "ops"}}, true},
		"no group":                     {"Group", "", "*", match.User{Name: "ann"}, false},
		"account":                      {"ServiceAccount", "ci", "build-1", account, true},
		"account by wildcard":          {"ServiceAccount", "c?", "build-*", account, true},
		"account elsewhere":            {"ServiceAccount", "cd", "build-1", account, false},
		"another account":              {"ServiceAccount", "ci", "build", account, false},
		"a user who sounds like one":   {"ServiceAccount", "*", "*", match.User{Name: "ci:build-1"}, false},
		"an account is a user as well": {"User", "", "system:serviceaccount:ci:*", account, true},
		"nobody":                       {"ServiceAccount", "*", "*", match.User{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := match.CompileSubject(c.kind, c.namespace, c.name)
			if err != nil {
				t.Fatal(err)
			}
			f := match.Filter{Match: match.Block{Any: []match.Resource{{Subjects: []match.Subject{s}}}}}
			if got, err := f.Matches(&match.Attributes{User: c.u}); got != c.want || err != nil {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	if _, err := match.CompileSubject("Robot", "", "a"); err == nil {
		t.Error("a kind of subjects that there is not")
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	f := match.Filter{Match: match.Block{Any: []match.Resource{{Operations: match.Update | match.Delete}}}}
	for text, want := range map[string]bool{"CREATE": false, "UPDATE": true, "DELETE": true, "CONNECT": false, "": false, "update": false} {
		if got, err := f.Matches(&match.Attributes{Operation: match.ParseOperation(text)}); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	f := func(texts ...string) *match.Filter {
		var pairs []match.Pair
		for i := 0; i < len(texts); i += 2 {
			p, err := match.CompilePair(texts[i], texts[i+1])
			if err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, p)
		}
		return &match.Filter{Match: match.Block{Any: []match.Resource{{Annotations: pairs}}}}
	}
	a := match.Attributes{Annotations: match.Texts{"a": "b", "x.test/y": "long value", "kyverno.io/verify-images": "{}", "kyverno.io/verify-images-scoped": "{}"}}
	for name, c := range map[string]struct {
		f    *match.Filter
		want bool
	}{
		"one":            {f("a", "b"), true},
		"both":           {f("a", "b", "x.test/*", "long *"), true},
		"one is missing": {f("a", "b", "c", "*"), false},
		"own output":     {f("kyverno.io/verify-images", "*"), false},
		"by wildcard":    {f("kyverno.io/*", "*"), false},
	} {
		if got, err := c.f.Matches(&a); got != c.want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if len(a.Annotations) != 4 {
		t.Error("the object's annotations are changed")
	}
}

// T-007, VI 4.6(6): whether a filter holds is known, known not, or cannot be told; and nobody is asked in vain.
func TestNamespaceSelector(t *testing.T) {
	t.Parallel()
	prod := match.Resource{Kinds: kinds(t, "Pod"), NamespaceSelector: selector(t, map[string]string{"env": "prod*"})}
	any := func(r ...match.Resource) match.Block { return match.Block{Any: r} }
	all := func(r ...match.Resource) match.Block { return match.Block{All: r} }
	pods, jobs, web := match.Resource{Kinds: kinds(t, "Pod")}, match.Resource{Kinds: kinds(t, "Job")}, match.Resource{Names: patterns(t, "web")}
	jobsIn := match.Resource{Kinds: kinds(t, "Job"), NamespaceSelector: prod.NamespaceSelector}
	everywhere := match.Resource{NamespaceSelector: selector(t, nil)}
	for name, c := range map[string]struct {
		f match.Filter
		// in are the outcomes in a namespace of production, in another one, and where it cannot be told: + - ?
		in    string
		asked bool
	}{
		"match":                          {match.Filter{Match: any(prod)}, "+-?", true},
		"another kind needs no labels":   {match.Filter{Match: any(jobsIn)}, "---", false},
		"any, one holds anyway":          {match.Filter{Match: any(prod, pods)}, "+++", true},
		"any, none of the others":        {match.Filter{Match: any(prod, jobs)}, "+-?", true},
		"all, one does not hold":         {match.Filter{Match: all(prod, jobs)}, "---", true},
		"all, the others hold":           {match.Filter{Match: all(prod, pods)}, "+-?", true},
		"excluded":                       {match.Filter{Match: any(pods), Exclude: any(prod)}, "-+?", true},
		"excluded anyway":                {match.Filter{Match: any(pods), Exclude: any(prod, pods)}, "---", true},
		"unknown match, excluded anyway": {match.Filter{Match: any(prod), Exclude: any(pods)}, "---", true},
		"not matched, unknown exclude":   {match.Filter{Match: any(jobs), Exclude: any(prod)}, "---", false},
		"excluded by all, never":         {match.Filter{Match: any(pods), Exclude: all(prod, web)}, "+++", true},
		"any labels":                     {match.Filter{Match: any(everywhere)}, "++?", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, asked := "", false
			for _, n := range []*namespace{{labels: match.Texts{"env": "prod-eu"}}, {labels: match.Texts{"env": "test"}}, {err: errDown}} {
				held, err := c.f.Matches(&match.Attributes{Version: "v1", Kind: "Pod", Namespace: "a", Name: "p", NamespaceLabels: n})
				switch {
				case err != nil && (held || !errors.Is(err, errDown) || err.Error() != "failed to look up labels of namespace a: down"):
					t.Errorf("%v, %v", held, err)
				case err != nil:
					got += "?"
				case held:
					got += "+"
				default:
					got += "-"
				}
				asked = asked || n.asked > 0
			}
			if got != c.in || asked != c.asked {
				t.Errorf("%s, asked %v", got, asked)
			}
			if !c.f.NeedsNamespace() {
				t.Error("needs no namespace")
			}
		})
	}
	if f := (match.Filter{Match: any(pods)}); f.NeedsNamespace() {
		t.Error("needs a namespace")
	}
}

// A Namespace has its own labels, and what is in no namespace has none; nobody has to be asked for either. Without anybody
// to ask it is an error, never an absent label.
func TestWhoseLabels(t *testing.T) {
	t.Parallel()
	f := match.Filter{Match: match.Block{Any: []match.Resource{{NamespaceSelector: selector(t, map[string]string{"env": "prod"})}}}}
	without := match.Filter{Match: match.Block{Any: []match.Resource{{NamespaceSelector: selector(t, nil, expression("env", "DoesNotExist"))}}}}
	own := match.Attributes{Version: "v1", Kind: "Namespace", Name: "a", Namespace: "a", Labels: match.Texts{"env": "prod"}, NamespaceLabels: &namespace{err: errDown}}
	if got, err := f.Matches(&own); !got || err != nil {
		t.Errorf("a Namespace: %v, %v", got, err)
	}
	cluster := match.Attributes{Version: "v1", Kind: "Node", Name: "a", Labels: match.Texts{"env": "prod"}, NamespaceLabels: &namespace{err: errDown}}
	if got, err := f.Matches(&cluster); got || err != nil {
		t.Errorf("in no namespace: %v, %v", got, err)
	}
	if got, err := without.Matches(&cluster); !got || err != nil {
		t.Errorf("in no namespace, without the label: %v, %v", got, err)
	}
	if got, err := f.Matches(&match.Attributes{Version: "v1", Kind: "Pod", Namespace: "a"}); got || err == nil {
		t.Errorf("nobody to ask: %v, %v", got, err)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		metadata any
		ok       bool
	}{
		"none":                 {nil, true},
		"empty":                {map[string]any{}, true},
		"null":                 {map[string]any{"labels": nil, "annotations": nil}, true},
		"labels":               {map[string]any{"labels": map[string]any{"a": "b"}}, true},
		"a list":               {[]any{}, false},
		"labels are a text":    {map[string]any{"labels": "a"}, false},
		"a label is a number":  {map[string]any{"labels": map[string]any{"a": int64(1)}}, false},
		"annotations are null": {map[string]any{"annotations": map[string]any{"a": nil}}, false},
	} {
		a := match.Attributes{Labels: match.Texts{"old": "x"}, Annotations: match.Texts{"old": "x"}}
		if err := a.Describe(map[string]any{"metadata": c.metadata}); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if a.Labels.Has("old") || a.Annotations.Has("old") {
			t.Errorf("%s: texts of another object", name)
		}
	}
}

// What uses none of the optional fields costs no memory.
func TestMatchesAllocatesNothing(t *testing.T) {
	f := match.Filter{
		Match:   match.Block{Any: []match.Resource{{Kinds: kinds(t, "Pod"), Namespaces: patterns(t, "prod-*"), Selector: selector(t, map[string]string{"a": "b"}, expression("c", "DoesNotExist"))}}},
		Exclude: match.Block{All: []match.Resource{{Names: patterns(t, "x*"), Operations: match.Update}}},
	}
	a := match.Attributes{Version: "v1", Kind: "Pod", Namespace: "prod-1", Name: "web", Labels: match.Texts{"a": "b"}, Operation: match.Create}
	if n := testing.AllocsPerRun(100, func() {
		if ok, err := f.Matches(&a); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
