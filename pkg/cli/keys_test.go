package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestKeysElsewhere checks keys that are not in the policy. The services' addresses are in the environment, so this runs
// before the parallel tests.
func TestKeysElsewhere(t *testing.T) {
	s := stocked(t, "acme/key-notlog-v3-bundle")
	dir := t.TempDir()
	s.WriteHostsToml(dir, "ghcr.io")
	const signed = "ghcr.io/acme/key-notlog-v3-bundle:v1"
	asked := 0
	transit := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		name := map[string]string{"/v1/transit/keys/signer": "cosign.pub", "/v1/transit/keys/other": "other.pub"}[r.URL.Path]
		if name == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"latest_version": 1,
			"keys": map[string]any{"1": map[string]any{"name": "P-256", "public_key": read(t, trustFile("trust/"+name))}}}})
	}))
	defer transit.Close()
	t.Setenv("VAULT_TOKEN", "t")
	t.Setenv("VAULT_MAX_RETRIES", "0")
	policy := file(t, "policy.yaml", `apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: p}
spec:
  rules:
  - name: r
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["*"]
      failureAction: Enforce
      attestors:
      - count: 1
        entries:
        - {keys: {kms: "hashivault://signer", rekor: {ignoreTlog: true}}}
        - {keys: {secret: {name: signer, namespace: team}, rekor: {ignoreTlog: true}}}
      - entries:
        - {keys: {publicKeys: "hashivault://signer", rekor: {ignoreTlog: true}}}
`)
	for _, c := range []struct {
		name, address string
		args          []string
		exit          int
		reason, text  string
		asked         int
	}{
		{"Vault", transit.URL, []string{"--key", "hashivault://signer", "--insecure-ignore-tlog"}, ExitVerified, "Verified", "", 1},
		{"another key", transit.URL, []string{"--key", "hashivault://other", "--insecure-ignore-tlog"}, ExitRefused, "BadSignature", "", 1},
		{"no such key", transit.URL, []string{"--key", "hashivault://none"}, ExitRefused, "TrustMaterialUnavailable", "the service answers 404 Not Found", 1},
		{"no connection", "http://127.0.0.1:1", []string{"--key", "hashivault://signer"}, ExitUnchecked, "TrustMaterialUnavailable", "no connection", 0},
		{"Secret", transit.URL, []string{"--key", "k8s://team/signer"}, ExitUnchecked, "TrustMaterialUnavailable", "is in a cluster, and none is asked here", 0},
		{"policy, each key once", transit.URL, []string{"--policy", policy}, ExitVerified, "Verified", "", 1},
	} {
		for _, command := range []string{verifyCommand, explainCommand} {
			t.Run(c.name+" "+command, func(t *testing.T) {
				t.Setenv("VAULT_ADDR", c.address)
				asked = 0
				got := call(t, append([]string{command, signed, "-o", "json", "--registry-config-dir", dir}, c.args...)...)
				r := got.report(t)
				if got.exit != c.exit || len(r.Rules) != 1 || r.Rules[0].Reason != c.reason || !strings.Contains(r.Rules[0].Message, c.text) || asked != c.asked {
					t.Errorf("exit %d, asked %d times\n%s%s", got.exit, asked, got.stdout, got.stderr)
				}
			})
		}
	}
}
