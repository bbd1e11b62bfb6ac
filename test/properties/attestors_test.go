package properties

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/signet-policy/signet/webhook"
)

// The statuses of an image, as decisions name them.
const (
	pass    = "pass"
	fail    = "fail"
	unknown = "error"
)

// says is the status of an image by a policy with just these sets, and attestations if there are any.
func (p *replica) says(t fataler, m *material, img madeImage, sets []madeSet, attestations ...madeAttestation) string {
	t.Helper()
	one := &madePolicy{material: m, Name: "asks", Failure: "Fail", Rules: []madeRule{{Name: "signed", Entries: []madeEntry{{
		Images: []string{"*"}, Action: "Enforce", Sets: sets, Attestations: attestations,
	}}}}}
	p.force(t, []*madePolicy{one})
	a := p.ask(t, webhook.MutateFail, &madeObject{object: objectOf("Pod", []string{img.name}, 0)})
	if len(a.Decision.Results) != 1 {
		t.Fatalf("%d results", len(a.Decision.Results))
	}
	status := a.Decision.Results[0].Status.String()
	if (status == pass) != a.Allowed {
		t.Fatalf("%s, and allowed %v", status, a.Allowed)
	}
	return status
}

// expected is what a set comes to, by what each signer alone does (VI 6.3): enough passes, or what could still become
// enough once it is known, or a fail.
func expected(set *madeSet, alone func(signer string) string) string {
	var all []string
	for _, a := range set.Entries {
		switch {
		case a.Nested != nil:
			all = append(all, expected(a.Nested, alone))
		case a.Signer == twoKeys: // an entry of two keys is two entries
			all = append(all, alone("key"), alone("other"))
		default:
			all = append(all, alone(a.Signer))
		}
	}
	passed, open := 0, 0
	for _, s := range all {
		switch s {
		case pass:
			passed++
		case unknown:
			open++
		}
	}
	need := set.Count
	if need == 0 {
		need = len(all)
	}
	switch {
	case passed >= need:
		return pass
	case passed+open >= need:
		return unknown
	default:
		return fail
	}
}

// together is what several sets come to, of which all must hold.
func together(sets []madeSet, alone func(signer string) string) string {
	whole := pass
	for i := range sets {
		switch s := expected(&sets[i], alone); {
		case s == fail:
			return fail
		case s == unknown:
			whole = unknown
		}
	}
	return whole
}

// mood is what a change of sets must not do.
type mood struct {
	name   string
	change func(t *rapid.T, m *material, sets []madeSet) (_ []madeSet, ok bool)
	// worse tells that a fail must not become a pass; otherwise a pass must not become a fail.
	worse bool
}

func moods() []mood {
	pick := func(t *rapid.T, sets []madeSet) *madeSet {
		return &sets[rapid.IntRange(0, len(sets)-1).Draw(t, "which set")]
	}
	return []mood{
		{name: "adding an entry to a set with a count", change: func(t *rapid.T, m *material, sets []madeSet) ([]madeSet, bool) {
			s := pick(t, sets)
			if s.Count == 0 {
				return nil, false
			}
			i := rapid.IntRange(0, len(s.Entries)).Draw(t, "where")
			s.Entries = slices.Insert(s.Entries, i, m.attestor(1).Draw(t, "another entry"))
			return sets, true
		}},
		{name: "removing an entry from a set that asks for all", change: func(t *rapid.T, _ *material, sets []madeSet) ([]madeSet, bool) {
			s := pick(t, sets)
			if s.Count != 0 || len(s.Entries) < 2 {
				return nil, false
			}
			i := rapid.IntRange(0, len(s.Entries)-1).Draw(t, "which entry")
			s.Entries = slices.Delete(s.Entries, i, i+1)
			return sets, true
		}},
		{name: "adding a set", worse: true, change: func(t *rapid.T, m *material, sets []madeSet) ([]madeSet, bool) {
			return slices.Insert(sets, rapid.IntRange(0, len(sets)).Draw(t, "where"), m.setOf(1).Draw(t, "another set")), true
		}},
		{name: "raising a count", worse: true, change: func(t *rapid.T, _ *material, sets []madeSet) ([]madeSet, bool) {
			s := pick(t, sets)
			if s.Count == 0 || s.Count == len(s.Entries) {
				return nil, false
			}
			s.Count = rapid.IntRange(s.Count+1, len(s.Entries)).Draw(t, "raised count")
			return sets, true
		}},
		{name: "asking for all", worse: true, change: func(t *rapid.T, _ *material, sets []madeSet) ([]madeSet, bool) {
			pick(t, sets).Count = 0
			return sets, true
		}},
	}
}

// clone copies sets, so that a change leaves the first ones alone.
func clone(sets []madeSet) []madeSet {
	out := slices.Clone(sets)
	for i := range out {
		out[i].Entries = slices.Clone(out[i].Entries)
	}
	return out
}

// What the sets say of an image is what their entries say, counted (VI 6.3); so it changes with them in one direction only.
func TestSets(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.replica(t, true, true)
	rapid.Check(t, func(rt *rapid.T) {
		m := l.material
		img := m.image().Draw(rt, "image")
		sets := rapid.SliceOfN(m.setOf(1), 1, 2).Draw(rt, "sets")
		before := p.says(rt, m, img, sets)
		known := map[string]string{}
		alone := func(signer string) string {
			if known[signer] == "" {
				known[signer] = p.says(rt, m, img, []madeSet{{Entries: []madeAttestor{{Signer: signer}}}})
			}
			return known[signer]
		}
		if want := together(sets, alone); before != want {
			rt.Fatalf("the sets say %s, and their entries %s: %v", before, want, known)
		}
		for _, mood := range moods() {
			changed, ok := mood.change(rt, m, clone(sets))
			if !ok {
				continue
			}
			after := p.says(rt, m, img, changed)
			if mood.worse && after == pass && before != pass || !mood.worse && before == pass && after != pass {
				rt.Fatalf("%s: %s before and %s after", mood.name, before, after)
			}
		}
	})
}

// Asking for an attestation as well never admits what was refused, and one whose condition does not hold is never met.
func TestAttestations(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.replica(t, true, true)
	rapid.Check(t, func(rt *rapid.T) {
		m := l.material
		img := m.image().Draw(rt, "image")
		sets := rapid.SliceOfN(m.setOf(0), 1, 2).Draw(rt, "sets")
		one := madeAttestation{Signer: rapid.SampledFrom([]string{"key", "other", "third"}).Draw(rt, "attested by"), Holds: rapid.Bool().Draw(rt, "holds")}
		before, after := p.says(rt, m, img, sets), p.says(rt, m, img, sets, one)
		if after == pass && before != pass {
			rt.Fatalf("refused by the signatures, and admitted when an attestation is asked for as well")
		}
		if after == pass && !one.Holds {
			rt.Fatalf("admitted by a condition that does not hold")
		}
	})
}
