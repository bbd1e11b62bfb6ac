package trust_test

import (
	"sync"
	"testing"

	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/trust/trusttest"
)

// A root that is replaced: what is unusable changes nothing, and a root that comes back is another generation.
func TestLive(t *testing.T) {
	t.Parallel()
	l := trust.NewLive("the ConfigMap a/b")
	_, err := l.Material(t.Context())
	wantUnavailable(t, err, false, "the ConfigMap a/b")
	if l.Generation() != "none" {
		t.Error("a generation without a root")
	}
	seen := map[string]bool{}
	for i, tc := range []struct {
		content         []byte
		inForce         int
		changed, failed bool
	}{
		{content: nil, failed: true},
		{content: trusttest.EmptyRoot(0), changed: true},
		{content: trusttest.EmptyRoot(0)},
		{content: []byte("garbage"), failed: true},
		{content: nil, failed: true},
		{content: make([]byte, 5<<20), failed: true},
		{content: trusttest.EmptyRoot(1), inForce: 1, changed: true},
		{content: trusttest.EmptyRoot(0), changed: true},
	} {
		changed, err := l.Set(tc.content)
		if changed != tc.changed || (err != nil) != tc.failed {
			t.Fatalf("step %d: changed %t, %v", i, changed, err)
		}
		if i == 0 {
			continue
		}
		g := wantInForce(t, l, trusttest.EmptyRoot(tc.inForce))
		if changed == seen[g] {
			t.Errorf("step %d: changed %t, but the generation was seen %t", i, changed, seen[g])
		}
		seen[g] = true
	}
}

func TestLiveConcurrency(t *testing.T) {
	t.Parallel()
	l := trust.NewLive("x")
	if _, err := l.Set(trusttest.EmptyRoot(0)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				if _, err := l.Set(trusttest.EmptyRoot(i % 3)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 200 {
				if m, err := l.Material(t.Context()); err != nil || m == nil || l.Generation() == "none" {
					t.Error("no root")
				}
			}
		})
	}
	wg.Wait()
}
