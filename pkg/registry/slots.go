package registry

import (
	"context"
	"sync"
)

// slots bounds the requests that run at once against each host. Hosts without requests cost nothing.
type slots struct {
	max int

	mu    sync.Mutex
	hosts map[string]*hostSlots
}

type hostSlots struct {
	free  chan struct{}
	users int
}

func newSlots(max int) *slots { return &slots{max: max, hosts: map[string]*hostSlots{}} }

// acquire waits for a slot of the host and returns what gives it back.
func (s *slots) acquire(ctx context.Context, host string) (release func(), err error) {
	s.mu.Lock()
	h := s.hosts[host]
	if h == nil {
		h = &hostSlots{free: make(chan struct{}, s.max)}
		s.hosts[host] = h
	}
	h.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(s.hosts, host)
		}
	}
	select {
	case h.free <- struct{}{}:
		return func() { <-h.free; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
