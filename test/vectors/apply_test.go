package vectors_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/cli"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/vectors"
	"github.com/signet-policy/signet/testdata/corpus"
)

// plain tells whether a vector says all that happens by policies, exceptions, one object that is created, and a registry:
// what a pipeline has, too.
func plain(v *vectors.Vector) bool {
	r := &v.Request
	return (r.Operation == "" || r.Operation == "CREATE") && r.Subresource == "" && r.User == "" && len(r.Groups)+len(r.Roles)+len(r.ClusterRoles) == 0 &&
		r.RolesDown == "" && r.NamespacesDown == "" && r.SecretsDown == "" && r.Timeout == "" && !r.NotReady &&
		len(r.Namespaces)+len(r.PullSecrets)+len(r.ServiceAccounts)+len(r.Keys)+len(r.ConfigMaps)+len(r.API)+len(r.Globals)+len(v.Config) == 0 &&
		v.Old == "" && v.Warm == "" && v.Final == "" && len(v.Registry.Users) == 0
}

// apart are vectors whose outcome is another one without an API server, with the reason.
var apart = map[string]string{
	"signature-algorithm":       "the schema's default for keys.signatureAlgorithm is there before the entry's is looked at",
	"credentials-provider":      "credentials of rules are not looked for without a cluster: such a rule is an error",
	"context-apicall-traversal": "there is no API server to ask, so that the entry's default counts before its path is looked at",
	"context-apicall-confined":  "the same",
}

// TestApply runs the vectors by "signet apply" (VI 10.1): the results of the first phase are those of admission, and what
// is refused there is refused here.
func TestApply(t *testing.T) {
	t.Parallel()
	list, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, v := range list {
		if !plain(v) || apart[v.Name] != "" {
			continue
		}
		ran++
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			applyVector(t, v)
		})
	}
	if ran < 150 {
		t.Errorf("only %d of %d vectors ran", ran, len(list))
	}
}

func applyVector(t *testing.T, v *vectors.Vector) {
	server := registrytest.New(nil)
	defer server.Close()
	digests := v.Registry.Stock(server)
	want, err := v.Want(digests)
	if err != nil {
		t.Fatal(err)
	}
	if want.Refused == "" && want.Results == nil {
		t.Skip("the vector states no results")
	}
	dir, mirrors := t.TempDir(), t.TempDir()
	v.Registry.Configure(t, server, mirrors)
	v.Registry.Misbehave(t, server, digests)
	write := func(name string, texts ...string) string {
		for i, text := range texts {
			texts[i] = vectors.Expand(text, digests)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(texts, "\n---\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	object := v.Object
	if object == "" {
		object = "{apiVersion: v1, kind: ConfigMap, metadata: {name: none}}"
	}
	args := []string{write("policies.yaml", slices.Clone(v.Policies)...), "-r", write("object.yaml", object), "--registry-config-dir", mirrors,
		"--offline", "-p", "--output-format", "json"}
	if len(v.Exceptions) > 0 {
		args = append(args, "-e", write("exceptions.yaml", slices.Clone(v.Exceptions)...))
	}
	if v.Request.TrustedRoot != "" {
		args = append(args, "--trusted-root", filepath.Join(corpus.Dir(), v.Request.TrustedRoot))
	}
	var stdout, stderr bytes.Buffer
	exit := cli.Apply(t.Context(), args, cli.Options{Stdout: &stdout, Stderr: &stderr, Version: "test"})
	if want.Refused != "" {
		if exit == 0 {
			t.Errorf("not refused:\n%s", stdout.String())
		}
		return
	}
	_, text, found := strings.Cut(stdout.String(), "...\n")
	var report struct {
		Results []struct {
			Policy, Rule, Result string
			Properties           map[string]string
		}
	}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&report); !found || err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	// Of each policy the results of the first phase come first.
	wanted, got := map[string][]string{}, map[string][]string{}
	for _, line := range *want.Results {
		fields := strings.Fields(line)
		policy := fields[0][:strings.LastIndexByte(fields[0], '/')]
		wanted[policy] = append(wanted[policy], fields[0]+" "+strings.Join(fields[len(fields)-2:], " "))
	}
	for _, r := range report.Results {
		if len(got[r.Policy]) < len(wanted[r.Policy]) {
			got[r.Policy] = append(got[r.Policy], r.Policy+"/"+r.Rule+" "+r.Result+" "+r.Properties["reason"])
		}
	}
	for policy, lines := range wanted {
		slices.Sort(lines)
		slices.Sort(got[policy])
		if d := cmp.Diff(lines, got[policy]); d != "" {
			t.Errorf("%s: %s\n%s", policy, d, stderr.String())
		}
	}
}
