package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/signet-policy/signet/test/env"
)

// bySchema are examples that the resource definitions refuse before Signet is asked.
var bySchema = []string{"algorithm.yaml", "count-negative.yaml", "count-too-large.yaml", "policy-name.yaml", "timeout.yaml"}

// byNobody is an example that a cluster cannot see: the API server takes the namespace away before it asks. Without a
// cluster it is refused.
const byNobody = "cluster-policy-namespace.yaml"

// VI 2: kubectl stores none of hack/invalid-examples and says why, and all of its directory warnings, with the warning.
func TestExamples(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	for _, dir := range []string{"hack/invalid-examples", "hack/invalid-examples/warnings"} {
		files, err := filepath.Glob(filepath.Join(env.Root(), dir, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, file := range files {
			if filepath.Base(file) == byNobody {
				continue
			}
			t.Run(filepath.Join(filepath.Base(dir), filepath.Base(file)), func(t *testing.T) {
				t.Parallel()
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				res, err := shared.cluster.Kubectl(t.Context(), "apply", "--dry-run=server", "-f", file)
				if err != nil {
					t.Fatal(err)
				}
				said := regexp.MustCompile(`\s+`).ReplaceAllString(res.Stderr, " ")
				second := strings.SplitN(string(text), "\n", 3)[1]
				want, refused := strings.CutPrefix(second, "# Refused: ")
				if !refused {
					want = strings.TrimPrefix(second, "# Warns: ")
				}
				if refused == (res.Code == 0) {
					t.Errorf("refused %v, want %v: %s", res.Code != 0, refused, res.Stderr)
				}
				if !strings.Contains(said, want) && !slices.Contains(bySchema, filepath.Base(file)) {
					t.Errorf("want: %s\ngot: %s", want, res.Stderr)
				}
			})
		}
	}
}
