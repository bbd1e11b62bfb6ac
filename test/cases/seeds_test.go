package cases_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/signet-policy/signet/test/vectors"
)

// alternative is one "given" of a seed and the tests that show what comes of it: vectors by their names, tests in Go by
// their directory and name.
type alternative struct {
	given string
	tests []string
}

// inSeed finds the numbers of seeds: in the names of vectors, in the comments of vectors and of tests.
var inSeed = regexp.MustCompile(`(?i)\bseed ?[0-9]+|\bseeds [0-9]+(?:, [0-9]+)*`)

// TestSeeds holds the fifty test seeds (VI 12) against the tests: each has every alternative that its row tells apart, and
// each test that is named here is there and carries the seed's number in its name or its comment.
func TestSeeds(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	carriers := map[string]map[int]bool{} // seeds by the test that carries them
	seedVectors(t, carriers)
	seedTests(t, root, carriers)
	for i := range 50 {
		if len(seeds[i+1]) == 0 {
			t.Errorf("seed %d has no test", i+1)
		}
	}
	listed := map[string]map[int]bool{}
	for seed, alternatives := range seeds {
		if seed < 1 || seed > 50 {
			t.Errorf("there is no seed %d", seed)
		}
		for _, a := range alternatives {
			if len(a.tests) == 0 {
				t.Errorf("seed %d: %s: no test", seed, a.given)
			}
			for _, name := range a.tests {
				if carriers[name] == nil {
					t.Errorf("seed %d: %s: there is no test %s", seed, a.given, name)
				} else if !carriers[name][seed] {
					t.Errorf("seed %d: %s: %s does not carry the number", seed, a.given, name)
				}
				if listed[name] == nil {
					listed[name] = map[int]bool{}
				}
				listed[name][seed] = true
			}
		}
	}
	for name, numbers := range carriers {
		for seed := range numbers {
			// A test that is only nearly about a seed has to say so, or stand in the table.
			if strings.HasPrefix(name, "seed") && !listed[name][seed] {
				t.Errorf("%s carries seed %d and is not in the table", name, seed)
			}
		}
	}
}

func numbers(text string) map[int]bool {
	out := map[int]bool{}
	for _, m := range inSeed.FindAllString(text, -1) {
		for _, digits := range regexp.MustCompile(`[0-9]+`).FindAllString(m, -1) {
			n, err := strconv.Atoi(digits)
			if err == nil {
				out[n] = true
			}
		}
	}
	return out
}

func seedVectors(t *testing.T, carriers map[string]map[int]bool) {
	t.Helper()
	all, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		name, _, _ := strings.Cut(v.Name, "-")
		carriers[v.Name] = numbers(name + " " + v.Comment)
	}
}

func seedTests(t *testing.T, root string, carriers map[string]map[int]bool) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == filepath.Join(root, "bin") || path == filepath.Join(root, "_run") || d.Name() == ".git"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				carriers[filepath.ToSlash(dir)+" "+f.Name.Name] = numbers(f.Doc.Text())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// seeds are the alternatives of each test seed.
var seeds = map[int][]alternative{
	1: {{"signed by the key, neither log nor SCT asked for", []string{"seed01-signed"}}},
	2: {
		{"unsigned", []string{"seed02-unsigned", "test/e2e TestTroubles"}},
		{"signed by another key", []string{"seed02-other-key"}},
	},
	3: {
		{"both warnings and the annotation", []string{"seed03-audit"}},
		{"the report", []string{"test/e2e TestTroubles"}},
	},
	4: {
		{"mutateDigest unset", []string{"seed04-audit-mutates"}},
		{"mutateDigest true", []string{"seed04-audit-mutates-written"}},
	},
	5: {
		{"signatures, count 1", []string{"seed05-count-one"}},
		{"signatures, count 2", []string{"seed05-count-two"}},
		{"signatures, no count", []string{"seed05-count-all"}},
		{"attestations, count 1", []string{"seed05-attestation-one"}},
		{"attestations, count 2", []string{"seed05-attestation-two"}},
		{"attestations, no count", []string{"seed05-attestation-all"}},
	},
	6: {
		{"signatures, no count, signed by one", []string{"seed06-two-keys-all"}},
		{"signatures, no count, signed by both", []string{"seed06-two-keys-both"}},
		{"signatures, count 1", []string{"seed06-two-keys-one"}},
		{"attestations, no count", []string{"seed06-attestation-keys-all"}},
		{"attestations, count 1", []string{"seed06-attestation-keys-one"}},
	},
	7: {
		{"satisfied", []string{"seed07-nested", "seed07-keyless"}},
		{"the path", []string{"seed07-nested-path", "seed07-keyless-path"}},
		{"satisfied inside attestations", []string{"seed07-attestation-nested"}},
		{"the path inside attestations", []string{"seed07-attestation-nested-path"}},
	},
	8: {
		{"Fail", []string{"seed08-missing-fail"}},
		{"Ignore", []string{"seed08-missing-ignore"}},
	},
	9: {
		{"Ignore", []string{"seed09-refused-ignore", "seed09-refused-ignore-tag"}},
		{"Fail", []string{"seed09-refused-fail"}},
		{"the report", []string{"test/e2e TestTroubles"}},
	},
	10: {
		{"401, Enforce and Ignore", []string{"seed10-401-signature", "seed10-401-tag"}},
		{"401, Audit and Fail", []string{"seed10-401-audit"}},
		{"403, Enforce and Ignore", []string{"seed10-403-tag"}},
		{"403, Audit and Fail", []string{"seed10-403-audit"}},
		{"429, Enforce and Ignore", []string{"seed10-429-signature", "seed10-429-tag"}},
		{"429, Audit and Fail", []string{"seed10-429-audit"}},
		{"503, Enforce and Ignore", []string{"seed10-503-signature", "seed10-503-tag"}},
		{"503, Audit and Fail", []string{"seed10-503-audit"}},
		{"silence, Enforce and Ignore", []string{"seed10-hang-signature", "seed10-hang-tag"}},
		{"silence, Audit and Fail", []string{"seed10-hang-audit"}},
	},
	11: {
		{"no candidate", []string{"seed11-place-unread"}},
		{"a valid one at the fallback tag", []string{"seed11-place-elsewhere", "test/e2e TestOnePlaceIsEnough"}},
	},
	12: {
		{"tag", []string{"seed12-tag"}},
		{"digest", []string{"seed12-digest"}},
	},
	13: {{"mutateDigest only", []string{"seed13-mutate-only", "pkg/engine TestDigestPatches"}}},
	14: {{"required alone", []string{"seed14-required-alone"}}},
	15: {
		{"warm", []string{"seed15-warm", "test/e2e TestRegistryGone"}},
		{"cold", []string{"seed15-cold"}},
	},
	16: {
		{"another image", []string{"seed16-image"}},
		{"a new container", []string{"seed16-container"}},
		{"renamed", []string{"seed16-renamed"}},
		{"moved to initContainers", []string{"seed16-moved"}},
		{"on a Deployment", []string{"test/e2e TestUpdates"}},
	},
	17: {
		{"label", []string{"seed17-label"}},
		{"annotation", []string{"seed17-annotation"}},
		{"label that a matchCondition reads", []string{"pkg/engine TestHeldBeforeConditions"}},
	},
	18: {
		{"replicas", []string{"seed18-scaled"}},
		{"labels", []string{"seed18-unchanged", "seed18-selector"}},
		{"the report", []string{"test/e2e TestUpdates"}},
	},
	19: {
		{"another image while deleting", []string{"seed19-deleting"}},
		{"a new container while deleting", []string{"seed19-deleting-container"}},
		{"renamed while deleting", []string{"seed19-deleting-renamed"}},
		{"moved while deleting", []string{"seed19-deleting-moved"}},
		{"DELETE", []string{"seed19-delete", "test/e2e TestRegistryGone"}},
	},
	20: {
		{"Enforce, CREATE", []string{"seed20-forged-enforce", "test/e2e TestA53ForgedAnnotations"}},
		{"Enforce, UPDATE", []string{"seed20-forged-update"}},
		{"Audit, CREATE", []string{"seed20-forged-audit"}},
		{"Audit, UPDATE", []string{"seed20-forged-audit-update"}},
		{"no rule matches, CREATE", []string{"seed20-forged-unmatched"}},
		{"no rule matches, UPDATE", []string{"seed20-forged-unmatched-update"}},
	},
	21: {
		{"the message", []string{"seed21-deployment-denied", "seed21-cronjob-denied"}},
		{"the patched path", []string{"seed21-deployment", "seed21-cronjob"}},
		{"every controller", []string{"test/e2e TestControllers"}},
	},
	22: {{"each pattern", []string{"seed22-patterns"}}},
	23: {{"each spelling", []string{"seed23-spellings"}}},
	24: {{"a digest under a pattern for tags", []string{"seed24-skip-digest"}}},
	25: {{"skipped", []string{"seed25-skip"}}},
	26: {
		{"Fail", []string{"seed26-unreadable-fail"}},
		{"Ignore", []string{"seed26-unreadable-ignore"}},
	},
	27: {
		{"Fail", []string{"seed27-fail"}},
		{"Ignore", []string{"seed27-ignore"}},
		{"rules that do not need them", []string{"seed27-unaffected"}},
		{"an update", []string{"seed27-update"}},
	},
	28: {
		{"without attestors", []string{"seed28-no-attestors"}},
		{"without attestors, of another authority", []string{"seed28-no-attestors-foreign"}},
		{"wrong type", []string{"seed28-wrong-type"}},
		{"condition false", []string{"seed28-condition"}},
	},
	29: {
		{"denied", []string{"seed29-denied"}},
		{"cannot be told", []string{"seed29-unresolvable"}},
		{"warm cache, other data of the request", []string{"seed29-warm-denied", "seed29-warm-passes"}},
		{"warm cache, changed ConfigMap", []string{"seed29-warm-configmap"}},
	},
	30: {
		{"admitted untouched", []string{"seed30-exception"}},
		{"the report", []string{"test/e2e TestA60Exceptions"}},
	},
	31: {
		{"reinvocation", []string{"seed31-reinvoked"}},
		{"between the phases", []string{"seed31-replaced", "seed31-unpinned"}},
	},
	32: {
		{"tag, referrer and bundle by the API; every type and cosignOCI11", []string{"seed32-formats-api"}},
		{"the same at the fallback tag", []string{"seed32-formats-fallback"}},
		{"identities", []string{"seed32-keyless", "seed32-keyless-fallback"}},
		{"certificates", []string{"seed32-certificates-alone", "seed32-certificates-chain", "seed32-certificates-both"}},
	},
	33: {
		{"wildcard subject, subjectRegExp, extensions", []string{"seed33-identity", "seed33-near-identity"}},
		{"annotations", []string{"seed33-annotations"}},
		{"custom roots, rekor.pubkey, ctlog.pubkey", []string{"seed33-material", "seed33-material-alone", "seed33-near-material"}},
		{"repository", []string{"seed33-repository"}},
	},
	34: {
		{"keys", []string{"seed34-one-candidate"}},
		{"identities", []string{"seed34-keyless"}},
	},
	35: {{"no name", []string{"seed35-no-name"}}},
	36: {
		{"fallback index entry of the empty type", []string{"seed36-empty-type"}},
		{"referrers API with an empty list", []string{"seed36-empty-api"}},
	},
	37: {{"junk and broken bundles", []string{"seed37-junk"}}},
	38: {
		{"first fails", []string{"seed38-fail-pass"}},
		{"first passes", []string{"seed38-pass-fail"}},
		{"who pins", []string{"pkg/engine TestA85WorstEntry"}},
	},
	39: {{"tag moved", []string{"seed39-moved-tag"}}},
	40: {
		{"alternating, signed first", []string{"seed40-signed-first"}},
		{"alternating, unsigned first", []string{"seed40-evil-first"}},
	},
	41: {
		{"written again", []string{"seed41-same-policy"}},
		{"the policy's key changes", []string{"seed41-other-key"}},
		{"the key in the Secret changes", []string{"a41-secret-rotated", "a41-secret-deleted", "test/e2e TestA41KeysInSecrets"}},
	},
	42: {
		{"no trust root", []string{"seed42-no-trust-root"}},
		{"no calls", []string{"test/e2e TestTUF"}},
	},
	43: {{"TUF unreachable, the root in a ConfigMap", []string{"test/e2e TestTrustedRootConfigMapBeforeTUF", "test/e2e TestKeyless"}}},
	44: {
		{"URL", []string{"seed44-key-url"}},
		{"file", []string{"seed44-key-file"}},
		{"expressions", []string{"seed44-issuer-expression", "seed44-subject-expression", "seed44-nested-expression"}},
		{"validate rule", []string{"seed44-validate-rule"}},
		{"on the API server", []string{"test/e2e TestRefusedPolicies"}},
	},
	45: {
		{"denied", []string{"seed45-unsigned", "seed45-unsigned-ignore", "test/e2e TestMatchConditions"}},
		{"the signed one", []string{"seed45-signed"}},
		{"of a Policy", []string{"seed45-namespaced"}},
	},
	46: {
		{"results and order", []string{"seed46-three-images"}},
		{"properties of the report", []string{"test/e2e TestThreeImages"}},
	},
	47: {{"the same key twice", []string{"seed47-same-key"}}},
	48: {
		{"SigstoreBundle", []string{"seed48-bundle", "seed48-statement"}},
		{"Cosign", []string{"seed48-cosign"}},
	},
	49: {
		{"denied", []string{"seed49-image-volume", "test/e2e TestEveryPlace"}},
		{"the signed one", []string{"seed49-image-volume-pinned"}},
	},
	50: {
		{"junk before a valid one", []string{"notary-junk"}},
		{"empty after substitution", []string{"notary-variable-empty"}},
	},
}
