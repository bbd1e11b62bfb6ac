package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

func newKey(t *testing.T, curve elliptic.Curve) *verify.Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := verify.NewKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func requirementOf(as ...verify.Attestor) *verify.Requirement {
	r := &verify.Requirement{}
	for i := range as {
		nested := verify.Set{Count: 1, Entries: []verify.Entry{{Path: "nested", Attestor: &as[i]}}}
		r.Sets = append(r.Sets, verify.Set{Count: 1, Entries: []verify.Entry{{Path: "set", Nested: &nested}}})
	}
	r.References = verify.CollectReferences(r)
	r.Fingerprint = verify.Fingerprint(r)
	return r
}

func bindTo(r *verify.Requirement, keys map[verify.Reference]*verify.Key) *verify.Requirement {
	return verify.Bind(r, func(ref verify.Reference) (*verify.Key, error) {
		if k := keys[ref]; k != nil {
			return k, nil
		}
		return nil, reason.New(reason.TrustMaterialUnavailable, "no "+string(ref))
	})
}

// VI 7.1(1) and (2), A-41: what was verified with one key counts for no other, and a key is the same wherever it is kept.
func TestBindFingerprint(t *testing.T) {
	t.Parallel()
	one, two := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	const a, b = verify.Reference("k8s://team/a"), verify.Reference("k8s://team/b")
	byReference := requirementOf(verify.Attestor{Reference: a, Hash: crypto.SHA256}, verify.Attestor{Reference: b, Hash: crypto.SHA256})
	before := byReference.Fingerprint
	written := requirementOf(verify.Attestor{Key: one.Public, Hash: crypto.SHA256}, verify.Attestor{Key: two.Public, Hash: crypto.SHA256})
	fingerprints := map[string]string{"unbound": before}
	for name, keys := range map[string]map[verify.Reference]*verify.Key{
		"a, b": {a: one, b: two}, "b, a": {a: two, b: one}, "a twice": {a: one, b: one}, "a": {a: one}, "b": {b: two}, "none": {},
	} {
		bound := bindTo(byReference, keys)
		for other, f := range fingerprints {
			if f == bound.Fingerprint {
				t.Errorf("%q and %q have one fingerprint", name, other)
			}
		}
		fingerprints[name] = bound.Fingerprint
		if len(bound.References) > 0 || verify.Bind(bound, nil) != bound {
			t.Errorf("%s: references are left", name)
		}
	}
	if got := fingerprints["a, b"]; got != written.Fingerprint {
		t.Error("the same keys, written out, have another fingerprint")
	}
	if byReference.Fingerprint != before || byReference.Sets[0].Entries[0].Nested.Entries[0].Attestor.Key != nil {
		t.Error("the requirement itself was changed")
	}
}

// Services that sign with the hash of the key's algorithm are taken at it, unless the policy asks for another.
func TestBindHash(t *testing.T) {
	t.Parallel()
	keys := map[elliptic.Curve]*verify.Key{elliptic.P256(): newKey(t, elliptic.P256()), elliptic.P384(): newKey(t, elliptic.P384()), elliptic.P521(): newKey(t, elliptic.P521())}
	for name, c := range map[string]struct {
		ref        verify.Reference
		curve      elliptic.Curve
		hash, want crypto.Hash
	}{
		"AWS":            {"awskms:///alias/a", elliptic.P256(), crypto.SHA256, crypto.SHA256},
		"AWS P-384":      {"awskms:///alias/a", elliptic.P384(), crypto.SHA256, crypto.SHA384},
		"Google P-521":   {"gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k", elliptic.P521(), crypto.SHA256, crypto.SHA512},
		"Azure, written": {"azurekms://a.vault.azure.net/k", elliptic.P384(), crypto.SHA512, crypto.SHA512},
		"Vault P-384":    {"hashivault://a", elliptic.P384(), crypto.SHA256, crypto.SHA256},
		"Secret P-384":   {"k8s://a/b", elliptic.P384(), crypto.SHA256, crypto.SHA256},
	} {
		r := bindTo(requirementOf(verify.Attestor{Reference: c.ref, Hash: c.hash}), map[verify.Reference]*verify.Key{c.ref: keys[c.curve]})
		if got := r.Sets[0].Entries[0].Nested.Entries[0].Attestor.Hash; got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A reference that nobody put a key in place of is refused, never passed over, and nothing is fetched for it.
func TestUnbound(t *testing.T) {
	t.Parallel()
	a := verify.Attestor{Reference: "k8s://team/a"}
	signatures := requirementOf(a)
	attestations := &verify.Requirement{Attestations: []verify.Attestation{{Type: "t", Read: true, Sets: signatures.Sets}}}
	for name, c := range map[string]struct {
		r    *verify.Requirement
		text string
	}{
		"unbound":             {signatures, "nobody supplies keys"},
		"unbound attestation": {attestations, "nobody supplies keys"},
		"missing":             {bindTo(signatures, nil), "no k8s://team/a"},
		"nothing":             {verify.Bind(signatures, func(verify.Reference) (*verify.Key, error) { return nil, nil }), "nobody supplies keys"},
	} {
		_, err := verify.Evaluate(t.Context(), nil, nil, image.Pinned{}, c.r)
		if got := reason.Of(err); got == nil || got.Code != reason.TrustMaterialUnavailable || got.Unreachable || !strings.Contains(got.Text, c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
