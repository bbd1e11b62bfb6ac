package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/engine"
)

// VI 3.8, 6.14: an image whose registry is silent takes the time of a request, but not from the conditions of another one
// whose attestations were verified long before.
func TestConditionsAfterSilentRegistry(t *testing.T) {
	t.Parallel()
	f, n := notarized(t, clusterPolicy("p", "", attests("r.io/*", ok, "")), clusterPolicy("q", ignore, by("silent.io/*", "Enforce", "", "$cosign")))
	d := n.attest("r.io/a:1", `cosign.pub t {"ok": true}`)
	// Verified before, so that nothing but the conditions is left to do, for which there is more time than any machine needs.
	if d := f.review(t, pod(engine.Mutating, "r.io/a:1")); !d.Allowed {
		t.Fatal(d.Message)
	}
	f.LeaveMargin(10 * time.Second)
	n.onResolve = func(ctx context.Context, shown string) error {
		if strings.HasPrefix(shown, "silent.io/") {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	req := pod(engine.Mutating, "r.io/a@"+string(d), "silent.io/b:1")
	req.Timeout = 10 * time.Second
	if d := f.review(t, req); !d.Allowed {
		t.Error(d.Message)
	}
}

// Who creates an object does not choose which data a policy reads: variables that somebody writes into it are text.
func TestVariablesInObject(t *testing.T) {
	t.Parallel()
	for name, condition := range map[string]string{
		"in text":          `{key: "claim {{ request.object.metadata.annotations.claim }}", operator: Equals, value: "claim {{ att.owner }}"}`,
		"in an expression": `{key: "{{ equal_fold({{ request.object.metadata.annotations.claim }}, att.owner) }}", operator: Equals, value: true}`,
		"by its image":     `{key: "{{ equal_fold({{ images.containers.c0.name }}, att.owner) }}", operator: Equals, value: true}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, n := notarized(t, clusterPolicy("p", "", attests("*", `[{all: [`+condition+`]}]`, "")))
			n.attest("r.io/owner:1", `cosign.pub t {"owner": "somebody"}`)
			for _, claim := range []string{"{{ att.owner }}", "att.owner", "owner"} {
				req := pod(engine.Mutating, "r.io/owner:1")
				req.Object["metadata"] = map[string]any{"name": "p", "annotations": map[string]any{"claim": claim}}
				if d := f.review(t, req); d.Allowed {
					t.Errorf("%s is allowed", claim)
				}
			}
		})
	}
}

// VI 6.11(7), 7.1: what is attested by statements from some of the places alone holds for the request, and is not remembered:
// the statement that breaks a condition may be in the other one.
func TestAttestationsOfSomePlaces(t *testing.T) {
	t.Parallel()
	f, n := notarized(t, clusterPolicy("p", "", attests("*", ok, "")))
	d := n.attest("r.io/a:1", `cosign.pub t {"ok": true}`)
	n.silent.Store(true)
	if got := f.review(t, pod(engine.Mutating, "r.io/a@"+string(d))); !got.Allowed {
		t.Fatal(got.Message)
	}
	n.statements[d] = append(n.statements[d], `cosign.pub t {"ok": false, "who": "the other place"}`)
	n.silent.Store(false)
	if got := f.review(t, pod(engine.Mutating, "r.io/a@"+string(d))); got.Allowed {
		t.Error("the statement of the other place is not looked at")
	}
}
