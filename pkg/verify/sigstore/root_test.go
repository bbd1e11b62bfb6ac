package sigstore_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// noRoot is a trust root that nobody can obtain, and counts who wants it.
type noRoot struct{ wanted *int }

func (n noRoot) Material(context.Context) (root.TrustedMaterial, error) {
	*n.wanted++
	return nil, &reason.Error{Code: reason.TrustMaterialUnavailable, Unreachable: true, Text: "the TUF repository could not be connected to"}
}

func (n noRoot) Generation() string { return "none" }

// TestWithoutRoot has policies that name their own trust and a trust root that cannot be obtained: it is asked for only
// when a proof needs it, and then it is what is missing (VI 6.13(3), (4)).
func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	img, p := testImage(t), newPKI(t, nil)
	cert, key := p.leaf(t, nil, p.ct)
	old, oldKey := p.leaf(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = p.now.Add(-10*time.Hour), p.now.Add(-9*time.Hour) }, p.ct)
	within := []time.Time{p.now.Add(-570 * time.Minute)}
	full := func(*verify.Attestor) {}
	noLog := func(a *verify.Attestor) { a.IgnoreLog, a.LogKeys = true, nil }
	noCT := func(a *verify.Attestor) { a.CTLogKeys = nil }
	const unavailable = reason.TrustMaterialUnavailable
	for name, tc := range map[string]struct {
		made   made
		change func(a *verify.Attestor)
		code   reason.Code
		wanted bool
	}{
		"everything in the policy":                  {made{cert: cert, key: key, logged: []time.Time{p.now}}, full, "", false},
		"everything, an old signature":              {made{cert: old, key: oldKey, logged: within}, full, "", false},
		"no log wanted, none carried":               {made{cert: cert, key: key}, noLog, "", false},
		"no log wanted, none carried, expired":      {made{cert: old, key: oldKey}, noLog, reason.CertificateExpired, false},
		"no log wanted, entry carried":              {made{cert: cert, key: key, logged: []time.Time{p.now}}, noLog, "", true},
		"no log wanted, entry carried, expired":     {made{cert: old, key: oldKey, logged: within}, noLog, unavailable, true},
		"no log wanted, timestamp carried, expired": {made{cert: old, key: oldKey, stamped: true}, noLog, unavailable, true},
		"timestamp besides the log's time":          {made{cert: cert, key: key, logged: []time.Time{p.now}, stamped: true}, full, "", true},
		"certificate log of the root":               {made{cert: cert, key: key, logged: []time.Time{p.now}}, noCT, unavailable, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.made.carried = []*x509.Certificate{p.intermediate}
			for format, artifact := range map[string]image.Artifact{"legacy": p.simple(t, img, tc.made), "bundle": p.bundle(t, img, tc.made)} {
				a := keyless(t, verify.IdentityText{Subject: devSubject})
				a.Keyless.Roots, a.LogKeys, a.CTLogKeys = []*x509.Certificate{p.root}, keyList(p.rekor), keyList(p.ct)
				tc.change(a)
				wanted := 0
				got, err := verdict(t, sigstore.NewAt(noRoot{&wanted}, p.now), img, a, false, artifact)
				if got != tc.code {
					t.Errorf("%s: %q, want %q: %v", format, got, tc.code, err)
				}
				if tc.code == unavailable && !reason.Of(err).Unreachable {
					t.Errorf("%s: certain: %v", format, err)
				}
				if (wanted > 0) != tc.wanted {
					t.Errorf("%s: the root was asked for %d times", format, wanted)
				}
			}
		})
	}
	t.Run("static key", func(t *testing.T) {
		t.Parallel()
		signer, wanted := newSigner(t), 0
		artifact := signer.simple(t, payload(img.Digest().String(), "cosign container image signature", ""))
		a := &verify.Attestor{Key: crypto.PublicKey(signer.key.Public()), IgnoreLog: true}
		if got, err := verdict(t, sigstore.NewAt(noRoot{&wanted}, p.now), img, a, false, artifact); got != "" || wanted > 0 {
			t.Errorf("%q, asked %d times: %v", got, wanted, err)
		}
	})
}
