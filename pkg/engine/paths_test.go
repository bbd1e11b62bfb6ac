package engine_test

import (
	"slices"
	"testing"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
)

// paths are the states of a policy by the path that the API server asks about it on, with the settings that bring it there.
var paths = map[string]string{
	"fail": "", "ignore": ignore,
	"own-fail":   "  webhookConfiguration: {failurePolicy: Fail, matchConditions: [{name: a, expression: 'true'}]}\n",
	"own-ignore": "  webhookConfiguration: {failurePolicy: Ignore, matchConditions: [{name: a, expression: 'true'}]}\n",
}

// on is a request for an unsigned image on a path.
func on(path string, phase engine.Phase, only policy.Key) *engine.Request {
	r := pod(phase, "ghcr.io/unsigned:1")
	if path == "ignore" || path == "own-ignore" {
		r.FailurePolicy = policy.Ignore
	}
	if path == "own-fail" || path == "own-ignore" {
		r.Policy = only
	}
	return r
}

// A-55, VI 1.6: a policy that goes from one path to another is judged on both until every replica and the API server know of the
// new one, and then on the new one alone. On a path of its own it always is.
func TestA55PathsOfAChangedPolicy(t *testing.T) {
	t.Parallel()
	for from, before := range paths {
		for to, now := range paths {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				entry := by("ghcr.io/*", "Enforce", "", "$cosign")
				f := newFixture(t, engine.Options{}, clusterPolicy("beside", "", by("docker.io/*", "Enforce", "", "$cosign")), clusterPolicy("a", before, entry))
				f.push("ghcr.io/unsigned:1")
				only := policy.Key{Name: "a"}
				denies := func(what string, want ...string) {
					t.Helper()
					for path := range paths {
						for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
							d := f.review(t, on(path, phase, only))
							if denied := !d.Allowed; denied != slices.Contains(want, path) {
								t.Errorf("%s: denied on %s in phase %d: %v", what, path, phase, denied)
							}
							if len(d.Responses) > 1 {
								t.Errorf("%s: judged more than once on %s: %v", what, path, outcomes(d.Responses))
							}
						}
					}
				}
				denies("before", from, "own-fail", "own-ignore")
				f.put(t, clusterPolicy("a", now, entry))
				denies("changed", from, to, "own-fail", "own-ignore")
				f.put(t, clusterPolicy("a", now, by("ghcr.io/*", "Enforce", "", "$other")))
				denies("changed once more", from, to, "own-fail", "own-ignore")
				f.store.Settle(only, 0)
				denies("settled", to, "own-fail", "own-ignore")
			})
		}
	}
}

// what a replica holds that others do not wait for any more is not judged by.
func TestA55NotCurrent(t *testing.T) {
	t.Parallel()
	current := false
	f := newFixture(t, engine.Options{Current: func() bool { return current }}, clusterPolicy("a", "", by("ghcr.io/*", "Enforce", "", "$cosign")))
	f.push("ghcr.io/unsigned:1")
	if _, err := f.Review(t.Context(), pod(engine.Validating, "ghcr.io/unsigned:1")); err != engine.ErrLapsed { //nolint:errorlint // it is returned as it is
		t.Errorf("got %v", err)
	}
	current = true
	if d := f.review(t, pod(engine.Validating, "ghcr.io/unsigned:1")); d.Allowed {
		t.Error("an unsigned image is allowed")
	}
}

// VI 6.15(1), 3.4: an update that leaves an unsigned image alone goes through on the common path that a policy comes from, as it did
// before the policy had conditions, and not on the policy's own.
func TestUnchangedOnFormerPath(t *testing.T) {
	t.Parallel()
	entry := by("ghcr.io/*", "Enforce", "", "$cosign")
	f := newFixture(t, engine.Options{}, clusterPolicy("a", "", entry))
	f.push("ghcr.io/unsigned:1")
	f.put(t, clusterPolicy("a", paths["own-fail"], entry))
	for path, allowed := range map[string]bool{"fail": true, "own-fail": false} {
		for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
			d := f.review(t, updated(on(path, phase, policy.Key{Name: "a"}), "ghcr.io/unsigned:1"))
			if d.Allowed != allowed {
				t.Errorf("%s in phase %d: allowed %v", path, phase, d.Allowed)
			}
		}
	}
}
