package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-policy/signet/testdata/corpus"
)

// sample is a policy of config/samples.
func sample(name string) string {
	return filepath.Join(corpus.Dir(), "..", "..", "config", "samples", name)
}

// The sample about Notary signatures admits what its authority signed, and nothing else.
func TestNotarySample(t *testing.T) {
	t.Parallel()
	s := stocked(t, "acme/notary-jws", "acme/notary-two", "acme/notary-not")
	mirrors := t.TempDir()
	s.WriteHostsToml(mirrors, "registry.example.com")
	for image, want := range map[string]struct {
		exit int
		text string
	}{
		"acme/notary-jws:v1": {ExitVerified, "CN=Notary Signer"},
		"acme/notary-two:v1": {ExitVerified, ""},
		"acme/notary-not:v1": {ExitRefused, "no signature is associated with"},
	} {
		got := call(t, "verify", "registry.example.com/"+image, "--policy", sample("notary-signatures.yaml"), "--registry-config-dir", mirrors)
		if got.exit != want.exit || !strings.Contains(got.stdout, want.text) {
			t.Errorf("%s: exit %d\n%s%s", image, got.exit, got.stdout, got.stderr)
		}
	}
}

// explain shows Notary signatures with their form and their signer, and why one does not count.
func TestExplainNotary(t *testing.T) {
	t.Parallel()
	s := stocked(t, "acme/notary-cose-fallback")
	got := call(t, "explain", s.Host()+"/acme/notary-cose-fallback:v1", "--type", "notary", "--certificate", trustFile("trust/notary-other-ca.pem"))
	if got.exit != ExitRefused {
		t.Errorf("exit %d", got.exit)
	}
	for _, want := range []string{"Notary signature, COSE (application/cose)", "application/vnd.cncf.notary.signature", "CertificateUntrusted: the signature is not produced by a trusted signer"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	if got.stderr != "" {
		t.Error(got.stderr)
	}
}

// explain without a policy finds Notary signatures too, where there are no others.
func TestExplainNotaryUnasked(t *testing.T) {
	t.Parallel()
	s := stocked(t, "acme/notary-jws", "acme/notary-not")
	got := call(t, "explain", s.Host()+"/acme/notary-jws:v1")
	if got.exit != ExitVerified || !strings.Contains(got.stdout, "Notary signature, JWS") || !strings.Contains(got.stdout, "CN=Notary Signer") {
		t.Errorf("exit %d\n%s%s", got.exit, got.stdout, got.stderr)
	}
	if got = call(t, "explain", s.Host()+"/acme/notary-not:v1"); strings.Contains(got.stdout, "Notary signature") {
		t.Errorf("%s", got.stdout)
	}
}
