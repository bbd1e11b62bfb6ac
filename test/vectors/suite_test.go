package vectors_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/signet-policy/signet/pkg/cli"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/vectors"
	"github.com/signet-policy/signet/testdata/corpus"
)

// TestSuites writes the vectors down as files of tests and runs them by "signet test" (VI 10.2): a row passes by the result
// that admission has for its rule, unless images or phases have several, and by no other one.
func TestSuites(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64
	t.Cleanup(func() {
		if n := passed.Load(); n < 150 {
			t.Errorf("only %d rows passed", n)
		}
	})
	is := func(v *vectors.Vector) bool { return plain(v) && v.Object != "" }
	applyVectors(t, 150, is, func(t *testing.T, v *vectors.Vector) { passed.Add(runSuite(t, v)) })
}

// runSuite runs one vector and tells how many rows passed.
func runSuite(t *testing.T, v *vectors.Vector) int64 {
	server := registrytest.New(nil)
	defer server.Close()
	digests := v.Registry.Stock(server)
	want, err := v.Want(digests)
	if err != nil {
		t.Fatal(err)
	}
	if want.Results == nil || len(*want.Results) == 0 {
		return 0
	}
	words := map[[2]string][]string{}
	for _, line := range *want.Results {
		fields := strings.Fields(line)
		i := strings.LastIndexByte(fields[0], '/')
		at := [2]string{fields[0][:i], fields[0][i+1:]}
		if word := fields[len(fields)-2]; !slices.Contains(words[at], word) {
			words[at] = append(words[at], word)
		}
	}
	dir, mirrors := t.TempDir(), t.TempDir()
	v.Registry.Configure(t, server, mirrors)
	v.Registry.Misbehave(t, server, digests)
	write := func(name string, texts ...string) {
		for i, text := range texts {
			texts[i] = vectors.Expand(text, digests)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(texts, "\n---\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("policies.yaml", slices.Clone(v.Policies)...)
	write("object.yaml", v.Object)
	spec := map[string]any{
		"apiVersion": "cli.kyverno.io/v1alpha1", "kind": "Test", "policies": []string{"policies.yaml"}, "resources": []string{"object.yaml"},
	}
	if texts := secretDocuments(t, v, server); len(texts) > 0 {
		write("secrets.yaml", texts...)
		spec["resources"] = []string{"object.yaml", "secrets.yaml"}
	}
	if len(v.Exceptions) > 0 {
		write("exceptions.yaml", slices.Clone(v.Exceptions)...)
		spec["exceptions"] = []string{"exceptions.yaml"}
	}
	rules := slices.SortedFunc(maps.Keys(words), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	var rows []map[string]any
	for _, at := range rules {
		for _, word := range []string{"pass", "fail", "skip", "error", "warn"} {
			rows = append(rows, map[string]any{"policy": at[0], "rule": at[1], "result": word})
		}
	}
	spec["results"] = rows
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	write("kyverno-test.yaml", string(text))
	args := []string{dir, "--registry-config-dir", mirrors, "--offline", "-o", "json", "--detailed-results"}
	if v.Request.TrustedRoot != "" {
		args = append(args, "--trusted-root", filepath.Join(corpus.Dir(), v.Request.TrustedRoot))
	}
	var stdout, stderr bytes.Buffer
	exit := cli.Test(t.Context(), args, cli.Options{Stdout: &stdout, Stderr: &stderr, Version: "test"})
	var got []struct{ POLICY, RULE, RESULT, REASON string }
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || len(got) != len(rows) {
		t.Fatalf("%v, %d rows of %d\n%s%s", err, len(got), len(rows), stdout.String(), stderr.String())
	}
	passed := int64(0)
	for i, r := range got {
		is, word := words[[2]string{r.POLICY, r.RULE}], rows[i]["result"].(string)
		wanted := "Want " + word + ", got "
		switch {
		case r.RESULT == "Pass" && slices.Equal(is, []string{word}):
			passed++
		case r.RESULT == "Pass" || !strings.HasPrefix(r.REASON, wanted):
			t.Errorf("%s/%s is %v: %s %s", r.POLICY, r.RULE, is, r.RESULT, r.REASON)
		default: // all that admission says is among what is said here
			for _, w := range is {
				if !slices.Contains(strings.Split(r.REASON[len(wanted):], " and "), w) {
					t.Errorf("%s/%s is %v: %s", r.POLICY, r.RULE, is, r.REASON)
				}
			}
		}
	}
	if exit != 1 { // no result is each of these
		t.Errorf("exit %d\n%s", exit, stderr.String())
	}
	return passed
}
