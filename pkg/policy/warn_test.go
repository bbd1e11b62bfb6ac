package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/policy"
)

// VI 2.3: what is admitted with a warning, and what without one.
func TestWarnings(t *testing.T) {
	t.Parallel()
	const at = "spec.rules[0].verifyImages[0]"
	with := func(spec string, list ...string) string {
		return strings.Replace(entries(t, list...), "  rules:", spec+"\n  rules:", 1)
	}
	enforced := attested(`[{entries: [{keys: {publicKeys: $KEY}}]}]`)
	respelled := strings.Replace(key(t, "cosign.pub"), `KEY-----\n`, `KEY-----\n\n`, 1)
	for name, c := range map[string]struct {
		policy string
		want   []string
	}{
		"nothing": {entries(t, enforced), nil},
		"audit that mutates": {entries(t, `{imageReferences: ["*"]}`),
			[]string{at + ": mutateDigest has no effect for failure action Audit and is treated as false"}},
		"entry's audit that mutates": {with("  validationFailureAction: Enforce", `{imageReferences: ["*"], failureAction: Audit, mutateDigest: true}`),
			[]string{at + ": mutateDigest has no effect for failure action Audit and is treated as false"}},
		"audit without": {entries(t, `{imageReferences: ["*"], mutateDigest: false}`), nil},
		"enforce and ignore": {with("  failurePolicy: Ignore", enforced),
			[]string{at + ": Enforce with failure policy Ignore: images that cannot be checked are admitted"}},
		"A-50 A-65 neither digest": {entries(t, `{imageReferences: ["*"], failureAction: Enforce, mutateDigest: false, verifyDigest: false}`),
			[]string{at + ": without mutateDigest and verifyDigest the tag can move after verification"}},
		"same key twice": {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY}}, {keys: {publicKeys: $KEY}}]}]`)),
			[]string{at + ".attestors[0].entries[1]: the same key stands in two entries of one set, so that one signature by it counts twice"}},
		"same key, other spelling": {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY}}, {keys: {publicKeys: `+respelled+`}}]}]`)),
			[]string{at + ".attestors[0].entries[1]: the same key stands in two entries of one set, so that one signature by it counts twice"}},
		"same key in two sets": {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY}}]}, {entries: [{keys: {publicKeys: $KEY}}]}]`)), nil},
		"lower-case action": {with("  validationFailureAction: enforce", `{imageReferences: ["*"]}`),
			[]string{"Validation failure actions enforce/audit are deprecated, use Enforce/Audit instead."}},
		"lower-case actions, once": {with("  validationFailureAction: enforce\n  validationFailureActionOverrides: [{action: audit, namespaces: [a]}]", `{imageReferences: ["*"]}`),
			[]string{"Validation failure actions enforce/audit are deprecated, use Enforce/Audit instead."}},
		"override of nothing": {with("  validationFailureActionOverrides: [{action: Audit, namespaces: [a]}, {action: Enforce}, {action: Enforce, namespaceSelector: {}}]", enforced),
			[]string{"spec.validationFailureActionOverrides[1]: without namespaces and namespaceSelector it holds nowhere"}},
		"subject alone": {entries(t, `{imageReferences: ["*"], subject: a, failureAction: Enforce}`),
			[]string{at + ".subject: subject has no effect without issuer"}},
		"extensions without keyless": {entries(t, strings.Replace(enforced, `{`, `{additionalExtensions: {a: b}, `, 1)),
			[]string{at + ".additionalExtensions: additionalExtensions has no effect, for no attestor is keyless"}},
		"roots without issuer": {entries(t, strings.Replace(enforced, `{`, `{roots: `+key(t, "fulcio-chain.pem")+`, `, 1)),
			[]string{at + ".roots: roots has no effect without issuer, for every attestor names its own"}},
		"T-029 not anchored": {entries(t, `{imageReferences: ["ghcr.io/a/b*", "ghcr.io/*", "x:*", "*", "a@*", "a-*", "**"], skipImageReferences: ["ghcr.io/c*"], failureAction: Enforce}`),
			[]string{at + `.imageReferences[0]: "ghcr.io/a/b*" is not anchored: it also matches longer names`,
				at + `.skipImageReferences[0]: "ghcr.io/c*" is not anchored: it also matches longer names`}},
		"patterns of nothing": {entries(t, `{imageReferences: ["ghcr.io/a/b", "nginx", "https://ghcr.io/*", " ghcr.io/a/*", "ghcr.io/a/b:1", "ghcr.io/a/b@sha256:a", "ghcr.io/?/b"], skipImageReferences: ["ghcr.io/c"], failureAction: Enforce}`),
			[]string{at + `.imageReferences[0]: "ghcr.io/a/b" matches no image: it has neither a tag or digest nor a wildcard in their place`,
				at + `.imageReferences[1]: "nginx" matches no image: it has neither a tag or digest nor a wildcard in their place`,
				at + `.imageReferences[2]: "https://ghcr.io/*" matches no image: an image reference has no scheme`,
				at + `.imageReferences[3]: " ghcr.io/a/*" matches no image: an image reference holds no blanks`,
				at + `.skipImageReferences[0]: "ghcr.io/c" matches no image: it has neither a tag or digest nor a wildcard in their place`}},
		"operations that are not judged": {strings.Replace(entries(t, enforced), "kinds: [Pod]", "kinds: [Pod], operations: [DELETE, CONNECT]", 1),
			[]string{"spec.rules[0].match.any[0].resources.operations: only CREATE and UPDATE are judged, others are allowed at once"}},
		"operations, some judged": {strings.Replace(entries(t, enforced), "kinds: [Pod]", "kinds: [Pod], operations: [DELETE, UPDATE]", 1), nil},
		"log address":             {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {url: "https://rekor.test"}}}]}]`)), nil},
		"log address, ignored":    {entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {url: "https://rekor.test", ignoreTlog: true}}}]}]`)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			warnings, errs := policy.AdmitCluster(cluster(t, c.policy), policy.Options{})
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if d := cmp.Diff(c.want, warnings); d != "" {
				t.Error(d)
			}
		})
	}
}
