package report

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// NeedLeaderElection is false: every replica publishes what it reviewed.
func (r *Recorder) NeedLeaderElection() bool { return false }

const (
	writers = 2
	// drainTime is how long shutdown waits for the last reports.
	drainTime = 10 * time.Second
	// writeTime bounds one attempt to write a report, the wait for the rate limit included.
	writeTime = 30 * time.Second
)

// delays are the waits before an object is looked at again that is not stored yet, or whose report could not be
// written.
var delays = [...]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

// Start publishes until the context ends, and then what is left, once. It must be called only once.
func (r *Recorder) Start(ctx context.Context) error {
	// Writers finish what they began when the context ends, for as long as shutdown waits.
	background, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for r.next(background) {
			}
		})
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case it := <-r.intake:
			r.take(it)
		}
	}
	deadline := time.AfterFunc(drainTime, abort)
	defer deadline.Stop()
	r.queue.ShutDown()
	group.Wait()
	r.drain(background)
	return nil
}

// take sends a review's events and puts its results to the others of the object.
func (r *Recorder) take(it *item) {
	r.sendEvents(it)
	if !it.reportable {
		return
	}
	c := &call{slot: it.slot, created: it.created, uid: it.uid, oldVersion: it.oldVersion, version: it.version, at: it.at,
		refused: !it.allowed}
	if it.allowed {
		c.findings = findings(it.results, it.at.Unix(), r.o.AllowedResults)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pending[it.key]
	if p == nil {
		if !c.needed() {
			return
		}
		if len(r.pending) >= 10*r.o.MaxQueued {
			r.metrics.dropped.Inc()
			return
		}
		p = &pending{}
		r.pending[it.key] = p
	}
	p.add(c)
	r.queue.AddAfter(it.key, r.o.Debounce)
}

// next writes the report of the next object that is due. It returns false after shutdown.
func (r *Recorder) next(ctx context.Context) bool {
	key, shutdown := r.queue.Get()
	if shutdown {
		return false
	}
	defer r.queue.Done(key)
	r.process(ctx, key, false)
	return true
}

// process writes one object's report and forgets what was written, or has it tried again.
func (r *Recorder) process(ctx context.Context, key objectKey, final bool) {
	r.mu.Lock()
	p := r.pending[key]
	if p == nil {
		r.mu.Unlock()
		return
	}
	p = p.clone()
	r.mu.Unlock()

	last := final || p.attempts >= len(delays)
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	err := r.write(ctx, key, p, last)
	forbidden := apierrors.IsForbidden(err) // as for kinds of custom resources that nobody let this account read
	last = last || forbidden

	r.mu.Lock()
	defer r.mu.Unlock()
	current := r.pending[key]
	if current == nil || current.revision != p.revision {
		return // a call arrived meanwhile and has put the object into the queue again
	}
	if err == nil || last {
		delete(r.pending, key)
		switch {
		case forbidden:
			r.o.Logger.Info("No policy report, the permission is missing", "kind", key.kind, "namespace", key.namespace, "name", key.name, "error", err.Error())
		case err != nil:
			r.o.Logger.Error(err, "Gave up a policy report", "kind", key.kind, "namespace", key.namespace, "name", key.name)
		}
		return
	}
	if !errors.Is(err, errWait) {
		r.o.Logger.V(1).Info("Writing a policy report again", "kind", key.kind, "namespace", key.namespace, "name", key.name, "error", err.Error())
	}
	r.queue.AddAfter(key, delays[current.attempts])
	current.attempts++
}

// drain publishes what is left at shutdown: the reviews in the queue, then every object once.
func (r *Recorder) drain(ctx context.Context) {
	for len(r.intake) > 0 {
		r.take(<-r.intake)
	}
	r.mu.Lock()
	keys := make([]objectKey, 0, len(r.pending))
	for key := range r.pending {
		keys = append(keys, key)
	}
	r.mu.Unlock()
	for _, key := range keys {
		if ctx.Err() != nil {
			r.o.Logger.Info("Shutting down with policy reports unwritten", "objects", len(keys))
			return
		}
		r.process(ctx, key, true)
	}
}
