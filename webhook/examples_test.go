package webhook_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/webhook"
)

// needsCluster are examples that only an API server can judge; the test of the whole system applies them to one.
var needsCluster = []string{"conditions-cel.yaml", "kind-unknown.yaml"}

// VI 2: every example in hack/invalid-examples is refused, and every one in its directory warnings is stored with a warning, in
// the words of its second line.
func TestExamples(t *testing.T) {
	t.Parallel()
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Handle(webhook.PolicyValidate, false, webhook.ReviewPolicy(policyOptions, nil, nil))
	files, err := filepath.Glob("../hack/invalid-examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	warnings, err := filepath.Glob("../hack/invalid-examples/warnings/*.yaml")
	if err != nil || len(files) < 50 || len(warnings) < 10 {
		t.Fatal(len(files), len(warnings), err)
	}
	for _, file := range append(files, warnings...) {
		if slices.Contains(needsCluster, filepath.Base(file)) {
			continue
		}
		t.Run(strings.TrimPrefix(file, "../hack/invalid-examples/"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitN(string(text), "\n", 3)
			raw, err := yaml.YAMLToJSON(text)
			if err != nil || len(lines) < 3 || !strings.HasPrefix(lines[0], "# VI 2.") {
				t.Fatal(err, lines)
			}
			var kind struct{ Kind string }
			if err := json.Unmarshal(raw, &kind); err != nil {
				t.Fatal(err)
			}
			resp := answer(t, post(s.Handler(), webhook.PolicyValidate, "application/json",
				strings.Replace(body(string(raw)), `"kind":"Pod"`, `"kind":"`+kind.Kind+`"`, 1)))
			if want, ok := strings.CutPrefix(lines[1], "# Refused: "); ok {
				if resp.Allowed || !strings.Contains(resp.Result.Message, want) {
					t.Errorf("want it refused: %s\ngot %+v", want, resp)
				}
				return
			}
			want, ok := strings.CutPrefix(lines[1], "# Warns: ")
			if !ok || !resp.Allowed || !slices.ContainsFunc(resp.Warnings, func(w string) bool { return strings.Contains(w, want) }) {
				t.Errorf("want it stored with the warning: %s\ngot %+v", want, resp)
			}
		})
	}
}
