package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestValuePaths takes paths apart.
func TestValuePaths(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"request.operation":                    "request|operation",
		`dictionary.data."a.b/c".d`:            "dictionary|data|a.b/c|d",
		`"a b"`:                                "a b",
		"a":                                    "a",
		"a..b":                                 "",
		".a":                                   "",
		"a.":                                   "",
		"":                                     "",
		"a[0]":                                 "",
		`"a`:                                   "",
		`"a"b`:                                 "",
		"request.object.spec.containers[0].x":  "",
		`request.object.metadata.labels."a/b"`: "request|object|metadata|labels|a/b",
	} {
		got, err := valuePath(in)
		if d := cmp.Diff(want, strings.Join(got, "|")); d != "" || (err != nil) != (want == "") {
			t.Errorf("%q: %v %s", in, err, d)
		}
	}
}

// TestValuesFiles refuses what a file of values says without effect, with its place.
func TestValuesFiles(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: cli.kyverno.io/v1alpha1\nkind: Values\n"
	for name, c := range map[string]struct{ text, want string }{
		"unknown":           {head + "global: {}\n", `unknown field "global"`},
		"unknown deep":      {head + "policies: [{name: p, rules: [{name: r, value: {}}]}]\n", `unknown field "policies[0].rules[0].value"`},
		"another kind":      {"kind: Value\n", "Values of cli.kyverno.io/v1alpha1 is expected"},
		"two":               {head + "---\n" + head, "more than one document"},
		"foreach":           {head + "policies: [{name: p, rules: [{name: r, foreachValues: {x: [a]}}]}]\n", "policies[0].rules[0].foreachValues: rules that verify images have no foreach"},
		"no name":           {head + "policies: [{resources: []}]\n", "policies[0].name is missing"},
		"namespaces":        {head + "namespaces: [{}]\n", "namespaces is not read"},
		"one twice":         {head + "namespaceSelector: [{name: a, labels: {}}, {name: a, labels: {}}]\n", "namespaceSelector[1].name: every namespace is named once"},
		"subresource":       {head + "subresources: [{subresource: {name: scale, kind: Scale}, parentResource: {kind: Deployment}}]\n", "subresources[0]: a subresource with a kind"},
		"delete":            {head + "globalValues: {request.operation: DELETE}\n", "globalValues.request.operation: images are judged when something is created or updated"},
		"images":            {head + "globalValues: {images.containers: x}\n", "globalValues.images.containers: the images are those of the resource"},
		"account":           {head + "globalValues: {serviceAccountName: x}\n", "it follows from request.userInfo.username"},
		"no field":          {head + "globalValues: {request.mode: dev}\n", "globalValues.request.mode: a request has no such field"},
		"all":               {head + "globalValues: {request: {}}\n", "set fields of the request"},
		"subresource field": {head + "globalValues: {request.subResource: x}\n", "it follows from subresources"},
		"kind":              {head + "globalValues: {request.kind.kind: x}\n", "it follows from the resource"},
		"of a rule":         {head + "policies: [{name: p, rules: [{name: r, values: {request.operation: UPDATE}}]}]\n", "policies[0].rules[0].values.request.operation: rules of a policy see the same request"},
		"roles":             {head + "globalValues: {request.roles: x}\n", "a list of texts is expected"},
		"user":              {head + "globalValues: {request.userInfo: {}}\n", "set its fields"},
		"name of a user":    {head + "globalValues: {request.userInfo.username: 1}\n", "a text is expected"},
		"below a name":      {head + "globalValues: {request.userInfo.username.x: a}\n", "it has no fields"},
		"below a namespace": {head + "globalValues: {request.namespace.x: a}\n", "it has no fields"},
		"no object":         {head + "globalValues: {request.object: a}\n", "an object is expected"},
		"same":              {head + "globalValues: {a.b: x, a.b.c: y}\n", "globalValues.a.b and globalValues.a.b.c say the same"},
		"path":              {head + "globalValues: {'a[0]': x}\n", "globalValues.a[0]: names with dots"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readValues(file(t, "values.yaml", c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	for _, list := range [][]string{{"a"}, {"=x"}, {"a=1", "a=2"}, {"request.mode=x"}, {"a=1", "a.b=2"}} {
		if _, err := readSet(list); err == nil || !strings.Contains(err.Error(), "--set") {
			t.Errorf("%v: %v", list, err)
		}
	}
}

// conditional is a policy, a rule of which judges images only if a precondition holds.
func conditional(t testing.TB, kinds, context, more, key, value string) string {
	t.Helper()
	return fmt.Sprintf(`apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: p}
spec:
  background: false
  rules:
  - name: r
    match: {any: [{resources: {kinds: [%s]%s}}]}
    context: [%s]
    preconditions: {all: [{key: %q, operator: Equals, value: %s}]}
    verifyImages:
    - %s
`, kinds, more, context, key, value, strings.TrimSpace(entry(t, "ghcr.io/acme/*", "")))
}

// TestValues plays what values do: a precondition that holds makes the images be judged (pass), and else the rule is
// skipped; a variable without a value is an error.
func TestValues(t *testing.T) {
	t.Parallel()
	s := stocked(t, "acme/key-notlog-v3-bundle")
	mirrors := t.TempDir()
	s.WriteHostsToml(mirrors, "ghcr.io")
	const head = "apiVersion: cli.kyverno.io/v1alpha1\nkind: Values\n"
	const configMap = "{name: dictionary, configMap: {name: m, namespace: default}}"
	const apiCall = "{name: answer, apiCall: {urlPath: /api/v1/namespaces, jmesPath: 'length(items)'}}"
	const variable = "{name: v, variable: {value: policy}}"
	const registry = "{name: data, imageRegistry: {reference: '" + signed + "'}}"
	for name, c := range map[string]struct {
		policy, values string
		args           []string
		want           string // the line of counts
		stderr         string
	}{
		"no value":           {conditional(t, "Pod", configMap, "", "{{ dictionary.data.env }}", "dev"), "", nil, "error: 2, skip: 0", "exit as there are policy errors\n"},
		"config map by rule": {conditional(t, "Pod", configMap, "", "{{ dictionary.data.env }}", "dev"), head + "policies: [{name: p, rules: [{name: r, values: {dictionary.data.env: dev}}]}]\n", nil, "pass: 2", ""},
		"another value":      {conditional(t, "Pod", configMap, "", "{{ dictionary.data.env }}", "dev"), head + "policies: [{name: p, rules: [{name: r, values: {dictionary.data.env: prod}}]}]\n", nil, "skip: 2", ""},
		"another key":        {conditional(t, "Pod", configMap, "", "{{ dictionary.data.env }}", "dev"), head + "globalValues: {dictionary.data.other: prod}\n", nil, "error: 2, skip: 0", "exit as there are policy errors\n"},
		"resource wins": {conditional(t, "Pod", configMap, "", "{{ dictionary.data.env }}", "dev"), head +
			"policies: [{name: p, rules: [{name: r, values: {dictionary.data.env: a}}], resources: [{name: good, values: {dictionary.data.env: dev}}, {name: x, values: {dictionary.data.env: c}}]}]\nglobalValues: {dictionary.data.env: b}\n", nil,
			"pass: 2", "warning: policies[0].resources[1].values.dictionary.data.env: no policy here reads it\n"},
		"the whole":         {conditional(t, "Pod", apiCall, "", "{{ answer }}", "3"), head + "globalValues: {answer: 3}\n", nil, "pass: 2", ""},
		"global context":    {conditional(t, "Pod", "{name: count, globalReference: {name: pods, jmesPath: 'length(@)'}}", "", "{{ count }}", "3"), head + "globalValues: {count: 3}\n", nil, "pass: 2", ""},
		"no global context": {conditional(t, "Pod", "{name: count, globalReference: {name: pods, jmesPath: 'length(@)'}}", "", "{{ count }}", "3"), "", nil, "error: 2, skip: 0", "exit as there are policy errors\n"},
		"set":               {conditional(t, "Pod", configMap, "", "{{ dictionary.data.env }}", "dev"), "", []string{"--set", "dictionary.data.env=dev,dictionary.data.x=y"}, "pass: 2", ""},
		"set and file":      {conditional(t, "Pod", configMap, "", "{{ dictionary.data.env }}", "dev"), head, []string{"--set", "a=b"}, "", "signet apply: values come from --set or from --values-file, not from both (see signet apply --help)\n"},
		"variable":          {conditional(t, "Pod", variable, "", "{{ v }}", "told"), head + "globalValues: {v: told}\n", nil, "pass: 2", ""},
		"registry told":     {conditional(t, "Pod", registry, "", "{{ data.registry }}", "quay.io"), head + "globalValues: {data.registry: quay.io}\n", nil, "pass: 2", ""},
		"registry asked":    {conditional(t, "Pod", registry, "", "{{ data.registry }}", "quay.io"), head + "globalValues: {data.registry: quay.io}\n", []string{"--registry"}, "skip: 2", "warning: globalValues.data.registry: no policy here reads it\n"},
		"of another policy": {conditional(t, "Pod", variable, "", "{{ v }}", "policy"), head + "policies: [{name: q, rules: [{name: r, values: {v: told}}]}]\n", nil, "pass: 2", "warning: policies[0].rules[0].values.v: no policy here reads it\n"},
		"operation":         {conditional(t, "Pod", "", "", "{{ request.operation }}", "UPDATE"), head + "globalValues: {request.operation: UPDATE}\n", nil, "pass: 2", ""},
		"operation usual":   {conditional(t, "Pod", "", "", "{{ request.operation }}", "CREATE"), "", nil, "pass: 2", ""},
		"operation matched": {conditional(t, "Pod", "", ", operations: [UPDATE]", "a", "a"), head + "globalValues: {request.operation: UPDATE}\n", nil, "pass: 2", ""},
		"operation not":     {conditional(t, "Pod", "", ", operations: [UPDATE]", "a", "a"), "", nil, "pass: 0, fail: 0, warn: 0, error: 0, skip: 0", ""},
		"object":            {conditional(t, "Pod", "", "", "{{ request.object.metadata.labels.a }}{{ request.object.metadata.name }}", "bgood"), head + "globalValues: {request.object.metadata.labels.a: b}\n", nil, "pass: 2", ""},
		"namespace":         {conditional(t, "Pod", "", "", "{{ request.namespace }}", "x"), head + "globalValues: {request.namespace: x}\n", nil, "pass: 2", ""},
		"user":              {conditional(t, "Pod", "", "", "{{ request.userInfo.username }} {{ serviceAccountName }}", "'system:serviceaccount:a:b b'"), head + "globalValues: {'request.userInfo.username': 'system:serviceaccount:a:b'}\n", nil, "pass: 2", ""},
		"roles":             {strings.Replace(conditional(t, "Pod", "", "", "{{ request.clusterRoles[0] }}", "admin"), "[Pod]}}]", "[Pod]}, clusterRoles: [admin]}]", 1), head + "globalValues: {request.clusterRoles: [admin]}\n", nil, "pass: 2", ""},
		"other roles":       {strings.Replace(conditional(t, "Pod", "", "", "a", "a"), "[Pod]}}]", "[Pod]}, clusterRoles: [admin]}]", 1), head + "globalValues: {request.clusterRoles: [view]}\n", nil, "pass: 0, fail: 0, warn: 0, error: 0, skip: 0", ""},
		"labels":            {conditional(t, "Pod", "", ", namespaceSelector: {matchLabels: {a: b}}", "a", "a"), head + "namespaceSelector: [{name: default, labels: {a: b}}]\n", nil, "pass: 2", ""},
		"other labels":      {conditional(t, "Pod", "", ", namespaceSelector: {matchLabels: {a: b}}", "a", "a"), head + "namespaceSelector: [{name: default, labels: {a: c}}]\n", nil, "pass: 0, fail: 0, warn: 0, error: 0", ""},
		"no labels":         {conditional(t, "Pod", "", ", namespaceSelector: {matchLabels: {a: b}}", "a", "a"), "", nil, "error: ", "exit as there are policy errors\n"},
		"subresource":       {conditional(t, "Pod/ephemeralcontainers", "", "", "{{ request.subResource }}", "ephemeralcontainers"), head + "subresources: [{subresource: {name: pods/ephemeralcontainers, kind: Pod, version: v1}, parentResource: {name: pods, kind: Pod, version: v1}}]\n", nil, "pass: 2", ""},
		"no subresource":    {conditional(t, "Pod/ephemeralcontainers", "", "", "a", "a"), "", nil, "pass: 0, fail: 0, warn: 0, error: 0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"apply", "--registry-config-dir", mirrors, file(t, "p.yaml", c.policy), "-r", file(t, "r.yaml", podOf("good", signed))}, c.args...)
			if c.values != "" {
				args = append(args, "-f", file(t, "values.yaml", c.values))
			}
			got := call(t, args...)
			if !strings.Contains(got.stdout, c.want) || got.stderr != c.stderr {
				t.Errorf("exit %d\n%s%s", got.exit, got.stdout, got.stderr)
			}
		})
	}
}
