package cli

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// testDir is a directory with files, the first of which may be a test.
func testDir(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	testHead = "apiVersion: cli.kyverno.io/v1alpha1\nkind: Test\nmetadata: {name: t}\npolicies: [policy.yaml]\nresources: [pods.yaml]\n"
	signed   = "ghcr.io/acme/key-notlog-v3-bundle:v1"
	unsigned = "ghcr.io/acme/unsigned:v1"
)

// testFilesOf are the files of a test of a signed and an unsigned Pod and a Deployment, with results and more fields.
func testFilesOf(t *testing.T, more, results string) map[string]string {
	t.Helper()
	return map[string]string{
		"kyverno-test.yaml": testHead + more + "results:\n" + results,
		"policy.yaml":       policyOf(t, "signed", "Enforce", trustFile("trust/cosign.pub"), "background: false"),
		"pods.yaml": podOf("good", signed) + "---\n" + podOf("bad", unsigned) + "---\n" +
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: good, namespace: prod}\nspec: {template: {spec: {containers: [{name: c, image: " + signed + "}]}}}\n---\n" +
			"apiVersion: v1\nkind: Pod\nmetadata: {name: other}\nspec: {containers: [{name: c, image: quay.io/other/image:v1}]}\n",
	}
}

// VI 10.2: what is printed, word for word, and the exit codes.
func TestTest(t *testing.T) {
	t.Parallel()
	registry := stocked(t, "acme/key-notlog-v3-bundle", "acme/unsigned")
	mirrors := t.TempDir()
	registry.WriteHostsToml(mirrors, "ghcr.io")
	const all = `
- {policy: signed, rule: check, kind: Pod, resources: [good], result: pass}
- {policy: signed, rule: check, kind: Pod, resources: [default/bad], result: fail}
- {policy: signed, rule: check, kind: Deployment, resources: [prod/good], result: pass}
- {policy: signed, rule: check, kind: Pod, resources: [other], result: skip}
`
	const loading = "Loading test  ( FILE ) ...\n  Loading values/variables ...\n  Loading policies ...\n  Loading resources ...\n  Loading exceptions ...\n" +
		"  Applying 1 policy to 4 resources with 0 exceptions ...\n  Checking results ...\n\n"
	for name, c := range map[string]struct {
		results        string
		args           []string
		exit           int
		stdout, stderr string
	}{
		"all as expected": {all, nil, 0, loading + `│────│────────│───────│──────────────────────────────│────────│──────────│
│ ID │ POLICY │ RULE  │ RESOURCE                     │ RESULT │ REASON   │
│────│────────│───────│──────────────────────────────│────────│──────────│
│ 1  │ signed │ check │ v1/Pod/default/good          │ Pass   │ Ok       │
│ 2  │ signed │ check │ v1/Pod/default/bad           │ Pass   │ Ok       │
│ 3  │ signed │ check │ apps/v1/Deployment/prod/good │ Pass   │ Ok       │
│ 4  │ signed │ check │ v1/Pod/default/other         │ Pass   │ Excluded │
│────│────────│───────│──────────────────────────────│────────│──────────│


Test Summary: 4 tests passed and 0 tests failed
`, ""},
		"one is not": {strings.Replace(all, "[default/bad], result: fail", "[default/bad], result: pass", 1), []string{"--fail-only"}, 1, loading + `│────│────────│───────│────────────────────│────────│─────────────────────│
│ ID │ POLICY │ RULE  │ RESOURCE           │ RESULT │ REASON              │
│────│────────│───────│────────────────────│────────│─────────────────────│
│ 1  │ signed │ check │ v1/Pod/default/bad │ Fail   │ Want pass, got fail │
│────│────────│───────│────────────────────│────────│─────────────────────│


Test Summary: 3 tests passed and 1 tests failed
`, "1 tests failed\n"},
		"details": {"- {policy: signed, rule: check, kind: Deployment, resources: [good], result: skip}\n", []string{"--detailed-results"}, 1, loading + `│────│────────│───────│──────────────────────────────│────────│─────────────────────│────────────────────────────────────────────────────────────────────────────────────│
│ ID │ POLICY │ RULE  │ RESOURCE                     │ RESULT │ REASON              │ MESSAGE                                                                            │
│────│────────│───────│──────────────────────────────│────────│─────────────────────│────────────────────────────────────────────────────────────────────────────────────│
│ 1  │ signed │ check │ apps/v1/Deployment/prod/good │ Fail   │ Want skip, got pass │ verified image signatures for ghcr.io/acme/key-notlog-v3-bundle:v1; image verified │
│────│────────│───────│──────────────────────────────│────────│─────────────────────│────────────────────────────────────────────────────────────────────────────────────│


Test Summary: 0 tests passed and 1 tests failed
`, "1 tests failed\n"},
		"selected": {all, []string{"-t", "policy=sig*, rule=check, resource=bad"}, 0, loading + `│────│────────│───────│────────────────────│────────│────────│
│ ID │ POLICY │ RULE  │ RESOURCE           │ RESULT │ REASON │
│────│────────│───────│────────────────────│────────│────────│
│ 1  │ signed │ check │ v1/Pod/default/bad │ Pass   │ Ok     │
│────│────────│───────│────────────────────│────────│────────│


Test Summary: 1 tests passed and 0 tests failed
`, ""},
		"none selected": {all, []string{"-t", "policy=none"}, 0, "Loading test  ( FILE ) ...\n\n\nTest Summary: 0 tests passed and 0 tests failed\n", "warning: no test was run\n"},
		"some required": {all, []string{"-t", "policy=none", "--require-tests"}, 1, "Loading test  ( FILE ) ...\n\n\nTest Summary: 0 tests passed and 0 tests failed\n", "no tests found\n"},
		"another name":  {all, []string{"-f", "test.yaml"}, 0, "\nTest Summary: 0 tests passed and 0 tests failed\n", "No test yamls available\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := testDir(t, testFilesOf(t, "", c.results))
			got := call(t, append([]string{"test", dir, "--registry-config-dir", mirrors}, c.args...)...)
			if d := cmp.Diff(c.stdout, strings.ReplaceAll(got.stdout, filepath.Join(dir, "kyverno-test.yaml"), "FILE")); d != "" {
				t.Error(d)
			}
			if got.exit != c.exit || got.stderr != c.stderr {
				t.Errorf("exit %d, want %d, stderr %q", got.exit, c.exit, got.stderr)
			}
		})
	}
}

// VI 10.2(2): what makes a row pass and fail.
func TestTestRows(t *testing.T) {
	t.Parallel()
	registry := stocked(t, "acme/key-notlog-v3-bundle", "acme/unsigned")
	mirrors := t.TempDir()
	registry.WriteHostsToml(mirrors, "ghcr.io")
	gone := stocked(t)
	gone.WriteHostsToml(mirrors, "quay.io")
	gone.Close()
	pinned := call(t, "apply", "--registry-config-dir", mirrors, file(t, "p.yaml", policyOf(t, "signed", "Enforce", trustFile("trust/cosign.pub"), "background: false")),
		"-r", file(t, "r.yaml", podOf("good", signed)), "--stdin")
	if pinned.exit != 0 || !strings.HasPrefix(pinned.stdout, "apiVersion: v1\nkind: Pod\n") || !strings.Contains(pinned.stdout, "@sha256:") {
		t.Fatalf("%+v", pinned)
	}
	policies := map[string]string{
		"unscored.yaml": strings.Replace(policyOf(t, "unscored", "Enforce", trustFile("trust/cosign.pub"), "background: false"), "{name: unscored}", `{name: unscored, annotations: {policies.kyverno.io/scored: "false"}}`, 1),
		"local.yaml":    strings.Replace(strings.Replace(policyOf(t, "local", "Enforce", trustFile("trust/cosign.pub"), "background: false"), "ClusterPolicy", "Policy", 1), "{name: local}", "{name: local, namespace: prod}", 1),
		"down.yaml":     strings.Replace(policyOf(t, "down", "Enforce", trustFile("trust/cosign.pub"), "background: false"), "ghcr.io/acme/*", "quay.io/*", 1),
		"expected.yaml": pinned.stdout,
		"plain.yaml":    podOf("good", signed),
		"except.yaml":   "apiVersion: kyverno.io/v2\nkind: PolicyException\nmetadata: {name: x, namespace: default}\nspec:\n  match: {any: [{resources: {kinds: [Pod], names: [bad]}}]}\n  exceptions: [{policyName: signed, ruleNames: [check]}]\n",
	}
	for name, c := range map[string]struct{ more, results, want string }{
		"no rule":               {"", "- {policy: signed, rule: chek, kind: Pod, resources: [bad], result: fail}", "1 signed/chek bad Fail Rule not found"},
		"no policy":             {"", "- {policy: sign, rule: check, kind: Pod, resources: [bad, good], result: fail}", "1 sign/check bad Fail Policy not found\n2 sign/check good Fail Policy not found"},
		"no resource":           {"", "- {policy: signed, rule: check, kind: Pod, resources: [bat], result: fail}", "1 signed/check bat Fail Resource not found"},
		"another kind":          {"", "- {policy: signed, rule: check, kind: Job, resources: [bad], result: fail}", "1 signed/check bad Fail Resource not found"},
		"another namespace":     {"", "- {policy: signed, rule: check, kind: Pod, resources: [prod/bad], result: fail}", "1 signed/check prod/bad Fail Resource not found"},
		"not judged":            {"", "- {policy: signed, rule: check, kind: Pod, resources: [other], result: fail}", "1 signed/check v1/Pod/default/other Fail Want fail, got excluded"},
		"not judged, pass":      {"", "- {policy: signed, rule: check, kind: Pod, resources: [other], result: pass}", "1 signed/check v1/Pod/default/other Fail Want pass, got excluded"},
		"all of them":           {"", "- {policy: signed, rule: check, result: pass}", "1 signed/check v1/Pod/default/good Pass Ok\n2 signed/check v1/Pod/default/bad Fail Want pass, got fail\n3 signed/check apps/v1/Deployment/prod/good Pass Ok"},
		"all of a kind":         {"", "- {policy: signed, rule: check, kind: Deployment, result: pass}", "1 signed/check apps/v1/Deployment/prod/good Pass Ok"},
		"none of a kind":        {"", "- {policy: signed, rule: check, kind: Job, result: pass}", "1 signed/check  Fail Resource not found"},
		"none of a kind, skip":  {"", "- {policy: signed, rule: check, kind: Job, result: skip}", "1 signed/check  Pass Excluded"},
		"the generated name":    {"", "- {policy: signed, rule: autogen-check, kind: Deployment, result: pass}", "1 signed/autogen-check apps/v1/Deployment/prod/good Pass Ok"},
		"in parts":              {"", "- {policy: signed, rule: check, resourceSpecs: [{group: apps, version: v1, kind: Deployment, namespace: prod, name: good}], result: pass}", "1 signed/check apps/v1/Deployment/prod/good Pass Ok"},
		"in parts, two words":   {"", "- {policy: signed, rule: check, resources: [good], result: pass}", "1 signed/check v1/Pod/default/good Pass Ok\n2 signed/check apps/v1/Deployment/prod/good Pass Ok"},
		"exception":             {"exceptions: [except.yaml]\n", "- {policy: signed, rule: check, kind: Pod, resources: [bad], result: skip}", "1 signed/check v1/Pod/default/bad Pass Ok"},
		"warn":                  {"policies: [policy.yaml, unscored.yaml]\n", "- {policy: unscored, rule: check, kind: Pod, resources: [bad], result: warn}", "1 unscored/check v1/Pod/default/bad Pass Ok"},
		"a Policy":              {"policies: [local.yaml]\n", "- {policy: prod/local, rule: check, kind: Deployment, result: pass}", "1 prod/local/check apps/v1/Deployment/prod/good Pass Ok"},
		"as stored":             {"", "- {policy: signed, rule: check, kind: Pod, resources: [good], result: pass, patchedResources: expected.yaml}", "1 signed/check v1/Pod/default/good Pass Ok"},
		"not as stored":         {"", "- {policy: signed, rule: check, kind: Pod, resources: [good], result: pass, patchedResources: plain.yaml}", "1 signed/check v1/Pod/default/good Fail Patched resource differs at /metadata/annotations"},
		"nothing to compare":    {"", "- {policy: signed, rule: check, kind: Deployment, result: pass, patchedResources: plain.yaml}", "1 signed/check apps/v1/Deployment/prod/good Fail Patched resource not found"},
		"could not be checked":  {"policies: [down.yaml]\n", "- {policy: down, rule: check, kind: Pod, resources: [other], result: error}", "1 down/check v1/Pod/default/other Pass Ok"},
		"error is no violation": {"policies: [down.yaml]\n", "- {policy: down, rule: check, kind: Pod, resources: [other], result: fail}", "1 down/check v1/Pod/default/other Fail Want fail, got error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := testFilesOf(t, c.more, c.results+"\n")
			if strings.HasPrefix(c.more, "policies:") {
				files["kyverno-test.yaml"] = strings.Replace(files["kyverno-test.yaml"], "policies: [policy.yaml]\n", "", 1)
			}
			for name, text := range policies {
				files[name] = text
			}
			got := call(t, "test", testDir(t, files), "--registry-config-dir", mirrors, "-o", "json", "--timeout", "2s")
			var rows []shownRow
			if err := json.Unmarshal([]byte(got.stdout), &rows); err != nil {
				t.Fatalf("%v\n%s%s", err, got.stdout, got.stderr)
			}
			var lines []string
			failed := 0
			for _, r := range rows {
				lines = append(lines, fmt.Sprintf("%d %s/%s %s %s %s", r.ID, r.Policy, r.Rule, r.Resource, r.Result, r.Reason))
				if r.Result == "Fail" {
					failed = 1
				}
			}
			if d := cmp.Diff(c.want, strings.Join(lines, "\n")); d != "" || got.exit != failed {
				t.Errorf("exit %d %s%s", got.exit, d, got.stderr)
			}
		})
	}
}

// TestTestFormats reads what --output-format prints: one document on standard output, also when a file cannot be run.
func TestTestFormats(t *testing.T) {
	t.Parallel()
	registry := stocked(t, "acme/key-notlog-v3-bundle", "acme/unsigned")
	mirrors := t.TempDir()
	registry.WriteHostsToml(mirrors, "ghcr.io")
	files := testFilesOf(t, "", "- {policy: signed, rule: check, kind: Pod, resources: [good, bad], result: pass}\n")
	files["z/kyverno-test.yaml"] = "nonsense: true\n"
	dir := testDir(t, files)
	run := func(format string) string {
		got := call(t, "test", dir, "--registry-config-dir", mirrors, "-o", format, "--detailed-results")
		if got.exit != 1 || !strings.HasSuffix(got.stderr, "\nTest Summary: 1 tests passed and 2 tests failed\n2 tests failed\n") || !strings.Contains(got.stderr, "Loading test  ( ") {
			t.Errorf("exit %d %s", got.exit, got.stderr)
		}
		return strings.ReplaceAll(got.stdout, dir, "DIR")
	}
	var rows []shownRow
	if err := yaml.UnmarshalStrict([]byte(run("yaml")), &rows); err != nil {
		t.Fatal(err)
	}
	want := []shownRow{
		{1, "signed", "check", "v1/Pod/default/good", "Pass", "Ok", "verified image signatures for " + signed + "; image verified"},
		{2, "signed", "check", "v1/Pod/default/bad", "Fail", "Want pass, got fail", "failed to verify image " + unsigned + ": .attestors[0].entries[0].keys: no signatures found; missing digest for " + unsigned + "; unverified image " + unsigned},
		{3, "", "", "DIR/z/kyverno-test.yaml", "Fail", `unknown field "nonsense"`, ""},
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Error(d)
	}
	markdown := "| ID | POLICY | RULE | RESOURCE | RESULT | REASON | MESSAGE |\n| --- | --- | --- | --- | --- | --- | --- |\n" +
		"| 1 | signed | check | v1/Pod/default/good | Pass | Ok | " + want[0].Message + " |\n" +
		"| 2 | signed | check | v1/Pod/default/bad | Fail | Want pass, got fail | " + strings.ReplaceAll(want[1].Message, "[", `\[`) + " |\n" +
		"| 3 |  |  | DIR/z/kyverno-test.yaml | Fail | unknown field \"nonsense\" |  |\n"
	if d := cmp.Diff(markdown, run("markdown")); d != "" {
		t.Error(d)
	}
	var d junitDocument
	if err := xml.Unmarshal([]byte(run("junit")), &d); err != nil {
		t.Fatal(err)
	}
	d.XMLName = xml.Name{}
	if diff := cmp.Diff(junitDocument{Tests: 3, Failures: 2, Suites: []junitSuite{
		{Name: "DIR/kyverno-test.yaml", Tests: 2, Failures: 1, Cases: []junitCase{
			{Class: "signed/check", Name: "v1/Pod/default/good", Output: want[0].Message},
			{Class: "signed/check", Name: "v1/Pod/default/bad", Failure: &junitFailure{want[1].Reason, want[1].Message}},
		}},
		{Name: "DIR/z/kyverno-test.yaml", Tests: 1, Failures: 1, Cases: []junitCase{
			{Name: "DIR/z/kyverno-test.yaml", Failure: &junitFailure{Message: want[2].Reason}},
		}},
	}}, d); diff != "" {
		t.Error(diff)
	}
}

// TestTestFiles refuses what a file of tests says and is not evaluated, with its place.
func TestTestFiles(t *testing.T) {
	t.Parallel()
	const row = "- {policy: signed, rule: check, kind: Pod, resources: [good], result: pass"
	for name, c := range map[string]struct {
		more, results, want string
		files               map[string]string
	}{
		"unknown":            {"nonsense: 1\n", row + "}", `unknown field "nonsense"`, nil},
		"unknown in a row":   {"", row + ", policies: x}", `unknown field "results[0].policies"`, nil},
		"twice":              {"kind: Test\n", row + "}", "already", nil},
		"targets":            {"targetResources: [x]\n", row + "}", "targetResources is not supported: it concerns mutate rules", nil},
		"checks":             {"checks: [{}]\n", row + "}", "checks is not supported", nil},
		"attestations":       {"attestations: [{image: x}]\n", row + "}", "never taken from a file", nil},
		"admission policy":   {"", row + ", isValidatingAdmissionPolicy: true}", "results[0].isValidatingAdmissionPolicy is not supported: admission policies of Kubernetes are not evaluated", nil},
		"generate":           {"", row + ", generatedResource: x.yaml}", "results[0].generatedResource is not supported", nil},
		"old field":          {"", "- {policy: p, rule: r, resource: x, status: pass}", "results[0].resource is not supported: the field is resources, a list\nresults[0].status is not supported: the field is result", nil},
		"no result":          {"", "- {policy: p, rule: r, resources: [x]}", `results[0].result "": pass, fail, skip, warn or error is expected`, nil},
		"no rule":            {"", "- {policy: p, resources: [x], result: pass}", "results[0].rule is missing", nil},
		"no name":            {"", "- {policy: p, rule: r, resources: [''], resourceSpecs: [{}], result: pass}", "results[0].resourceSpecs[0].name is missing\nresults[0].resources[0] is empty", nil},
		"no rows":            {"", "  []", "results is missing", nil},
		"values twice":       {"variables: v.yaml\nvalues: {globalValues: {request.operation: UPDATE}}\n", row + "}", "not in both", nil},
		"values of its own":  {"values: {globalValues: {request.operation: DELETE}}\n", row + "}", "values.globalValues.request.operation: images are judged", nil},
		"absent file":        {"userinfo: none.yaml\n", row + "}", "none.yaml", nil},
		"standard input":     {"exceptions: ['-']\n", row + "}", `exceptions: "-": the path of a file is expected`, nil},
		"a URL":              {"exceptions: ['https://a/b']\n", row + "}", "the path of a file is expected", nil},
		"no patched":         {"", row + ", patchedResources: none.yaml}", "results[0].patchedResources: ", nil},
		"another kind":       {"", "", "Test of cli.kyverno.io/v1alpha1 is expected", map[string]string{"kyverno-test.yaml": "apiVersion: cli.kyverno.io/v1alpha1\nkind: Values\npolicies: [a]\nresources: [b]\nresults: [{policy: p, rule: r, result: pass}]\n"}},
		"empty":              {"", "", "the file is empty", map[string]string{"kyverno-test.yaml": "# nothing\n"}},
		"two documents":      {"", "", "more than one document", map[string]string{"kyverno-test.yaml": testHead + "results: [{policy: p, rule: r, result: pass}]\n---\n" + testHead}},
		"a list":             {"", "", "cannot unmarshal", map[string]string{"kyverno-test.yaml": "[]\n"}},
		"refused policy":     {"", row + "}", "policies that an API server would refuse:", map[string]string{"policy.yaml": "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: signed}\nspec: {rules: [{name: check, match: {any: [{resources: {kinds: [Pod]}}]}, mutate: {patchesJson6902: x}}]}\n"}},
		"no policy in there": {"", row + "}", "no ClusterPolicy and no Policy", map[string]string{"policy.yaml": "kind: ConfigMap\napiVersion: v1\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := testFilesOf(t, c.more, c.results+"\n")
			for name, text := range c.files {
				files[name] = text
			}
			got := call(t, "test", testDir(t, files))
			if got.exit != 1 || !strings.Contains(got.stderr, c.want) || !strings.HasSuffix(got.stderr, "\n1 tests failed\n") {
				t.Errorf("exit %d %s", got.exit, got.stderr)
			}
			if !strings.HasSuffix(got.stdout, "\nTest Summary: 0 tests passed and 1 tests failed\n") {
				t.Error(got.stdout)
			}
		})
	}
	for _, args := range [][]string{{}, {"none"}, {"-o", "xml", "."}, {"-t", "x=y", "."}, {"-t", "policy=a,policy=b", "."}, {"-f", "../x", "."}, {"--timeout", "0s", "."}, {"--bad", "."}} {
		if got := call(t, append([]string{"test"}, args...)...); got.exit != 1 || got.stderr == "" || got.stdout != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := call(t, "test", "--help"); got.exit != 0 || !strings.Contains(got.stdout, "--test-case-selector") {
		t.Errorf("%+v", got)
	}
}

// TestTestValues plays tests that say what the request and the cluster are.
func TestTestValues(t *testing.T) {
	t.Parallel()
	registry := stocked(t, "acme/key-notlog-v3-bundle")
	mirrors := t.TempDir()
	registry.WriteHostsToml(mirrors, "ghcr.io")
	files := map[string]string{
		"policy.yaml": conditional(t, "Pod", "{name: dictionary, configMap: {name: m, namespace: default}}", ", operations: [UPDATE]",
			"{{ dictionary.data.env }} {{ request.userInfo.username }}", "dev jane"),
		"pods.yaml":   podOf("good", signed) + "---\n" + podOf("other", signed),
		"values.yaml": "globalValues: {dictionary.data.env: dev, request.operation: UPDATE}\npolicies: [{name: p, resources: [{name: other, values: {dictionary.data.env: prod}}]}]\n",
		"user.yaml":   "apiVersion: cli.kyverno.io/v1alpha1\nkind: UserInfo\nuserInfo: {username: jane}\n",
		"other.yaml":  "kind: Values\n",
	}
	const rows = "results:\n- {policy: p, rule: r, kind: Pod, resources: [good], result: pass}\n- {policy: p, rule: r, kind: Pod, resources: [other], result: skip}\n"
	for name, c := range map[string]struct{ more, want string }{
		"files":      {"variables: values.yaml\nuserinfo: user.yaml\n", "Test Summary: 2 tests passed and 0 tests failed\n"},
		"in place":   {"values: {globalValues: {dictionary.data.env: dev, request.operation: UPDATE}, policies: [{name: p, resources: [{name: default/other, values: {dictionary.data.env: prod}}]}]}\nuserinfo: user.yaml\n", "Test Summary: 2 tests passed and 0 tests failed\n"},
		"no user":    {"variables: values.yaml\n", "Test Summary: 1 tests passed and 1 tests failed\n"},
		"no values":  {"userinfo: user.yaml\n", "Test Summary: 1 tests passed and 1 tests failed\n"},
		"wrong user": {"variables: values.yaml\nuserinfo: other.yaml\n", "Test Summary: 0 tests passed and 1 tests failed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := maps.Clone(files)
			of["kyverno-test.yaml"] = testHead + c.more + rows
			if got := call(t, "test", testDir(t, of), "--registry-config-dir", mirrors); !strings.HasSuffix(got.stdout, c.want) {
				t.Errorf("%s%s", got.stdout, got.stderr)
			}
		})
	}
}

// TestTestColors draws results for a terminal: only the words have colors, and columns stay in line.
func TestTestColors(t *testing.T) {
	t.Parallel()
	s := &suite{rows: []testRow{{policy: "p", rule: "r", resource: "a\x1b[31m", ok: true, reason: "Ok"}, {policy: "p", rule: "r", resource: "b", reason: "Rule not found"}}}
	plain, colored := &tested{flags: &testFlags{}}, &tested{flags: &testFlags{}, colors: true}
	got := colored.table(s)
	for _, want := range []string{"│ \x1b[32mPass\x1b[0m   │", "│ \x1b[31mFail\x1b[0m   │", "a\uFFFD[31m"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q in\n%s", want, got)
		}
	}
	for _, code := range []string{"\x1b[32m", "\x1b[31m", "\x1b[0m"} {
		got = strings.ReplaceAll(got, code, "")
	}
	if d := cmp.Diff(plain.table(s), got); d != "" {
		t.Error(d)
	}
}

// FuzzTestFile reads files of tests, and the values in them, that anybody may have written.
func FuzzTestFile(f *testing.F) {
	f.Add([]byte(`{"kind":"Test","policies":["a"],"resources":["b"],"results":[{"policy":"p","rule":"r","result":"pass","resourceSpecs":[{"name":"x"}]}]}`))
	f.Add([]byte(`{"results":[{"isValidatingAdmissionPolicy":true},null,1],"checks":[],"targetResources":null}`))
	f.Add([]byte(`{"values":{"globalValues":{"request.operation":"UPDATE","a.\"b.c\".d":[1,{"x":null}]},"policies":[{"name":"p","rules":[{"name":"r","values":{"v":1}}],"resources":[{"name":"x","values":{"request.object.metadata":{}}}]}]}}`))
	f.Add([]byte(`{"values":{"subresources":[{"subresource":{"name":"pods/x","kind":"Pod"},"parentResource":{"kind":"Pod"}}],"namespaceSelector":[{"name":"a","labels":{"b":"c"}}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := &testSpec{}
		if s.decode(raw) != nil || s.check() != nil || s.Values == nil {
			return
		}
		v, err := s.Values.compile("values.")
		if err != nil {
			return
		}
		object := map[string]any{"metadata": map[string]any{"name": "x"}}
		o := &override{request: tree{}}
		for _, a := range v.global {
			if a.path[0] == "request" {
				assign(o.request, a.path[1:], a.value)
			} else {
				assign(tree{}, a.path, a.value)
			}
		}
		user := o.user(userInfo{})
		if fields := o.admission(object, &user)(); fields["userInfo"] == nil {
			t.Errorf("no user in %v", fields)
		}
		if len(object) != 1 || len(object["metadata"].(map[string]any)) != 1 {
			t.Errorf("the object was changed: %v", object)
		}
	})
}
