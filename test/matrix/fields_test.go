package matrix

import (
	"fmt"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// TestT004EachField asks for an identity by all of its fields, of which one is another one than the signer's, in each format and for
// signatures and attestations. Each of them alone can refuse.
func TestT004EachField(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const again = "1.3.6.1.4.1.57264.1.8" // what the certificate says of the issuer once more
	whole := verify.IdentityText{Issuer: issuer, IssuerRegExp: "^https://", Subject: subject, SubjectRegExp: "@example.test$", AdditionalExtensions: map[string]string{again: issuer}}
	fields := map[string]func(*verify.IdentityText){
		"none":                 func(*verify.IdentityText) {},
		"subject":              func(i *verify.IdentityText) { i.Subject = "ops@example.test" },
		"subject, alone":       func(i *verify.IdentityText) { *i = verify.IdentityText{Subject: "ops@example.test"} },
		"subjectRegExp":        func(i *verify.IdentityText) { i.SubjectRegExp = "@example.org$" },
		"subjectRegExp, alone": func(i *verify.IdentityText) { *i = verify.IdentityText{SubjectRegExp: "^ops@"} },
		"issuer":               func(i *verify.IdentityText) { i.Issuer = issuer + ".org" },
		"issuer, alone":        func(i *verify.IdentityText) { *i = verify.IdentityText{Issuer: issuer + ".org"} },
		"issuerRegExp":         func(i *verify.IdentityText) { i.IssuerRegExp = "^http://" },
		"issuerRegExp, alone":  func(i *verify.IdentityText) { *i = verify.IdentityText{IssuerRegExp: "nobody"} },
		"extension":            func(i *verify.IdentityText) { i.AdditionalExtensions = map[string]string{again: "push"} },
		"extension that is not there": func(i *verify.IdentityText) {
			i.AdditionalExtensions = map[string]string{again: issuer, "githubWorkflowTrigger": "push"}
		},
		"extension that nobody knows": func(i *verify.IdentityText) {
			i.AdditionalExtensions = map[string]string{again: issuer, "githubWorkflowMood": "*"}
		},
	}
	n := 0
	for _, kind := range kinds() {
		for _, place := range places() {
			c := combination{kind, keyless, place, rekor1}
			for field, change := range fields {
				n++
				repository := fmt.Sprint("fields/", n)
				t.Run(kind+"/"+place+"/"+field, func(t *testing.T) {
					t.Parallel()
					text := whole
					change(&text)
					id, bad := verify.CompileIdentity(text)
					if len(bad) > 0 {
						t.Fatal(bad)
					}
					var a *asked
					img := w.put(t, repository, c, func(digest image.Digest) (d *deed) {
						d, a = w.honest(t, c, digest)
						a.attestor.Keyless.Identity = id
						return d
					})
					proof, err := w.judge(t, img, a, w.trust)
					if field == "none" {
						if err != nil {
							t.Fatal(err)
						}
						proved(t, c, proof)
						return
					}
					code := map[string]reason.Code{signature: reason.IdentityMismatch, attestation: reason.AttestationMissing}[kind]
					if err == nil || reason.Of(err).Code != code {
						t.Errorf("%v, want %s", err, code)
					}
				})
			}
		}
	}
}
