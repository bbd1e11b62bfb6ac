package webhook

import (
	"context"
	"net"
)

// Serve runs a server on a listener that a test has, because a port that was found free may be another's a moment later.
func Serve(ctx context.Context, s *Server, listener net.Listener) error {
	return s.serve(ctx, listener)
}
