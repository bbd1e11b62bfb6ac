package vectors_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/signet-policy/signet/test/vectors"
)

// pemOf is the certificate that the author of a policy replaces in a sample.
var pemOf = regexp.MustCompile(`(?s)\|-\s*-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----`)

// The samples about Notary signatures, with the authority of the vector in the place of their own, admit and refuse what
// they say.
func TestNotarySamples(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sample, rest string }{
		"signed": {"notary-signatures.yaml", holding("registry.example.com/acme/app:v1") + `hosts: [registry.example.com]
signatures: [{image: acme/app:v1, format: notary-cose}]
-- want.yaml --
allowed: true
results: ["notary-signatures/signed-with-notation registry.example.com/acme/app:v1 pass Verified"]
`},
		"unsigned": {"notary-signatures.yaml", holding("registry.example.com/acme/app:v1") + `hosts: [registry.example.com]
-- want.yaml --
allowed: false
results: ["notary-signatures/signed-with-notation registry.example.com/acme/app:v1 fail Unsigned"]
`},
		"bill of materials": {"notary-sbom.yaml", holding("ghcr.io/example/app:v1") + `signatures: [{image: example/app:v1, format: notary-jws, type: application/spdx+json, predicate: '{"spdxVersion":"SPDX-2.3"}'}]
-- want.yaml --
allowed: true
results: ["notary-sbom/bill-of-materials-signed-with-notation ghcr.io/example/app:v1 pass Verified"]
`},
		"old bill of materials": {"notary-sbom.yaml", holding("ghcr.io/example/app:v1") + `signatures: [{image: example/app:v1, format: notary-jws, type: application/spdx+json, predicate: '{"spdxVersion":"SPDX-1.2"}'}]
-- want.yaml --
allowed: false
contains: [bill of materials in SPDX-1.2]
results: ["notary-sbom/bill-of-materials-signed-with-notation ghcr.io/example/app:v1 fail AttestationConditionFailed"]
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(vectors.Dir(), "..", "..", "config", "samples", c.sample))
			if err != nil {
				t.Fatal(err)
			}
			own := pemOf.ReplaceAllLiteralString(string(text), "${ca}")
			if own == string(text) {
				t.Fatal("no certificate")
			}
			v, err := vectors.Parse(name, []byte("A sample.\n-- policy.yaml --\n"+own+c.rest))
			if err != nil {
				t.Fatal(err)
			}
			run(t, v)
		})
	}
}

// The index of the samples names each of them once, and nothing else.
func TestSampleIndex(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(vectors.Dir(), "..", "..", "config", "samples")
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]int{}
	for _, m := range regexp.MustCompile(`\]\(([a-z0-9.-]+\.yaml)\)`).FindAllStringSubmatch(string(text), -1) {
		listed[m[1]]++
	}
	for _, file := range files {
		if name := filepath.Base(file); listed[name] != 1 {
			t.Errorf("%s stands %d times in the index", name, listed[name])
		}
		delete(listed, filepath.Base(file))
	}
	for name := range listed {
		t.Errorf("%s is in the index and not there", name)
	}
}

// holding is a Pod with the image, and a registry that has it.
func holding(reference string) string {
	_, repository, _ := strings.Cut(reference, "/")
	return `
-- object.yaml --
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: default}
spec:
  containers: [{name: c, image: "` + reference + `"}]
-- registry.yaml --
unsigned: ["` + repository + `"]
`
}
