package registry

import (
	"context"
	"slices"
	"sync"

	"github.com/signet-policy/signet/pkg/budget"
)

// slots bounds the requests that run at once against each host. Those that wait for one host take turns by whom they are made
// for, so that one namespace with very many images does not keep the others waiting for all of them. Hosts without requests
// cost nothing.
type slots struct {
	max int

	mu    sync.Mutex
	hosts map[string]*hostSlots
}

// hostSlots are the requests of one host, covered by the mutex of slots.
type hostSlots struct {
	busy int
	// turns are the tenants with requests that wait, the next one first.
	turns   []string
	waiting map[string][]chan struct{}
}

func newSlots(max int) *slots { return &slots{max: max, hosts: map[string]*hostSlots{}} }

// acquire waits for a slot of the host and returns what gives it back.
func (s *slots) acquire(ctx context.Context, host string) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	release = func() { s.release(host) }
	tenant := budget.Tenant(ctx)
	s.mu.Lock()
	h := s.hosts[host]
	if h == nil {
		h = &hostSlots{waiting: map[string][]chan struct{}{}}
		s.hosts[host] = h
	}
	if h.busy < s.max {
		h.busy++
		s.mu.Unlock()
		return release, nil
	}
	turn := make(chan struct{})
	if len(h.waiting[tenant]) == 0 {
		h.turns = append(h.turns, tenant)
	}
	h.waiting[tenant] = append(h.waiting[tenant], turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return release, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	gone := h.leave(tenant, turn)
	s.mu.Unlock()
	if !gone {
		release() // the turn came at the same moment
	}
	return nil, ctx.Err()
}

// release hands the slot on to the first request of the tenant whose turn it is.
func (s *slots) release(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[host]
	if len(h.turns) == 0 {
		if h.busy--; h.busy == 0 {
			delete(s.hosts, host)
		}
		return
	}
	tenant := h.turns[0]
	turn := h.waiting[tenant][0]
	h.leave(tenant, turn)
	if len(h.waiting[tenant]) > 0 {
		h.turns = append(h.turns[1:], tenant)
	}
	close(turn)
}

// leave takes a request out of the queue of its tenant. It returns false for one that is not there any more.
func (h *hostSlots) leave(tenant string, turn chan struct{}) bool {
	queue := h.waiting[tenant]
	i := slices.Index(queue, turn)
	if i < 0 {
		return false
	}
	if queue = slices.Delete(queue, i, i+1); len(queue) > 0 {
		h.waiting[tenant] = queue
		return true
	}
	delete(h.waiting, tenant)
	h.turns = slices.DeleteFunc(h.turns, func(t string) bool { return t == tenant })
	return true
}
