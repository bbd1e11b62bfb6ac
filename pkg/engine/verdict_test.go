package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

// VI 6.3(5), A-85, seed 38: the worst of the entries, in every order; the digest is pinned by the one that passed.
func TestA85WorstEntry(t *testing.T) {
	t.Parallel()
	pass, fail := by("*", "Audit", "", "$cosign"), by("*", "Audit", "", "$other")
	bare := by("*", "Audit", ", required: false, verifyDigest: false")
	skip := by("*", "Audit", `, skipImageReferences: ["r.io/*"]`, "$other")
	away := by("elsewhere/*", "Audit", "", "$other")
	for name, c := range map[string]struct {
		entries []string
		want    string
	}{
		"pass":             {[]string{pass}, "pass Verified"},
		"fail":             {[]string{fail}, "fail BadSignature"},
		"pass and fail":    {[]string{pass, fail}, "fail BadSignature"},
		"skip":             {[]string{skip}, "skip SkippedByPolicy"},
		"skip and pass":    {[]string{skip, pass}, "pass Verified"},
		"skip and fail":    {[]string{skip, fail}, "fail BadSignature"},
		"fail and away":    {[]string{fail, away}, "fail BadSignature"},
		"skip and away":    {[]string{skip, away}, "skip SkippedByPolicy"},
		"bare":             {[]string{bare}, ""},
		"bare and pass":    {[]string{bare, pass}, "pass Verified"},
		"bare and skip":    {[]string{bare, skip}, ""},
		"away":             {[]string{away}, ""},
		"skip, pass, fail": {[]string{skip, pass, fail}, "fail BadSignature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				f := newFixture(t, engine.Options{}, clusterPolicy("p", "", c.entries...))
				f.push("r.io/a:1", "cosign.pub")
				var want []string
				if c.want != "" {
					want = []string{"p/r r.io/a:1 " + c.want}
				}
				d := f.review(t, pod(engine.Mutating, "r.io/a:1"))
				if diff := cmp.Diff(want, outcomes(d.Results)); diff != "" {
					t.Error(diff)
				}
				for i, j := 0, len(c.entries)-1; i < j; i, j = i+1, j-1 {
					c.entries[i], c.entries[j] = c.entries[j], c.entries[i]
				}
			}
		})
	}
}

// VI 3.8(1), (2), 6.14(1), A-80, seeds 9 and 10: errors follow the failure policy, violations the action.
func TestA80Blocking(t *testing.T) {
	t.Parallel()
	unreachable := &reason.Error{Code: reason.RegistryUnavailable, Unreachable: true, Text: "no connection"}
	answered := reason.New(reason.RegistryUnavailable, "503 Service Unavailable")
	for name, c := range map[string]struct {
		err     error
		action  string
		failure string
		allowed bool
		want    string
	}{
		"refused, enforce, ignore":  {unreachable, "Enforce", ignore, true, "error RegistryUnavailable"},
		"refused, audit, ignore":    {unreachable, "Audit", ignore, true, "error RegistryUnavailable"},
		"refused, enforce, fail":    {unreachable, "Enforce", "", false, "error RegistryUnavailable"},
		"refused, audit, fail":      {unreachable, "Audit", "", false, "error RegistryUnavailable"},
		"answered, enforce, ignore": {answered, "Enforce", ignore, false, "fail RegistryUnavailable"},
		"answered, audit, ignore":   {answered, "Audit", ignore, true, "fail RegistryUnavailable"},
		"answered, enforce, fail":   {answered, "Enforce", "", false, "fail RegistryUnavailable"},
		"answered, audit, fail":     {answered, "Audit", "", true, "fail RegistryUnavailable"},
		"401":                       {reason.New(reason.RegistryUnauthorized, "401"), "Enforce", ignore, false, "fail RegistryUnauthorized"},
		"429":                       {reason.New(reason.RegistryRateLimited, "429"), "Enforce", ignore, false, "fail RegistryRateLimited"},
		"out of time":               {reason.New(reason.RegistryTimeout, "slow"), "Enforce", ignore, false, "fail RegistryTimeout"},
		"raw deadline":              {context.DeadlineExceeded, "Enforce", ignore, false, "fail RegistryTimeout"},
		"digest mismatch":           {reason.New(reason.DigestMismatch, "lie"), "Enforce", ignore, false, "fail DigestMismatch"},
		"limit":                     {reason.New(reason.LimitReached, "big"), "Enforce", ignore, false, "fail LimitReached"},
		"not found":                 {reason.New(reason.ImageNotFound, "none"), "Enforce", ignore, false, "fail ImageNotFound"},
		"unknown error, ignore":     {errors.New("boom"), "Enforce", ignore, true, "error InternalError"},
		"unknown error, fail":       {errors.New("boom"), "Audit", "", false, "error InternalError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, place := range []string{"resolve", "attached"} {
				f := newFixture(t, engine.Options{}, clusterPolicy("p", c.failure, by("*", c.action, "", "$cosign")))
				f.push("r.io/a:1", "cosign.pub")
				broken := func(context.Context, string) error { return c.err }
				if place == "resolve" {
					f.onResolve = broken
				} else {
					f.onAttached = broken
				}
				for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
					shown := "r.io/a:1"
					switch {
					case phase == engine.Validating && place == "attached":
						shown = "r.io/a@" + string(f.tags[shown])
					case phase == engine.Validating && c.action == "Audit":
						continue // nothing pins it, so that it lacks its digest besides
					}
					req := pod(phase, shown)
					if c.failure != "" {
						ignored(req)
					}
					d := f.review(t, req)
					if diff := cmp.Diff([]string{"p/r " + shown + " " + c.want}, outcomes(d.Results)); diff != "" || d.Allowed != c.allowed {
						t.Errorf("%s, phase %d: allowed %v, %s", place, phase, d.Allowed, diff)
					}
					if d.Allowed && len(d.Warnings) != 1 {
						t.Errorf("%s, phase %d: warnings %v", place, phase, d.Warnings)
					}
					if text := d.Message + strings.Join(d.Warnings, ""); strings.Contains(text, "no signatures found") {
						t.Errorf("called unsigned: %s", text)
					}
				}
			}
		})
	}
}

// VI 6.14(2), T-013: a panic is an error of the rule, or rejects the one candidate, and the engine goes on.
func TestT013Panics(t *testing.T) {
	t.Parallel()
	boom := func(context.Context, string) error { panic("boom") }
	for name, c := range map[string]struct {
		set   func(f *fixture)
		image string
		want  string
	}{
		"resolve":  {func(f *fixture) { f.onResolve = boom }, "r.io/a:1", "error InternalError"},
		"attached": {func(f *fixture) { f.onAttached = boom }, "r.io/a:1", "error InternalError"},
		"open":     {func(f *fixture) { f.onOpen = func() { panic("boom") } }, "r.io/a:1", "error InternalError"},
		"verify":   {func(f *fixture) { f.onVerify = func(context.Context) { panic("boom") } }, "r.io/a:1", "fail BadSignature"},
		"exists":   {func(f *fixture) { f.onExists = boom }, "r.io/u@sha256:" + strings.Repeat("a", 64), "error InternalError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, cache := range []string{"", ", useCache: false"} {
				f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", cache, "$cosign")), clusterPolicy("q", "", by("*", "Enforce", cache, "$cosign", "$other")))
				f.push("r.io/a:1", "cosign.pub", "other.pub")
				c.set(f)
				d := f.review(t, pod(engine.Mutating, c.image))
				shown := c.image
				want := []string{"p/r " + shown + " " + c.want, "q/r " + shown + " " + c.want}
				if diff := cmp.Diff(want, outcomes(d.Results)); diff != "" || d.Allowed {
					t.Errorf("allowed %v, %s", d.Allowed, diff)
				}
				*f.world = *newWorld()
				f.push("r.io/a:1", "cosign.pub", "other.pub")
				if d := f.review(t, pod(engine.Mutating, "r.io/a:1")); !d.Allowed {
					t.Errorf("afterwards: %s", d.Message)
				}
			}
		})
	}
}

// VI 3.6(4): the engine answers by itself before the API server gives up, and what is not known by then is a timeout.
func TestT023Timeout(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"resolve", "attached", "verify"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{}, clusterPolicy("p", ignore, by("*", "Enforce", "", "$cosign")))
			f.push("r.io/a:1", "cosign.pub")
			hang := func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
			switch place {
			case "resolve":
				f.onResolve = hang
			case "attached":
				f.onAttached = hang
			case "verify":
				// A verifier that does not look at the clock.
				release := make(chan struct{})
				t.Cleanup(func() { close(release) })
				f.onVerify = func(context.Context) { <-release }
			}
			req := ignored(pod(engine.Mutating, "r.io/a:1"))
			req.Timeout = 600 * time.Millisecond
			d := f.review(t, req)
			if diff := cmp.Diff([]string{"p/r r.io/a:1 fail RegistryTimeout"}, outcomes(d.Results)); diff != "" || d.Allowed {
				t.Errorf("allowed %v, %s", d.Allowed, diff)
			}
		})
	}
}

// A request that is given up does not take the verdict from the others who wait for it.
func TestOneGivesUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")))
	f.push("r.io/a:1", "cosign.pub")
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.onAttached = func(context.Context, string) error {
		once.Do(func() { close(entered) })
		<-release
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan *engine.Decision, 1)
	go func() {
		d, _ := f.Review(ctx, pod(engine.Mutating, "r.io/a:1"))
		first <- d
	}()
	<-entered
	second := make(chan *engine.Decision, 1)
	go func() {
		d, _ := f.Review(context.Background(), pod(engine.Mutating, "r.io/a:1"))
		second <- d
	}()
	cancel()
	if d := <-first; d.Allowed {
		t.Error("a request that was given up is allowed")
	}
	close(release)
	if d := <-second; !d.Allowed {
		t.Errorf("the other one is denied: %s", d.Message)
	}
}

// VI 4.2, seed 26: what does not parse is an error of every rule that matches, beside the images that do.
func TestInvalid(t *testing.T) {
	t.Parallel()
	policies := []string{clusterPolicy("a", "", by("r.io/*", "Audit", "", "$cosign")), clusterPolicy("b", "", by("nowhere/*", "Audit", "", "$cosign"))}
	f := newFixture(t, engine.Options{}, policies...)
	f.push("r.io/a:1", "cosign.pub")
	d := f.review(t, pod(engine.Mutating, "UPPER", "r.io/a:1"))
	want := []string{"a/r - error InvalidImageReference", "a/r r.io/a:1 pass Verified", "b/r - error InvalidImageReference"}
	if diff := cmp.Diff(want, outcomes(d.Results)); diff != "" || d.Allowed {
		t.Errorf("allowed %v, %s", d.Allowed, diff)
	}
	f = newFixture(t, engine.Options{}, clusterPolicy("a", ignore, by("r.io/*", "Enforce", "", "$cosign")))
	f.push("r.io/a:1", "cosign.pub")
	d = f.review(t, ignored(pod(engine.Mutating, "UPPER", "r.io/a:1")))
	if !d.Allowed || len(d.Warnings) != 1 || !strings.HasPrefix(d.Warnings[0], "policy a.r: failed to instantiate handler: failed to extract images: bad image: \"UPPER\"") {
		t.Errorf("allowed %v, %v", d.Allowed, d.Warnings)
	}
	// A-12, VI 6.3(2): another digest algorithm is a violation, no error.
	sha512 := "r.io/a@sha512:" + strings.Repeat("a", 128)
	for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
		d = f.review(t, ignored(pod(phase, sha512)))
		if diff := cmp.Diff([]string{"a/r " + sha512 + " fail InvalidImageReference"}, outcomes(d.Results)); diff != "" || d.Allowed {
			t.Errorf("allowed %v, %s", d.Allowed, diff)
		}
	}
	f = newFixture(t, engine.Options{}, clusterPolicy("a", ignore, by("*", "Enforce", ", required: false")))
	if d = f.review(t, ignored(pod(engine.Validating, "r.io/a@md5:"+strings.Repeat("a", 32)))); d.Allowed {
		t.Error("md5 counts as a digest")
	}
}

// VI 4.2(2), A-90, SEC 7: an object that cannot be read or that holds too many images.
func TestA90Unreadable(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("a", "", by("r.io/*", "Audit", "", "$cosign")))
	req := pod(engine.Mutating)
	req.Object["spec"] = "nil"
	d := f.review(t, req)
	if diff := cmp.Diff([]string{"a/r - error ContextError"}, outcomes(d.Results)); diff != "" || d.Allowed || !strings.Contains(d.Message, "failed to extract images: /spec: invalid image\n") {
		t.Errorf("allowed %v, %s%s", d.Allowed, d.Message, diff)
	}
	f = newFixture(t, engine.Options{}, clusterPolicy("a", ignore, by("r.io/*", "Enforce", "", "$cosign")))
	many := make([]string, 257)
	for i := range many {
		many[i] = "r.io/a:1"
	}
	d = f.review(t, ignored(pod(engine.Mutating, many...)))
	if diff := cmp.Diff([]string{"a/r - fail LimitReached"}, outcomes(d.Results)); diff != "" || d.Allowed {
		t.Errorf("allowed %v, %s", d.Allowed, diff)
	}
}

// A stored policy that cannot be evaluated refuses what it matches.
func TestA81Broken(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{})
	p := f.put(t, clusterPolicy("a", "", by("r.io/*", "Enforce", "", "$cosign")))
	for _, r := range p.Rules {
		r.Broken = "spec: broken"
	}
	f.store.Put(p) // a policy is indexed as it is when it is put in force
	for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
		d := f.review(t, pod(phase, "other.io/a:1"))
		if diff := cmp.Diff([]string{"a/r - error InternalError"}, outcomes(d.Results)); diff != "" || d.Allowed {
			t.Errorf("allowed %v, %s", d.Allowed, diff)
		}
		if d := f.review(t, updated(pod(phase, "other.io/a:1"), "other.io/a:1")); !d.Allowed {
			t.Errorf("unchanged: %s", d.Message)
		}
		if d := f.review(t, pod(phase)); !d.Allowed {
			t.Errorf("no images: %s", d.Message)
		}
	}
}

// VI 3.6(1): before the policies were read there is no verdict.
func TestNotReady(t *testing.T) {
	t.Parallel()
	e := engine.New(engine.Options{Registry: newWorld(), Verifier: newWorld(), Store: policy.NewStore()})
	if d, err := e.Review(context.Background(), pod(engine.Mutating, "a")); !errors.Is(err, engine.ErrNotReady) || d != nil {
		t.Errorf("%v, %v", d, err)
	}
}

// VI 1.3, 6.1: applyRules One ends with the first rule that passed or failed; errors and skips do not end it.
func TestApplyOne(t *testing.T) {
	t.Parallel()
	const one = "  applyRules: One\n"
	spec := func(rules ...string) string {
		return "metadata: {name: p}\nspec:\n" + one + "  rules:\n" + strings.Join(rules, "")
	}
	fail, pass := by("*", "Enforce", "", "$other"), by("*", "Audit", "", "$cosign")
	skip, away := by("*", "Enforce", `, skipImageReferences: ["*"]`, "$other"), by("x/*", "Enforce", "", "$other")
	for name, c := range map[string]struct {
		policy string
		want   []string
	}{
		"pass first": {spec(rule("a", pass), rule("b", fail)), []string{"p/a r.io/a:1 pass Verified"}},
		"fail first": {spec(rule("a", fail), rule("b", pass)), []string{"p/a r.io/a:1 fail BadSignature"}},
		"skip first": {spec(rule("a", skip), rule("b", fail)), []string{"p/a r.io/a:1 skip SkippedByPolicy", "p/b r.io/a:1 fail BadSignature"}},
		"away first": {spec(rule("a", away), rule("b", pass)), []string{"p/b r.io/a:1 pass Verified"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{}, c.policy)
			f.put(t, clusterPolicy("q", "", by("*", "Audit", "", "$cosign")))
			f.push("r.io/a:1", "cosign.pub")
			d := f.review(t, pod(engine.Mutating, "r.io/a:1"))
			if diff := cmp.Diff(append(c.want, "q/r r.io/a:1 pass Verified"), outcomes(d.Results)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
