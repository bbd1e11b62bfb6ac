package policy_test

import (
	"crypto"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/verify"
)

// outline writes a set as its count, its paths and the hints of its keys.
func outline(s *verify.Set) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of", s.Count)
	for _, e := range s.Entries {
		if e.Nested != nil {
			fmt.Fprintf(&b, " (%s)", outline(e.Nested))
			continue
		}
		fmt.Fprintf(&b, " %s=%.6s", e.Path, verify.KeyHint(e.Attestor.Key))
	}
	return b.String()
}

// VI 6.4(1), (2), (4), (5): expansion, counts, paths.
func TestAttestorSets(t *testing.T) {
	t.Parallel()
	hint := func(file string) string {
		var text string
		if err := yaml.Unmarshal([]byte(key(t, file)), &text); err != nil {
			t.Fatal(err)
		}
		keys, err := verify.ParseKeys(text)
		if err != nil {
			t.Fatal(err)
		}
		return verify.KeyHint(keys[0])[:6]
	}
	c, o, th := hint("cosign.pub"), hint("other.pub"), hint("third.pub")
	two := strings.TrimSuffix(key(t, "cosign.pub"), `"`) + strings.TrimPrefix(key(t, "other.pub"), `"`)
	spaced := strings.TrimSuffix(key(t, "cosign.pub"), `"`) + `\n \n\n` + strings.TrimPrefix(key(t, "other.pub"), `"`)
	one, third := `{keys: {publicKeys: $KEY}}`, `{keys: {publicKeys: `+key(t, "third.pub")+`}}`
	const e = ".attestors[0].entries"
	for name, tc := range map[string]struct{ set, want string }{
		"one":             {`{entries: [` + one + `]}`, "1 of " + e + "[0].keys=" + c},
		"count zero":      {`{count: 0, entries: [` + one + `, ` + third + `]}`, "2 of " + e + "[0].keys=" + c + " " + e + "[1].keys=" + th},
		"count null":      {`{count: null, entries: [` + one + `, ` + third + `]}`, "2 of " + e + "[0].keys=" + c + " " + e + "[1].keys=" + th},
		"count one":       {`{count: 1, entries: [` + one + `, ` + third + `]}`, "1 of " + e + "[0].keys=" + c + " " + e + "[1].keys=" + th},
		"two keys":        {`{entries: [{keys: {publicKeys: ` + two + `}}]}`, "2 of " + e + "[0].keys=" + c + " " + e + "[1].keys=" + o},
		"two keys apart":  {`{entries: [{keys: {publicKeys: ` + spaced + `}}]}`, "2 of " + e + "[0].keys=" + c + " " + e + "[1].keys=" + o},
		"two keys, one":   {`{count: 1, entries: [{keys: {publicKeys: ` + two + `}}]}`, "1 of " + e + "[0].keys=" + c + " " + e + "[1].keys=" + o},
		"two keys, two":   {`{count: 2, entries: [{keys: {publicKeys: ` + two + `}}]}`, "2 of " + e + "[0].keys=" + c + " " + e + "[1].keys=" + o},
		"expanded, third": {`{entries: [{keys: {publicKeys: ` + two + `}}, ` + third + `]}`, "3 of " + e + "[0].keys=" + c + " " + e + "[1].keys=" + o + " " + e + "[2].keys=" + th},
		"nested": {`{count: 1, entries: [` + third + `, {attestor: {count: 1, entries: [` + one + `, {keys: {publicKeys: ` + two + `}}]}}]}`,
			"1 of " + e + "[0].keys=" + th + " (1 of " + e + "[1].attestor.entries[0].keys=" + c + " " + e + "[1].attestor.entries[1].keys=" + c + " " + e + "[1].attestor.entries[2].keys=" + o + ")"},
		"nested after expansion": {`{entries: [{keys: {publicKeys: ` + two + `}}, {attestor: {entries: [` + third + `]}}]}`,
			"3 of " + e + "[0].keys=" + c + " " + e + "[1].keys=" + o + " (1 of " + e + "[2].attestor.entries[0].keys=" + th + ")"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, entries(t, attested("["+tc.set+"]")))
			if got := outline(&p.Rules[0].Entries[0].Requirement.Sets[0]); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// VI 6.5(1)-(6), (9), 1.2(3): what becomes of an attestor's fields, nested ones without the schema's defaults included.
func TestAttestorOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entry string
		check func(*verify.Attestor) any
		want  any
	}{
		"log by default":      {attested(`[{entries: [{keys: {publicKeys: $KEY}}]}]`), func(a *verify.Attestor) any { return a.IgnoreLog }, false},
		"log ignored":         {attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {ignoreTlog: true}}}]}]`), func(a *verify.Attestor) any { return a.IgnoreLog }, true},
		"log with a URL":      {attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {url: "https://r"}}}]}]`), func(a *verify.Attestor) any { return a.IgnoreLog }, false},
		"public log":          {attested(`[{entries: [{keys: {publicKeys: $KEY}}]}]`), func(a *verify.Attestor) any { return a.LogURL }, "https://rekor.sigstore.dev"},
		"own log":             {attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {url: "https://r"}}}]}]`), func(a *verify.Attestor) any { return a.LogURL }, "https://r"},
		"no search":           {attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {url: ""}}}]}]`), func(a *verify.Attestor) any { return a.LogURL }, ""},
		"no log, no search":   {attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {url: "https://r", ignoreTlog: true}}}]}]`), func(a *verify.Attestor) any { return a.LogURL }, ""},
		"log keys":            {attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {pubkey: $KEY}}}]}]`), func(a *verify.Attestor) any { return len(a.LogKeys) }, 1},
		"no SCT changes none": {attested(`[{entries: [{keys: {publicKeys: $KEY, ctlog: {ignoreSCT: true}}}]}]`), func(a *verify.Attestor) any { return a.IgnoreLog }, false},
		"hash":                {attested(`[{entries: [{keys: {publicKeys: $KEY}}]}]`), func(a *verify.Attestor) any { return a.Hash }, crypto.SHA256},
		"hash of the entry":   {attested(`[{entries: [{signatureAlgorithm: sha384, keys: {publicKeys: $KEY}}]}]`), func(a *verify.Attestor) any { return a.Hash }, crypto.SHA384},
		"hash of keys wins":   {attested(`[{entries: [{signatureAlgorithm: sha384, keys: {publicKeys: $KEY, signatureAlgorithm: sha512}}]}]`), func(a *verify.Attestor) any { return a.Hash }, crypto.SHA512},
		"entry's annotations": {`{imageReferences: ["*"], annotations: {a: b}, attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`, func(a *verify.Attestor) any { return a.Annotations }, map[string]string{"a": "b"}},
		"own annotations":     {`{imageReferences: ["*"], annotations: {a: b}, attestors: [{entries: [{annotations: {c: d}, keys: {publicKeys: $KEY}}]}]}`, func(a *verify.Attestor) any { return a.Annotations }, map[string]string{"c": "d"}},
		"empty annotations":   {`{imageReferences: ["*"], annotations: {a: b}, attestors: [{entries: [{annotations: {}, keys: {publicKeys: $KEY}}]}]}`, func(a *verify.Attestor) any { return len(a.Annotations) }, 0},
		"nested annotations":  {`{imageReferences: ["*"], annotations: {a: b}, attestors: [{entries: [{attestor: {entries: [{keys: {publicKeys: $KEY}}]}}]}]}`, func(a *verify.Attestor) any { return a.Annotations }, map[string]string{"a": "b"}},
		"no repository":       {attested(`[{entries: [{keys: {publicKeys: $KEY}}]}]`), func(a *verify.Attestor) any { return a.Repository.IsZero() }, true},
		"entry's repository":  {`{imageReferences: ["*"], repository: r.test/sig, attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`, func(a *verify.Attestor) any { return a.Repository.Repository() }, "r.test/sig"},
		"own repository":      {`{imageReferences: ["*"], repository: r.test/sig, attestors: [{entries: [{repository: "r.test:5000/own", keys: {publicKeys: $KEY}}]}]}`, func(a *verify.Attestor) any { return a.Repository.Repository() }, "r.test:5000/own"},
		"deprecated key":      {`{image: "*", key: $KEY, annotations: {a: b}}`, func(a *verify.Attestor) any { return a.Annotations }, map[string]string{"a": "b"}},
		"deprecated key, log": {`{image: "*", key: $KEY}`, func(a *verify.Attestor) any { return a.IgnoreLog }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, entries(t, c.entry))
			set := p.Rules[0].Entries[0].Requirement.Sets[0]
			for set.Entries[0].Nested != nil {
				set = *set.Entries[0].Nested
			}
			if d := cmp.Diff(c.want, c.check(set.Entries[0].Attestor)); d != "" {
				t.Error(d)
			}
		})
	}
}

// VI 1.7: the shortcuts add to the lists.
func TestShortcuts(t *testing.T) {
	t.Parallel()
	p := compile(t, entries(t, `{image: "b", imageReferences: ["a"], key: $KEY, attestors: [{entries: [{keys: {publicKeys: `+key(t, "other.pub")+`}}]}]}`))
	e := p.Rules[0].Entries[0]
	if len(e.Images) != 2 || e.Images[0].String() != "a" || e.Images[1].String() != "b" || len(e.Requirement.Sets) != 2 {
		t.Errorf("%v, %d sets", e.Images, len(e.Requirement.Sets))
	}
	if got := e.Requirement.Sets[1].Entries[0].Path; got != ".attestors[1].entries[0].keys" {
		t.Error(got)
	}
}

// 7.1: equal requirements share a fingerprint, wherever they are written; every field that decides changes it.
func TestFingerprints(t *testing.T) {
	t.Parallel()
	print := func(entry string) string {
		return compile(t, entries(t, entry)).Rules[0].Entries[0].Requirement.Fingerprint
	}
	base := print(attested(`[{entries: [{keys: {publicKeys: $KEY}}]}]`))
	for _, same := range []string{
		`{imageReferences: ["b"], required: false, attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`,
		`{image: "*", key: $KEY}`,
		attested(`[{count: 1, entries: [{keys: {publicKeys: $KEY, ctlog: {ignoreSCT: true}, rekor: {url: "https://rekor.sigstore.dev"}}}]}]`),
	} {
		if print(same) != base {
			t.Errorf("%s has another fingerprint", same)
		}
	}
	seen := map[string]string{base: ""}
	for _, other := range []string{
		attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {ignoreTlog: true}}}]}]`),
		attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {pubkey: $KEY}}}]}]`),
		attested(`[{entries: [{keys: {publicKeys: $KEY, signatureAlgorithm: sha512}}]}]`),
		attested(`[{entries: [{annotations: {a: b}, keys: {publicKeys: $KEY}}]}]`),
		attested(`[{entries: [{repository: a/b, keys: {publicKeys: $KEY}}]}]`),
		attested(`[{entries: [{keys: {publicKeys: $KEY}}, {keys: {publicKeys: $KEY}}]}]`),
		attested(`[{count: 1, entries: [{keys: {publicKeys: $KEY}}, {keys: {publicKeys: $KEY}}]}]`),
		attested(`[{entries: [{keys: {publicKeys: $KEY}}]}, {entries: [{keys: {publicKeys: $KEY}}]}]`),
		attested(`[{entries: [{attestor: {entries: [{keys: {publicKeys: $KEY}}]}}]}]`),
		`{imageReferences: ["*"], type: SigstoreBundle, attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`,
	} {
		f := print(other)
		if first, ok := seen[f]; ok {
			t.Errorf("%s and %q share a fingerprint", other, first)
		}
		seen[f] = other
	}
	if print(`{imageReferences: ["*"], type: Cosign, cosignOCI11: true, attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`) != base {
		t.Error("hints change the fingerprint")
	}
}

// VI 3.8(3), A-92: an entry's Enforce, else the first entry's action, else overrides, else the policy's, else Audit.
func TestA92Actions(t *testing.T) {
	t.Parallel()
	with := func(spec string, list ...string) string {
		return strings.Replace(entries(t, list...), "  rules:", spec+"\n  rules:", 1)
	}
	const none, audit, enforce = `{imageReferences: ["a"]}`, `{imageReferences: ["a"], failureAction: Audit}`, `{imageReferences: ["a"], failureAction: Enforce}`
	const overrides = "  validationFailureActionOverrides: [{action: enforce, namespaces: [prod, 'prod-*']}, {action: Audit, namespaces: ['p*']}]"
	for name, c := range map[string]struct {
		policy, namespace string
		want              policy.Action
		first             policy.Action // of the first entry
	}{
		"default":               {entries(t, none), "x", policy.Audit, policy.Audit},
		"policy":                {with("  validationFailureAction: Enforce", none), "x", policy.Enforce, policy.Enforce},
		"policy in lower case":  {with("  validationFailureAction: enforce", none), "x", policy.Enforce, policy.Enforce},
		"override":              {with(overrides, none), "prod", policy.Enforce, policy.Enforce},
		"override by wildcard":  {with(overrides, none), "prod-1", policy.Enforce, policy.Enforce},
		"first override counts": {with("  validationFailureAction: Enforce\n"+overrides, none), "pilot", policy.Audit, policy.Audit},
		"no override":           {with("  validationFailureAction: Enforce\n"+overrides, none), "dev", policy.Enforce, policy.Enforce},
		"entry over override":   {with(overrides, audit), "prod", policy.Audit, policy.Audit},
		"entry over policy":     {with("  validationFailureAction: Enforce", audit), "x", policy.Audit, policy.Audit},
		"enforce in front":      {entries(t, enforce, audit), "x", policy.Enforce, policy.Enforce},
		"enforce at the end":    {entries(t, audit, none, enforce), "x", policy.Enforce, policy.Audit},
		"first that has one":    {with("  validationFailureAction: Enforce", none, audit), "x", policy.Audit, policy.Enforce},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := compile(t, c.policy).Rules[0]
			if got, first := r.Action(&match.Attributes{Namespace: c.namespace}), r.Entries[0].Action(&match.Attributes{Namespace: c.namespace}); got != c.want || first != c.first {
				t.Errorf("rule %s, first entry %s", got, first)
			}
		})
	}
}

// VI 1.3: failure policy and timeout.
func TestWebhookSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec    string
		force   bool
		want    policy.FailurePolicy
		timeout int32
	}{
		"default":    {"", false, policy.Fail, 0},
		"deprecated": {"  failurePolicy: Ignore\n  webhookTimeoutSeconds: 7", false, policy.Ignore, 7},
		"new":        {"  webhookConfiguration: {failurePolicy: Ignore, timeoutSeconds: 30}", false, policy.Ignore, 30},
		"fail":       {"  webhookConfiguration: {failurePolicy: Fail, timeoutSeconds: 1}", false, policy.Fail, 1},
		"forced":     {"  failurePolicy: Fail", true, policy.Ignore, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  rules:", c.spec+"\n  rules:", 1)
			p, errs := policy.CompileCluster(cluster(t, text), policy.Options{ForceIgnore: c.force})
			if len(errs) > 0 || p.FailurePolicy != c.want || p.TimeoutSeconds != c.timeout {
				t.Errorf("%v, %v, %d", errs, p.FailurePolicy, p.TimeoutSeconds)
			}
		})
	}
}

// VI 1.5, 1.3, 8.1(4): defaults and presentation.
func TestPolicyFields(t *testing.T) {
	t.Parallel()
	p := compile(t, strings.Replace(entries(t, `{imageReferences: ["*"]}`, `{imageReferences: ["*"], mutateDigest: false, verifyDigest: false, required: false, useCache: false}`), "metadata: {name: p}",
		"metadata: {name: p, uid: u, generation: 3, labels: {reports.kyverno.io/disabled: ''}, annotations: {policies.kyverno.io/severity: high, policies.kyverno.io/category: c, policies.kyverno.io/scored: 'false'}}", 1))
	if d := cmp.Diff(policy.Report{Severity: "high", Category: "c", Unscored: true, Disabled: true}, p.Report); d != "" {
		t.Error(d)
	}
	if p.UID != "u" || p.Generation != 3 || !p.Background || p.ApplyOne || p.Authored != 1 {
		t.Errorf("%+v", p)
	}
	a, b := p.Rules[0].Entries[0], p.Rules[0].Entries[1]
	if !a.MutateDigest || !a.VerifyDigest || !a.Required || !a.UseCache || b.MutateDigest || b.VerifyDigest || b.Required || b.UseCache || a.Requirement != nil {
		t.Errorf("%+v, %+v", a, b)
	}
	if !p.Rules[0].Validates() {
		t.Error("does not validate")
	}
	p = compile(t, strings.Replace(entries(t, `{imageReferences: ["*"], verifyDigest: false, required: false}`), "  rules:", "  applyRules: One\n  background: false\n  rules:", 1))
	if p.Background || !p.ApplyOne || p.Rules[0].Validates() {
		t.Errorf("%+v", p)
	}
	if k := (policy.Key{Name: "p"}); k.String() != "p" || k.Scoped() != "/p" {
		t.Error(k)
	}
	if k := (policy.Key{Namespace: "n", Name: "p"}); k.String() != "n/p" || k.Scoped() != "n/p" {
		t.Error(k)
	}
}

// VI 1.4(3), 4.6: the filters of a rule.
func TestFilters(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		match    string
		yes, not []match.Attributes
	}{
		"one filter":      {`match: {resources: {kinds: [Pod], name: "web-*"}}`, []match.Attributes{{Kind: "Pod", Name: "web-1"}}, []match.Attributes{{Kind: "Pod", Name: "db"}, {Kind: "Job", Name: "web-1"}}},
		"any":             {`match: {any: [{resources: {kinds: [Pod]}}, {resources: {kinds: [apps/v1/Deployment], names: [a]}}]}`, []match.Attributes{{Kind: "Pod"}, {Group: "apps", Version: "v1", Kind: "Deployment", Name: "a"}}, []match.Attributes{{Group: "apps", Version: "v1", Kind: "Deployment", Name: "b"}}},
		"all":             {`match: {all: [{resources: {kinds: [Pod]}}, {resources: {kinds: ["*/*"], namespaces: [a]}}]}`, []match.Attributes{{Kind: "Pod", Namespace: "a"}}, []match.Attributes{{Kind: "Pod", Namespace: "b"}}},
		"exclude":         {`match: {any: [{resources: {kinds: [Pod]}}]}` + "\n    exclude: {any: [{resources: {namespaces: [a]}}]}", []match.Attributes{{Kind: "Pod", Namespace: "b"}}, []match.Attributes{{Kind: "Pod", Namespace: "a"}}},
		"exclude all":     {`match: {any: [{resources: {kinds: [Pod]}}]}` + "\n    exclude: {all: [{resources: {namespaces: [a]}}, {resources: {names: [x]}}]}", []match.Attributes{{Kind: "Pod", Namespace: "a", Name: "y"}}, []match.Attributes{{Kind: "Pod", Namespace: "a", Name: "x"}}},
		"exclude nothing": {`match: {any: [{resources: {kinds: [Pod]}}]}` + "\n    exclude: {}", []match.Attributes{{Kind: "Pod"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, strings.Replace(entries(t, `{imageReferences: ["*"]}`), "match: {any: [{resources: {kinds: [Pod]}}]}", c.match, 1))
			for _, a := range c.yes {
				if got, err := p.Rules[0].Filter.Matches(&a); !got || err != nil {
					t.Errorf("does not match %+v", a)
				}
			}
			for _, a := range c.not {
				if got, _ := p.Rules[0].Filter.Matches(&a); got {
					t.Errorf("matches %+v", a)
				}
			}
		})
	}
}

// VI 5(3): an entry skips only what it matches.
func TestJudges(t *testing.T) {
	t.Parallel()
	e := compile(t, entries(t, `{imageReferences: ["ghcr.io/a/*"], skipImageReferences: ["ghcr.io/a/b:*", "x"]}`)).Rules[0].Entries[0]
	for ref, want := range map[string][2]bool{"ghcr.io/a/c:1": {true, false}, "ghcr.io/a/b:1": {false, true}, "x": {false, false}, "ghcr.io/b/b:1": {false, false}} {
		r, err := image.Parse(ref, image.Options{})
		if err != nil {
			t.Fatal(err)
		}
		judges, skips := e.Judges(r.Forms())
		if judges != want[0] || skips != want[1] {
			t.Errorf("%s: %v, %v", ref, judges, skips)
		}
	}
}

// VI 1.4(2): a stored policy with rules of other kinds is loaded without them and says so; one that does not compile
// is in force as one that refuses.
func TestStored(t *testing.T) {
	t.Parallel()
	text := strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  - name: r\n", "  - {name: v, match: {any: [{resources: {kinds: [Pod]}}]}, validate: {message: m, pattern: {a: b}}}\n  - name: r\n", 1)
	p := compile(t, text)
	want := []string{`spec.rules[0].validate: Forbidden: rule "v": validate is not supported, only verifyImages rules are evaluated`}
	if d := cmp.Diff(want, p.NotEvaluated); d != "" {
		t.Error(d)
	}
	if len(p.Rules) == 0 || p.Rules[0].Name != "r" || p.Rules[0].Broken != "" {
		t.Errorf("%+v", p.Rules)
	}
	broken, errs := policy.CompileCluster(cluster(t, entries(t, `{imageReferences: [""]}`)), policy.Options{})
	if len(errs) != 1 || broken == nil {
		t.Fatalf("%v, %v", errs, broken)
	}
	for _, r := range broken.Rules {
		if r.Broken != errs[0].Error() || !r.Validates() {
			t.Errorf("%s: %q", r.Name, r.Broken)
		}
	}
	if len(broken.Rules) != 3 || broken.FailurePolicy != policy.Fail {
		t.Errorf("%d rules, %v", len(broken.Rules), broken.FailurePolicy)
	}
}
