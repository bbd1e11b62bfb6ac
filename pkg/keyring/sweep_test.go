package keyring

import (
	"crypto"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// Keys that nobody needs are let go after a while; those of policies and those that requests ask for stay.
func TestSweep(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	var gone []verify.Reference
	r := New(Options{Now: func() time.Time { return now }, Observe: func(c Change) {
		if c.Gone {
			gone = append(gone, c.Reference)
		}
	}})
	named, dropped, asked := verify.Reference("k8s://a/named"), verify.Reference("k8s://a/dropped"), verify.Reference("k8s://a/asked")
	r.Follow([]verify.Reference{named, dropped})
	for _, ref := range []verify.Reference{named, dropped, asked} {
		r.add(ref)
		r.report(r.entries[ref], nil, reason.New(reason.TrustMaterialUnavailable, "none"))
	}
	r.Follow([]verify.Reference{named})
	stopped := 0
	r.entries[dropped].stop = func() { stopped++ }
	r.sweep()
	now = now.Add(idle + time.Second)
	if _, err := r.Key(t.Context(), asked); err == nil {
		t.Error("a key from nowhere")
	}
	r.sweep()
	if d := cmp.Diff([]verify.Reference{dropped}, gone); d != "" || stopped != 1 || len(r.entries) != 2 {
		t.Errorf("%d stopped, %d left: %s", stopped, len(r.entries), d)
	}
	// What an entry that was dropped still reports changes nothing for the next one.
	late := &entry{ref: dropped, known: make(chan struct{})}
	r.add(dropped)
	r.report(late, crypto.PublicKey("late"), nil)
	if r.entries[dropped].state.Load() != nil {
		t.Error("an entry that is gone has a say")
	}
}

// VI 9(3): the authors of Policies cannot take the room for the keys of ClusterPolicies, which come first.
func TestFollowFull(t *testing.T) {
	t.Parallel()
	var many []verify.Reference
	for i := range 2 * maxKeys {
		many = append(many, verify.Reference(fmt.Sprintf("k8s://tenant/key-%d", i)))
	}
	gone := 0
	r := New(Options{Observe: func(c Change) {
		if c.Gone {
			gone++
		}
	}})
	r.Follow(many)
	for _, ref := range many { // requests ask for all of them
		r.mu.Lock()
		r.add(ref)
		r.mu.Unlock()
	}
	if len(r.entries) != maxKeys {
		t.Fatalf("%d keys", len(r.entries))
	}
	stopped := 0
	for _, e := range r.entries {
		e.stop = func() { stopped++ }
	}
	own := []verify.Reference{"k8s://security/a", "k8s://security/b"}
	r.Follow(append(own, many...))
	for _, ref := range own {
		if r.entries[ref] == nil {
			t.Errorf("%s is not followed", ref)
		}
	}
	if len(r.entries) != maxKeys || stopped != 2 || gone != 2 {
		t.Errorf("%d keys, %d stopped, %d gone", len(r.entries), stopped, gone)
	}
}
