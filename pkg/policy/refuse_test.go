package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/policy"
)

// VI 2.1, 2.2: what is refused, by the exact text.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const keys = `{keys: {publicKeys: $KEY}}`
	long := strings.Repeat("n", 64)
	at := "spec.rules[0].verifyImages[0]"
	for name, c := range map[string]struct {
		policy string
		want   []string
	}{
		"no image references": {entries(t, `{attestors: [{entries: [`+keys+`]}]}`),
			[]string{at + `: Invalid value: "r": An image reference is required`}},
		"count above entries": {entries(t, attested(`[{count: 2, entries: [`+keys+`]}]`)),
			[]string{at + `.attestors[0].count: Invalid value: 2: Count cannot exceed length of entries`}},
		"negative count": {entries(t, attested(`[{count: -1, entries: [`+keys+`]}]`)),
			[]string{at + `.attestors[0].count: Invalid value: -1: Count must be positive`}},
		"nested count": {entries(t, attested(`[{entries: [{attestor: {count: 3, entries: [`+keys+`]}}]}]`)),
			[]string{at + `.attestors[0].entries[0].attestor.count: Invalid value: 3: Count cannot exceed length of entries`}},
		"nested negative count": {entries(t, attested(`[{entries: [{attestor: {count: -2, entries: [`+keys+`]}}]}]`)),
			[]string{at + `.attestors[0].entries[0].attestor.count: Invalid value: -2: Count must be positive`}},
		"no entries": {entries(t, attested(`[{entries: []}]`)),
			[]string{at + `.attestors[0]: Invalid value: "": An entry is required`}},
		"no nested entries": {entries(t, attested(`[{entries: [{attestor: {}}]}]`)),
			[]string{at + `.attestors[0].entries[0].attestor: Invalid value: "": An entry is required`}},
		"no kind": {entries(t, attested(`[{entries: [`+keys+`, {}]}]`)),
			[]string{at + `.attestors[0].entries[1]: Invalid value: "": keys, certificates, keyless, or a nested attestor is required`}},
		"two kinds": {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY}, attestor: {entries: [`+keys+`]}}]}]`)),
			[]string{at + `.attestors[0].entries[0]: Invalid value: "": keys, certificates, keyless, or a nested attestor is required`}},
		"no key": {entries(t, attested(`[{entries: [{keys: {}}]}]`)),
			[]string{at + `.attestors[0].entries[0].keys: Invalid value: "": A public key, kms key or secret is required`}},
		"key file": {entries(t, attested(`[{entries: [{keys: {publicKeys: /etc/key.pub}}]}]`)),
			[]string{at + `.attestors[0].entries[0].keys.publicKeys: Invalid value: "/etc/key.pub": file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI`}},
		"relative key file": {entries(t, attested(`[{entries: [{keys: {publicKeys: cosign.pub}}]}]`)),
			[]string{at + `.attestors[0].entries[0].keys.publicKeys: Invalid value: "cosign.pub": file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI`}},
		"key URL": {entries(t, attested(`[{entries: [{keys: {publicKeys: "https://keys.test/cosign.pub"}}]}]`)),
			[]string{at + `.attestors[0].entries[0].keys.publicKeys: Invalid value: "https://keys.test/cosign.pub": file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI`}},
		"key URL, nested": {entries(t, attested(`[{entries: [{attestor: {entries: [{keys: {publicKeys: "http://k"}}]}}]}]`)),
			[]string{at + `.attestors[0].entries[0].attestor.entries[0].keys.publicKeys: Invalid value: "http://k": file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI`}},
		"deprecated key URL": {entries(t, `{imageReferences: ["*"], key: "https://keys.test/k"}`),
			[]string{at + `.attestors[0].entries[0].keys.publicKeys: Invalid value: "https://keys.test/k": file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI`}},
		"not PEM": {entries(t, attested(`[{entries: [{keys: {publicKeys: "-----BEGIN X-----\nx"}}]}]`)),
			[]string{at + `.attestors[0].entries[0].keys.publicKeys: Invalid value: "-----BEGIN X-----\nx": public key 1: not PEM: no block that begins and ends`}},
		"algorithm of keys": {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY, signatureAlgorithm: md5}}]}]`)),
			[]string{at + `.attestors[0].entries[0].keys.signatureAlgorithm: Invalid value: "md5": Invalid signature algorithm provided`}},
		"algorithm of the entry": {entries(t, attested(`[{entries: [{signatureAlgorithm: SHA256, keys: {publicKeys: $KEY}}]}]`)),
			[]string{at + `.attestors[0].entries[0].signatureAlgorithm: Invalid value: "SHA256": Invalid signature algorithm provided`}},
		"log key": {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {pubkey: x}}}]}]`)),
			[]string{at + `.attestors[0].entries[0].keys.rekor.pubkey: Invalid value: "x": public key 1: not PEM: the text does not begin with a BEGIN line`}},
		"certificate log key": {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY, ctlog: {pubkey: x}}}]}]`)),
			[]string{at + `.attestors[0].entries[0].keys.ctlog.pubkey: Invalid value: "x": public key 1: not PEM: the text does not begin with a BEGIN line`}},
		"TSA chain": {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY, ctlog: {tsaCertChain: x}}}]}]`)),
			[]string{at + `.attestors[0].entries[0].keys.ctlog.tsaCertChain: Invalid value: "x": certificate 1: not PEM: the text does not begin with a BEGIN line`}},
		"unknown nested field": {entries(t, attested(`[{entries: [{attestor: {entries: [`+keys+`], cuont: 1}}]}]`)),
			[]string{at + `.attestors[0].entries[0].attestor: Invalid value: "` + clipped(t, `{"cuont":1,"entries":[{"keys":{"publicKeys":`) + `…": not an attestor set: unknown field "cuont"`}},
		"empty pattern": {entries(t, `{imageReferences: [""]}`),
			[]string{at + `.imageReferences[0]: Invalid value: "": must not be empty`}},
		"control characters": {entries(t, `{imageReferences: ["*"], skipImageReferences: ["a", "b\t"]}`),
			[]string{at + `.skipImageReferences[1]: Invalid value: "b\t": must not hold control characters`}},
		"variables in patterns": {entries(t, `{imageReferences: ["{{ x }}"]}`),
			[]string{at + `.imageReferences[0]: Invalid value: "{{ x }}": rule "r" should not have variables in image reference section`}},
		"annotations without a key": {entries(t, `{image: "a", annotations: {a: b}}`),
			[]string{at + `.attestors[0].entries[0]: Invalid value: "": keys, certificates, keyless, or a nested attestor is required`}},
		"repository with a tag": {entries(t, `{imageReferences: ["*"], repository: "a/b:1", attestors: [{entries: [`+keys+`]}]}`),
			[]string{at + `.repository: Invalid value: "a/b:1": a repository without tag and digest is expected`}},
		"attestor's bad repository": {entries(t, attested(`[{entries: [{repository: UPPER, keys: {publicKeys: $KEY}}]}]`)),
			[]string{at + `.attestors[0].entries[0].repository: Invalid value: "UPPER": bad image: "UPPER": repository name must be lowercase`}},
		"entry action": {entries(t, `{imageReferences: ["*"], failureAction: enforce}`),
			[]string{at + `.failureAction: Unsupported value: "enforce": supported values: "Audit", "Enforce"`}},
		"second entry": {entries(t, `{imageReferences: ["*"]}`, attested(`[{entries: []}]`)),
			[]string{`spec.rules[0].verifyImages[1].attestors[0]: Invalid value: "": An entry is required`}},

		"other rules": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  - name: r\n", "  - {name: v, match: {any: [{resources: {kinds: [Pod]}}]}, validate: {message: m}}\n  - {name: m, match: {any: [{resources: {kinds: [Pod]}}]}, mutate: {targets: [{kind: Pod}]}, generate: {kind: Secret, clone: {}}}\n  - name: r\n", 1),
			[]string{`spec.rules[0].validate: Forbidden: rule "v": validate is not supported, only verifyImages rules are evaluated`,
				`spec.rules[1].mutate: Forbidden: rule "m": mutate is not supported, only verifyImages rules are evaluated`,
				`spec.rules[1].generate: Forbidden: rule "m": generate is not supported, only verifyImages rules are evaluated`}},
		"no operation": {`{metadata: {name: p}, spec: {rules: [{name: r, match: {any: [{resources: {kinds: [Pod]}}]}}]}}`,
			[]string{`spec.rules[0].verifyImages: Required value: a rule needs an operation`}},
		"no rules": {`{metadata: {name: p}, spec: {}}`, []string{`spec.rules: Required value: a policy needs rules`}},
		"extractors without verifyImages": {`{metadata: {name: p}, spec: {rules: [{name: r, match: {any: [{resources: {kinds: [Pod]}}]}, validate: {deny: {a: b}}, imageExtractors: {X: [{path: /a}]}}]}}`,
			[]string{`spec.rules[0].imageExtractors: Invalid value: 1: Invalid rule spec for rule 'r', imageExtractors can only be defined for verifyImages rule`,
				`spec.rules[0].validate: Forbidden: rule "r": validate is not supported, only verifyImages rules are evaluated`}},
		"duplicate rules": {strings.Replace(header, "  rules:", "  rules:\n  - {name: r, match: {any: [{resources: {kinds: [Pod]}}]}, verifyImages: [{imageReferences: [\"*\"]}]}", 1) + `    - {imageReferences: ["*"]}`,
			[]string{`spec.rules[1].name: Invalid value: "r": Duplicate rule name: 'r'`}},
		"long rule name": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "name: r\n", "name: "+long+"\n", 1),
			[]string{`spec.rules[0].name: Too long: may not be more than 63 bytes`}},
		"long policy name": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "name: p", "name: "+long, 1),
			[]string{`metadata.name: Too long: may not be more than 63 bytes`}},
		"namespace": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "name: p", "name: p, namespace: x", 1),
			[]string{`metadata.namespace: Forbidden: a ClusterPolicy has no namespace`}},
		"empty match": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "{any: [{resources: {kinds: [Pod]}}]}", "{}", 1),
			[]string{`spec.rules[0].match: Required value: Rule is matching an empty set`}},
		"empty filter": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "{resources: {kinds: [Pod]}}", "{}", 1),
			[]string{`spec.rules[0].match.any[0]: Required value: Rule is matching an empty set`}},
		"any and all": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "any:", "all: [{resources: {kinds: [Pod]}}], any:", 1),
			[]string{`spec.rules[0].match: Invalid value: "any, all": use either any or all, not both`}},
		"any and resources": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "any:", "resources: {kinds: [Pod]}, any:", 1),
			[]string{`spec.rules[0].match: Invalid value: "resources": use either any or all, or resources, not both`}},
		"name and names": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "kinds: [Pod]", "kinds: [Pod], name: a, names: [b]", 1),
			[]string{`spec.rules[0].match.any[0].resources.name: Forbidden: use names instead, not both`}},
		"no kinds": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "kinds: [Pod]", "names: [b]", 1),
			[]string{`spec.rules[0].match.any[0].resources.kinds: Required value: name the kinds that the rule is about`}},
		"any kind": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "[Pod]", `["*"]`, 1),
			[]string{`spec.rules[0].match.any[0].resources.kinds[0]: Invalid value: "*": wildcard policy does not support rule type`}},
		"bad kind": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "[Pod]", `[a/b/c/d/e]`, 1),
			[]string{`spec.rules[0].match.any[0].resources.kinds[0]: Invalid value: "a/b/c/d/e": "a/b/c/d/e" is not a kind: too many parts`}},
		"variable in match": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "kinds: [Pod]", `kinds: [Pod], namespaces: ["{{ x }}"]`, 1),
			[]string{`spec.rules[0].match.any[0].resources.namespaces[0]: Invalid value: "{{ x }}": policy contains invalid variables: variables cannot be used here`}},
		"not at admission": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  rules:", "  admission: false\n  rules:", 1),
			[]string{`spec.admission: Invalid value: false: disabling admission processing is only allowed with validation policies`}},
		"nowhere": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  rules:", "  admission: false\n  background: false\n  rules:", 1),
			[]string{`spec.admission: Invalid value: false: disabling both admission and background processing is not allowed`}},
		"timeout": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  rules:", "  webhookTimeoutSeconds: 31\n  rules:", 1),
			[]string{`spec.webhookTimeoutSeconds: Invalid value: 31: must be between 1 and 30 seconds`}},
		"no timeout": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  rules:", "  webhookConfiguration: {timeoutSeconds: 0}\n  rules:", 1),
			[]string{`spec.webhookConfiguration.timeoutSeconds: Invalid value: 0: must be between 1 and 30 seconds`}},
		"both webhook fields": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  rules:", "  failurePolicy: Fail\n  webhookTimeoutSeconds: 5\n  webhookConfiguration: {failurePolicy: Fail, timeoutSeconds: 5}\n  rules:", 1),
			[]string{`spec.failurePolicy: Forbidden: use spec.webhookConfiguration.failurePolicy instead`,
				`spec.webhookTimeoutSeconds: Forbidden: use spec.webhookConfiguration.timeoutSeconds instead`}},
		"autogen all": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "name: p", `name: p, annotations: {pod-policies.kyverno.io/autogen-controllers: all}`, 1),
			[]string{`metadata.annotations[pod-policies.kyverno.io/autogen-controllers]: Invalid value: "all": Autogen annotation does not support 'all' anymore, list the controllers or use none`}},
		"action": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  rules:", "  validationFailureAction: Block\n  rules:", 1),
			[]string{`spec.validationFailureAction: Unsupported value: "Block": supported values: "Audit", "Enforce"`}},
		"selector": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "kinds: [Pod]", `kinds: [Pod], selector: {matchLabels: {a: "b c", "x y": z}}`, 1),
			[]string{`spec.rules[0].match.any[0].resources.selector.matchLabels[a]: Invalid value: "b c": values[0][a]: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`}},
		"namespaceSelector": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "    verifyImages:", `    exclude: {all: [{resources: {namespaceSelector: {matchExpressions: [{key: a, operator: Gt, values: ["1"]}]}}}]}`+"\n    verifyImages:", 1),
			[]string{`spec.rules[0].exclude.all[0].resources.namespaceSelector.matchExpressions[0]: Invalid value: "a": "Gt" is no operator: In, NotIn, Exists or DoesNotExist`}},
		"selector of an override": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  rules:", "  validationFailureActionOverrides: [{action: Audit, namespaceSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]\n  rules:", 1),
			[]string{`spec.validationFailureActionOverrides[0].namespaceSelector.matchExpressions[0]: Invalid value: "a": values: Invalid value: ["b"]: values set must be empty for exists and does not exist`}},
		"operations": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "kinds: [Pod]", `kinds: [Pod], operations: [CREATE, PATCH]`, 1),
			[]string{`spec.rules[0].match.any[0].resources.operations[1]: Unsupported value: "PATCH": supported values: "CREATE", "UPDATE", "CONNECT", "DELETE"`}},
		"user in background": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "    verifyImages:", `    exclude: {any: [{subjects: [{kind: User, name: a}]}]}`+"\n    verifyImages:", 1),
			[]string{`spec.rules[0].exclude.any[0].subjects: Forbidden: only select variables are allowed in background mode. Set spec.background=false, because a background scan knows no user`}},
		"subjects": {strings.NewReplacer("  rules:", "  background: false\n  rules:", "{resources:", `{subjects: [{kind: User}, {kind: ServiceAccount, name: a}, {kind: Robot, name: a}, {kind: Group, name: "{{ x }}"}], resources:`).Replace(entries(t, `{imageReferences: ["*"]}`)),
			[]string{`spec.rules[0].match.any[0].subjects[0].name: Required value: a subject needs a name`,
				`spec.rules[0].match.any[0].subjects[1].namespace: Required value: a service account needs a namespace`,
				`spec.rules[0].match.any[0].subjects[2].kind: Unsupported value: "Robot": supported values: "User", "Group", "ServiceAccount"`,
				`spec.rules[0].match.any[0].subjects[3].name: Invalid value: "{{ x }}": policy contains invalid variables: variables cannot be used here`}},
		"variables in labels and annotations": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "kinds: [Pod]", `kinds: [Pod], annotations: {a: "{{ x }}"}, selector: {matchLabels: {b: "{{ y }}"}}, namespaceSelector: {matchExpressions: [{key: c, operator: In, values: ["{{ z }}"]}]}`, 1),
			[]string{`spec.rules[0].match.any[0].resources.annotations[a]: Invalid value: "{{ x }}": policy contains invalid variables: variables cannot be used here`,
				`spec.rules[0].match.any[0].resources.selector.matchLabels: Invalid value: "b: {{ y }}": policy contains invalid variables: variables cannot be used here`,
				`spec.rules[0].match.any[0].resources.namespaceSelector.matchExpressions[0]: Invalid value: "c, {{ z }}": policy contains invalid variables: variables cannot be used here`}},
		"override without action": {strings.Replace(entries(t, `{imageReferences: ["*"]}`), "  rules:", "  validationFailureActionOverrides: [{namespaces: [a]}]\n  rules:", 1),
			[]string{`spec.validationFailureActionOverrides[0].action: Required value: Audit or Enforce`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, errs := policy.AdmitCluster(cluster(t, c.policy), policy.Options{})
			if d := cmp.Diff(c.want, texts(errs)); d != "" {
				t.Error(d)
			}
		})
	}
}

// clipped is the beginning of a value as error texts quote it.
func clipped(t *testing.T, beginning string) string {
	t.Helper()
	const most = 80
	full := beginning + strings.ReplaceAll(key(t, "cosign.pub"), "\\n", "\n")
	full = strings.ReplaceAll(full, "\n", `\n`)
	return strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(full[:most])
}

// Nesting has a limit, and what lies at the limit compiles.
func TestNesting(t *testing.T) {
	t.Parallel()
	nested := func(n int) string {
		return entries(t, attested(`[{entries: [`+strings.Repeat(`{attestor: {entries: [`, n)+`{keys: {publicKeys: $KEY}}`+strings.Repeat(`]}}`, n)+`]}]`))
	}
	if _, errs := policy.AdmitCluster(cluster(t, nested(16)), policy.Options{}); len(errs) > 0 {
		t.Error(errs)
	}
	_, errs := policy.AdmitCluster(cluster(t, nested(17)), policy.Options{})
	want := "spec.rules[0].verifyImages[0].attestors[0]" + strings.Repeat(".entries[0].attestor", 17) + ": Forbidden: attestors are nested more than 16 deep"
	if d := cmp.Diff([]string{want}, texts(errs)); d != "" {
		t.Error(d)
	}
}

// VI 2.2(4), 9(3): a Policy speaks of its own namespace.
func TestRefusedPolicy(t *testing.T) {
	t.Parallel()
	text := strings.Replace(entries(t, `{imageReferences: ["*"]}`), "name: p", "name: p, namespace: team", 1)
	other := strings.Replace(text, "kinds: [Pod]", `kinds: [Pod], namespaces: [team, other, "*"]`, 1)
	if _, errs := policy.AdmitNamespaced(namespaced(t, text), policy.Options{}); len(errs) > 0 {
		t.Error(errs)
	}
	_, errs := policy.AdmitNamespaced(namespaced(t, other), policy.Options{})
	want := []string{`spec.rules[0].match.any[0].resources.namespaces[1]: Invalid value: "other": a Policy matches only its own namespace team`,
		`spec.rules[0].match.any[0].resources.namespaces[2]: Invalid value: "*": a Policy matches only its own namespace team`}
	if d := cmp.Diff(want, texts(errs)); d != "" {
		t.Error(d)
	}
}
