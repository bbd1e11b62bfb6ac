package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/testdata/corpus"
)

// key is a public key of the corpus as a YAML text in double quotes.
func key(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpus.Dir(), "trust", name))
	if err != nil {
		t.Fatal(err)
	}
	return `"` + strings.ReplaceAll(string(b), "\n", `\n`) + `"`
}

// header is the beginning of a policy with one rule for Pods, up to its entries.
const header = `
metadata: {name: p}
spec:
  rules:
  - name: r
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
`

// entries is a policy with the entries, each a YAML flow mapping in which $KEY stands for a key.
func entries(t testing.TB, list ...string) string {
	var b strings.Builder
	b.WriteString(header)
	for _, e := range list {
		b.WriteString("    - " + e + "\n")
	}
	return strings.ReplaceAll(b.String(), "$KEY", key(t, "cosign.pub"))
}

// attested is an entry with attestors, a YAML flow sequence.
func attested(attestors string) string {
	return `{imageReferences: ["*"], failureAction: Enforce, attestors: ` + attestors + `}`
}

func cluster(t testing.TB, text string) *v1.ClusterPolicy {
	t.Helper()
	var p v1.ClusterPolicy
	if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return &p
}

func namespaced(t testing.TB, text string) *v1.Policy {
	t.Helper()
	var p v1.Policy
	if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return &p
}

func compile(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, errs := policy.CompileCluster(cluster(t, text), policy.Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return p
}

func texts(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}
