package webhook

import (
	"context"
	"net"
)

// Serve runs a server on a listener that a test has, because a port that was found free may be another's a moment later.
func Serve(ctx context.Context, s *Server, listener net.Listener) error {
	return s.serve(ctx, listener)
}

// Fill has the server hold as many bytes of reviews as it may, less some.
func Fill(s *Server, less int64) { s.bodies.held.Store(maxHeld - less) }

// Held is how many bytes of large reviews the server holds.
func Held(s *Server) int64 { return s.bodies.held.Load() }
