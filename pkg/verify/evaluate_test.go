package verify_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// words is a Verifier of a made-up format: an artifact's payload is the word that signed it. An attestor's word is its
// annotation "word"; the payload "<word>!<code>" is that word's signature which fails with the code.
type words struct{ opened int }

func (w *words) Candidates(_ image.Pinned, artifacts []image.Artifact) []verify.Candidate {
	w.opened++
	var list []verify.Candidate
	for _, a := range artifacts {
		c := verify.Candidate{Artifact: a, Err: a.Err, Signature: a.MediaType == "", Statement: a.MediaType == "statement"}
		c.KeyHint = a.Annotations["hint"]
		if a.MediaType != "other" {
			list = append(list, c)
		}
	}
	return list
}

func (w *words) Verify(_ context.Context, _ image.Pinned, c *verify.Candidate, a *verify.Attestor) (*verify.Signature, error) {
	word, code, failing := strings.Cut(string(c.Artifact.Payload), "!")
	switch {
	case word == "panic":
		panic("malformed")
	case word == "nothing":
		return nil, nil
	case word != a.Annotations["word"]:
		return nil, reason.New(reason.BadSignature, "not signed by "+a.Annotations["word"])
	case failing:
		return nil, reason.New(reason.Code(code), "failed: "+code)
	}
	return &verify.Signature{Payload: c.Artifact.Payload, Place: c.Artifact.Place}, nil
}

func (w *words) Generation() string { return "words" }

// places is a Fetcher of fixed answers by repository; the image's own is "".
type places struct {
	attached map[string]*image.Attached
	err      error
	calls    map[string]int
}

func (p *places) Attached(_ context.Context, _ image.Pinned, repository image.Ref) (*image.Attached, error) {
	if p.calls == nil {
		p.calls = map[string]int{}
	}
	p.calls[repository.Repository()]++
	return p.attached[repository.Repository()], p.err
}

func ref(t testing.TB, s string) image.Ref {
	t.Helper()
	r, err := image.Parse(s, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func signedBy(payloads ...string) *image.Attached {
	a := &image.Attached{}
	for _, p := range payloads {
		a.Artifacts = append(a.Artifacts, image.Artifact{Payload: []byte(p)})
	}
	return a
}

func entry(i int, word string) verify.Entry {
	return verify.Entry{
		Path:     fmt.Sprintf(".attestors[0].entries[%d].keys", i),
		Attestor: &verify.Attestor{Annotations: map[string]string{"word": word}},
	}
}

func set(count int, words ...string) verify.Set {
	s := verify.Set{Count: count}
	for i, w := range words {
		s.Entries = append(s.Entries, entry(i, w))
	}
	return s
}

func nested(count int, outer verify.Set, inner ...verify.Set) verify.Set {
	for i := range inner {
		n := inner[i]
		for j := range n.Entries {
			n.Entries[j].Path = fmt.Sprintf(".attestors[0].entries[%d].attestor.entries[%d].keys", len(outer.Entries), j)
		}
		outer.Entries = append(outer.Entries, verify.Entry{Nested: &n})
	}
	outer.Count = count
	return outer
}

func problem(code reason.Code, unreachable bool, text string) error {
	return &reason.Error{Code: code, Unreachable: unreachable, Text: text}
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	const path0, path1 = ".attestors[0].entries[0].keys: ", ".attestors[0].entries[1].keys: "
	refused := problem(reason.RegistryUnavailable, true, "connection refused")
	broken := problem(reason.RegistryUnavailable, false, "referrers API: 503")
	with := func(a *image.Attached, change func(*image.Attached)) *image.Attached { change(a); return a }
	tests := map[string]struct {
		sets         []verify.Set
		attached     *image.Attached
		err          error
		anyStatement bool
		code         reason.Code // empty for a pass
		unreachable  bool
		text         string
	}{
		"one of one":                  {sets: []verify.Set{set(1, "good")}, attached: signedBy("good")},
		"count 1 of bad, good":        {sets: []verify.Set{set(1, "bad", "good")}, attached: signedBy("good")},
		"A-25 same word, two entries": {sets: []verify.Set{set(2, "good", "good")}, attached: signedBy("good")},
		"A-25 one entry counts once": {
			sets: []verify.Set{set(2, "good", "bad")}, attached: signedBy("good", "good"), code: reason.BadSignature,
			text: path1 + "no matching signatures: not signed by bad\n not signed by bad",
		},
		"count 2 of bad, good": {
			sets: []verify.Set{set(2, "bad", "good")}, attached: signedBy("good"), code: reason.BadSignature,
			text: path0 + "no matching signatures: not signed by bad",
		},
		"A-25 no count of bad, good": {
			sets: []verify.Set{set(0, "bad", "good", "worse")}, attached: signedBy("good"), code: reason.BadSignature,
			text: path0 + "no matching signatures: not signed by bad; .attestors[0].entries[2].keys: no matching signatures: not signed by worse",
		},
		"unsigned": {sets: []verify.Set{set(1, "good")}, attached: signedBy(), code: reason.Unsigned, text: path0 + "no signatures found"},
		"more asked for than there is": {
			sets: []verify.Set{set(3, "good", "good")}, attached: signedBy("good"), code: reason.NotVerified,
		},
		"nested": {sets: []verify.Set{nested(2, set(0, "a"), set(1, "x", "b"))}, attached: signedBy("a", "b")},
		"nested fails": {
			sets: []verify.Set{nested(0, set(0, "a"), set(1, "x"))}, attached: signedBy("a"), code: reason.BadSignature,
			text: ".attestors[0].entries[1].attestor.entries[0].keys: no matching signatures: not signed by x",
		},
		"both sets": {sets: []verify.Set{set(1, "a"), set(1, "b")}, attached: signedBy("a", "b")},
		"one of two sets": {
			sets: []verify.Set{set(1, "a"), set(1, "x")}, attached: signedBy("a"), code: reason.BadSignature,
			text: path0 + "no matching signatures: not signed by x",
		},
		"both sets fail": {
			sets: []verify.Set{set(1, "x"), set(1, "y")}, attached: signedBy("a"), code: reason.BadSignature,
			text: path0 + "no matching signatures: not signed by x; " + path0 + "no matching signatures: not signed by y",
		},
		"A-81 no sets":     {attached: signedBy("a"), code: reason.InternalError, text: "a requirement without attestors proves nothing"},
		"A-81 empty set":   {sets: []verify.Set{{}}, attached: signedBy("a"), code: reason.InternalError},
		"A-81 empty entry": {sets: []verify.Set{{Count: 1, Entries: []verify.Entry{{Path: "p"}}}}, attached: signedBy("a"), code: reason.InternalError},

		"a statement is no signature": {
			sets: []verify.Set{set(1, "good")}, code: reason.Unsigned, text: path0 + "no signatures found",
			attached: with(signedBy("good"), func(a *image.Attached) { a.Artifacts[0].MediaType = "statement" }),
		},
		"any statement": {
			sets: []verify.Set{set(1, "good")}, anyStatement: true,
			attached: with(signedBy("good"), func(a *image.Attached) { a.Artifacts[0].MediaType = "statement" }),
		},
		"any statement, none fits": {
			sets: []verify.Set{set(1, "bad")}, anyStatement: true, attached: signedBy("good"), code: reason.BadSignature,
			text: path0 + "sigstore bundle verification failed: no matching signatures found",
		},
		"what is no signature at all": {
			sets: []verify.Set{set(1, "good")}, code: reason.Unsigned, text: path0 + "no signatures found",
			attached: with(signedBy("good"), func(a *image.Attached) { a.Artifacts[0].MediaType = "other" }),
		},

		"furthest candidate": {
			sets: []verify.Set{set(1, "good")}, code: reason.AnnotationMismatch,
			attached: signedBy("stranger", "good!TransparencyLogMissing", "good!AnnotationMismatch", "good!TimestampMissing", "good!DigestMismatch"),
		},
		"digest before signature": {
			sets: []verify.Set{set(1, "good")}, attached: signedBy("good!DigestMismatch", "stranger"), code: reason.BadSignature,
		},
		"broken candidate beside a good one": {
			sets:     []verify.Set{set(1, "good")},
			attached: with(signedBy("junk", "good"), func(a *image.Attached) { a.Artifacts[0].Err = reason.New(reason.BadSignature, "junk") }),
		},
		"broken candidate alone": {
			sets: []verify.Set{set(1, "good")}, code: reason.BadSignature, text: path0 + "no matching signatures: junk",
			attached: with(signedBy("junk"), func(a *image.Attached) { a.Artifacts[0].Err = reason.New(reason.BadSignature, "junk") }),
		},
		"bytes that lie alone": {
			sets: []verify.Set{set(1, "good")}, code: reason.DigestMismatch, text: path0 + "no matching signatures: lies",
			attached: with(signedBy("junk"), func(a *image.Attached) { a.Artifacts[0].Err = reason.New(reason.DigestMismatch, "lies") }),
		},
		"T-061 a panic rejects one candidate": {sets: []verify.Set{set(1, "good")}, attached: signedBy("panic", "good")},
		"T-061 a panic alone": {
			sets: []verify.Set{set(1, "good")}, attached: signedBy("panic"), code: reason.BadSignature,
			text: path0 + "no matching signatures: malformed signature",
		},
		"a verifier that says nothing": {sets: []verify.Set{set(1, "good")}, attached: signedBy("nothing"), code: reason.BadSignature},

		"problem beside a valid candidate": {
			sets: []verify.Set{set(1, "good")}, attached: with(signedBy("good"), func(a *image.Attached) { a.Problems = []error{broken} }),
		},
		"problem without candidates": {
			sets: []verify.Set{set(1, "good")}, attached: with(signedBy(), func(a *image.Attached) { a.Problems = []error{broken} }),
			code: reason.RegistryUnavailable, text: path0 + "referrers API: 503",
		},
		"problem with a stranger's candidate": {
			sets: []verify.Set{set(1, "good")}, attached: with(signedBy("x"), func(a *image.Attached) { a.Problems = []error{broken} }),
			code: reason.RegistryUnavailable, text: path0 + "referrers API: 503",
		},
		"a refusal beside a place out of reach": {
			sets: []verify.Set{set(1, "good")}, attached: with(signedBy(), func(a *image.Attached) { a.Problems = []error{refused, broken} }),
			code: reason.RegistryUnavailable, text: path0 + "referrers API: 503",
		},
		"layer that did not arrive": {
			sets: []verify.Set{set(1, "good")}, code: reason.RegistryTimeout, text: path0 + "slow",
			attached: with(signedBy("x"), func(a *image.Attached) { a.Artifacts[0].Err = reason.New(reason.RegistryTimeout, "slow") }),
		},
		"out of reach": {
			sets: []verify.Set{set(1, "good")}, err: refused, code: reason.RegistryUnavailable, unreachable: true,
			text: path0 + "connection refused",
		},
		"canceled":  {sets: []verify.Set{set(1, "good")}, err: context.Canceled, code: reason.RegistryTimeout},
		"no answer": {sets: []verify.Set{set(1, "good")}, code: reason.InternalError},

		"truncated": {
			sets: []verify.Set{set(1, "good")}, attached: with(signedBy("x"), func(a *image.Attached) { a.Truncated = true }),
			code: reason.LimitReached,
			text: path0 + "no matching signatures: not signed by good\n more is attached to the image than is looked at",
		},
		"truncated but decided": {
			sets: []verify.Set{set(1, "good")}, attached: with(signedBy("x", "good"), func(a *image.Attached) { a.Truncated = true }),
		},
		"too large a candidate": {
			sets: []verify.Set{set(1, "good")}, code: reason.LimitReached, text: path0 + "no matching signatures: not signed by good\n too large",
			attached: with(signedBy("x", "big"), func(a *image.Attached) { a.Artifacts[1].Err = reason.New(reason.LimitReached, "too large") }),
		},
	}
	img := ref(t, "registry.test/app:v1").Pin(image.DigestOf(nil))
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &places{attached: map[string]*image.Attached{"": tc.attached}, err: tc.err}
			w := &words{}
			proof, err := verify.Evaluate(t.Context(), w, f, img, &verify.Requirement{Sets: tc.sets, AnyStatement: tc.anyStatement})
			if len(tc.sets) > 0 && (f.calls[""] > 1 || w.opened > 1) {
				t.Errorf("fetched %d times, opened %d times", f.calls[""], w.opened)
			}
			if tc.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				if proof == nil || proof.Image != img || len(proof.Signatures) == 0 {
					t.Errorf("proof %+v", proof)
				}
				return
			}
			if proof != nil || err == nil {
				t.Fatal("accepted")
			}
			got := reason.Of(err)
			if got.Code != tc.code || got.Unreachable != tc.unreachable {
				t.Errorf("%s (unreachable %t), want %s (%t)", got.Code, got.Unreachable, tc.code, tc.unreachable)
			}
			if undecided := tc.unreachable || tc.code == reason.InternalError; errors.Is(err, verify.ErrNotVerified) == undecided {
				t.Errorf("ErrNotVerified in %v", err)
			}
			if tc.text != "" {
				if diff := cmp.Diff(tc.text, err.Error()); diff != "" {
					t.Errorf("message (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestEvaluateRepositories has entries whose signatures are elsewhere, one of them out of reach.
func TestEvaluateRepositories(t *testing.T) {
	t.Parallel()
	img := ref(t, "registry.test/app:v1").Pin(image.DigestOf(nil))
	refused := &image.Attached{Problems: []error{problem(reason.RegistryUnavailable, true, "refused")}}
	build := func(count int, entries ...string) *verify.Requirement {
		s := verify.Set{Count: count}
		for i, e := range entries {
			word, repository, _ := strings.Cut(e, "@")
			one := entry(i, word)
			if repository != "" {
				one.Attestor.Repository = ref(t, "registry.test/"+repository)
			}
			s.Entries = append(s.Entries, one)
		}
		return &verify.Requirement{Sets: []verify.Set{s}}
	}
	tests := map[string]struct {
		req         *verify.Requirement
		own         *image.Attached
		pass        bool
		code        reason.Code
		unreachable bool
	}{
		"elsewhere":                         {req: build(1, "good@sigs"), own: signedBy(), pass: true},
		"not looked for at home":            {req: build(1, "good@sigs"), own: signedBy("x"), pass: true},
		"own repository by name":            {req: build(2, "own@app", "own"), own: signedBy("own"), pass: true},
		"down, but the other suffices":      {req: build(1, "good@down", "good@sigs"), own: signedBy(), pass: true},
		"down and needed":                   {req: build(2, "good@down", "good@sigs"), own: signedBy(), code: reason.RegistryUnavailable, unreachable: true},
		"down, and the other is a stranger": {req: build(2, "good@down", "bad@sigs"), own: signedBy(), code: reason.BadSignature},
		"down might still suffice":          {req: build(1, "bad@sigs", "good@down"), own: signedBy(), code: reason.RegistryUnavailable, unreachable: true},
		"one down of two missing":           {req: build(3, "good@sigs", "bad@sigs", "good@down"), own: signedBy(), code: reason.BadSignature},
		"two down of two missing":           {req: build(3, "good@sigs", "good@down", "x@down"), own: signedBy(), code: reason.RegistryUnavailable, unreachable: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &places{attached: map[string]*image.Attached{
				"": tc.own, "registry.test/sigs": signedBy("good"), "registry.test/down": refused,
			}}
			_, err := verify.Evaluate(t.Context(), &words{}, f, img, tc.req)
			for repository, n := range f.calls {
				if n != 1 {
					t.Errorf("%q was asked %d times", repository, n)
				}
			}
			if tc.pass {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			got := reason.Of(err)
			if err == nil || got.Code != tc.code || got.Unreachable != tc.unreachable {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("a certain set beside one out of reach", func(t *testing.T) {
		t.Parallel()
		req := build(1, "good@down")
		req.Sets = append(req.Sets, build(1, "bad@sigs").Sets...)
		for range 2 {
			f := &places{attached: map[string]*image.Attached{"registry.test/sigs": signedBy("good"), "registry.test/down": refused}}
			_, err := verify.Evaluate(t.Context(), &words{}, f, img, req)
			if got := reason.Of(err); err == nil || got.Unreachable || got.Code != reason.BadSignature || strings.Contains(got.Text, "refused") {
				t.Errorf("got %+v", got)
			}
			req.Sets[0], req.Sets[1] = req.Sets[1], req.Sets[0]
		}
	})
}

// TestT071A52EvaluateFlood has more candidates than are verified.
func TestT071A52EvaluateFlood(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	img := ref(t, "registry.test/app:v1").Pin(image.DigestOf(nil))
	req := &verify.Requirement{Sets: []verify.Set{set(1, "good")}}
	req.Sets[0].Entries[0].Attestor.Key = crypto.PublicKey(&key.PublicKey)
	flood := func(n int, last string, hint string) *image.Attached {
		a := signedBy(strings.Split(strings.Repeat("junk,", n)+last, ",")...)
		a.Artifacts[n].Annotations = map[string]string{"hint": hint}
		return a
	}
	tests := map[string]struct {
		attached *image.Attached
		code     reason.Code
	}{
		"at the limit":             {attached: flood(63, "good", "")},
		"above the limit":          {attached: flood(64, "good", ""), code: reason.LimitReached},
		"fitting hint goes first":  {attached: flood(500, "good", verify.KeyHint(&key.PublicKey))},
		"another hint does not":    {attached: flood(500, "good", "other"), code: reason.LimitReached},
		"all looked at, none fits": {attached: flood(63, "junk", ""), code: reason.BadSignature},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := verify.Evaluate(t.Context(), &words{}, &places{attached: map[string]*image.Attached{"": tc.attached}}, img, req)
			if tc.code == "" && err != nil || tc.code != "" && (err == nil || reason.Of(err).Code != tc.code) {
				t.Errorf("got %v, want %q", err, tc.code)
			}
			if err != nil && len(err.Error()) > 4096 {
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestEvaluateProperties checks relations that hold for any requirement and any signatures.
func TestEvaluateProperties(t *testing.T) {
	t.Parallel()
	random := mathrand.New(mathrand.NewPCG(1, 2))
	img := ref(t, "registry.test/app:v1").Pin(image.DigestOf(nil))
	alphabet := []string{"a", "b", "c", "d"}
	pick := func(max int) []string {
		list := make([]string, 1+random.IntN(max))
		for i := range list {
			list[i] = alphabet[random.IntN(len(alphabet))]
		}
		return list
	}
	pass := func(attached *image.Attached, sets ...verify.Set) bool {
		_, err := verify.Evaluate(t.Context(), &words{}, &places{attached: map[string]*image.Attached{"": attached}}, img, &verify.Requirement{Sets: sets})
		return err == nil
	}
	for range 2000 {
		signers, asked := pick(3), pick(4)
		count := 1 + random.IntN(len(asked))
		attached := signedBy(signers...)
		before := pass(attached, set(count, asked...))
		extra := alphabet[random.IntN(len(alphabet))]
		at := random.IntN(len(asked) + 1)
		wider := append(append(append([]string{}, asked[:at]...), extra), asked[at:]...)
		switch {
		case before && !pass(attached, set(count, wider...)):
			t.Fatalf("%v, %d of %v: adding attestor %s turns pass into fail", signers, count, asked, extra)
		case before && !pass(signedBy(append(signers, extra)...), set(count, asked...)):
			t.Fatalf("%v, %d of %v: adding signature %s turns pass into fail", signers, count, asked, extra)
		case !before && pass(attached, set(count, asked...), set(1, wider...)):
			t.Fatalf("%v, %d of %v: adding a set turns fail into pass", signers, count, asked)
		case before != pass(attached, nested(1, verify.Set{}, set(count, asked...))):
			t.Fatalf("%v, %d of %v: nesting changes the verdict", signers, count, asked)
		case !before && count < len(asked) && pass(attached, set(count+1, asked...)):
			t.Fatalf("%v, %d of %v: asking for more turns fail into pass", signers, count, asked)
		}
	}
}
