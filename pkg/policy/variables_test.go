package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/policy"
)

// with puts lines before the match block of a rule.
func with(t *testing.T, text, lines string) string {
	t.Helper()
	out := strings.Replace(text, "    match:", "    "+lines+"\n    match:", 1)
	if out == text {
		t.Fatal("no match block in the policy")
	}
	return out
}

// VI 2.1(3), 2.2(5): a variable may stand in every text of an entry but imageReferences; one that nothing gives a value is
// refused, with its field.
func TestVariables(t *testing.T) {
	t.Parallel()
	for field, entry := range map[string]string{
		"annotations.a":                                               `{imageReferences: ["*"], annotations: {a: "{{ x }}"}, attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`,
		"attestors[0].entries[0].annotations.a":                       attested(`[{entries: [{annotations: {a: "{{ x }}"}, keys: {publicKeys: $KEY}}]}]`),
		"annotations.predicateType":                                   `{imageReferences: ["*"], annotations: {predicateType: "{{ x }}"}, attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`,
		"attestors[0].entries[0].annotations.type":                    attested(`[{entries: [{annotations: {type: "{{ x }}"}, keys: {publicKeys: $KEY}}]}]`),
		"attestors[0].entries[0].keys.publicKeys":                     attested(`[{entries: [{keys: {publicKeys: "{{ x }}"}}]}]`),
		"attestors[0].entries[0].keys.rekor.pubkey":                   attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {pubkey: "{{ x }}"}}}]}]`),
		"attestors[0].entries[0].certificates.cert":                   attested(`[{entries: [{certificates: {cert: "{{ x }}"}}]}]`),
		"attestors[0].entries[0].certificates.certChain":              attested(`[{entries: [{certificates: {certChain: "{{ x }}"}}]}]`),
		"attestors[0].entries[0].certificates.ctlog.pubkey":           attested(`[{entries: [{certificates: {cert: ` + key(t, "leaf.crt") + `, ctlog: {pubkey: "{{ x }}"}}}]}]`),
		"attestors[0].entries[0].certificates.ctlog.tsaCertChain":     attested(`[{entries: [{certificates: {cert: ` + key(t, "leaf.crt") + `, ctlog: {tsaCertChain: "{{ x }}"}}}]}]`),
		"attestors[0].entries[0].keyless.roots":                       attested(`[{entries: [{keyless: {roots: "{{ x }}"}}]}]`),
		"attestors[0].entries[0].keyless.issuer":                      attested(`[{entries: [{keyless: {issuer: "{{ x }}", rekor: {url: "https://r"}}}]}]`),
		"attestors[0].entries[0].keyless.subject":                     attested(`[{entries: [{keyless: {subject: "{{ x }}", rekor: {url: "https://r"}}}]}]`),
		"attestors[0].entries[0].keyless.issuerRegExp":                attested(`[{entries: [{keyless: {issuerRegExp: "{{ x }}", rekor: {url: "https://r"}}}]}]`),
		"attestors[0].entries[0].keyless.subjectRegExp":               attested(`[{entries: [{keyless: {subjectRegExp: "{{ x }}", rekor: {url: "https://r"}}}]}]`),
		"attestors[0].entries[0].keyless.additionalExtensions.a":      attested(`[{entries: [{keyless: {additionalExtensions: {a: "{{ x }}"}, rekor: {url: "https://r"}}}]}]`),
		"skipImageReferences[0]":                                      `{imageReferences: ["*"], skipImageReferences: ["{{ x }}"], attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`,
		"repository":                                                  `{imageReferences: ["*"], repository: "{{ x }}", attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`,
		"attestations[0].type":                                        `{imageReferences: ["*"], attestations: [{type: "{{ x }}", attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}]}`,
		"attestors[0].entries[0].keys.signatureAlgorithm":             attested(`[{entries: [{keys: {publicKeys: $KEY, signatureAlgorithm: "{{ x }}"}}]}]`),
		"attestors[0].entries[0].attestor.entries[0].keys.publicKeys": attested(`[{entries: [{attestor: {entries: [{keys: {publicKeys: "{{ x }}"}}]}}]}]`),
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			text := entries(t, entry)
			_, errs := policy.AdmitCluster(cluster(t, text), policy.Options{})
			want := "spec.rules[0].verifyImages[0]." + field + `: Invalid value: "": policy contains invalid variables: variable substitution failed for rule r: x: Unknown key "x" in path`
			if d := cmp.Diff([]string{want}, texts(errs)); d != "" {
				t.Error(d)
			}
			p, errs := policy.CompileCluster(cluster(t, with(t, text, `context: [{name: x, variable: {value: a}}]`)), policy.Options{})
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if r := p.Rules[0]; !r.Substitutes() || !r.Prepares() || r.Entries[0].Deferred == nil {
				t.Error("the entry is compiled before its variables have values")
			}
			// What the variable is, is not known before: an empty one is never taken for a field that is not there.
			scope := expr.NewScope(expr.Env{})
			scope.Set("x", "")
			out, err := p.Rules[0].Substituted(t.Context(), scope)
			switch {
			case err != nil:
				t.Error(err)
			case field != "attestations[0].type" && out[0].Invalid == nil:
				t.Error("an empty value is usable")
			case field != "attestations[0].type" && out[0].Invalid.Code != "TrustMaterialInvalid":
				t.Error(out[0].Invalid)
			}
		})
	}
}
