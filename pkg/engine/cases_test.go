package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// The verdict of one trust root is not kept under the name of another, which may come back.
func TestA41RootChangesWhileVerifying(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")))
	pinned := "r.io/a@" + string(f.push("r.io/a:1", "cosign.pub"))
	f.generation = "old"
	f.onVerify = func(context.Context) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.generation = "new"
	}
	if d := f.review(t, pod(engine.Validating, pinned)); !d.Allowed {
		t.Fatal(d.Message)
	}
	f.onVerify, f.generation = nil, "old"
	f.signed[f.tags["r.io/a:1"]] = nil // what the old root would say
	if d := f.review(t, pod(engine.Validating, pinned)); d.Allowed {
		t.Error("the verdict of the new root counts for the old one")
	}
	if got := f.called("attached"); got != 2 {
		t.Errorf("%d looks at what is attached", got)
	}
}

// A verdict that rests on a certificate's validity today is not kept beyond it.
func TestA41CertificateEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		until time.Time
		looks int
	}{
		"no end":      {time.Time{}, 1},
		"far away":    {time.Now().Add(time.Hour), 1},
		"in the past": {time.Now().Add(-time.Hour), 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")))
			f.until = c.until
			pinned := "r.io/a@" + string(f.push("r.io/a:1", "cosign.pub"))
			for range 2 {
				if d := f.review(t, pod(engine.Validating, pinned)); !d.Allowed {
					t.Error(d.Message)
				}
			}
			if got := f.called("attached"); got != c.looks {
				t.Errorf("%d looks at what is attached, want %d", got, c.looks)
			}
		})
	}
}

// A signature that is removed counts for as long as its verdict is kept, and not longer.
func TestA42SignatureRemoved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options engine.Options
		more    string
		allowed bool
	}{
		"within the time":   {engine.Options{}, "", true},
		"after it":          {engine.Options{CacheTTL: 1}, "", false},
		"no cache":          {engine.Options{CacheDisabled: true}, "", false},
		"entry without one": {engine.Options{}, ", useCache: false", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, c.options, clusterPolicy("p", "", by("*", "Enforce", c.more, "$cosign")))
			a := f.push("r.io/a:1", "cosign.pub")
			if d := f.review(t, pod(engine.Mutating, "r.io/a:1")); !d.Allowed {
				t.Fatal(d.Message)
			}
			f.signed[a] = nil
			if d := f.review(t, pod(engine.Validating, "r.io/a@"+string(a))); d.Allowed != c.allowed {
				t.Errorf("allowed %v: %s", d.Allowed, d.Message)
			}
		})
	}
}

// What a policy lacks makes its rules errors beside the others' outcomes, and none of them is left out.
func TestA79Prerequisites(t *testing.T) {
	t.Parallel()
	down := labelled(nil, fmt.Errorf("down"))
	conditions := attests("*", `[{all: [{key: "{{ gone }}", operator: Equals, value: a}]}]`, "")
	for name, c := range map[string]struct {
		policy, image, want string
	}{
		"labels":       {inProduction("q"), "ghcr.io/a:1", "q/r - error ContextError"},
		"reference":    {clusterPolicy("q", "", by("*", "Enforce", "", "$cosign")), "UPPER", "q/r - error InvalidImageReference"},
		"substitution": {clusterPolicy("q", "", conditions), "ghcr.io/a:1", "q/r ghcr.io/a:1 fail AttestationMissing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{Namespaces: down}, clusterPolicy("p", "", by("ghcr.io/b*", "Enforce", "", "$cosign")), c.policy)
			f.push("ghcr.io/a:1", "cosign.pub")
			f.push("ghcr.io/b:1", "cosign.pub")
			d := f.review(t, pod(engine.Mutating, c.image, "ghcr.io/b:1"))
			got := outcomes(d.Results)
			if d.Allowed || !strings.Contains(strings.Join(got, "\n"), c.want) || !strings.Contains(strings.Join(got, "\n"), "p/r ghcr.io/b:1 pass Verified") {
				t.Errorf("allowed %v, %v", d.Allowed, got)
			}
		})
	}
}

// Nobody is skipped for whom it belongs to: a Pod with an owner of every kind, true or forged, is judged.
func TestA88Owners(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")))
	f.push("r.io/u:1")
	for _, kind := range []string{"ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController", "Node"} {
		for _, controller := range []any{true, false, nil} {
			for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
				req := pod(phase, "r.io/u:1")
				req.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{
					"apiVersion": "apps/v1", "kind": kind, "name": "web", "uid": "4c6c0b5e-0000-4000-8000-000000000000", "controller": controller,
				}}
				if d := f.review(t, req); d.Allowed || len(d.Results) != 1 {
					t.Errorf("owned by a %s: allowed %v, %v", kind, d.Allowed, outcomes(d.Results))
				}
			}
		}
	}
}

// What a workload says of keys, places and policies has no influence on whom it is verified by.
func TestA89OwnTrust(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")))
	f.push("r.io/a:1", "other.pub")
	f.push("r.io/u:1")
	key := expand(t, "$other")
	says := map[string]any{
		"COSIGN_REPOSITORY": "r.io/signatures", "SIGSTORE_ROOT_FILE": "/tmp/root.json", "kyverno.io/key": key, "cosign.sigstore.dev/key": key,
		"policies.kyverno.io/skip": "true", "kyverno.io/verify-images": `{"r.io/a:1":"pass"}`,
	}
	for _, img := range []string{"r.io/a:1", "r.io/u:1"} {
		plain := f.review(t, pod(engine.Mutating, img))
		req := pod(engine.Mutating, img)
		req.Object["metadata"] = map[string]any{"name": "p", "annotations": says, "labels": says}
		var env []any
		for name, value := range says {
			env = append(env, map[string]any{"name": name, "value": value})
		}
		req.Object["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["env"] = env
		d := f.review(t, req)
		if diff := cmp.Diff(outcomes(plain.Results), outcomes(d.Results)); diff != "" || d.Allowed || plain.Allowed || d.Message != plain.Message {
			t.Errorf("%s: allowed %v: %s", img, d.Allowed, diff)
		}
	}
}

// The switches of an entry and the order of images have their effect in every place.
func TestA93Classics(t *testing.T) {
	t.Parallel()
	two := by("*", "Enforce", "", "$cosign", "$other")
	one := `{imageReferences: ["*"], failureAction: Enforce, attestors: [{count: 1, entries: [{keys: {publicKeys: $cosign}}, {keys: {publicKeys: $other}}]}]}`
	for name, c := range map[string]struct {
		entry   string
		keys    []string
		want    reason.Code
		allowed bool
	}{
		"several keys, unsigned":         {two, nil, reason.Unsigned, false},
		"several keys, one has signed":   {two, []string{"cosign.pub"}, reason.BadSignature, false},
		"one of several keys, unsigned":  {one, nil, reason.Unsigned, false},
		"one of several keys, a third's": {one, []string{"third.pub"}, reason.BadSignature, false},
		"one of several keys, signed":    {one, []string{"other.pub"}, reason.Verified, true},
	} {
		for _, around := range [][]string{{"r.io/x:1"}, {"r.io/good:1", "r.io/x:1"}, {"r.io/x:1", "r.io/good:1"}, {"q.io/none:1", "r.io/x:1"}} {
			t.Run(fmt.Sprint(name, around), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, engine.Options{}, clusterPolicy("p", "", strings.Replace(c.entry, `"*"`, `"r.io/*"`, 1)))
				f.push("r.io/good:1", "cosign.pub", "other.pub", "third.pub")
				f.push("r.io/x:1", c.keys...)
				f.push("q.io/none:1")
				d := f.review(t, pod(engine.Mutating, around...))
				for _, r := range d.Results {
					if want := map[bool]reason.Code{true: c.want, false: reason.Verified}[r.Image.Ref.String() == "r.io/x:1"]; r.Reason != want {
						t.Errorf("%s: %s", r.Image.Ref, r.Reason)
					}
				}
				if d.Allowed != c.allowed {
					t.Errorf("allowed %v: %s", d.Allowed, d.Message)
				}
			})
		}
	}
	t.Run("A-93 skip list on an update", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", `, skipImageReferences: ["r.io/skipped:*"]`, "$cosign")))
		f.push("r.io/u:1")
		f.push("r.io/skipped:1")
		if d := f.review(t, updated(pod(engine.Mutating, "a=r.io/u:1"), "a=r.io/skipped:1")); d.Allowed {
			t.Error("an unsigned image in the place of a skipped one is allowed")
		}
		if d := f.review(t, updated(pod(engine.Mutating, "a=r.io/skipped:1"), "a=r.io/u:1")); !d.Allowed {
			t.Error(d.Message)
		}
	})
}

// Verdicts of one name in two halves do not meet: joined texts are told apart, whatever they hold.
func TestA41JoinedNames(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")))
	a := f.push("r.io/a/b:1", "cosign.pub")
	if d := f.review(t, pod(engine.Validating, "r.io/a/b@"+string(a))); !d.Allowed {
		t.Fatal(d.Message)
	}
	f.signed[a] = nil
	for _, name := range []string{"r.io/a", "r.io/a/b/c", "r.io:443/a/b", "b.r.io/a/b", "r.io/a-b", "r.io/a/b.sig"} {
		if d := f.review(t, pod(engine.Validating, name+"@"+string(a))); d.Allowed {
			t.Errorf("%s is allowed by the verdict of another repository", name)
		}
	}
	if d := f.review(t, pod(engine.Validating, "r.io/a/b@"+string(image.DigestOf([]byte("b"))))); d.Allowed {
		t.Error("allowed by the verdict of another digest")
	}
}
