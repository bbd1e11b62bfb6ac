package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// TestUsage checks calls that end before anything is asked.
func TestUsage(t *testing.T) {
	t.Parallel()
	key := trustFile("trust/cosign.pub")
	const image = "registry.invalid/a:1"
	private := file(t, "cosign.key", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0IGJ5dGVzIG9mIGEga2V5\n-----END PRIVATE KEY-----\n")
	cases := map[string]struct {
		args   []string
		stderr string // a part of it
	}{
		"no image":            {[]string{"verify", "--key", key}, "expected one image, got 0"},
		"two images":          {[]string{"verify", image, image, "--key", key}, "expected one image, got 2"},
		"bad image":           {[]string{"verify", "UPPER", "--key", key}, "bad image"},
		"md5 digest":          {[]string{"verify", "a/b@md5:d41d8cd98f00b204e9800998ecf8427e", "--key", key}, "digest"},
		"unknown flag":        {[]string{"verify", image, "--kee", key}, "unknown flag: --kee (see signet verify --help)"},
		"unknown output":      {[]string{"verify", image, "--key", key, "-o", "yaml"}, "text or json is expected"},
		"no time":             {[]string{"verify", image, "--key", key, "--timeout", "0s"}, "a positive duration"},
		"nobody":              {[]string{"verify", image}, "who must have signed?"},
		"nobody, with type":   {[]string{"explain", image, "--type", "cosign"}, "--type: who must have signed?"},
		"policy and key":      {[]string{"verify", image, "--policy", key, "--key", key}, "does not go together with --key"},
		"policy and tlog":     {[]string{"verify", image, "--policy", key, "--insecure-ignore-tlog"}, "does not go together with --insecure-ignore-tlog"},
		"namespace and key":   {[]string{"verify", image, "-n", "prod", "--key", key}, "--namespace needs --policy"},
		"key and certificate": {[]string{"verify", image, "--key", key, "--certificate", key}, "only one of"},
		"key and identity":    {[]string{"verify", image, "--key", key, "--certificate-identity", "a@b"}, "only one of"},
		"identity alone":      {[]string{"verify", image, "--certificate-identity", "a@b"}, "--certificate-oidc-issuer or"},
		"issuer alone":        {[]string{"verify", image, "--certificate-oidc-issuer", "https://a"}, "--certificate-identity or"},
		"identity with star":  {[]string{"verify", image, "--certificate-identity", "*@b", "--certificate-oidc-issuer", "https://a"}, "compared exactly"},
		"issuer with star":    {[]string{"verify", image, "--certificate-identity", "a@b", "--certificate-oidc-issuer", "https://?"}, "compared exactly"},
		"type":                {[]string{"verify", image, "--key", key, "--type", "pgp"}, "cosign, sigstorebundle or notary"},
		"annotation":          {[]string{"verify", image, "--key", key, "-a", "x"}, "key=value is expected"},
		"annotation twice":    {[]string{"verify", image, "--key", key, "-a", "x=1", "-a", "x=2"}, "with two values"},
		"no such key":         {[]string{"verify", image, "--key", "none.pub"}, "--key: open none.pub"},
		"key of nowhere":      {[]string{"verify", image, "--key", "k8s://a"}, "keys.publicKeys: Invalid value"},
		"private key":         {[]string{"verify", image, "--key", private}, "--key: "},
		"no such log key":     {[]string{"verify", image, "--key", key, "--rekor-public-key", "none.pub"}, "--rekor-public-key: open"},
		"bad log key":         {[]string{"verify", image, "--key", key, "--rekor-public-key", trustFile("trust/tsa-chain.pem")}, "keys.rekor.pubkey: Invalid value"},
		"bad chain":           {[]string{"verify", image, "--key", key, "--timestamp-certificate-chain", key}, "keys.ctlog.tsaCertChain: Invalid value"},
		"algorithm":           {[]string{"verify", image, "--key", key, "--signature-algorithm", "md5"}, "Invalid signature algorithm"},
		"repository":          {[]string{"verify", image, "--key", key, "--repository", "a:b"}, "without tag and digest"},
		"notary":              {[]string{"verify", image, "--key", key, "--type", "notary"}, "Keys field is not allowed for type notary"},
		"no root":             {[]string{"verify", image, "--key", key, "--trusted-root", "none.json"}, "--trusted-root: "},
		"no mirrors":          {[]string{"verify", image, "--key", key, "--registry-config-dir", key}, "--registry-config-dir: "},
		"no policy file":      {[]string{"verify", image, "--policy", "none.yaml"}, "--policy: open"},
		"terminal":            {[]string{"verify", image, "--policy", "\x1b[2Jnone"}, "--policy: open \uFFFD[2Jnone"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(t, tc.args...)
			if got.exit != ExitUnchecked || got.stdout != "" || !strings.Contains(got.stderr, tc.stderr) {
				t.Errorf("exit %d, stdout %q, stderr %q", got.exit, got.stdout, got.stderr)
			}
			if strings.Contains(got.stderr, "c2VjcmV0") {
				t.Error("a private key is quoted")
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{verifyCommand, explainCommand} {
		got := call(t, name, "--help")
		if got.exit != ExitVerified || got.stderr != "" || !strings.Contains(got.stdout, "signet "+name+" IMAGE") {
			t.Errorf("%s: exit %d\n%s%s", name, got.exit, got.stdout, got.stderr)
		}
	}
}

// TestExit checks the exit codes of judged images.
func TestExit(t *testing.T) {
	t.Parallel()
	good, other := trustFile("trust/cosign.pub"), trustFile("trust/other.pub")
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	s := stocked(t, "acme/key-notlog-v3-bundle", "acme/unsigned")
	dir := t.TempDir()
	s.WriteHostsToml(dir, "ghcr.io")
	down := registrytest.New(t)
	down.Close()
	const signed = "ghcr.io/acme/key-notlog-v3-bundle:v1"
	cases := map[string]struct {
		args   []string
		exit   int
		reason string // of the only rule; empty for no rule
	}{
		"verified":                 {[]string{"verify", signed, "--key", good, "--insecure-ignore-tlog"}, ExitVerified, "Verified"},
		"key as text":              {[]string{"verify", signed, "--key", string(text), "--insecure-ignore-tlog"}, ExitVerified, "Verified"},
		"two keys, one signs":      {[]string{"verify", signed, "--key", file(t, "two.pub", string(text)+read(t, other)), "--insecure-ignore-tlog"}, ExitRefused, "BadSignature"},
		"explained":                {[]string{"explain", signed, "--key", good, "--insecure-ignore-tlog"}, ExitVerified, "Verified"},
		"wrong key":                {[]string{"verify", signed, "--key", other, "--insecure-ignore-tlog"}, ExitRefused, "BadSignature"},
		"not logged":               {[]string{"verify", signed, "--key", good}, ExitRefused, "TransparencyLogMissing"},
		"unsigned":                 {[]string{"verify", "ghcr.io/acme/unsigned:v1", "--key", good}, ExitRefused, "Unsigned"},
		"unsigned, no policy":      {[]string{"explain", "ghcr.io/acme/unsigned:v1"}, ExitVerified, ""},
		"no tag":                   {[]string{"verify", "ghcr.io/acme/unsigned:v2", "--key", good}, ExitRefused, "ImageNotFound"},
		"no tag, no policy":        {[]string{"explain", "ghcr.io/acme/unsigned:v2"}, ExitUnchecked, ""},
		"no such digest":           {[]string{"explain", "ghcr.io/acme/unsigned@sha256:" + strings.Repeat("0", 64)}, ExitUnchecked, ""},
		"no connection":            {[]string{"verify", down.Host() + "/acme/a:1", "--key", good}, ExitUnchecked, "RegistryUnavailable"},
		"no connection, no policy": {[]string{"explain", down.Host() + "/acme/a:1"}, ExitUnchecked, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(t, append(tc.args, "-o", "json", "--registry-config-dir", dir)...)
			r := got.report(t)
			reason := ""
			if len(r.Rules) == 1 {
				reason = r.Rules[0].Reason
			}
			if got.exit != tc.exit || reason != tc.reason || got.stderr != "" {
				t.Errorf("exit %d, want %d, reason %q, want %q\n%s%s", got.exit, tc.exit, reason, tc.reason, got.stdout, got.stderr)
			}
			if tc.reason != "" {
				want := map[int]string{ExitVerified: Verified, ExitRefused: Refused, ExitUnchecked: Unchecked}[tc.exit]
				if r.Verdict != want {
					t.Errorf("verdict %q, want %q", r.Verdict, want)
				}
			} else if r.Verdict != "" || (tc.exit == ExitUnchecked) != (r.Problem != "") {
				t.Errorf("verdict %q, problem %q", r.Verdict, r.Problem)
			}
		})
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestJSON pins down the structure for programs.
func TestJSON(t *testing.T) {
	t.Parallel()
	s := stocked(t, "acme/key-rekor1-v3-bundle")
	dir := t.TempDir()
	s.WriteHostsToml(dir, "ghcr.io")
	for _, name := range []string{verifyCommand, explainCommand} {
		got := call(t, name, "ghcr.io/acme/key-rekor1-v3-bundle:v1", "-o", "json", "--registry-config-dir", dir,
			"--key", trustFile("trust/cosign.pub"), "--trusted-root", trustFile("trust/trusted_root.json"))
		golden(t, name+".json", strings.ReplaceAll(got.stdout, s.Host(), "mirror.test"))
	}
}

// TestTime ends a call that would take too long.
func TestTime(t *testing.T) {
	t.Parallel()
	s := stocked(t, "acme/unsigned")
	s.Fault(registrytest.Match{}, registrytest.Hang())
	got := call(t, "verify", s.Host()+"/acme/unsigned:v1", "--key", trustFile("trust/cosign.pub"), "--timeout", "300ms", "-o", "json")
	if r := got.report(t); got.exit != ExitRefused || r.Rules[0].Reason != "RegistryTimeout" {
		t.Errorf("exit %d\n%s%s", got.exit, got.stdout, got.stderr)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ in, want string }{
		"plain":      {"key ü 鍵 \"x\"", "key ü 鍵 \"x\""},
		"escape":     {"\x1b]0;title\x07", "\uFFFD]0;title\uFFFD"},
		"C1":         {"a\u009b2Jb", "a\uFFFD2Jb"},
		"line break": {"a\r\nverdict  verified", "a\uFFFD\uFFFDverdict  verified"},
		"direction":  {"a\u202eb", "a\uFFFDb"},
		"no UTF-8":   {"a\xffb", "a\uFFFDb"},
		"long":       {strings.Repeat("x", 3000), strings.Repeat("x", longest-1) + "…"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := clean(tc.in); got != tc.want {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestHostileText prints a report whose every text tries to act on the terminal or to forge a line.
func TestHostileText(t *testing.T) {
	t.Parallel()
	const bad = "\x1b[31m\u009b2J\u202e\nverdict verified\r\U000e0041"
	r := &Report{
		Image: bad, Digest: bad, Problem: bad, explain: true,
		Rules:    []Rule{{Policy: bad, Rule: bad, Action: bad, Status: bad, Reason: bad, Message: bad, Signers: []Signer{{Identities: []string{bad}, Issuer: bad, Place: bad}}}},
		Requests: []Request{{For: bad, URL: bad}},
		Places: []Place{{Repository: bad, Problems: []Problem{{Reason: bad, Message: bad}}, Candidates: []Candidate{{
			Place: bad, Manifest: bad, Format: bad, MediaType: bad, ArtifactType: bad + bad, Predicate: bad, KeyHint: bad,
			Certificate: &Certificate{Subjects: []string{bad}, Misleading: []string{bad}, Issuer: bad}, Annotations: map[string]string{bad: bad},
			LogEntries: []LogEntry{{Kind: bad}}, Problems: []string{bad}, Broken: &Problem{Message: bad}, NotJudged: bad,
			Judgements: []Judgement{{Attestor: bad, Reason: bad, Message: bad}},
		}}}},
	}
	forged := 0
	for _, line := range strings.Split(r.text(), "\n") {
		if clean(line) != line {
			t.Errorf("%q", line)
		}
		if strings.HasPrefix(line, "verdict") {
			t.Error("a line is forged")
		}
		if strings.HasPrefix(strings.TrimSpace(line), "verdict") {
			forged++
		}
	}
	// Line breaks are kept only in the engine's messages, whose parts the verifiers clean, and never without indent.
	if forged > 1 {
		t.Errorf("%d lines are broken", forged)
	}
	out, err := r.json()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(out, "\n") {
		if strings.ContainsAny(line, "\x1b\r\u009b\u202e\U000e0041") {
			t.Errorf("%q", line)
		}
	}
	var back Report
	if err := json.Unmarshal([]byte(out), &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(bad, back.Rules[0].Message); d != "" {
		t.Error(d)
	}
}
