package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// policyOf is a policy for ghcr.io/acme/* with a key.
func policyOf(t *testing.T, name, action, key, more string) string {
	t.Helper()
	indented := strings.ReplaceAll(strings.TrimSpace(read(t, key)), "\n", "\n              ")
	return `apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: ` + name + `}
spec:
  ` + more + `
  rules:
  - name: check
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["ghcr.io/acme/*"]
      failureAction: ` + action + `
      attestors:
      - entries:
        - keys:
            rekor: {ignoreTlog: true}
            publicKeys: |-
              ` + indented + "\n"
}

func podOf(name, image string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec: {containers: [{name: c, image: " + image + "}]}\n"
}

// VI 10.1: what is printed, word for word, and the exit codes.
func TestApply(t *testing.T) {
	t.Parallel()
	registry := stocked(t, "acme/key-notlog-v3-bundle", "acme/unsigned")
	dir := t.TempDir()
	registry.WriteHostsToml(dir, "ghcr.io")
	key, other := trustFile("trust/cosign.pub"), trustFile("trust/other.pub")
	const signed, unsigned = "ghcr.io/acme/key-notlog-v3-bundle:v1", "ghcr.io/acme/unsigned:v1"
	enforce := file(t, "enforce.yaml", policyOf(t, "signed", "Enforce", key, "background: false"))
	audit := file(t, "audit.yaml", policyOf(t, "audited", "Audit", key, "background: false"))
	stranger := file(t, "stranger.yaml", policyOf(t, "stranger", "Enforce", other, "background: false"))
	broken := file(t, "broken.yaml", strings.Replace(policyOf(t, "broken", "Enforce", key, "background: false"), `["ghcr.io/acme/*"]`, "[]", 1))
	good, bad := file(t, "good.yaml", podOf("good", signed)), file(t, "bad.yaml", podOf("bad", unsigned))
	down := file(t, "down.yaml", podOf("down", "ghcr.io/acme/none:v1"))
	except := file(t, "except.yaml", `apiVersion: kyverno.io/v2
kind: PolicyException
metadata: {name: x, namespace: default}
spec:
  match: {any: [{resources: {kinds: [Pod], names: [bad]}}]}
  exceptions: [{policyName: signed, ruleNames: [check]}]
`)
	const (
		violations = "exit as there are policy violations\n"
		refused    = "policy signed -> resource default/Pod/bad failed:\n1 - check failed to verify image ghcr.io/acme/unsigned:v1: .attestors[0].entries[0].keys: no signatures found\n\n" +
			"policy signed -> resource default/Pod/bad failed:\n1 - check missing digest for ghcr.io/acme/unsigned:v1; unverified image ghcr.io/acme/unsigned:v1\n"
	)
	for name, c := range map[string]struct {
		args           []string
		exit           int
		stdout, stderr string
	}{
		"good": {[]string{enforce, "--resource", good}, 0,
			"\nApplying 3 policy rule(s) to 1 resource(s)...\n\npass: 2, fail: 0, warn: 0, error: 0, skip: 0 \n", ""},
		"bad": {[]string{enforce, "-r", bad}, 1,
			"\nApplying 3 policy rule(s) to 1 resource(s)...\n" + refused + "\npass: 0, fail: 2, warn: 0, error: 0, skip: 0 \n", violations},
		"both": {[]string{enforce, "-r", good, "-r", bad}, 1,
			"\nApplying 3 policy rule(s) to 2 resource(s)...\n" + refused + "\npass: 2, fail: 2, warn: 0, error: 0, skip: 0 \n", violations},
		"two policies": {[]string{enforce, stranger, "-r", good}, 1,
			"\nApplying 6 policy rule(s) to 1 resource(s)...\n" +
				"policy stranger -> resource default/Pod/good failed:\n1 - check failed to verify image " + signed + ": .attestors[0].entries[0].keys: no matching signatures: KEYS\n\n" +
				"policy stranger -> resource default/Pod/good failed:\n1 - check missing digest for " + signed + "; unverified image " + signed + "\n" +
				"\npass: 2, fail: 2, warn: 0, error: 0, skip: 0 \n", violations},
		"exception": {[]string{enforce, "-r", bad, "-e", except}, 0,
			"\nApplying 3 policy rule(s) to 1 resource(s) with 1 exception(s)...\n\npass: 0, fail: 0, warn: 0, error: 0, skip: 2 \n", ""},
		"nothing passed": {[]string{enforce, "-r", bad, "-e", except, "--warn-no-pass", "--warn-exit-code", "3"}, 3,
			"\nApplying 3 policy rule(s) to 1 resource(s) with 1 exception(s)...\n\npass: 0, fail: 0, warn: 0, error: 0, skip: 2 \n", "exit as no objects satisfied policy\n"},
		"table": {[]string{enforce, "-r", good, "-r", bad, "--table"}, 1,
			"\nApplying 3 policy rule(s) to 2 resource(s)...\n" + `│────│────────│───────│──────────────────│────────│───────────────│
│ ID │ POLICY │ RULE  │ RESOURCE         │ RESULT │ REASON        │
│────│────────│───────│──────────────────│────────│───────────────│
│ 1  │ signed │ check │ default/Pod/good │ Pass   │ Verified      │
│ 2  │ signed │ check │ default/Pod/good │ Pass   │ Verified      │
│ 3  │ signed │ check │ default/Pod/bad  │ Fail   │ Unsigned      │
│ 4  │ signed │ check │ default/Pod/bad  │ Fail   │ MissingDigest │
│────│────────│───────│──────────────────│────────│───────────────│
` + "\npass: 2, fail: 2, warn: 0, error: 0, skip: 0 \n", violations},
		"table with messages": {[]string{enforce, "-r", good, "-t", "--detailed-results"}, 0,
			"\nApplying 3 policy rule(s) to 1 resource(s)...\n" + `│────│────────│───────│──────────────────│────────│──────────│────────────────────────────────────────────────────────────────────│
│ ID │ POLICY │ RULE  │ RESOURCE         │ RESULT │ REASON   │ MESSAGE                                                            │
│────│────────│───────│──────────────────│────────│──────────│────────────────────────────────────────────────────────────────────│
│ 1  │ signed │ check │ default/Pod/good │ Pass   │ Verified │ verified image signatures for ghcr.io/acme/key-notlog-v3-bundle:v1 │
│ 2  │ signed │ check │ default/Pod/good │ Pass   │ Verified │ image verified                                                     │
│────│────────│───────│──────────────────│────────│──────────│────────────────────────────────────────────────────────────────────│
` + "\npass: 2, fail: 0, warn: 0, error: 0, skip: 0 \n", ""},
		"table or report": {[]string{enforce, "-r", good, "-t", "-p"}, 1, "", "signet apply: --table and --policy-report are two forms of the output: give one of them (see signet apply --help)\n"},
		"to kubectl, refused": {[]string{enforce, "-r", bad, "-r", good, "--stdin"}, 1, "",
			"\nApplying 3 policy rule(s) to 2 resource(s)...\n" + refused + "\npass: 2, fail: 2, warn: 0, error: 0, skip: 0 \n" + violations},
		"refused policy": {[]string{broken, "-r", good}, 1,
			"\nApplying 0 policy rule(s) to 1 resource(s)...\n\nInvalid Policies:\n1. " + broken + `, document 1: spec.rules[0].verifyImages[0]: Invalid value: "check": An image reference is required` + "\n" +
				"\npass: 0, fail: 0, warn: 0, error: 1, skip: 0 \n", "exit as there are policy errors\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(t, append([]string{"apply", "--registry-config-dir", dir}, c.args...)...)
			stdout := got.stdout
			if _, rest, found := strings.Cut(stdout, "no matching signatures: "); found {
				why, _, _ := strings.Cut(rest, "\n")
				stdout = strings.Replace(stdout, why, "KEYS", 1)
			}
			if diff := cmp.Diff(c.stdout, stdout); diff != "" {
				t.Error(diff)
			}
			if got.exit != c.exit || got.stderr != c.stderr {
				t.Errorf("exit %d, want %d, stderr %q", got.exit, c.exit, got.stderr)
			}
		})
	}

	t.Run("audit", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			args []string
			exit int
			want string
		}{
			{[]string{audit, "-r", bad}, 1, "pass: 0, fail: 2, warn: 0"},
			{[]string{audit, "-r", bad, "--audit-warn"}, 0, "pass: 0, fail: 0, warn: 2"},
			{[]string{audit, "-r", bad, "--audit-warn", "--warn-exit-code", "7"}, 7, "policy audited -> resource default/Pod/bad failed as audit warning:"},
		} {
			got := call(t, append([]string{"apply", "--registry-config-dir", dir}, c.args...)...)
			if got.exit != c.exit || !strings.Contains(got.stdout, c.want) {
				t.Errorf("%v: exit %d\n%s", c.args, got.exit, got.stdout)
			}
		}
	})
	t.Run("report and output", func(t *testing.T) {
		t.Parallel()
		out := filepath.Join(t.TempDir(), "out.yaml")
		got := call(t, "apply", "--registry-config-dir", dir, enforce, "-r", good, "-r", bad, "-p", "-o", out)
		for _, want := range []string{"apiVersion: openreports.io/v1alpha1\nkind: ClusterReport\nmetadata:\n  name: merged\n", "result: fail", "reason: Unsigned", "severity"} {
			if strings.Contains(got.stdout, want) != (want != "severity") {
				t.Errorf("%q in\n%s", want, got.stdout)
			}
		}
		b, err := os.ReadFile(out)
		if err != nil || !strings.Contains(string(b), signed+"@sha256:") || !strings.Contains(string(b), "kyverno.io/verify-images: ") {
			t.Errorf("%v\n%s", err, b)
		}
	})
	t.Run("output in a new directory", func(t *testing.T) {
		t.Parallel()
		out := filepath.Join(t.TempDir(), "new", "results")
		got := call(t, "apply", "--registry-config-dir", dir, enforce, "-r", good, "-o", out+"/")
		if b, err := os.ReadFile(filepath.Join(out, "resources.yaml")); got.exit != 0 || err != nil || !strings.Contains(string(b), signed+"@sha256:") {
			t.Errorf("exit %d, %v\n%s%s", got.exit, err, b, got.stderr)
		}
	})
	t.Run("could not check", func(t *testing.T) {
		t.Parallel()
		closed := t.TempDir()
		gone := stocked(t)
		gone.WriteHostsToml(closed, "ghcr.io")
		gone.Close()
		got := call(t, "apply", "--registry-config-dir", closed, enforce, "-r", down, "--detailed-results")
		if !strings.Contains(got.stdout, "policy signed -> resource default/Pod/down could not be checked:\n1 - check failed to verify image ghcr.io/acme/none:v1: ") {
			t.Error(got.stdout)
		}
		got = call(t, "apply", "--registry-config-dir", closed, enforce, "-r", down)
		if strings.Contains(got.stdout, "could not be checked") {
			t.Error(got.stdout)
		}
		if got.exit != 1 || !strings.Contains(got.stdout, "error: 2") || got.stderr != "exit as there are policy errors\n" {
			t.Errorf("exit %d %s%s", got.exit, got.stdout, got.stderr)
		}
	})
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		policies := t.TempDir()
		for name, text := range map[string]string{"a.yaml": read(t, enforce), "b.yml": "# nothing\n", "c.txt": "{"} {
			if err := os.WriteFile(filepath.Join(policies, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		list := file(t, "list.yaml", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: b}, spec: {containers: [{name: c, image: \""+unsigned+"\"}]}}\n")
		got := call(t, "apply", "--registry-config-dir", dir, policies, "-r", list)
		if !strings.Contains(got.stdout, "policy signed -> resource b/Pod/a failed:") {
			t.Errorf("%s%s", got.stdout, got.stderr)
		}
		for _, args := range [][]string{{"none.yaml", "-r", good}, {enforce, "-r", "none.yaml"}, {enforce}, {"-r", good}, {enforce, "-r", good, "--bad"}, {list, "-r", good}} {
			if got := call(t, append([]string{"apply"}, args...)...); got.exit != 1 || got.stderr == "" || got.stdout != "" {
				t.Errorf("%v: %+v", args, got)
			}
		}
	})
}
