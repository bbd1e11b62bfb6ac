package verify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// papers is a Verifier of statements: a payload is "<word> <type> <predicate>". A word says who signed, as with words.
type papers struct{ words }

func (p *papers) Candidates(_ image.Pinned, artifacts []image.Artifact) []verify.Candidate {
	var list []verify.Candidate
	for _, a := range artifacts {
		parts := strings.SplitN(string(a.Payload), " ", 3)
		c := verify.Candidate{Artifact: a, Err: a.Err, Signature: len(parts) == 1}
		if len(parts) == 3 {
			c.Predicate = parts[1]
			c.Statement = true
		}
		list = append(list, c)
	}
	return list
}

func (p *papers) Verify(_ context.Context, _ image.Pinned, c *verify.Candidate, a *verify.Attestor) (*verify.Signature, error) {
	parts := strings.SplitN(string(c.Artifact.Payload), " ", 3)
	if word, code, failing := strings.Cut(parts[0], "!"); failing && word == a.Annotations["word"] {
		return nil, problem(reason.Code(code), true, "no trust root")
	}
	if parts[0] != a.Annotations["word"] {
		return nil, reason.New(reason.BadSignature, "not signed by "+a.Annotations["word"])
	}
	s := &verify.Signature{Payload: c.Artifact.Payload}
	if len(parts) == 3 {
		s.Statement = func() (*verify.Statement, error) {
			switch {
			case parts[2] == "broken":
				return nil, errors.New("not an object")
			case parts[2] == "lies":
				return &verify.Statement{Type: "other", Predicate: []byte("{}")}, nil
			}
			return &verify.Statement{Type: parts[1], Predicate: []byte(parts[2])}, nil
		}
	}
	return s, nil
}

func attestation(read bool, kind string, sets ...verify.Set) verify.Attestation {
	return verify.Attestation{Path: ".attestations[0]", Name: "n", Type: kind, Sets: sets, Read: read}
}

// VI 6.6, T-018, T-041, T-047, A-37, A-39: which statements are there, whose they are, and what is said when they are not.
func TestAttestations(t *testing.T) {
	t.Parallel()
	const failed = "image attestations verification failed, verifiedCount: 0, requiredCount: 1, error: .attestors[0].entries[0].keys: "
	many := func(n int, payload string) []string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(payload, i))
		}
		return list
	}
	for name, c := range map[string]struct {
		sets         []verify.Set
		attestations []verify.Attestation
		attached     *image.Attached
		err          error
		code         reason.Code
		text         string
		want         []string // the statements that remain
		nothing      bool
		open         bool // the outcome is not known
	}{
		"one":                       {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a t 1"), want: []string{"0 n t 1"}},
		"not read":                  {attestations: []verify.Attestation{attestation(false, "t", set(1, "a"))}, attached: signedBy("a t 1", "a t 2")},
		"all of the type":           {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a t 1", "b t 2", "a u 3", "a t 4"), want: []string{"0 n t 1", "0 n t 4"}},
		"of either attestor":        {attestations: []verify.Attestation{attestation(true, "t", set(2, "a", "b"))}, attached: signedBy("a t 1", "b t 2"), want: []string{"0 n t 1", "0 n t 2"}},
		"each once":                 {attestations: []verify.Attestation{attestation(true, "t", set(2, "a", "a"), set(1, "a"))}, attached: signedBy("a t 1"), want: []string{"0 n t 1"}},
		"set that is not met":       {attestations: []verify.Attestation{attestation(true, "t", nested(1, set(0), set(2, "a", "x"), set(1, "b")))}, attached: signedBy("a t 1", "b t 2"), want: []string{"0 n t 2"}},
		"two attestations":          {attestations: []verify.Attestation{attestation(true, "t", set(1, "a")), attestation(true, "u", set(1, "a"))}, attached: signedBy("a u 1", "a t 2"), want: []string{"0 n t 2", "1 n u 1"}},
		"signature and attestation": {sets: []verify.Set{set(1, "s")}, attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("s", "a t 1"), want: []string{"0 n t 1"}},
		"T-018 other type":          {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a u 1"), code: reason.AttestationMissing, text: failed + "attestations not found for predicate type t"},
		"exact type":                {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a T 1", "a tt 1"), code: reason.AttestationMissing, text: failed + "attestations not found for predicate type t"},
		"other type by a stranger":  {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("b u 1"), code: reason.AttestationMissing, text: failed + "no matching attestations: not signed by a"},
		"by a stranger":             {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("b t 1", "c t 1"), code: reason.AttestationMissing, text: failed + "no matching attestations: not signed by a\n not signed by a"},
		"nothing":                   {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy(), code: reason.AttestationMissing, text: failed + "no matching attestations: no attestations found", nothing: true},
		"a signature alone":         {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a"), code: reason.AttestationMissing, text: failed + "no matching attestations: no attestations found"},
		"missing type":              {attestations: []verify.Attestation{attestation(true, "", set(1, "a"))}, attached: signedBy("a t 1"), code: reason.AttestationMissing, text: ".attestations[0]: missing type"},
		"no attestors":              {attestations: []verify.Attestation{attestation(true, "t")}, attached: signedBy("a t 1"), code: reason.InternalError},
		"A-39 no object":            {attestations: []verify.Attestation{attestation(false, "t", set(1, "a"))}, attached: signedBy("a t broken"), code: reason.AttestationConditionFailed, text: failed + "failed to extract predicate from statement: not an object"},
		"A-39 one is no object":     {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a t 1", "a t broken"), code: reason.AttestationConditionFailed},
		"a stranger's is no object": {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("b t broken", "a t 1"), want: []string{"0 n t 1"}},
		"verified type differs":     {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a t lies"), code: reason.AttestationMissing},
		"signature missing too":     {sets: []verify.Set{set(1, "s")}, attestations: []verify.Attestation{attestation(true, "t", set(1, "x"))}, attached: signedBy("a t 1"), code: reason.Unsigned, text: ".attestors[0].entries[0].keys: no signatures found"},
		"64 of the type":            {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy(append(many(63, "b t %d"), "a t 1")...), want: []string{"0 n t 1"}},
		"65 of the type":            {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy(append(many(64, "b t %d"), "a t 1")...), code: reason.LimitReached},
		"65, one early":             {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy(append([]string{"a t 1"}, many(64, "b t %d")...)...), code: reason.LimitReached, text: failed + "not every statement of predicate type t is looked at"},
		"65, one early, not read":   {attestations: []verify.Attestation{attestation(false, "t", set(1, "a"))}, attached: signedBy(append([]string{"a t 1"}, many(64, "b t %d")...)...)},
		"100 of other types":        {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy(append(many(100, "b u %d"), "a t 1")...), want: []string{"0 n t 1"}},
		"unreachable":               {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, err: problem(reason.RegistryUnavailable, true, "refused"), code: reason.RegistryUnavailable, text: failed + "refused", open: true},
		"no trust root":             {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a!TrustMaterialUnavailable t 1", "b u 1"), code: reason.TrustMaterialUnavailable, text: failed + "no matching attestations: no trust root", open: true},
		"no trust root, other type": {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a!TrustMaterialUnavailable u 1"), code: reason.AttestationMissing},
		"no trust root for others":  {attestations: []verify.Attestation{attestation(true, "t", set(1, "a"))}, attached: signedBy("a!TrustMaterialUnavailable t 1", "a u 1"), code: reason.TrustMaterialUnavailable, open: true},
		"violation beside unknown":  {sets: []verify.Set{set(1, "s")}, attestations: []verify.Attestation{attestation(true, "", set(1, "a"))}, err: problem(reason.RegistryUnavailable, true, "refused"), code: reason.AttestationMissing, text: ".attestations[0]: missing type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := &verify.Requirement{Sets: c.sets, Attestations: c.attestations}
			proof, err := verify.Evaluate(t.Context(), &papers{}, &places{attached: map[string]*image.Attached{"": c.attached}, err: c.err}, pinnedImage(t), req)
			if c.code != "" {
				got := reason.Of(err)
				if err == nil || got.Code != c.code || c.text != "" && got.Text != c.text {
					t.Fatalf("%+v, want %s %s", got, c.code, c.text)
				}
				if got.Unreachable != c.open {
					t.Errorf("unreachable: %v", got.Unreachable)
				}
				if nothing := errors.Is(err, verify.ErrNothingFound); nothing != c.nothing || nothing && !errors.Is(err, verify.ErrNotVerified) {
					t.Errorf("nothing found: %v", nothing)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range proof.Statements {
				got = append(got, fmt.Sprintf("%d %s %s %s", s.Attestation, s.Name, s.Type, s.Predicate))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if len(proof.Signatures) == 0 {
				t.Error("a pass without proof")
			}
		})
	}
}

func pinnedImage(t testing.TB) image.Pinned {
	t.Helper()
	return ref(t, "registry.test/app:v1").Pin(image.DigestOf([]byte("image")))
}

// More is attached than was looked at: what is missing might break a condition.
func TestAttestationsTruncated(t *testing.T) {
	t.Parallel()
	attached := signedBy("a t 1")
	attached.Truncated = true
	for _, read := range []bool{true, false} {
		req := &verify.Requirement{Attestations: []verify.Attestation{attestation(read, "t", set(1, "a"))}}
		_, err := verify.Evaluate(t.Context(), &papers{}, &places{attached: map[string]*image.Attached{"": attached}}, pinnedImage(t), req)
		if (err != nil) != read || read && reason.Of(err).Code != reason.LimitReached {
			t.Errorf("read %v: %v", read, err)
		}
	}
}

// VI 7.1(1): attestations are part of what tells requirements apart.
func TestAttestationFingerprint(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for i, list := range [][]verify.Attestation{
		nil, {attestation(true, "t", set(1, "a"))}, {attestation(false, "t", set(1, "a"))}, {attestation(true, "u", set(1, "a"))},
		{attestation(true, "t", set(1, "b"))}, {attestation(true, "t", set(1, "a"), set(1, "a"))},
		{attestation(true, "t", set(1, "a")), attestation(true, "t", set(1, "a"))},
		{{Path: ".attestations[0]", Name: "m", Type: "t", Sets: []verify.Set{set(1, "a")}, Read: true}},
	} {
		f := verify.Fingerprint(&verify.Requirement{Sets: []verify.Set{set(1, "s")}, Attestations: list})
		if first, ok := seen[f]; ok {
			t.Errorf("%d and %d share a fingerprint", first, i)
		}
		seen[f] = i
	}
}
