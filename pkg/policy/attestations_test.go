package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/policy"
)

// attests is an entry with attestations and whatever else, a YAML flow mapping's inside.
func attests(t testing.TB, rest string) string {
	t.Helper()
	return entries(t, `{imageReferences: ["*"], failureAction: Enforce, `+rest+`}`)
}

const byKey = `attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]`

// VI 2.1, 2.2(7), 2.3: what is refused of attestations and validate, and what draws a warning.
func TestAttestationAdmission(t *testing.T) {
	t.Parallel()
	const at = "spec.rules[0].verifyImages[0]."
	conditions := func(c string) string { return `attestations: [{type: t, ` + byKey + `, conditions: ` + c + `}]` }
	deny := func(c string) string {
		return `attestations: [{name: x, type: t, ` + byKey + `}], validate: {deny: {conditions: ` + c + `}}`
	}
	const incomplete = `: Invalid value: "": entered value of key, value or operator is missing or misspelled`
	for name, c := range map[string]struct {
		entry          string
		errs, warnings []string
	}{
		"fine":                   {conditions(`[{all: [{key: "{{ a.b }}", operator: Equals, value: 1}]}]`), nil, nil},
		"VI 2.2(6) any variable": {conditions(`[{any: [{key: "{{ nobody.knows.this }}", operator: anyin, value: ["{{ user }}"]}]}]`), nil, nil},
		"unknown operator":       {conditions(`[{any: [{key: a, operator: Like, value: b}]}]`), []string{at + `attestations[0].conditions: Invalid value: "": [0].any[0].operator: unknown operator "Like"`}, nil},
		"no expression":          {conditions(`[{any: [{key: "{{ a[ }}", operator: Equals, value: b}]}]`), []string{at + `attestations[0].conditions`}, nil},
		"old operators":          {conditions(`[{any: [{key: a, operator: In, value: [a]}]}]`), nil, []string{at + "attestations[0].conditions[0]: the operators In and NotIn are deprecated, use AnyIn, AllIn, AnyNotIn or AllNotIn"}},
		"missing type":           {`attestations: [{` + byKey + `}]`, nil, []string{at + "attestations[0]: missing type, so that no image can pass"}},
		"old type":               {`attestations: [{predicateType: p, ` + byKey + `}]`, nil, []string{at + "attestations[0].predicateType: predicateType has been deprecated use 'type: p' instead of 'predicateType: p'"}},
		"A-74 nobody":            {`attestations: [{type: t}]`, nil, []string{at + "attestations[0]: without attestors any identity certified by the trust root is accepted"}},
		"same name":              {`attestations: [{name: x, type: t, ` + byKey + `}, {name: x, type: u, ` + byKey + `}]`, nil, []string{at + `attestations[1].name: two attestations of one entry are named "x", and conditions see the last one`}},
		"empty set":              {`attestations: [{type: t, attestors: [{entries: []}]}]`, []string{at + `attestations[0].attestors[0]: Invalid value: "": An entry is required`}, nil},
		"count":                  {`attestations: [{type: t, attestors: [{count: 2, entries: [{keys: {publicKeys: $KEY}}]}]}]`, []string{at + `attestations[0].attestors[0].count: Invalid value: 2: Count cannot exceed length of entries`}, nil},
		"keyless":                {`attestations: [{type: t, attestors: [{entries: [{keyless: {issuer: i, subject: s}}]}]}]`, []string{at + `attestations[0].attestors[0].entries[0].keyless: Invalid value: "": Either Rekor URL or roots are required`}, nil},
		"variable as type":       {`attestations: [{type: "{{ a }}", ` + byKey + `}]`, []string{at + `attestations[0].type: Invalid value: "": policy contains invalid variables: variable substitution failed for rule r: a: Unknown key "a" in path`}, nil},
		"Notary":                 {`type: Notary, attestations: [{type: t, ` + byKey + `}]`, []string{at + `attestations[0].attestors[0].entries[0].keys: Forbidden: Keys field is not allowed for type notary`}, nil},
		"A-81 Notary, nobody":    {`type: Notary, attestations: [{type: t}]`, []string{at + `attestations[0].attestors: Required value: certificates are required for type notary`}, nil},
		"deny":                   {deny(`{any: [{key: "{{ x.a }}", operator: Equals, value: b}]}`), nil, nil},
		"deny, plain list":       {deny(`[{key: "{{ x.a }}", operator: Equals, value: b}]`), nil, nil},
		"deny, no value":         {deny(`{any: [{key: "{{ x.a }}", operator: Equals}]}`), []string{at + "validate.deny.conditions.any[0]" + incomplete}, nil},
		"deny, no key":           {deny(`[{all: [{operator: Equals, value: b}]}]`), []string{at + "validate.deny.conditions[0].all[0]" + incomplete}, nil},
		"deny, misspelled":       {deny(`[{all: [{kye: a, operator: Equals, value: b}]}]`), []string{at + `validate.deny.conditions: Invalid value: "": [0].all[0].kye: unknown field`}, nil},
		"deny, operation":        {deny(`[{key: "{{request.operation}}", operator: AnyIn, value: [CREATE, PATCH]}]`), []string{at + `validate.deny.conditions[0].value: Unsupported value: "PATCH": supported values: "CREATE", "UPDATE", "DELETE", "CONNECT"`}, nil},
		"deny, nothing":          {deny("null"), []string{at + `validate.deny.conditions: Required value: say what is denied`}, nil},
		"validate without deny":  {`attestations: [{type: t, ` + byKey + `}], validate: {message: m}`, nil, nil},
		"validate, bad message":  {`attestations: [{type: t, ` + byKey + `}], validate: {message: "{{ a[ }}", deny: {conditions: {any: []}}}`, []string{at + `validate.message`}, nil},
		"validate alone":         {byKey + `, validate: {deny: {conditions: {any: []}}}`, nil, []string{at + "validate: validate runs only for images of which an entry of the rule verifies attestations"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			warnings, errs := policy.AdmitCluster(cluster(t, attests(t, c.entry)), policy.Options{})
			got := texts(errs)
			for i := range got {
				if i < len(c.errs) && strings.HasPrefix(got[i], c.errs[i]) {
					got[i] = c.errs[i] // the rest is other packages' wording
				}
			}
			if d := cmp.Diff(c.errs, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.warnings, warnings); d != "" {
				t.Error(d)
			}
		})
	}
}

// VI 1.7(2), 6.6(2), (3): what attestations compile to.
func TestAttestationsCompiled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ entry, want string }{
		"conditions are read": {`attestations: [{type: t, ` + byKey + `, conditions: [{all: [{key: a, operator: Equals, value: a}]}]}]`,
			"t read .attestations[0].attestors[0].entries[0].keys"},
		"names are read":       {`attestations: [{name: x, type: t, ` + byKey + `}]`, "t read .attestations[0].attestors[0].entries[0].keys"},
		"others are not":       {`attestations: [{type: t, ` + byKey + `, conditions: []}]`, "t .attestations[0].attestors[0].entries[0].keys"},
		"type before old type": {`attestations: [{type: t, predicateType: p, ` + byKey + `}]`, "t .attestations[0].attestors[0].entries[0].keys"},
		"anybody":              {`attestations: [{type: t}]`, "t .attestations[0].attestors[0].entries[0].keyless any"},
		"shortcut": {`key: $KEY, attestations: [{type: t, ` + byKey + `}, {type: u}]`,
			"t .attestations[0].attestors[0].entries[0].keys .attestations[0].attestors[1].entries[0].keys, u .attestations[1].attestors[0].entries[0].keys"},
		"shortcut of an identity": {`issuer: i, subject: s, attestations: [{type: t}]`, "t .attestations[0].attestors[0].entries[0].keyless"},
		"both":                    {byKey + `, attestations: [{type: t, ` + byKey + `}]`, ".attestors[0].entries[0].keys t .attestations[0].attestors[0].entries[0].keys"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := compile(t, attests(t, c.entry)).Rules[0].Entries[0]
			var parts []string
			var got strings.Builder
			for _, s := range e.Requirement.Sets {
				fmt.Fprintf(&got, "%s ", s.Entries[0].Path)
			}
			for _, a := range e.Requirement.Attestations {
				text := a.Type
				if a.Read {
					text += " read"
				}
				for _, s := range a.Sets {
					text += " " + s.Entries[0].Path
					if k := s.Entries[0].Attestor.Keyless; k != nil && k.Identity.Issuer.String() == "" {
						if !s.Entries[0].Attestor.IgnoreSCT || s.Entries[0].Attestor.IgnoreLog || s.Count != 1 {
							t.Errorf("%+v", s)
						}
						text += " any"
					}
				}
				parts = append(parts, text)
			}
			got.WriteString(strings.Join(parts, ", "))
			if d := cmp.Diff(c.want, got.String()); d != "" {
				t.Error(d)
			}
			if len(e.Conditions) != len(e.Requirement.Attestations) {
				t.Errorf("%d conditions", len(e.Conditions))
			}
		})
	}
}

// VI 7.1(1): conditions are evaluated for every request, so they do not tell requirements apart; what is read does.
func TestConditionsFingerprint(t *testing.T) {
	t.Parallel()
	print := func(conditions string) string {
		return compile(t, attests(t, `attestations: [{type: t, `+byKey+`, conditions: `+conditions+`}]`)).Rules[0].Entries[0].Requirement.Fingerprint
	}
	a, b := print(`[{all: [{key: a, operator: Equals, value: a}]}]`), print(`[{all: [{key: a, operator: Equals, value: b}]}]`)
	if a != b || a == print("[]") {
		t.Error(a, b)
	}
}

// VI 4.5(5): conditions of generated rules read the Pod template.
func TestAutogenConditions(t *testing.T) {
	t.Parallel()
	const key = `"{{ request.object.metadata.labels.a }}{{ request.oldObject.spec.b }}{{ x.request.object.spec }}"`
	p := compile(t, attests(t, `attestations: [{name: x, type: t, `+byKey+`, conditions: [{any: [{key: `+key+`, operator: Equals, value: [`+key+`], message: `+key+`}]}]}],
      validate: {message: `+key+`, deny: {conditions: {any: [{key: `+key+`, operator: Equals, value: a}]}}}`))
	if len(p.Generated) != 2 {
		t.Fatalf("%d generated rules", len(p.Generated))
	}
	for i, template := range []string{"template", "jobTemplate.spec.template"} {
		e := p.Generated[i].VerifyImages[0]
		want := "{{ request.object.spec." + template + ".metadata.labels.a }}{{ request.oldObject.spec." + template + ".spec.b }}{{ x.request.object.spec }}"
		cond := e.Attestations[0].Conditions[0].Any[0]
		got := []string{string(cond.Key.Raw), string(cond.Value.Raw), cond.Message, e.Validate.Message}
		if d := cmp.Diff([]string{`"` + want + `"`, `["` + want + `"]`, want, want}, got); d != "" {
			t.Error(d)
		}
		if !strings.Contains(string(e.Validate.Deny.Conditions.Raw), want) {
			t.Errorf("%s", e.Validate.Deny.Conditions.Raw)
		}
	}
}
