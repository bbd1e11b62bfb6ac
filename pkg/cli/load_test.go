package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// document is a policy document; $ENTRY stands for its verifyImages entry.
func document(apiVersion, kind, metadata, entry string) string {
	return fmt.Sprintf(`
apiVersion: %s
kind: %s
metadata: {%s}
spec:
  rules:
  - name: signed
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - %s
`, apiVersion, kind, metadata, entry)
}

// entry is an entry for images with an attestor of the corpus' key, and more fields.
func entry(t testing.TB, images, more string) string {
	t.Helper()
	return fmt.Sprintf(`{imageReferences: [%q], failureAction: Enforce, %s attestors: [{entries: [{keys: {publicKeys: %q, rekor: {ignoreTlog: true}}}]}]}`,
		images, more, read(t, trustFile("trust/cosign.pub")))
}

// policyFile writes documents to a file.
func policyFile(t testing.TB, documents ...string) string {
	t.Helper()
	return file(t, "policy.yaml", strings.Join(documents, "\n---\n"))
}

// TestPolicies runs policy files on a signed image.
func TestPolicies(t *testing.T) {
	t.Parallel()
	s := stocked(t, "acme/key-notlog-v3-bundle")
	dir := t.TempDir()
	s.WriteHostsToml(dir, "ghcr.io")
	const image = "ghcr.io/acme/key-notlog-v3-bundle:v1"
	cluster := func(name, body string) string { return document("kyverno.io/v1", "ClusterPolicy", "name: "+name, body) }
	good := entry(t, "ghcr.io/acme/*", "")
	none := `{imageReferences: ["ghcr.io/acme/*"], failureAction: Enforce, mutateDigest: false, required: false}`
	cases := map[string]struct {
		documents []string
		args      []string
		exit      int
		results   []string // policy/rule status reason
		stderr    string   // a part of it
	}{
		"verified":        {documents: []string{cluster("p", good)}, results: []string{"p/signed pass Verified"}},
		"two, in order":   {documents: []string{cluster("q", good), cluster("p", good)}, results: []string{"p/signed pass Verified", "q/signed pass Verified"}},
		"v2beta1":         {documents: []string{document("kyverno.io/v2beta1", "ClusterPolicy", "name: p", good)}, results: []string{"p/signed pass Verified"}},
		"another image":   {documents: []string{cluster("p", entry(t, "ghcr.io/other/*", ""))}, exit: ExitUnchecked},
		"skipped":         {documents: []string{cluster("p", entry(t, "ghcr.io/acme/*", `skipImageReferences: ["ghcr.io/acme/key-*"],`))}, exit: ExitUnchecked, results: []string{"p/signed skip SkippedByPolicy"}},
		"digest wanted":   {documents: []string{cluster("p", none)}, exit: ExitRefused, results: []string{"p/signed fail MissingDigest"}},
		"one of two":      {documents: []string{cluster("p", good), cluster("q", entry(t, "*", "annotations: {a: b},"))}, exit: ExitRefused, results: []string{"p/signed pass Verified", "q/signed fail AnnotationMismatch"}},
		"audit":           {documents: []string{cluster("p", entry(t, "ghcr.io/acme/*", "annotations: {a: b}, ")[0:0]+strings.Replace(none, "Enforce", "Audit", 1))}, exit: ExitRefused, results: []string{"p/signed fail MissingDigest"}},
		"namespaced":      {documents: []string{document("kyverno.io/v1", "Policy", "name: p, namespace: prod", good)}, results: []string{"prod/p/signed pass Verified"}},
		"other namespace": {documents: []string{document("kyverno.io/v1", "Policy", "name: p, namespace: prod", good)}, args: []string{"-n", "test"}, exit: ExitUnchecked},
		"two namespaces": {
			documents: []string{document("kyverno.io/v1", "Policy", "name: p, namespace: a", good), document("kyverno.io/v1", "Policy", "name: p, namespace: b", good)},
			exit:      ExitUnchecked, stderr: "several namespaces",
		},
		"other kinds":   {documents: []string{"kind: ConfigMap\napiVersion: v1", cluster("p", good), "# nothing"}, results: []string{"p/signed pass Verified"}, stderr: `document 1: "ConfigMap" of "v1" is no policy`},
		"no policy":     {documents: []string{"kind: ConfigMap\napiVersion: v1"}, exit: ExitUnchecked, stderr: "no ClusterPolicy and no Policy"},
		"empty":         {documents: []string{""}, exit: ExitUnchecked, stderr: "no ClusterPolicy and no Policy"},
		"other version": {documents: []string{document("kyverno.io/v2", "ClusterPolicy", "name: p", good)}, exit: ExitUnchecked, stderr: "use kyverno.io/v1"},
		"twice":         {documents: []string{cluster("p", good), cluster("p", good)}, exit: ExitUnchecked, stderr: "given twice"},
		"no name":       {documents: []string{document("kyverno.io/v1", "ClusterPolicy", "labels: {}", good)}, exit: ExitUnchecked, stderr: "no name"},
		"unknown field": {documents: []string{cluster("p", entry(t, "*", "mutatedigest: false,"))}, exit: ExitUnchecked, stderr: `unknown field "spec.rules[0].verifyImages[0].mutatedigest"`},
		"unknown in v2beta1": {
			documents: []string{document("kyverno.io/v2beta1", "ClusterPolicy", "name: p", entry(t, "*", "key: x,"))},
			exit:      ExitUnchecked, stderr: `unknown field "spec.rules[0].verifyImages[0].key"`,
		},
		"field twice": {documents: []string{cluster("p", entry(t, "*", "required: true, required: false,"))}, exit: ExitUnchecked, stderr: "already set"},
		"wrong type":  {documents: []string{cluster("p", entry(t, "*", "required: [],"))}, exit: ExitUnchecked, stderr: "required"},
		"no YAML":     {documents: []string{"a: [b"}, exit: ExitUnchecked, stderr: "document 1"},
		"does not compile": {
			documents: []string{cluster("p", `{imageReferences: ["*"], attestors: [{entries: [{}]}]}`)},
			exit:      ExitUnchecked, stderr: "spec.rules[0].verifyImages[0].attestors[0].entries[0]",
		},
		"warning": {documents: []string{cluster("p", entry(t, "ghcr.io/acme*", ""))}, results: []string{"p/signed pass Verified"}, stderr: "not anchored"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := policyFile(t, tc.documents...)
			args := append([]string{"verify", image, "--policy", path, "-o", "json", "--registry-config-dir", dir}, tc.args...)
			got := call(t, args...)
			if got.exit != tc.exit || !strings.Contains(got.stderr, tc.stderr) || tc.stderr == "" && got.stderr != "" {
				t.Errorf("exit %d, want %d, stderr %q", got.exit, tc.exit, got.stderr)
			}
			if got.stdout == "" {
				if tc.results != nil || tc.exit != ExitUnchecked {
					t.Error("nothing is printed")
				}
				return
			}
			r := got.report(t)
			var results []string
			for _, rule := range r.Rules {
				results = append(results, fmt.Sprintf("%s/%s %s %s", rule.Policy, rule.Rule, rule.Status, rule.Reason))
			}
			if d := cmp.Diff(tc.results, results); d != "" {
				t.Error(d)
			}
			if tc.results == nil && !strings.Contains(r.Problem, "no rule judges this image") {
				t.Errorf("problem %q", r.Problem)
			}
		})
	}
}

// TestDefaultsInFiles checks that a file means what it means to an API server.
func TestDefaultsInFiles(t *testing.T) {
	t.Parallel()
	l, err := load(&flags{policies: []string{policyFile(t, document("kyverno.io/v1", "ClusterPolicy", "name: p", entry(t, "*", "")))}})
	if err != nil {
		t.Fatal(err)
	}
	e := l.policies[0].Rules[0].Entries[0]
	if !e.MutateDigest || !e.VerifyDigest || !e.Required || !e.UseCache || e.Action(&match.Attributes{Namespace: "default"}) != policy.Enforce {
		t.Errorf("%+v", e)
	}
}
