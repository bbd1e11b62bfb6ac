package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/verify"
)

// VI 6.5(1), 6.4(1): where the key of an attestor comes from. A reference is one entry.
func TestKeyReferences(t *testing.T) {
	t.Parallel()
	const first = "spec.rules[0].verifyImages[0].attestors[0].entries[0].keys: only the first of publicKeys, secret and kms counts"
	for name, c := range map[string]struct {
		keys     string
		refs     []verify.Reference
		warnings []string
	}{
		"secret":                  {`{secret: {name: a, namespace: team}}`, []verify.Reference{"k8s://team/a"}, nil},
		"k8s":                     {`{publicKeys: "k8s://team/a"}`, []verify.Reference{"k8s://team/a"}, nil},
		"k8s with a line break":   {`{publicKeys: "k8s://team/a\n"}`, []verify.Reference{"k8s://team/a"}, nil},
		"kms":                     {`{kms: "awskms:///alias/a"}`, []verify.Reference{"awskms:///alias/a"}, nil},
		"kms under publicKeys":    {`{publicKeys: "hashivault://a"}`, []verify.Reference{"hashivault://a"}, nil},
		"Secret under kms":        {`{kms: "k8s://team/a"}`, []verify.Reference{"k8s://team/a"}, nil},
		"foreign endpoint":        {`{kms: "awskms://kms.test/alias/a"}`, []verify.Reference{"awskms://kms.test/alias/a"}, nil},
		"publicKeys come first":   {`{publicKeys: $KEY, secret: {name: a, namespace: team}, kms: "hashivault://a"}`, nil, []string{first}},
		"secret before kms":       {`{secret: {name: a, namespace: team}, kms: "hashivault://a"}`, []verify.Reference{"k8s://team/a"}, []string{first}},
		"reference before Secret": {`{publicKeys: "hashivault://a", secret: {name: a, namespace: team}}`, []verify.Reference{"hashivault://a"}, []string{first}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := entries(t, attested(`[{entries: [{keys: `+c.keys+`}]}]`))
			warnings, errs := policy.AdmitCluster(cluster(t, text), policy.Options{})
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if d := cmp.Diff(c.warnings, warnings); d != "" {
				t.Error(d)
			}
			p := compile(t, text)
			r := p.Rules[0].Entries[0].Requirement
			if d := cmp.Diff(c.refs, r.References); d != "" || len(r.Sets[0].Entries) != 1 {
				t.Error(d)
			}
			snapshot := policy.NewSnapshot([]*policy.Policy{p, p})
			if d := cmp.Diff(c.refs, snapshot.References()); d != "" {
				t.Error(d)
			}
			if got := p.RefersTo("k8s://team/a"); got != slices.Contains(c.refs, "k8s://team/a") {
				t.Errorf("refers to the Secret: %v", got)
			}
		})
	}
	nested := entries(t, attested(`[{entries: [{attestor: {entries: [{keys: {kms: "hashivault://a"}}, {keys: {publicKeys: "hashivault://a"}}, {keys: {secret: {name: b, namespace: c}}}]}}]}]`))
	warnings, _ := policy.AdmitCluster(cluster(t, nested), policy.Options{})
	want := []string{"spec.rules[0].verifyImages[0].attestors[0].entries[0].attestor.entries[1]: the same key stands in two entries of one set, so that one signature by it counts twice"}
	if d := cmp.Diff(want, warnings); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]verify.Reference{"hashivault://a", "k8s://c/b"}, compile(t, nested).Rules[0].Entries[0].Requirement.References); d != "" {
		t.Error(d)
	}
}

// VI 9(3), T-014, T-016, T-024: what a reference must not be.
func TestRefusedReferences(t *testing.T) {
	t.Parallel()
	const at = "spec.rules[0].verifyImages[0].attestors[0].entries[0].keys"
	for name, c := range map[string]struct {
		keys, cluster, namespaced string
	}{
		"own Secret":         {`{secret: {name: a, namespace: team}}`, "", ""},
		"Secret of another":  {`{secret: {name: a, namespace: other}}`, "", ".secret: Forbidden: a Policy refers to Secrets of its own namespace only"},
		"k8s of another":     {`{publicKeys: "k8s://other/a"}`, "", ".publicKeys: Forbidden: a Policy refers to Secrets of its own namespace only"},
		"service":            {`{kms: "awskms:///alias/a"}`, "", ""},
		"service elsewhere":  {`{kms: "awskms://kms.test/alias/a"}`, "", ".kms: Forbidden: a Policy refers to the key management service at the provider's own addresses only"},
		"no name":            {`{secret: {name: "", namespace: team}}`, ".secret.name: Required value: a Secret is named by name and namespace", "="},
		"no namespace":       {`{secret: {name: a, namespace: ""}}`, ".secret.namespace: Required value: a Secret is named by name and namespace", "="},
		"bad name":           {`{secret: {name: a/b, namespace: team}}`, `.secret: Invalid value: "k8s://team/a/b": a Secret is named as k8s://<namespace>/<name>`, "="},
		"a file under kms":   {`{kms: "/etc/key.pub"}`, `.kms: Invalid value: "/etc/key.pub": a reference to a key begins with k8s://, awskms://, azurekms://, gcpkms:// or hashivault://`, "="},
		"two references":     {`{publicKeys: "k8s://team/a\nk8s://team/b"}`, `.publicKeys: Invalid value: "k8s://team/a\nk8s://team/b": a reference to a key is one word; several keys are several entries`, "="},
		"metadata service":   {`{kms: "awskms://169.254.169.254/alias/a"}`, `.kms: Invalid value: "awskms://169.254.169.254/alias/a": a key is not asked for at a loopback or link-local address`, "="},
		"variable in a kms":  {`{kms: "awskms:///alias/{{ x }}"}`, `.kms: Invalid value: "": policy contains invalid variables: variable substitution failed for rule r: x: Unknown key "x" in path`, "="},
		"variable in a name": {`{secret: {name: "{{ x }}", namespace: team}}`, `.secret.name: Invalid value: "": policy contains invalid variables: variable substitution failed for rule r: x: Unknown key "x" in path`, "="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := entries(t, attested(`[{entries: [{keys: `+c.keys+`}]}]`))
			want := func(s string) []string {
				if s == "" {
					return nil
				}
				return []string{at + s}
			}
			_, errs := policy.AdmitCluster(cluster(t, text), policy.Options{})
			if d := cmp.Diff(want(c.cluster), texts(errs)); d != "" {
				t.Error(d)
			}
			if c.namespaced == "=" {
				c.namespaced = c.cluster
			}
			_, errs = policy.AdmitNamespaced(namespaced(t, strings.Replace(text, "name: p", "name: p, namespace: team", 1)), policy.Options{})
			if d := cmp.Diff(want(c.namespaced), texts(errs)); d != "" {
				t.Error(d)
			}
		})
	}
}

// VI 9(3): the author of a Policy does not choose to ask what only the machine itself reaches; an operator may.
func TestLogOnLoopback(t *testing.T) {
	t.Parallel()
	for url, refused := range map[string]bool{
		"http://localhost:8080": true, "http://LOCALHOST": true, "http://127.0.0.1:6060": true, "http://[::1]": true, "http://[::ffff:127.0.0.1]/x": true,
		"https://rekor.example.com": false, "http://rekor.rekor-system.svc": false,
	} {
		text := entries(t, attested(`[{entries: [{keys: {publicKeys: $KEY, rekor: {url: "`+url+`"}}}]}]`))
		if _, errs := policy.CompileCluster(cluster(t, text), policy.Options{}); len(errs) > 0 {
			t.Errorf("%s: %v", url, errs)
		}
		_, errs := policy.CompileNamespaced(namespaced(t, strings.Replace(text, "{name: p}", "{name: p, namespace: team}", 1)), policy.Options{})
		if refused != (len(errs) == 1 && strings.HasSuffix(errs[0].Field, "keys.rekor.url")) || !refused && len(errs) > 0 {
			t.Errorf("%s: %v", url, errs)
		}
	}
}
