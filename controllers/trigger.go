package controllers

import (
	"context"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// trigger lets one part of the process ask a controller for work. Until the controller runs, which on a replica that
// does not lead is never, asking does nothing: a controller looks at everything once when it starts.
type trigger[T comparable] struct {
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[T]]
}

// source hands the controller's queue over when the controller starts, and puts the first items in.
func (t *trigger[T]) source(first ...T) source.TypedSource[T] {
	return source.TypedFunc[T](func(_ context.Context, q workqueue.TypedRateLimitingInterface[T]) error {
		t.queue.Store(&q)
		for _, item := range first {
			q.Add(item)
		}
		return nil
	})
}

func (t *trigger[T]) add(item T) {
	if q := t.queue.Load(); q != nil {
		(*q).Add(item)
	}
}

// after adds an item once a time has passed; more than once in that time is once.
func (t *trigger[T]) after(item T, d time.Duration) {
	if q := t.queue.Load(); q != nil {
		(*q).AddAfter(item, d)
	}
}
