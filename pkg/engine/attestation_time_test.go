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
	n.attest("r.io/a:1", `cosign.pub t {"ok": true}`)
	n.onResolve = func(ctx context.Context, shown string) error {
		if strings.HasPrefix(shown, "silent.io/") {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	req := pod(engine.Mutating, "r.io/a:1", "silent.io/b:1")
	req.Timeout = time.Second
	if d := f.review(t, req); !d.Allowed {
		t.Error(d.Message)
	}
}
