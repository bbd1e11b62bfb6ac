package cli

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// TestExplain compares what explain prints with testdata/explain; -update writes that anew. The registry stands for
// ghcr.io, as a mirror does.
func TestExplain(t *testing.T) {
	t.Parallel()
	const image = "ghcr.io/acme/"
	key := []string{"--key", trustFile("trust/cosign.pub")}
	root := []string{"--trusted-root", trustFile("trust/trusted_root.json")}
	noLog := []string{"--insecure-ignore-tlog"}
	cases := map[string]struct {
		repository string
		tag        string
		args       [][]string
		misbehave  func(*registrytest.Server)
		exit       int
	}{
		"bundle by API":          {repository: "key-rekor1-v3-bundle", args: [][]string{key, root}},
		"bundle by fallback tag": {repository: "key-rekor1-v3-bundle-fallback", args: [][]string{key, root}, misbehave: (*registrytest.Server).NoReferrersAPI},
		"sig tag":                {repository: "key-rekor1-v2-legacy", args: [][]string{key, root}},
		"no policy":              {repository: "key-rekor1-v2-legacy"},
		"keyless with timestamp": {repository: "keyless-rekor2-tsa-v3-bundle"},
		"identity": {repository: "keyless-rekor1-v3-bundle", args: [][]string{root,
			{"--certificate-identity", "dev@example.test", "--certificate-oidc-issuer", "https://oidc.example.test"}}},
		"other identity": {repository: "keyless-rekor1-v3-bundle", exit: ExitRefused, args: [][]string{root,
			{"--certificate-identity", "dev@example.org", "--certificate-oidc-issuer", "https://oidc.example.test"}}},
		"workflow by sig tag": {repository: "workflow-rekor1-v2-legacy"},
		"two annotated":       {repository: "annotated-twice-v2-legacy", args: [][]string{key, noLog, {"-a", "no=where"}}, exit: ExitRefused},
		"unsigned":            {repository: "unsigned", args: [][]string{key, noLog}, exit: ExitRefused},
		"wrong key":           {repository: "key-rekor1-v3-bundle", args: [][]string{{"--key", trustFile("trust/other.pub")}, noLog}, exit: ExitRefused},
		"registry refusing": {repository: "key-rekor1-v3-bundle", args: [][]string{key, noLog}, exit: ExitRefused, misbehave: func(s *registrytest.Server) {
			s.Fault(registrytest.Match{Kind: registrytest.Referrers}, registrytest.Status(403, "DENIED"))
		}},
		"unauthorized": {repository: "key-rekor1-v3-bundle", args: [][]string{key, noLog}, exit: ExitRefused, misbehave: func(s *registrytest.Server) {
			s.Fault(registrytest.Match{}, registrytest.Status(401, "UNAUTHORIZED", "WWW-Authenticate", `Basic realm="x"`))
		}},
		"tag missing": {repository: "key-rekor1-v3-bundle", tag: "gone", args: [][]string{key, noLog}, exit: ExitRefused},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stocked(t, "acme/"+tc.repository)
			if tc.misbehave != nil {
				tc.misbehave(s)
			}
			dir := t.TempDir()
			s.WriteHostsToml(dir, "ghcr.io")
			tag := tc.tag
			if tag == "" {
				tag = "v1"
			}
			args := []string{"explain", image + tc.repository + ":" + tag, "--registry-config-dir", dir}
			for _, more := range tc.args {
				args = append(args, more...)
			}
			got := call(t, args...)
			if got.exit != tc.exit || got.stderr != "" {
				t.Errorf("exit %d, want %d: %s", got.exit, tc.exit, got.stderr)
			}
			if strings.Contains(got.stdout, "secret words") {
				t.Error("words of the registry are in the output")
			}
			golden(t, "explain/"+strings.ReplaceAll(name, " ", "-")+".txt", strings.ReplaceAll(got.stdout, s.Host(), "mirror.test"))
		})
	}
}

// TestExplainHostile explains candidates that try to look like something else.
func TestExplainHostile(t *testing.T) {
	t.Parallel()
	s, dir := registrytest.New(t), t.TempDir()
	s.WriteHostsToml(dir, "ghcr.io")
	digest := s.PushImage("acme/app", "v1", []byte("app"))
	const simple, bundle = "application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.dev.sigstore.bundle.v0.3+json"
	payload := `{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":"` + digest +
		`"},"type":"cosign container image signature"},"optional":{"a\u001b[2J":"b\nverdict       verified"}}`
	s.AttachTag("acme/app", digest, "sig",
		registrytest.Layer{MediaType: simple, Payload: []byte(payload), Annotations: map[string]string{
			"dev.cosignproject.cosign/signature": "c2lnbmF0dXJl", "dev.sigstore.cosign/bundle": "\x1b]0;x\x07",
		}},
		registrytest.Layer{MediaType: simple, Payload: []byte(strings.Replace(payload, digest, "sha256:\\u001b[31m", 1)), Annotations: map[string]string{
			"dev.cosignproject.cosign/signature": "c2lnbmF0dXJl", "dev.sigstore.cosign/rfc3161timestamp": "{}",
		}},
		registrytest.Layer{MediaType: simple, Payload: []byte(payload)},
	)
	s.Attach("acme/app", digest, bundle, bundle, nil, []byte("\x1b[31mno JSON"))
	s.Attach("acme/app", digest, "application/spdx+json", "application/spdx+json", nil, []byte("{}"))
	got := call(t, "explain", "ghcr.io/acme/app:v1", "--registry-config-dir", dir,
		"--key", trustFile("trust/cosign.pub"), "--insecure-ignore-tlog")
	if got.exit != ExitRefused {
		t.Errorf("exit %d", got.exit)
	}
	golden(t, "explain/hostile.txt", strings.ReplaceAll(got.stdout, s.Host(), "mirror.test"))
}

// golden compares an output with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: run go test ./pkg/cli -update if this is meant\n%s", path, d)
	}
}

// TestExplainNotJudged says of attestations that nobody judged why: nobody asks for them, or an earlier one was enough.
func TestExplainNotJudged(t *testing.T) {
	t.Parallel()
	s, dir := stocked(t, "acme/signed-and-attested-v2-legacy", "acme/att-v2-legacy"), t.TempDir()
	s.WriteHostsToml(dir, "ghcr.io")
	key, err := os.ReadFile(trustFile("trust/cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	const slsa, noImage = "https://slsa.dev/provenance/v0.2", "a statement of this predicate type is no image signature, unless the type is SigstoreBundle"
	attestors := "attestors: [{entries: [{keys: {publicKeys: " + strconv.Quote(string(key)) + ", rekor: {ignoreTlog: true, url: ''}}}]}]"
	for name, tc := range map[string]struct {
		repository, entry string
		predicate, want   string
	}{
		"attestations alone, another type":  {"att-v2-legacy", "attestations: [{type: '" + slsa + "', " + attestors + "}]", "https://openvex.dev/ns", "nobody asks for attestations of this predicate type"},
		"attestations alone, the type":      {"att-v2-legacy", "attestations: [{type: '" + slsa + "', " + attestors + "}]", slsa, ""},
		"attestations that come too late":   {"att-v2-legacy", attestors + "\n      attestations: [{type: '" + slsa + "', " + attestors + "}]", slsa, enough},
		"signatures alone":                  {"signed-and-attested-v2-legacy", attestors, slsa, noImage},
		"signatures and another type":       {"att-v2-legacy", attestors + "\n      attestations: [{type: other, " + attestors + "}]", slsa, noImage},
		"signatures of any type, which are": {"att-v2-legacy", "type: SigstoreBundle\n      " + attestors, "https://openvex.dev/ns", enough},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "policy.yaml")
			text := `apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: p}
spec:
  rules:
  - name: r
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["*"]
      failureAction: Enforce
      ` + tc.entry
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got := call(t, "explain", "ghcr.io/acme/"+tc.repository+":v1", "--policy", file, "--registry-config-dir", dir, "--offline", "-o", "json")
			r := got.report(t)
			for _, c := range r.Places[0].Candidates {
				if c.Predicate == tc.predicate {
					if c.NotJudged != tc.want {
						t.Errorf("%q, want %q", c.NotJudged, tc.want)
					}
					return
				}
			}
			t.Errorf("no candidate of the type: %s %s", got.stdout, got.stderr)
		})
	}
}
