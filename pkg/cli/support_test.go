package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/testdata/corpus"
)

// TestMain keeps the proxies and the credentials of the surroundings out of the tests.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		os.Unsetenv(name)
	}
	empty, err := os.MkdirTemp("", "signet-cli")
	if err != nil {
		panic(err)
	}
	os.Setenv("DOCKER_CONFIG", empty)
	os.Setenv("HOME", empty)
	code := m.Run()
	os.RemoveAll(empty)
	os.Exit(code)
}

// output is what one call printed.
type output struct {
	exit           int
	stdout, stderr string
}

func call(t testing.TB, args ...string) output {
	t.Helper()
	var out, err bytes.Buffer
	commands := map[string]func([]string, Options) int{
		verifyCommand:  func(a []string, o Options) int { return Verify(t.Context(), a, o) },
		applyCommand:   func(a []string, o Options) int { return Apply(t.Context(), a, o) },
		testCommand:    func(a []string, o Options) int { return Test(t.Context(), a, o) },
		explainCommand: func(a []string, o Options) int { return Explain(t.Context(), a, o) },
	}
	exit := commands[args[0]](args[1:], Options{Stdout: &out, Stderr: &err, Version: "test"})
	return output{exit, out.String(), err.String()}
}

// report is the JSON that a call printed.
func (o output) report(t testing.TB) *Report {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(o.stdout))
	d.DisallowUnknownFields()
	r := &Report{}
	if err := d.Decode(r); err != nil {
		t.Fatalf("%v\n%s%s", err, o.stdout, o.stderr)
	}
	return r
}

// everything is a registry with the whole corpus, for tests that change nothing in it.
var everything = sync.OnceValue(func() *registrytest.Server {
	s := registrytest.New(nil)
	s.Load(corpus.Images(), nil)
	return s
})

// stocked is a registry of the test's own with some repositories of the corpus.
func stocked(t testing.TB, repositories ...string) *registrytest.Server {
	t.Helper()
	s := registrytest.New(t)
	s.Load(corpus.Images(), func(repository string) bool {
		for _, r := range repositories {
			if r == repository {
				return true
			}
		}
		return false
	})
	return s
}

// trustFile is the path of a file of the corpus.
func trustFile(path string) string { return filepath.Join(corpus.Dir(), path) }

// file writes a file of the test's own.
func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
