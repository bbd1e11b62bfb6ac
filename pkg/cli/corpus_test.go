package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/signet-policy/signet/testdata/corpus"
)

// flagsOf states a case's requirement in flags; nil for one that takes a policy.
func flagsOf(t *testing.T, c *corpus.Case, host string) []string {
	t.Helper()
	sets := c.Requirement.Signatures
	if len(c.Requirement.Attestations) > 0 || len(sets) != 1 || len(sets[0].Attestors) != 1 || sets[0].Count > 1 {
		return nil
	}
	a := &sets[0].Attestors[0]
	var args []string
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	addFile := func(flag, value string) {
		if value != "" {
			args = append(args, flag, trustFile(value))
		}
	}
	switch k := a.Keyless; {
	case a.CTLogKey != "" || a.Nested != nil:
		return nil
	case k != nil:
		if k.Roots != "" || k.Extensions != nil || wild(k.Subject) != "" || wild(k.Issuer) != "" {
			return nil
		}
		add("--certificate-identity", k.Subject)
		add("--certificate-identity-regexp", k.SubjectRegExp)
		add("--certificate-oidc-issuer", k.Issuer)
		add("--certificate-oidc-issuer-regexp", k.IssuerRegExp)
		if k.Subject+k.SubjectRegExp == "" || k.Issuer+k.IssuerRegExp == "" {
			return nil
		}
	case len(a.Notary) == 1:
		addFile("--certificate", a.Notary[0])
	case a.Certificates != nil:
		addFile("--certificate", a.Certificates.Certificate)
		addFile("--certificate-chain", a.Certificates.Chain)
	case a.Key != "":
		addFile("--key", a.Key)
	case sets[0].Count != 0:
		return nil
	default:
		text, err := a.PublicKeys()
		if err != nil {
			t.Fatal(err)
		}
		add("--key", text)
	}
	add("--signature-algorithm", a.Hash)
	add("--type", c.Requirement.Hint)
	addFile("--rekor-public-key", a.RekorKey)
	addFile("--timestamp-certificate-chain", a.TSAChain)
	addFile("--trusted-root", c.Requirement.TrustedRoot)
	if a.IgnoreSCT {
		args = append(args, "--insecure-ignore-sct")
	}
	if a.IgnoreTlog {
		args = append(args, "--insecure-ignore-tlog")
	}
	annotations, repository := a.Annotations, a.Repository
	if annotations == nil {
		annotations = c.Requirement.Annotations
	}
	if repository == "" {
		repository = c.Requirement.SignatureRepository
	}
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		args = append(args, "-a", k+"="+annotations[k])
	}
	if repository != "" {
		args = append(args, "--repository", host+"/"+repository)
	}
	return args
}

// TestCorpus gives every case of the corpus to signet verify: as a policy, and as flags where flags can say it.
func TestCorpus(t *testing.T) {
	t.Parallel()
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	host := everything().Host()
	byFlags := 0
	for _, c := range cases {
		if args := flagsOf(t, &c, host); args != nil {
			byFlags++
			t.Run("flags/"+c.Name, func(t *testing.T) {
				t.Parallel()
				judge(t, &c, host, args...)
			})
		}
		t.Run("policy/"+c.Name, func(t *testing.T) {
			t.Parallel()
			p, err := c.Policy("corpus", host)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"--policy", file(t, "policy.yaml", string(text))}
			if c.Requirement.TrustedRoot != "" {
				args = append(args, "--trusted-root", trustFile(c.Requirement.TrustedRoot))
			}
			judge(t, &c, host, args...)
		})
	}
	if byFlags < 100 {
		t.Errorf("only %d cases were stated in flags", byFlags)
	}
}

func judge(t *testing.T, c *corpus.Case, host string, args ...string) {
	t.Helper()
	got := call(t, append([]string{"verify", host + "/" + c.Image, "-o", "json"}, args...)...)
	want := map[string]int{corpus.Accept: ExitVerified, corpus.Refuse: ExitRefused}[c.Expected]
	r := got.report(t)
	if c.Expected == corpus.Refuse && strings.Contains(got.stdout, "could not be searched") {
		want = ExitUnchecked // nobody answers at the address of the log
	}
	if got.exit != want {
		report := t.Errorf
		if c.Advisory {
			report = t.Logf
		}
		report("exit %d, want %d: %s\n%s%s", got.exit, want, c.Reason, got.stdout, got.stderr)
	}
	if r.Digest != c.Digest {
		t.Errorf("digest %q, want %q", r.Digest, c.Digest)
	}
	signed := 0
	for _, rule := range r.Rules {
		signed += len(rule.Signers)
	}
	if (signed > 0) != (got.exit == ExitVerified) {
		t.Errorf("exit %d with %d signers", got.exit, signed)
	}
}
