package registrytest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Gate holds every request back until it is let through.
type Gate struct {
	s *Server

	mu   sync.Mutex
	held []chan struct{}
	came chan struct{}
	open bool
}

// Gate puts a gate before the server. It is lifted by Open.
func (s *Server) Gate() *Gate {
	g := &Gate{s: s, came: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = g
	return g
}

// Open lets everything through from now on.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	for _, c := range g.held {
		close(c)
	}
	g.held = nil
}

// Step waits until n requests are held at once and lets exactly those through, so that a test that passes proves that
// the client made them without waiting for one of their answers. It fails when they do not come, or when more do.
func (g *Gate) Step(n int) {
	deadline := time.After(20 * time.Second)
	for {
		g.mu.Lock()
		have := len(g.held)
		if have == n {
			for _, c := range g.held {
				close(c)
			}
			g.held = nil
		}
		g.mu.Unlock()
		switch {
		case have == n:
			return
		case have > n:
			g.Open()
			g.s.fatal(fmt.Errorf("%d requests at once, want %d", have, n))
			return
		}
		select {
		case <-g.came:
		case <-deadline:
			g.Open()
			g.s.fatal(fmt.Errorf("%d requests at once, want %d", have, n))
			return
		}
	}
}

func (g *Gate) wait(request, life context.Context) {
	g.mu.Lock()
	if g.open {
		g.mu.Unlock()
		return
	}
	c := make(chan struct{})
	g.held = append(g.held, c)
	g.mu.Unlock()
	select {
	case g.came <- struct{}{}:
	default:
	}
	select {
	case <-c:
	case <-request.Done():
	case <-life.Done():
	}
}
