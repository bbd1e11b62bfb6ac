package engine_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// VI 3.6(3), 6.3(2), T-001, A-71, seed 40: one resolution for all entries, rules and policies of a request, one look at
// what is attached, and one digest in everything that is said.
func TestA71OneResolution(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{},
		"metadata: {name: p}\nspec:\n  rules:\n"+rule("a", by("*", "Enforce", "", "$cosign"), by("r.io/*", "Enforce", "", "$cosign", "$other"))+rule("b", by("*", "Enforce", "", "$other")),
		clusterPolicy("q", "", by("*", "Enforce", ", useCache: false", "$cosign")), clusterPolicy("s", ignore, by("*", "Enforce", "", "$cosign")))
	a, b := f.push("r.io/x:1", "cosign.pub", "other.pub"), f.push("r.io/y:1")
	n := 0
	f.onResolve = func(context.Context, string) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tags["r.io/alt:1"] = []image.Digest{a, b}[n%2]
		n++
		return nil
	}
	for round, want := range []image.Digest{a, b} {
		d := f.review(t, pod(engine.Mutating, "r.io/alt:1", "r.io/alt:1"))
		if d.Allowed != (want == a) {
			t.Errorf("round %d: %+v", round, d)
		}
		if got := f.called("resolve"); got != round+1 {
			t.Errorf("round %d: %d resolutions", round, got)
		}
		if got := f.called("attached"); got != round+1 {
			t.Errorf("round %d: %d looks at what is attached", round, got)
		}
		for _, r := range d.Results {
			if r.Digest != want {
				t.Errorf("round %d: %s", round, r.Digest)
			}
		}
		for _, p := range patches(t, d.Patches) {
			if strings.Contains(p, string(b)) {
				t.Errorf("round %d: the other digest is in %s", round, p)
			}
		}
	}
}

// VI 7.1, A-70, seeds 15, 39, 41: what the cache answers, and what it does not.
func TestCache(t *testing.T) {
	t.Parallel()
	down := &reason.Error{Code: reason.RegistryUnavailable, Unreachable: true, Text: "no connection"}
	setup := func(t *testing.T, more string) *fixture {
		f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", more, "$cosign")))
		f.push("r.io/a:1", "cosign.pub")
		f.push("r.io/u:1")
		if d := f.review(t, pod(engine.Mutating, "r.io/a:1")); !d.Allowed {
			t.Fatal(d.Message)
		}
		return f
	}
	pinned := func(f *fixture) *engine.Request { return pod(engine.Validating, "r.io/a@"+string(f.tags["r.io/a:1"])) }
	t.Run("hit without registry", func(t *testing.T) {
		t.Parallel()
		f := setup(t, "")
		f.onResolve = func(context.Context, string) error { return down }
		f.onAttached = f.onResolve
		if d := f.review(t, pinned(f)); !d.Allowed || f.called("verify") != 1 || d.Results[0].Message != "verified from cache" {
			t.Errorf("%+v", d)
		}
	})
	t.Run("A-70 tag moved", func(t *testing.T) {
		t.Parallel()
		f := setup(t, "")
		f.tags["r.io/a:1"] = f.tags["r.io/u:1"]
		if d := f.review(t, pod(engine.Mutating, "r.io/a:1")); d.Allowed || d.Results[0].Reason != reason.Unsigned {
			t.Errorf("%+v", d)
		}
	})
	t.Run("A-41 same digest elsewhere", func(t *testing.T) {
		t.Parallel()
		f := setup(t, "")
		f.tags["r.io/copy:1"] = f.tags["r.io/a:1"]
		f.review(t, pod(engine.Mutating, "r.io/copy:1"))
		if f.called("attached") != 2 {
			t.Error("a verdict passed from one repository to another")
		}
	})
	t.Run("policy without the cache", func(t *testing.T) {
		t.Parallel()
		f := setup(t, ", useCache: false")
		f.review(t, pinned(f))
		if f.called("verify") != 2 {
			t.Errorf("%d verifications", f.called("verify"))
		}
	})
	t.Run("no cache", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, engine.Options{CacheDisabled: true}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")))
		f.push("r.io/a:1", "cosign.pub")
		f.review(t, pinned(f))
		f.review(t, pinned(f))
		if f.called("verify") != 2 {
			t.Errorf("%d verifications", f.called("verify"))
		}
	})
	t.Run("same policy again", func(t *testing.T) {
		t.Parallel()
		f := setup(t, "")
		f.put(t, clusterPolicy("p", "  background: false\n", by("r.io/*", "Enforce", "", "$cosign")))
		f.put(t, clusterPolicy("q", "", by("*", "Audit", "", "$cosign")))
		f.review(t, pinned(f))
		if f.called("verify") != 1 {
			t.Errorf("%d verifications", f.called("verify"))
		}
	})
	t.Run("A-41 another key", func(t *testing.T) {
		t.Parallel()
		f := setup(t, "")
		f.put(t, clusterPolicy("p", "", by("*", "Enforce", "", "$other")))
		if d := f.review(t, pinned(f)); d.Allowed {
			t.Error("allowed by the verdict of the old key")
		}
	})
	t.Run("A-41 another trust root", func(t *testing.T) {
		t.Parallel()
		f := setup(t, "")
		f.generation = "2"
		f.review(t, pinned(f))
		if f.called("verify") != 2 {
			t.Errorf("%d verifications", f.called("verify"))
		}
	})
	t.Run("A-41 failures are not kept", func(t *testing.T) {
		t.Parallel()
		f := setup(t, "")
		d := f.tags["r.io/u:1"]
		for range 2 {
			if f.review(t, pod(engine.Mutating, "r.io/u:1")).Allowed {
				t.Fatal("unsigned and allowed")
			}
		}
		f.mu.Lock()
		f.signed[d] = []string{"cosign.pub"}
		f.mu.Unlock()
		if d := f.review(t, pod(engine.Mutating, "r.io/u:1")); !d.Allowed {
			t.Errorf("signed by now: %s", d.Message)
		}
	})
	t.Run("another entry with the same key", func(t *testing.T) {
		t.Parallel()
		f := setup(t, "")
		f.put(t, clusterPolicy("q", "", by("*", "Enforce", ", annotations: {a: b}", "$cosign")))
		f.review(t, pinned(f))
		if f.called("verify") != 2 {
			t.Errorf("%d verifications", f.called("verify"))
		}
	})
}

// VI 6.3(2): nothing attached to a digest that nobody resolved: is the image there?
func TestMissingImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", ignore, by("*", "Enforce", "", "$cosign")))
	u := f.push("r.io/u:1")
	d := f.review(t, ignored(pod(engine.Mutating, "r.io/u@"+string(u))))
	if d.Results[0].Reason != reason.Unsigned || f.called("exists") != 1 {
		t.Errorf("%+v", d.Results)
	}
	gone := "r.io/gone@" + string(image.DigestOf([]byte("gone")))
	d = f.review(t, ignored(pod(engine.Mutating, gone)))
	if diff := cmp.Diff([]string{"p/r " + gone + " fail ImageNotFound"}, outcomes(d.Results)); diff != "" || d.Allowed ||
		d.Results[0].Message != "failed to verify image "+gone+": .attestors[0].entries[0].keys: image not found" {
		t.Errorf("%s %+v", diff, d.Results)
	}
	f.onExists = func(context.Context, string) error {
		return &reason.Error{Code: reason.RegistryUnavailable, Unreachable: true, Text: "no connection"}
	}
	if d = f.review(t, ignored(pod(engine.Mutating, gone))); !d.Allowed || d.Results[0].Status != engine.Error {
		t.Errorf("%+v", d.Results)
	}
	if d = f.review(t, ignored(pod(engine.Mutating, "r.io/u:1"))); d.Results[0].Reason != reason.Unsigned || f.called("exists") != 3 {
		t.Errorf("a resolved image was asked for again: %+v", d.Results)
	}
}

// A thousand reviews of one image at once: one look, one verification.
func TestThousandAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")), clusterPolicy("q", "", by("r.io/*", "Enforce", "", "$cosign")))
	a := f.push("r.io/a:1", "cosign.pub")
	release := make(chan struct{})
	f.onAttached = func(context.Context, string) error { <-release; return nil }
	var started, done sync.WaitGroup
	started.Add(1000)
	denied := make(chan string, 1000)
	for range 1000 {
		done.Go(func() {
			started.Done()
			d, err := f.Review(context.Background(), pod(engine.Validating, "r.io/a@"+string(a)))
			if err != nil || !d.Allowed {
				denied <- d.Message
			}
		})
	}
	started.Wait()
	close(release)
	done.Wait()
	close(denied)
	for text := range denied {
		t.Error(text)
	}
	if f.called("attached") != 1 || f.called("verify") != 1 {
		t.Errorf("%d looks, %d verifications", f.called("attached"), f.called("verify"))
	}
}

// Different images, policies and keys at once never mix their verdicts.
func TestVerdictsDoNotMix(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{CacheSize: 3}, clusterPolicy("p", "", by("c/*", "Enforce", "", "$cosign"), by("o/*", "Enforce", "", "$other")))
	images := map[string]bool{"docker.io/c/a:1": true, "docker.io/c/b:1": false, "docker.io/o/a:1": false, "docker.io/o/b:1": true}
	f.put(t, clusterPolicy("p", "", by("docker.io/c/*", "Enforce", "", "$cosign"), by("docker.io/o/*", "Enforce", "", "$other")))
	for name := range images {
		key := "cosign.pub"
		if strings.Contains(name, "/b:") {
			key = "other.pub"
		}
		f.push(name, key)
	}
	var wg sync.WaitGroup
	for range 50 {
		for name, want := range images {
			wg.Go(func() {
				d, err := f.Review(context.Background(), pod(engine.Mutating, name))
				if err != nil || d.Allowed != want {
					t.Errorf("%s: %v, %v", name, d.Allowed, err)
				}
			})
		}
	}
	wg.Wait()
}
