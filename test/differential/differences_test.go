package differential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-policy/signet/test/env"
)

// difference is a reason why cosign's verdict is another one.
type difference struct {
	// text begins the reason's row in docs/compatibility.md.
	text string
	// cosign is its verdict; Signet's is the other one.
	cosign string
	// says is a part of what cosign prints, where it refuses.
	says  string
	cases []string
}

// differences are all there are.
func differences() []difference {
	return []difference{
		{
			text: "Bundles of any predicate type", cosign: "accept",
			cases: []string{"att/v3-bundle/no-signature", "att/v3-bundle-fallback/no-signature"},
		},
		{
			text: "An image with signatures in both formats", cosign: "refuse", says: "could not verify envelope",
			cases: []string{"docker-manifest/legacy"},
		},
		{
			text: "A timestamp that the policy asks for", cosign: "accept",
			cases: []string{"key-notlog/v2-legacy/tsa-required"},
		},
		{
			text: "A key, and a bundle whose signer has a certificate", cosign: "refuse", says: "expected key signature, not certificate",
			cases: []string{"cert/v3-bundle/key", "cert/v3-bundle/certificate-only", "cert/v3-bundle-chain/key", "cert/v3-bundle-chain/certificate-only"},
		},
		{
			text: "Bundles with a message signature", cosign: "refuse", says: "bundle does not contain a DSSE envelope",
			cases: []string{"message-signature"},
		},
		{
			text: "Bundles before version 0.3", cosign: "refuse", says: "no signatures found",
			cases: []string{"bundle-v0.2"},
		},
	}
}

// expected is the difference that a case is of; nil for none.
func expected(name string) *difference {
	for _, d := range differences() {
		for _, c := range d.cases {
			if c == name {
				return &d
			}
		}
	}
	return nil
}

// The differences are documented.
func TestDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(env.Root(), "docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(raw), "\n## What differs from `cosign verify`\n")
	if !found {
		t.Fatal("docs/compatibility.md has no section for cosign")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := 0
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") {
			rows++
		}
	}
	for _, d := range differences() {
		if !strings.Contains(section, "\n| "+d.text+" | ") {
			t.Errorf("docs/compatibility.md does not say %q", d.text)
		}
	}
	// The heading, and what the corpus has no image for.
	if want := len(differences()) + 1 + 1; rows != want {
		t.Errorf("the table has %d rows, want %d", rows, want)
	}
}
