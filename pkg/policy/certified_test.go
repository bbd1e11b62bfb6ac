package policy_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	v2 "github.com/signet-policy/signet/api/v2"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
)

// inEntry is where the only attestor of attestedBy stands.
const inEntry = "spec.rules[0].verifyImages[0].attestors[0].entries[0]."

// logged is the rekor field that a keyless attestor without roots needs.
const logged = `rekor: {url: "https://r"}`

// attestedBy is an entry with one attestor. $CERT, $CHAIN and $ROOTS in it stand for certificates.
func attestedBy(t testing.TB, attestor string) string {
	t.Helper()
	return strings.NewReplacer("$CERT", key(t, "leaf.crt"), "$CHAIN", key(t, "codechain.pem"), "$ROOTS", key(t, "fulcio-chain.pem")).
		Replace(attested(`[{entries: [` + attestor + `]}]`))
}

// VI 2.1: what is refused of certificates and identities, by the exact text.
func TestCertifiedRefusals(t *testing.T) {
	t.Parallel()
	const noPEM = `not PEM: the text does not begin with a BEGIN line`
	for name, c := range map[string]struct{ attestor, want string }{
		"neither certificate nor chain": {`{certificates: {}}`, `certificates: Invalid value: "": cert or certChain required`},
		"log key, neither certificate":  {`{certificates: {rekor: {pubkey: x}}}`, `certificates: Invalid value: "": cert or certChain required`},
		"certificate":                   {`{certificates: {cert: a}}`, `certificates.cert: Invalid value: "a": certificate: neither PEM nor PEM in base64`},
		"certificate in base64":         {`{certificates: {cert: ` + base64.StdEncoding.EncodeToString([]byte("no PEM")) + `}}`, `certificates.cert: Invalid value: "bm8gUEVN": certificate 1: ` + noPEM},
		"key for a certificate": {`{certificates: {cert: $KEY}}`, `certificates.cert: Invalid value: "` + escaped(t, "cosign.pub") +
			`": certificate 1: a PEM block of type "PUBLIC KEY" is no certificate`},
		"chain":                {`{certificates: {certChain: "-----BEGIN X-----"}}`, `certificates.certChain: Invalid value: "-----BEGIN X-----": certificate 1: not PEM: no block that begins and ends`},
		"chain beside it":      {`{certificates: {cert: $CERT, certChain: a}}`, `certificates.certChain: Invalid value: "a": certificate 1: ` + noPEM},
		"certificates' log":    {`{certificates: {cert: $CERT, rekor: {pubkey: x}}}`, `certificates.rekor.pubkey: Invalid value: "x": public key 1: ` + noPEM},
		"certificates' CT log": {`{certificates: {cert: $CERT, ctlog: {pubkey: x}}}`, `certificates.ctlog.pubkey: Invalid value: "x": public key 1: ` + noPEM},
		"certificates' TSA":    {`{certificates: {cert: $CERT, ctlog: {tsaCertChain: x}}}`, `certificates.ctlog.tsaCertChain: Invalid value: "x": certificate 1: ` + noPEM},
		"certificates' hash":   {`{signatureAlgorithm: md5, certificates: {cert: $CERT}}`, `signatureAlgorithm: Invalid value: "md5": Invalid signature algorithm provided`},

		"neither log nor roots":   {`{keyless: {issuer: a, subject: b}}`, `keyless: Invalid value: "": Either Rekor URL or roots are required`},
		"log without address":     {`{keyless: {issuer: a, subject: b, rekor: {ignoreTlog: true}}}`, `keyless.rekor.url: Required value: An URL is required`},
		"that, with roots":        {`{keyless: {issuer: a, subject: b, roots: $ROOTS, rekor: {url: ""}}}`, `keyless.rekor.url: Required value: An URL is required`},
		"roots":                   {`{keyless: {roots: a}}`, `keyless.roots: Invalid value: "a": certificate 1: ` + noPEM},
		"issuer's expression":     {`{keyless: {issuerRegExp: "(", ` + logged + `}}`, `keyless.issuerRegExp: Invalid value: "(": not a regular expression (RE2): error parsing regexp: missing closing ): ` + "`(`"},
		"subject's expression":    {`{keyless: {subjectRegExp: "a(?=b)", ` + logged + `}}`, `keyless.subjectRegExp: Invalid value: "a(?=b)": not a regular expression (RE2): error parsing regexp: invalid or unsupported Perl syntax: ` + "`(?=`"},
		"issuer's characters":     {`{keyless: {issuer: "a\tb", ` + logged + `}}`, `keyless.issuer: Invalid value: "a\tb": control characters are not allowed`},
		"subject's characters":    {`{keyless: {subject: "a\nb", ` + logged + `}}`, `keyless.subject: Invalid value: "a\nb": control characters are not allowed`},
		"empty extension":         {`{keyless: {additionalExtensions: {githubWorkflowRef: ""}, ` + logged + `}}`, `keyless.additionalExtensions[githubWorkflowRef]: Invalid value: "": an empty pattern matches nothing`},
		"extension's characters":  {`{keyless: {additionalExtensions: {githubWorkflowRef: "a\u0000"}, ` + logged + `}}`, `keyless.additionalExtensions[githubWorkflowRef]: Invalid value: "a\x00": control characters are not allowed`},
		"keyless' log":            {`{keyless: {rekor: {url: "https://r", pubkey: x}}}`, `keyless.rekor.pubkey: Invalid value: "x": public key 1: ` + noPEM},
		"keyless' CT log":         {`{keyless: {` + logged + `, ctlog: {pubkey: x}}}`, `keyless.ctlog.pubkey: Invalid value: "x": public key 1: ` + noPEM},
		"keyless' TSA":            {`{keyless: {` + logged + `, ctlog: {tsaCertChain: x}}}`, `keyless.ctlog.tsaCertChain: Invalid value: "x": certificate 1: ` + noPEM},
		"keyless' hash":           {`{signatureAlgorithm: sha1, keyless: {` + logged + `}}`, `signatureAlgorithm: Invalid value: "sha1": Invalid signature algorithm provided`},
		"nested certificates":     {`{attestor: {entries: [{certificates: {}}]}}`, `attestor.entries[0].certificates: Invalid value: "": cert or certChain required`},
		"nested keyless":          {`{attestor: {entries: [{keyless: {subject: a}}]}}`, `attestor.entries[0].keyless: Invalid value: "": Either Rekor URL or roots are required`},
		"nested expression":       {`{attestor: {entries: [{keyless: {subjectRegExp: "[", ` + logged + `}}]}}`, `attestor.entries[0].keyless.subjectRegExp: Invalid value: "[": not a regular expression (RE2): error parsing regexp: missing closing ]: ` + "`[`"},
		"unknown nested identity": {`{attestor: {entries: [{keyless: {sbject: a}}]}}`, `attestor: Invalid value: "{\"entries\":[{\"keyless\":{\"sbject\":\"a\"}}]}": not an attestor set: unknown field "entries[0].keyless.sbject"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, errs := policy.AdmitCluster(cluster(t, entries(t, attestedBy(t, c.attestor))), policy.Options{})
			if d := cmp.Diff([]string{inEntry + c.want}, texts(errs)); d != "" {
				t.Error(d)
			}
		})
	}
	for name, c := range map[string]struct {
		entry string
		want  []string
	}{
		"two kinds": {attestedBy(t, `{certificates: {cert: $CERT}, keyless: {roots: $ROOTS}}`),
			[]string{`spec.rules[0].verifyImages[0].attestors[0].entries[0]: Invalid value: "": keys, certificates, keyless, or a nested attestor is required`}},
		"shortcut's roots": {`{imageReferences: ["*"], failureAction: Enforce, issuer: a, roots: x}`,
			[]string{inEntry + `keyless.roots: Invalid value: "x": certificate 1: ` + noPEM}},
		"shortcut's subject": {`{imageReferences: ["*"], failureAction: Enforce, issuer: a, subject: "\t"}`,
			[]string{inEntry + `keyless.subject: Invalid value: "\t": control characters are not allowed`}},
		"every problem at once": {attestedBy(t, `{keyless: {issuerRegExp: "(", subjectRegExp: ")"}}`),
			[]string{inEntry + `keyless: Invalid value: "": Either Rekor URL or roots are required`,
				inEntry + `keyless.issuerRegExp: Invalid value: "(": not a regular expression (RE2): error parsing regexp: missing closing ): ` + "`(`",
				inEntry + `keyless.subjectRegExp: Invalid value: ")": not a regular expression (RE2): error parsing regexp: unexpected ): ` + "`)`"}},
		"no entry hides behind its neighbour": {attested(`[{entries: [{keyless: {roots: ` + key(t, "fulcio-chain.pem") + `}}, {keyless: {}}]}]`),
			[]string{`spec.rules[0].verifyImages[0].attestors[0].entries[1].keyless: Invalid value: "": Either Rekor URL or roots are required`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, errs := policy.AdmitCluster(cluster(t, entries(t, c.entry)), policy.Options{})
			if d := cmp.Diff(c.want, texts(errs)); d != "" {
				t.Error(d)
			}
		})
	}
}

// escaped is the beginning of a corpus file as error texts quote it.
func escaped(t testing.TB, file string) string {
	t.Helper()
	text, err := corpus.Read("trust/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(text[:80], "\n", `\n`) + "…"
}

// VI 2.3: what is admitted with a warning, and what without one.
func TestCertifiedWarnings(t *testing.T) {
	t.Parallel()
	const (
		at      = "spec.rules[0].verifyImages[0]"
		whole   = `issuer: "https://i.test", subject: "a@b.test", `
		open    = inEntry + "keyless: without an issuer and a subject it does not restrict the signer"
		counted = ": the same key stands in two entries of one set, so that one signature by it counts twice"
	)
	loose := func(field, text string) string {
		return inEntry + "keyless." + field + `: "` + text + `" is not anchored: it also matches longer texts`
	}
	names := func(field, text string) string {
		return inEntry + "keyless." + field + `: "` + text + `" is not anchored: it also matches longer names`
	}
	keyless := func(fields string) string { return attestedBy(t, `{keyless: {`+fields+`roots: $ROOTS}}`) }
	for name, c := range map[string]struct {
		entry string
		want  []string
	}{
		"nothing":                 {keyless(whole), nil},
		"by expressions":          {keyless(`issuerRegExp: "^i$", subjectRegExp: "^s$", `), nil},
		"no identity":             {keyless(``), []string{open}},
		"no subject":              {keyless(`issuer: a, `), []string{open}},
		"no issuer":               {keyless(`subject: a, `), []string{open}},
		"no issuer, expression":   {keyless(`subjectRegExp: "^s$", `), []string{open}},
		"neither anchor":          {keyless(`issuer: a, subjectRegExp: "a@b", `), []string{loose("subjectRegExp", "a@b")}},
		"no end":                  {keyless(`issuerRegExp: "^https://", subject: a, `), []string{loose("issuerRegExp", "^https://")}},
		"no beginning":            {keyless(`issuer: a, subjectRegExp: "@b.test$", `), []string{loose("subjectRegExp", "@b.test$")}},
		"globs":                   {keyless(`issuer: "https://i.test*", subject: "a@b*", `), []string{names("issuer", "https://i.test*"), names("subject", "a@b*")}},
		"globs that end well":     {keyless(`issuer: "https://i.test/*", subject: "*", `), nil},
		"log address":             {attestedBy(t, `{keyless: {`+whole+logged+`}}`), nil},
		"log address, ignored":    {attestedBy(t, `{keyless: {`+whole+`rekor: {url: "https://r", ignoreTlog: true}}}`), nil},
		"certificates":            {attestedBy(t, `{certificates: {cert: $CERT, certChain: $CHAIN}}`), nil},
		"certificates' log":       {attestedBy(t, `{certificates: {cert: $CERT, `+logged+`}}`), nil},
		"certificates, no search": {attestedBy(t, `{certificates: {cert: $CERT, rekor: {url: ""}}}`), nil},
		"certificate twice": {attestedBy(t, `{certificates: {cert: $CERT}}, {certificates: {cert: $CERT, certChain: $CHAIN}}`),
			[]string{at + ".attestors[0].entries[1]" + counted}},
		"certificate and its key": {attestedBy(t, `{keys: {publicKeys: `+key(t, "leaf.pub")+`}}, {certificates: {cert: $CERT}}`),
			[]string{at + ".attestors[0].entries[1]" + counted}},
		"two certificates": {attestedBy(t, `{certificates: {cert: $CERT}}, {certificates: {cert: `+key(t, "leaf2.crt")+`}}`), nil},
		"nested": {attestedBy(t, `{attestor: {entries: [{keyless: {issuer: a, roots: $ROOTS}}]}}`),
			[]string{inEntry + "attestor.entries[0].keyless: without an issuer and a subject it does not restrict the signer"}},
		"shortcut":         {`{imageReferences: ["*"], failureAction: Enforce, issuer: a, subject: b}`, nil},
		"shortcut, issuer": {`{imageReferences: ["*"], failureAction: Enforce, issuer: a}`, []string{open}},
		"issuer beside a key": {`{imageReferences: ["*"], failureAction: Enforce, key: $KEY, issuer: a, subject: b}`,
			[]string{at + ".issuer: issuer, subject and roots have no effect beside key"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			warnings, errs := policy.AdmitCluster(cluster(t, entries(t, c.entry)), policy.Options{})
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if d := cmp.Diff(c.want, warnings); d != "" {
				t.Error(d)
			}
		})
	}
}

// attestor is the only attestor that an entry compiles to.
func attestor(t *testing.T, entry string) *verify.Attestor {
	t.Helper()
	set := compile(t, entries(t, entry)).Rules[0].Entries[0].Requirement.Sets[0]
	if len(set.Entries) != 1 || set.Entries[0].Attestor == nil {
		t.Fatalf("%+v", set)
	}
	return set.Entries[0].Attestor
}

// VI 6.5: every field of the two attestors reaches the verifier.
func TestCertified(t *testing.T) {
	t.Parallel()
	material := `rekor: {url: "https://r", pubkey: ` + key(t, "rekor1.pub") + `, ignoreTlog: true}, ` +
		`ctlog: {ignoreSCT: true, pubkey: ` + key(t, "ctfe.pub") + `, tsaCertChain: ` + key(t, "tsa-chain.pem") + `}`
	common := func(t *testing.T, a *verify.Attestor) {
		t.Helper()
		if !a.IgnoreLog || !a.IgnoreSCT || len(a.LogKeys) != 1 || len(a.CTLogKeys) != 1 || len(a.TSAChain) != 2 || a.Key != nil {
			t.Errorf("%+v", a)
		}
		if a.Annotations["a"] != "b" || a.Repository.Repository() != "r.test/sig" || a.Hash != crypto.SHA512 {
			t.Errorf("%v, %v, %v", a.Annotations, a.Repository, a.Hash)
		}
	}
	const more = `annotations: {a: b}, repository: r.test/sig, signatureAlgorithm: sha512, `
	t.Run("keyless", func(t *testing.T) {
		t.Parallel()
		a := attestor(t, attestedBy(t, `{`+more+`keyless: {issuer: "i*", issuerRegExp: "^i", subject: "s?", subjectRegExp: "s$", additionalExtensions: {githubWorkflowRef: "refs/*", b: c}, roots: $ROOTS, `+material+`}}`))
		common(t, a)
		if a.Keyless == nil || a.Certificates != nil || len(a.Keyless.Roots) != 2 {
			t.Fatalf("%+v", a)
		}
		id := a.Keyless.Identity
		got := []string{id.Issuer.String(), id.IssuerRegExp.String(), id.Subject.String(), id.SubjectRegExp.String()}
		for _, e := range id.Extensions {
			got = append(got, e.Key, e.OID, e.Value.String())
		}
		if d := cmp.Diff([]string{"i*", "^i", "s?", "s$", "b", "", "c", "githubWorkflowRef", "1.3.6.1.4.1.57264.1.6", "refs/*"}, got); d != "" {
			t.Error(d)
		}
	})
	t.Run("certificates", func(t *testing.T) {
		t.Parallel()
		a := attestor(t, attestedBy(t, `{`+more+`certificates: {cert: $CERT, certChain: $CHAIN, `+material+`}}`))
		common(t, a)
		if c := a.Certificates; a.Keyless != nil || c == nil || c.Leaf == nil || len(c.Roots) != 1 || len(c.Intermediates) != 1 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("chain alone", func(t *testing.T) {
		t.Parallel()
		c := attestor(t, attestedBy(t, `{certificates: {certChain: $CHAIN}}`)).Certificates
		if c.Leaf != nil || len(c.Roots) != 2 || len(c.Intermediates) != 0 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("certificate alone, in base64", func(t *testing.T) {
		t.Parallel()
		pem, err := corpus.Read("trust/leaf.crt")
		if err != nil {
			t.Fatal(err)
		}
		c := attestor(t, attestedBy(t, `{certificates: {cert: `+base64.StdEncoding.EncodeToString([]byte(pem))+`}}`)).Certificates
		if c.Leaf == nil || len(c.Roots)+len(c.Intermediates) != 0 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("nothing given", func(t *testing.T) {
		t.Parallel()
		a := attestor(t, attestedBy(t, `{signatureAlgorithm: sha256, keyless: {`+logged+`}}`))
		if a.IgnoreLog || a.IgnoreSCT || a.Keyless.Roots != nil || a.Keyless.Identity.SubjectRegExp != nil || a.Hash != 0 {
			t.Errorf("%+v", a)
		}
	})
}

// VI 1.7: issuer stands for an identity with everything else required, and needs no log's address.
func TestIssuerShortcut(t *testing.T) {
	t.Parallel()
	p := compile(t, entries(t, `{imageReferences: ["*"], annotations: {a: b}, issuer: i, subject: s, roots: `+key(t, "fulcio-chain.pem")+
		`, attestors: [{entries: [{keys: {publicKeys: $KEY}}]}]}`))
	sets := p.Rules[0].Entries[0].Requirement.Sets
	if len(sets) != 2 || len(sets[1].Entries) != 1 || sets[1].Entries[0].Path != ".attestors[1].entries[0].keyless" {
		t.Fatalf("%+v", sets)
	}
	a := sets[1].Entries[0].Attestor
	if a.Keyless == nil || a.Keyless.Identity.Issuer.String() != "i" || a.Keyless.Identity.Subject.String() != "s" ||
		len(a.Keyless.Roots) != 2 || a.Annotations["a"] != "b" || a.IgnoreLog || a.IgnoreSCT {
		t.Errorf("%+v", a)
	}
	if a := attestor(t, `{imageReferences: ["*"], key: $KEY, issuer: i}`); a.Key == nil || a.Keyless != nil {
		t.Errorf("the issuer wins over the key: %+v", a)
	}
	// The exception is the shortcut's, not its entry's.
	_, errs := policy.CompileCluster(cluster(t, entries(t, `{imageReferences: ["*"], issuer: i, attestors: [{entries: [{keyless: {issuer: i}}]}]}`)), policy.Options{})
	if d := cmp.Diff([]string{inEntry + `keyless: Invalid value: "": Either Rekor URL or roots are required`}, texts(errs)); d != "" {
		t.Error(d)
	}
}

// VI 7.1: every field that decides changes the fingerprint, and what does not decide leaves it alone.
func TestCertifiedFingerprints(t *testing.T) {
	t.Parallel()
	print := func(attestor string) string {
		return compile(t, entries(t, attestedBy(t, attestor))).Rules[0].Entries[0].Requirement.Fingerprint
	}
	for _, base := range []string{`{keyless: {issuer: i, subject: s, %roots: $ROOTS}}`, `{certificates: {cert: $CERT, certChain: $CHAIN, %}}`} {
		with := func(fields string) string { return print(strings.Replace(base, "%", fields, 1)) }
		plain := with("")
		for _, same := range []string{`rekor: {url: "https://rekor.sigstore.dev"}, `, `ctlog: {}, `} {
			if with(same) != plain {
				t.Errorf("%s: another fingerprint with %s", base, same)
			}
		}
		seen := map[string]string{plain: ""}
		others := []string{`rekor: {url: "https://r"}, `, `rekor: {url: "https://r", ignoreTlog: true}, `, `rekor: {url: "https://r", pubkey: $KEY}, `, `ctlog: {ignoreSCT: true}, `,
			`ctlog: {pubkey: $KEY}, `, `ctlog: {tsaCertChain: ` + key(t, "tsa-chain.pem") + `}, `}
		if strings.Contains(base, "keyless") {
			others = append(others, `issuerRegExp: i, `, `subjectRegExp: i, `, `additionalExtensions: {a: i}, `, `additionalExtensions: {i: a}, `)
		}
		for _, other := range others {
			f := with(other)
			if first, ok := seen[f]; ok {
				t.Errorf("%s: %q and %q share a fingerprint", base, first, other)
			}
			seen[f] = other
		}
	}
	seen := map[string]string{}
	for _, other := range []string{`{keyless: {issuer: i, roots: $ROOTS}}`, `{keyless: {subject: i, roots: $ROOTS}}`, `{keyless: {issuer: i, ` + logged + `}}`,
		`{certificates: {cert: $CERT}}`, `{certificates: {certChain: $CERT}}`, `{certificates: {cert: $CERT, certChain: $CERT}}`, `{keys: {publicKeys: ` + key(t, "leaf.pub") + `}}`} {
		f := print(other)
		if first, ok := seen[f]; ok {
			t.Errorf("%q and %q share a fingerprint", first, other)
		}
		seen[f] = other
	}
}

// The policies to begin with compile, and draw no warning but the one on the log's address, and those of which their
// comments speak.
func TestSamples(t *testing.T) {
	t.Parallel()
	spoken := map[string]string{
		"outage-does-not-stop-us.yaml":  "Enforce with failure policy Ignore",
		"deployments-and-cronjobs.yaml": "the Pods of controllers that are left out",
	}
	files, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d samples: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := yaml.YAMLToJSON(text)
			if err != nil {
				t.Fatal(err)
			}
			var kind struct{ Kind string }
			if err := json.Unmarshal(raw, &kind); err != nil {
				t.Fatal(err)
			}
			var warnings []string
			var errs field.ErrorList
			switch kind.Kind {
			case "Policy":
				warnings, errs = policy.AdmitNamespaced(namespaced(t, string(text)), policy.Options{})
			case "ClusterPolicy":
				warnings, errs = policy.AdmitCluster(cluster(t, string(text)), policy.Options{})
			case "PolicyException":
				var x *v2.PolicyException
				if x, err = policy.ReadException(raw); err != nil {
					t.Fatal(err)
				}
				_, errs = policy.CompileException(x)
			default:
				t.Fatal(kind.Kind)
			}
			for _, w := range warnings {
				chosen := spoken[filepath.Base(file)]
				if (chosen == "" || !strings.Contains(w, chosen)) && !strings.Contains(w, "rekor.url: Signet verifies the log proof") {
					t.Error(w)
				}
			}
			if len(errs) > 0 {
				t.Error(errs)
			}
		})
	}
}
