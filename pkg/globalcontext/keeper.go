// Package globalcontext keeps what GlobalContextEntries publish: the objects of a resource that is followed, or the answer
// of a call that is made from time to time, with the projections of it.
//
// All of it is worked out when the data changes, never when it is read. An entry whose data could not be had is an error
// for whoever reads it, and the value that it had before is gone: an old list of what is allowed is no list.
package globalcontext

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
)

// Caller makes the calls of entries. *loader.Loader is one.
type Caller interface {
	Load(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope, describe loader.Describe) (any, error)
}

// Resources follows the objects of resources.
type Resources interface {
	// Follow reports the list of all objects, and the list after every change, until ctx ends. It reports an error as soon
	// as the list is not known any more.
	Follow(ctx context.Context, r policy.Resource, report func(expr.Prepared, error))
}

// Options are where data comes from. Caller and Resources are required.
type Options struct {
	Caller    Caller
	Resources Resources
}

// Keeper keeps the data of entries. It is safe for concurrent use, and a Runnable for every replica.
type Keeper struct {
	opts Options

	// mu covers what follows. It is never held while data is worked out, and nothing else is locked under it.
	mu      sync.RWMutex
	running context.Context //nolint:containedctx // that of Start, which the followers end with; nil before
	workers sync.WaitGroup
	entries map[string]*entry
	feeds   map[policy.Resource]*feed
	changed func(name string)

	waiting []*entry  // those that there were at the beginning; they are waited for
	until   time.Time // how long; zero before they are known
}

// entry is one generation of a GlobalContextEntry.
type entry struct {
	name       string
	uid        types.UID
	generation int64
	compiled   *policy.Global // nil for one that was refused
	stop       func()         // nil while nothing runs
	state      *state
	left       bool // whether it has left its feed, whose mu covers this
}

// state is what is known of an entry. It never changes.
type state struct {
	err         error // why there is no data; nil when there is
	read        bool  // whether somebody has tried
	refreshed   time.Time
	data        expr.Prepared
	projections map[string]expr.Prepared
}

// Limits of what an entry holds.
const (
	// maxBytes is the weight of an answer or a projection, as expr counts it, and maxProjected that of all projections.
	maxBytes     = 16 << 20
	maxProjected = 32 << 20
	// firstData is how long the process waits with being ready for the data of the entries that there are.
	firstData = 10 * time.Second
)

var errUnread = errors.New("it has not been read yet")

// New returns a Keeper without entries. They are read while it runs.
func New(o Options) *Keeper {
	return &Keeper{opts: o, entries: map[string]*entry{}, feeds: map[policy.Resource]*feed{}}
}

// OnChange lets f be told the name of every entry of which there is something new to say. It is called once, before Start.
func (k *Keeper) OnChange(f func(name string)) { k.changed = f }

// NeedLeaderElection is false: every replica reads entries.
func (k *Keeper) NeedLeaderElection() bool { return false }

// Start reads entries until ctx ends. What was read stays, for the requests that are still on their way.
func (k *Keeper) Start(ctx context.Context) error {
	k.mu.Lock()
	k.running = ctx
	all := make([]*entry, 0, len(k.entries))
	for _, e := range k.entries {
		all = append(all, e)
	}
	k.mu.Unlock()
	for _, e := range all {
		k.launch(e)
	}
	<-ctx.Done()
	k.mu.Lock() // whoever comes after this begins nothing
	k.mu.Unlock()
	k.workers.Wait()
	return nil
}

// Put puts an entry in the place of the one of its name. Nothing happens when it is the same generation.
func (k *Keeper) Put(g *policy.Global) {
	k.replace(&entry{name: g.Name, uid: g.UID, generation: g.Generation, compiled: g, state: &state{err: errUnread}})
}

// Refuse puts an entry that cannot be used in the place of the one of its name. Cause says why.
func (k *Keeper) Refuse(name string, uid types.UID, generation int64, cause error) {
	k.replace(&entry{name: name, uid: uid, generation: generation, state: &state{err: cause, read: true}})
}

func (k *Keeper) replace(e *entry) {
	k.mu.Lock()
	old := k.entries[e.name]
	if old != nil && old.uid == e.uid && old.generation == e.generation {
		k.mu.Unlock()
		return
	}
	k.entries[e.name] = e
	k.mu.Unlock()
	// The new one begins first, so that what both follow is not read again.
	k.launch(e)
	k.end(old)
	k.tell(e.name)
}

// Delete forgets an entry.
func (k *Keeper) Delete(name string) {
	k.mu.Lock()
	old := k.entries[name]
	delete(k.entries, name)
	k.mu.Unlock()
	k.end(old)
}

// launch begins to read an entry, if the Keeper runs and nobody does yet.
func (k *Keeper) launch(e *entry) {
	if e.compiled == nil {
		return
	}
	k.mu.Lock()
	if k.running == nil || k.running.Err() != nil || e.stop != nil || k.entries[e.name] != e {
		k.mu.Unlock()
		return
	}
	if e.compiled.Call != nil {
		ctx, cancel := context.WithCancel(k.running)
		e.stop = cancel
		k.workers.Go(func() { k.poll(ctx, e) })
		k.mu.Unlock()
		return
	}
	f := k.feed(*e.compiled.Resource)
	e.stop = func() { k.leave(f, e) }
	k.mu.Unlock()
	f.join(e)
}

// end ends the reading of an entry that is no longer there.
func (k *Keeper) end(e *entry) {
	if e == nil {
		return
	}
	k.mu.Lock()
	stop := e.stop
	e.stop = func() {}
	k.mu.Unlock()
	if stop != nil {
		stop()
	}
}

func (k *Keeper) tell(name string) {
	if k.changed != nil {
		k.changed(name)
	}
}

// set takes the data of an entry, or the error in its place, and works out its projections. It is called for one entry by
// one goroutine at a time.
func (k *Keeper) set(e *entry, data expr.Prepared, err error) {
	next := &state{err: err, read: true}
	if err == nil {
		next.data, next.refreshed = data, time.Now()
		next.projections, next.err = project(e.compiled, data)
	}
	if next.err != nil {
		next.data, next.projections = expr.Prepared{}, nil
	}
	k.mu.Lock()
	current := k.entries[e.name] == e
	if current {
		if next.err != nil {
			next.refreshed = e.state.refreshed
		}
		e.state = next
	}
	k.mu.Unlock()
	if current {
		k.tell(e.name)
	}
}

// Global is the data of an entry, or of one of its projections if that is not empty.
func (k *Keeper) Global(name, projection string) (any, error) {
	k.mu.RLock()
	e := k.entries[name]
	var s *state
	if e != nil {
		s = e.state
	}
	k.mu.RUnlock()
	switch {
	case e == nil:
		return nil, loader.ErrNoEntry
	case s.err != nil:
		return nil, fmt.Errorf("it is not ready: %w", s.err)
	}
	value := s.data
	if projection != "" {
		var ok bool
		if value, ok = s.projections[projection]; !ok {
			return nil, fmt.Errorf("it has no projection of the name %.64q", projection)
		}
	}
	if value.IsNull() {
		return nil, errors.New("it holds no data")
	}
	return value, nil
}

// Outcome is what became of a generation of an entry.
type Outcome struct {
	UID        types.UID
	Generation int64
	// Tried tells whether there was time for an outcome; Problem says why there is no data, and is empty when there is.
	Tried   bool
	Problem string
	// Refreshed is when a call last gave data; zero for other entries.
	Refreshed time.Time
}

// Outcome is what became of the latest generation of an entry that was seen.
func (k *Keeper) Outcome(name string) (Outcome, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	e := k.entries[name]
	if e == nil {
		return Outcome{}, false
	}
	out := Outcome{UID: e.uid, Generation: e.generation, Tried: e.state.read}
	if e.state.err != nil {
		out.Problem = e.state.err.Error()
	}
	if e.compiled != nil && e.compiled.Call != nil {
		out.Refreshed = e.state.refreshed
	}
	return out, true
}

// Listed says that all entries have been put that there are at the beginning.
func (k *Keeper) Listed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.until = time.Now().Add(firstData)
	for _, e := range k.entries {
		k.waiting = append(k.waiting, e)
	}
}

// Settled tells whether the entries that there were at the beginning have been read, or there was time enough for it.
func (k *Keeper) Settled() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.until.IsZero() {
		return false
	}
	if time.Now().Before(k.until) {
		for _, e := range k.waiting {
			if !e.state.read && k.entries[e.name] == e {
				return false
			}
		}
	}
	k.waiting, k.until = nil, time.Unix(1, 0)
	return true
}
