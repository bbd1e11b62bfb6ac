package matrix

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/test/env"
)

//go:generate go test . -run TestPage -update

var update = flag.Bool("update", false, "write docs/verification-matrix.md")

const introduction = `# Verification matrix

Written by ` + "`go test ./test/matrix -run TestPage -update`" + ` from the table that the tests of that package run; do not edit.

Every combination of who signed, where the signature is and what proves that it was signed in time, for signatures and for
attestations. Registry client and verifier are the product's; registry, certificate authorities, logs and timestamp
authority are in the test's process, two of each, so that there is always a wrong one that is otherwise as good. What the
real Fulcio, Rekor, timestamp authority and cosign make is tried in ` + "`test/e2e`" + `. Signatures of the Notary Project have a
verifier and tests of their own (` + "`pkg/verify/notary`" + `).

%d combinations, each admitted twice, and refused once for every single thing that can be wrong with it: %d refusals, each
by its own reason.

* **KMS** is a key that the policy names by reference. It is had before the image is judged, and verifies as a key.
* **Certificate** is ` + "`certificates.cert`" + `, of which only the key counts; **certificate chain** is ` + "`certificates.certChain`" + `.
* **No log**: the policy has ` + "`rekor.ignoreTlog`" + `. **Rekor v1**, **Rekor v2**: it asks for a log entry. **Timestamp**: it has
  ` + "`rekor.ignoreTlog` and `ctlog.tsaCertChain`" + `. Rekor v2 tells no time, so there a certificate comes with a timestamp as well.
* Admitted twice: by the process's trusted root, and without one by the policy's own ` + "`roots`, `rekor.pubkey`, `ctlog.pubkey`\n  and `ctlog.tsaCertChain`" + `.

A cell says in how many ways its combination is refused.
`

// page is what the document has to be.
func page() string {
	var b strings.Builder
	possible, refused := 0, 0
	list := refusals()
	ways := func(c combination) (n int) {
		for i := range list {
			if list[i].applies(c) {
				n++
			}
		}
		return n
	}
	var never []string
	for _, c := range combinations() {
		if text := c.impossible(); text == "" {
			possible, refused = possible+1, refused+ways(c)
		} else if !slices.Contains(never, text) {
			never = append(never, text)
		}
	}
	fmt.Fprintf(&b, introduction, possible, refused)
	for _, kind := range kinds() {
		fmt.Fprintf(&b, "\n## %ss\n\n| | | %s |\n|---|---|%s\n", strings.ToUpper(kind[:1])+kind[1:], strings.Join(proofs(), " | "), strings.Repeat("---|", len(proofs())))
		for _, signer := range signers() {
			for _, place := range places() {
				fmt.Fprintf(&b, "| %s | %s |", signer, place)
				for _, proof := range proofs() {
					c := combination{kind, signer, place, proof}
					if text := c.impossible(); text != "" {
						fmt.Fprintf(&b, " none (%d) |", slices.Index(never, text)+1)
					} else {
						fmt.Fprintf(&b, " %d |", ways(c))
					}
				}
				b.WriteString("\n")
			}
		}
	}
	b.WriteString("\nWhat there cannot be:\n\n")
	for i, text := range never {
		fmt.Fprintf(&b, "%d. %s\n", i+1, text)
	}
	fmt.Fprintf(&b, `
## Reasons

In the order in which they are checked. The reason of a refused attestation is %s, but for a key that is
not there; which of these it was is in the text. Conditions on predicates are judged after all of this
(%s), by the engine, and are not part of the matrix.

| What is wrong | Reason | Where |
|---|---|---|
`, "`"+reason.AttestationMissing+"`", "`"+reason.AttestationConditionFailed+"`")
	for i := range list {
		name := list[i].name
		if list[i].unknown {
			name += " (the failure policy decides)"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", name, list[i].code, where(&list[i]))
	}
	return b.String()
}

// where says to which values of the dimensions a refusal applies. None depends on the place.
func where(r *refusal) string {
	dimensions := []struct {
		all   []string
		value func(c combination) string
	}{
		{kinds(), func(c combination) string { return c.kind }}, {signers(), func(c combination) string { return c.signer }},
		{proofs(), func(c combination) string { return c.proof }},
	}
	var parts []string
	for _, d := range dimensions {
		var values []string
		for _, c := range combinations() {
			if v := d.value(c); r.applies(c) && !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		if len(values) < len(d.all) {
			parts = append(parts, strings.Join(values, ", "))
		}
	}
	if parts == nil {
		parts = []string{"everywhere"}
	}
	if r.note != "" {
		parts = append(parts, r.note)
	}
	return strings.Join(parts, "; ")
}

// The page says what the tests do; -update writes it.
func TestPage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(env.Root(), "docs", "verification-matrix.md")
	want := page()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/verification-matrix.md is out of date, run with -update (-want +got):\n%s", diff)
	}
}
