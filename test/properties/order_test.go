package properties

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// permuted is the policy with everything that is a list in another order.
func permuted(t *rapid.T, p *madePolicy) *madePolicy {
	out := *p
	out.Rules = rapid.Permutation(p.Rules).Draw(t, "rules")
	for i := range out.Rules {
		r := &out.Rules[i]
		r.Entries = rapid.Permutation(r.Entries).Draw(t, "entries")
		for j := range r.Entries {
			e := &r.Entries[j]
			e.Images = rapid.Permutation(e.Images).Draw(t, "images")
			e.Sets = rapid.Permutation(e.Sets).Draw(t, "sets")
			for k := range e.Sets {
				e.Sets[k].Entries = rapid.Permutation(e.Sets[k].Entries).Draw(t, "attestors")
			}
		}
	}
	return &out
}

// The order of rules, entries, sets, attestors, patterns and containers changes nothing of what is said of an image.
func TestOrder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.replica(t, true, true)
	rapid.Check(t, func(rt *rapid.T) {
		policies := l.material.policies(1, 2).Draw(rt, "policies")
		for _, one := range policies {
			one.One = false // there the order counts
		}
		kind := rapid.SampledFrom([]string{"Pod", "Deployment"}).Draw(rt, "kind")
		images := rapid.SliceOfN(l.material.reference(), 1, 3).Draw(rt, "images")
		o := &madeObject{object: objectOf(kind, images, 0)}
		p.force(rt, policies)
		before := p.admit(rt, o)
		alone := map[string]*answer{}
		for _, path := range inOrder() {
			alone[path] = p.ask(rt, path, o)
		}
		other := &madeObject{object: objectOf(kind, rapid.Permutation(images).Draw(rt, "containers"), 0)}
		shuffled := make([]*madePolicy, len(policies))
		for i, one := range policies {
			shuffled[i] = permuted(rt, one)
		}
		p.force(rt, slices.Clone(shuffled))
		if after := p.admit(rt, other); after.allowed != before.allowed || after.by != before.by {
			rt.Fatalf("allowed %v by %q, and in another order %v by %q", before.allowed, before.by, after.allowed, after.by)
		}
		for _, path := range inOrder() {
			if diff := cmp.Diff(alone[path].outcomes(), p.ask(rt, path, other).outcomes()); diff != "" {
				rt.Fatalf("%s: another outcome in another order (-first +then):\n%s", path, diff)
			}
		}
	})
}
