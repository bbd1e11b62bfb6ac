package cli

import (
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/notary"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// describe tells what a candidate says of itself, whichever verifier opened it.
func describe(c *verify.Candidate) sigstore.Description {
	n, ok := notary.Describe(c)
	if !ok {
		return sigstore.Describe(c)
	}
	d := sigstore.Description{Format: n.Format, Predicate: c.Predicate, KeyHint: c.KeyHint, Problems: n.Problems}
	if n.Subject != "" {
		d.Certificate = &sigstore.Certificate{Subjects: []string{n.Subject}, NotBefore: n.NotBefore, NotAfter: n.NotAfter}
	}
	return d
}
