package registry

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/budget"
)

// queued counts what waits for a host.
func (s *slots) queued(host string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hosts[host]; h != nil {
		for _, q := range h.waiting {
			n += len(q)
		}
	}
	return n
}

// whoever waits for a host does so behind one request of each other tenant, not behind all of theirs, in the order in which
// they came, and what gives up leaves no gap.
func TestA64Turns(t *testing.T) {
	t.Parallel()
	s := newSlots(2)
	var held []func()
	for range 2 {
		release, err := s.acquire(t.Context(), "h")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, release)
	}
	type served struct {
		name    string
		release func()
	}
	turns, gaveUp := make(chan served), make(chan error)
	wait := func(ctx context.Context, tenant, name string) {
		n := s.queued("h")
		go func() {
			release, err := s.acquire(budget.For(ctx, tenant), "h")
			if err != nil {
				gaveUp <- err
				return
			}
			turns <- served{name, release}
		}()
		for s.queued("h") == n {
			time.Sleep(time.Millisecond)
		}
	}
	for i := range 5 {
		wait(t.Context(), "a", fmt.Sprint("a", i))
	}
	impatient, cancel := context.WithCancel(t.Context())
	wait(impatient, "b", "never")
	wait(t.Context(), "b", "b0")
	wait(t.Context(), "b", "b1")
	wait(t.Context(), "", "nobody's")
	cancel()
	if err := <-gaveUp; err == nil {
		t.Error("no error for one that gave up")
	}
	var order []string
	for len(order) < 8 {
		held[0]()
		next := <-turns
		order, held[0] = append(order, next.name), next.release
	}
	if diff := cmp.Diff([]string{"a0", "b0", "nobody's", "a1", "b1", "a2", "a3", "a4"}, order); diff != "" {
		t.Error(diff)
	}
	held[0]()
	held[1]()
	if len(s.hosts) > 0 {
		t.Errorf("left: %v", s.hosts)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.acquire(ended, "h"); err == nil || len(s.hosts) > 0 {
		t.Errorf("%v, left: %v", err, s.hosts)
	}
}
