// Package budget bounds the memory that the whole process holds for what registries send, and tells for whom work is done:
// whoever makes an image chooses how large its attestations are, and how many images one object has.
package budget

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Small is how much, in bytes, is not worth counting: what takes no more never waits for anybody.
const Small = 1 << 20

// Budget is the memory for all. It is safe for concurrent use.
type Budget struct {
	size int64
	free *semaphore.Weighted
}

// New returns a budget of size bytes.
func New(size int64) *Budget {
	return &Budget{size: size, free: semaphore.NewWeighted(size)}
}

// Share returns what one piece of work holds of the budget: nothing yet. Its maker gives it back by Release.
func (b *Budget) Share() *Share { return &Share{budget: b, users: 1} }

// Share is what one piece of work holds. It is safe for concurrent use.
type Share struct {
	budget *Budget
	mu     sync.Mutex
	users  int
	held   int64
}

// take waits for n bytes.
func (s *Share) take(ctx context.Context, n int64) error {
	n = min(n, s.budget.size)
	if err := s.budget.free.Acquire(ctx, n); err != nil {
		return fmt.Errorf("no memory became free in time: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held += n
	return nil
}

// Use says that somebody else works with what is held; he calls Release as well.
func (s *Share) Use() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
}

// Release gives back all that is held when the last user calls it.
func (s *Share) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		s.budget.free.Release(s.held)
		s.held = 0
	}
}

type key struct{}

// With returns a context whose work holds by the share.
func With(ctx context.Context, s *Share) context.Context { return context.WithValue(ctx, key{}, s) }

// From is the share of a context; nil for none.
func From(ctx context.Context) *Share {
	s, _ := ctx.Value(key{}).(*Share)
	return s
}

// Take waits until n bytes may be held by the share of ctx. Without a share nothing is bounded.
func Take(ctx context.Context, n int64) error {
	if s := From(ctx); s != nil && n > Small {
		return s.take(ctx, n)
	}
	return nil
}
