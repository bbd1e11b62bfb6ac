package policy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/fuzztest"
	"github.com/signet-policy/signet/pkg/policy"
	"golang.org/x/tools/txtar"
)

// FuzzPolicy: whatever a policy says, it compiles, or each of its rules that were not understood refuses what it matches;
// and twice the same text means twice the same.
func FuzzPolicy(f *testing.F) {
	files, err := filepath.Glob("../../testdata/vectors/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatal(len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range txtar.Parse(b).Files {
			if part.Name == "policy.yaml" {
				f.Add(part.Data)
			}
		}
	}
	for _, s := range []string{`{}`, `spec: {rules: [null]}`, `spec: {rules: [{verifyImages: [null]}]}`, `spec: {rules: [{name: r, match: {}, verifyImages: [{imageReferences: ["*"], attestors: [{entries: [{attestor: {entries: [{}]}}]}]}]}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			t.Skip()
		}
		var p v1.ClusterPolicy
		if yaml.Unmarshal(b, &p) != nil {
			return
		}
		before := p.DeepCopy()
		// A large number of keys in a policy is a large number of keys in memory; a chain of patterns is not free either.
		fuzztest.Bounded(t, 64<<20, 20000, len(b), func() {
			compiled, errs := policy.CompileCluster(&p, policy.Options{})
			_, again := policy.CompileCluster(&p, policy.Options{})
			if diff := cmp.Diff(texts(errs), texts(again)); diff != "" {
				t.Errorf("twice the same policy: %s", diff)
			}
			if compiled == nil {
				t.Fatal("no policy at all")
			}
			for _, r := range compiled.Rules {
				if len(errs) > 0 && r.Broken == "" {
					t.Errorf("a rule of a policy with errors is evaluated: %v", errs)
				}
				if r.Broken == "" && len(r.Entries) == 0 {
					t.Error("a rule that asks nothing")
				}
				for _, e := range r.Entries {
					if r.Broken == "" && e.Requirement != nil && len(e.Requirement.Sets)+len(e.Requirement.Attestations) == 0 {
						t.Error("a requirement that asks nothing")
					}
				}
			}
			if _, admitted := policy.AdmitCluster(&p, policy.Options{}); len(errs) > 0 && len(admitted) == 0 {
				t.Errorf("admitted, and broken when it is read: %v", errs)
			}
			if len(errs) == 0 {
				policy.NewSnapshot([]*policy.Policy{compiled})
			}
		})
		if diff := cmp.Diff(before, &p); diff != "" {
			t.Errorf("compiling changed the policy: %s", diff)
		}
	})
}
