package properties

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A decision is a function of the policies, the object and the registry: another replica, a cold or a warm cache, none,
// policies that arrived in another order, and requests at the same time change no byte of what the API server is told.
func TestDecisionsRepeat(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	warm := l.replica(t, true, false)
	rapid.Check(t, func(rt *rapid.T) {
		policies := l.material.policies(1, 3).Draw(rt, "policies")
		o := l.material.object().Draw(rt, "object")
		warm.force(rt, policies)
		want := warm.admit(rt, o).said()
		compare := func(how string, got map[string]string) {
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("another answer %s (-first +then):\n%s", how, diff)
			}
		}
		compare("when asked again", warm.admit(rt, o).said())
		shuffled := rapid.Permutation(policies).Draw(rt, "order of arrival")
		cold := l.replica(t, true, false)
		cold.force(rt, shuffled)
		compare("of another replica", cold.admit(rt, o).said())
		uncached := l.replica(t, false, false)
		uncached.force(rt, policies)
		compare("without a cache", uncached.admit(rt, o).said())
		busy := l.replica(t, true, false)
		busy.force(rt, slices.Clone(policies))
		answers := make([]map[string]string, 3)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = busy.admit(rt, o).said() })
		}
		wg.Wait()
		for _, a := range answers {
			compare("of requests at the same time", a)
		}
	})
}
