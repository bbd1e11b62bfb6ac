package main

import (
	"context"
	"time"
)

// lingering is how long a replica goes on with everything after it was told to end. Its address is taken from the Service
// when its Pod begins to end, but each node's proxy and each API server learn of that when they do; connections that come
// until then would be refused, and under failurePolicy Ignore what they ask about would be let through.
const lingering = 5 * time.Second

// linger returns a context that ends d after ctx does, and a function that ends it at once.
func linger(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		select {
		case <-time.After(d):
			cancel()
		case <-later.Done():
		}
	})
	return later, cancel
}
