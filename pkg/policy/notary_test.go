package policy_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/policy"
)

// VI 2.1 and 6.12: what attestors of type Notary may be, and what is said of the rest.
func TestNotaryAdmission(t *testing.T) {
	t.Parallel()
	const at = "spec.rules[0].verifyImages[0]."
	ca, other := key(t, "notary-ca.pem"), key(t, "notary-other-ca.pem")
	inBase64 := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(strings.Trim(ca, `"`), `\n`, "\n")))
	for name, c := range map[string]struct {
		attestors string // of the entry; more fields may follow
		errs      []string
		warnings  []string
	}{
		"cert":               {`[{entries: [{certificates: {cert: ` + ca + `}}]}]`, nil, nil},
		"cert in base64":     {`[{entries: [{certificates: {cert: ` + inBase64 + `}}]}]`, nil, nil},
		"chain":              {`[{entries: [{certificates: {certChain: ` + ca + `}}]}]`, nil, nil},
		"several in one":     {`[{entries: [{certificates: {cert: "` + strings.Trim(ca, `"`) + strings.Trim(other, `"`) + `"}}]}]`, nil, nil},
		"no text":            {`[{entries: [{certificates: {}}]}]`, []string{at + `attestors[0].entries[0].certificates: Invalid value: "": cert or certChain required`}, nil},
		"no PEM":             {`[{entries: [{certificates: {cert: "-----BEGIN X"}}]}]`, []string{at + `attestors[0].entries[0].certificates.cert: Invalid value: "-----BEGIN X": certificate 1: not PEM`}, nil},
		"no PEM in chain":    {`[{entries: [{certificates: {certChain: "x y"}}]}]`, []string{at + `attestors[0].entries[0].certificates.certChain: Invalid value: "x y": certificate: neither PEM nor PEM in base64`}, nil},
		"keys and keyless":   {`[{entries: [{keys: {publicKeys: x}, keyless: {issuer: i}}]}]`, []string{at + `attestors[0].entries[0].keyless: Forbidden: Keyless field is not allowed for type notary`, at + `attestors[0].entries[0].keys: Forbidden: Keys field is not allowed for type notary`}, nil},
		"two kinds":          {`[{entries: [{certificates: {cert: ` + ca + `}, attestor: {entries: []}}]}]`, []string{at + `attestors[0].entries[0]: Invalid value: "": keys, certificates, keyless, or a nested attestor is required`}, nil},
		"nested, no kind":    {`[{entries: [{attestor: {entries: [{}]}}]}]`, []string{at + `attestors[0].entries[0].attestor.entries[0].certificates: Required value: certificates are required for type notary`}, nil},
		"nested, empty":      {`[{entries: [{attestor: {}}]}]`, []string{at + `attestors[0].entries[0].attestor: Invalid value: "": An entry is required`}, nil},
		"shortcut key":       {`[], key: x`, []string{at + `attestors[0].entries[0].keys: Forbidden: Keys field is not allowed for type notary`}, nil},
		"shortcut issuer":    {`[], issuer: i, subject: s`, []string{at + `attestors[0].entries[0].keyless: Forbidden: Keyless field is not allowed for type notary`}, nil},
		"count":              {`[{count: 2, entries: [{certificates: {cert: ` + ca + `}}]}]`, []string{at + `attestors[0].count: Invalid value: 2: Count cannot exceed length of entries`}, nil},
		"twice the same":     {`[{entries: [{certificates: {cert: ` + ca + `}}, {certificates: {certChain: ` + ca + `}}]}]`, nil, []string{at + `attestors[0].entries[1]: the same key stands in two entries of one set, so that one signature by it counts twice`}},
		"both":               {`[{entries: [{certificates: {cert: ` + ca + `, certChain: ` + other + `}}]}]`, nil, []string{at + `attestors[0].entries[0].certificates: for type Notary each certificate of cert and certChain is trusted on its own: every signer below one of them is accepted`}},
		"entry's annotation": {`[{entries: [{certificates: {cert: ` + ca + `}}]}], annotations: {a: b}`, nil, []string{at + `annotations: it has no effect for type Notary`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			warnings, errs := policy.AdmitCluster(cluster(t, entries(t, `{imageReferences: ["r.io/*"], type: Notary, failureAction: Enforce, attestors: `+c.attestors+`}`)), policy.Options{})
			got := texts(errs)
			for i := range got {
				if i < len(c.errs) && strings.HasPrefix(got[i], c.errs[i]) {
					got[i] = c.errs[i] // the rest is other packages' wording
				}
			}
			if d := cmp.Diff(c.errs, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.warnings, warnings); d != "" && c.errs == nil {
				t.Error(d)
			}
		})
	}
}

// The same certificates mean another requirement for Notary signatures than for cosign's, and the paths lack the kind.
func TestNotaryRequirement(t *testing.T) {
	t.Parallel()
	attestors := `attestors: [{entries: [{certificates: {certChain: ` + key(t, "notary-ca.pem") + `}}]}]}`
	prints := map[string]bool{}
	for _, kind := range []string{"", "type: Notary, ", "type: SigstoreBundle, "} {
		p, errs := policy.CompileCluster(cluster(t, entries(t, `{imageReferences: ["r.io/*"], `+kind+attestors)), policy.Options{})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		r := p.Rules[0].Entries[0].Requirement
		prints[r.Fingerprint] = true
		if notary := strings.Contains(kind, "Notary"); r.Notary != notary {
			t.Errorf("%q: %v", kind, r.Notary)
		} else if want := map[bool]string{true: ".attestors[0].entries[0]", false: ".attestors[0].entries[0].certificates"}[notary]; r.Sets[0].Entries[0].Path != want {
			t.Errorf("%q: path %q", kind, r.Sets[0].Entries[0].Path)
		}
	}
	if len(prints) != 3 {
		t.Errorf("%d fingerprints", len(prints))
	}
}
