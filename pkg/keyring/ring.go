// Package keyring keeps the public keys that policies refer to, and follows them where they are kept. Requests read what
// is there and wait for nothing but the first answer about a key; everything else happens beside them.
package keyring

import (
	"context"
	"crypto"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

const (
	// maxKeys bounds the keys that are followed at once, and maxAsked those among them that only requests ask for.
	maxKeys, maxAsked = 1024, 128
	// firstLook is how long a request waits for the first answer about a key.
	firstLook = 3 * time.Second
	// idle is how long a key is followed that no policy names and no request asks for.
	idle = 10 * time.Minute
)

// Source follows keys of one kind. Follow reports what a reference stands for, first as soon as that is known and then
// whenever it changes, until ctx ends; one call at a time. An error is a *reason.Error, and ends the last key's validity.
type Source interface {
	Follow(ctx context.Context, ref verify.Reference, report func(crypto.PublicKey, error))
}

// Change is what was found out about a key.
type Change struct {
	Reference verify.Reference
	// Err is why there is no usable key; nil when there is one.
	Err *reason.Error
	// Gone says that the key is not followed any more.
	Gone bool
}

// Options configure a Ring.
type Options struct {
	// Secrets follows keys in Secrets, and Services those in key management services. Without one of them its keys are
	// TrustMaterialUnavailable.
	Secrets, Services Source
	// Observe is told of every change, one at a time; it may be nil and must not call the Ring.
	Observe func(Change)
	// Now defaults to time.Now.
	Now func() time.Time
}

// Ring is a verify.Keys. It is safe for concurrent use. Keys are followed while Start runs.
type Ring struct {
	options Options
	wake    chan struct{}

	mu       sync.Mutex
	entries  map[verify.Reference]*entry
	followed map[verify.Reference]bool

	observing sync.Mutex
}

var _ verify.Keys = (*Ring)(nil)

// entry is one key that is followed. Its fields but state, known and used are covered by the Ring's mu.
type entry struct {
	ref   verify.Reference
	state atomic.Pointer[state]
	known chan struct{} // closed with the first state
	used  atomic.Int64  // when it was asked for last, Unix seconds
	stop  context.CancelFunc
}

// state is what a reference stands for: exactly one of the fields is set.
type state struct {
	key *verify.Key
	err *reason.Error
}

// New returns a Ring without keys.
func New(options Options) *Ring {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Ring{options: options, wake: make(chan struct{}, 1), entries: map[verify.Reference]*entry{}, followed: map[verify.Reference]bool{}}
}

// Follow says which keys the policies in force name, so that they are there before the first request needs them. Those
// that are not named any more are dropped after a while, or at once where there is no room left. The first references count
// most: however many others follow, those beyond the limit are keys that requests ask for, if there is room for such.
func (r *Ring) Follow(refs []verify.Reference) {
	refs = refs[:min(len(refs), maxKeys-maxAsked)]
	named := make(map[verify.Reference]bool, len(refs))
	for _, ref := range refs {
		named[ref] = true
	}
	var gone []verify.Reference
	r.mu.Lock()
	r.followed = named
	for _, ref := range refs {
		if r.entries[ref] == nil && len(r.entries) >= maxKeys {
			gone = append(gone, r.evict())
		}
		r.add(ref)
	}
	r.mu.Unlock()
	for _, ref := range gone {
		r.observe(Change{Reference: ref, Gone: true})
	}
}

// evict drops a key that no policy names. There is one in a full Ring, for policies name fewer. The caller holds mu.
func (r *Ring) evict() verify.Reference {
	for ref, e := range r.entries {
		if r.followed[ref] {
			continue
		}
		delete(r.entries, ref)
		if e.stop != nil {
			e.stop()
		}
		return ref
	}
	return ""
}

// Key returns the key that a reference stands for at this moment. Only for one that nobody asked for before it waits.
func (r *Ring) Key(ctx context.Context, ref verify.Reference) (*verify.Key, error) {
	r.mu.Lock()
	e := r.add(ref)
	r.mu.Unlock()
	if e == nil {
		return nil, reason.New(reason.TrustMaterialUnavailable, "the key "+string(ref)+" is not followed: there are too many others")
	}
	e.used.Store(r.options.Now().Unix())
	s := e.state.Load()
	if s == nil {
		first, cancel := context.WithTimeout(ctx, firstLook)
		defer cancel()
		select {
		case <-e.known:
			s = e.state.Load()
		case <-first.Done():
			return nil, reason.New(reason.TrustMaterialUnavailable, "the key "+string(ref)+" is not known yet")
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.key, nil
}

// add returns the entry of a reference, a new one if need be; nil when there are too many. The caller holds mu.
func (r *Ring) add(ref verify.Reference) *entry {
	if e := r.entries[ref]; e != nil {
		return e
	}
	if len(r.entries) >= maxKeys || !r.followed[ref] && r.asked() >= maxAsked {
		return nil
	}
	e := &entry{ref: ref, known: make(chan struct{})}
	e.used.Store(r.options.Now().Unix())
	r.entries[ref] = e
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return e
}

// asked is the number of keys that no policy names. The caller holds mu.
func (r *Ring) asked() int {
	n := 0
	for ref := range r.entries {
		if !r.followed[ref] {
			n++
		}
	}
	return n
}

// NeedLeaderElection is false: every replica needs the keys.
func (r *Ring) NeedLeaderElection() bool { return false }

// Start follows the keys until ctx ends.
func (r *Ring) Start(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	sweep := time.NewTicker(idle / 10)
	defer sweep.Stop()
	for {
		r.mu.Lock()
		for _, e := range r.entries {
			if e.stop == nil {
				following, cancel := context.WithCancel(ctx)
				e.stop = cancel
				running.Go(func() { r.follow(following, e) })
			}
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-sweep.C:
			r.sweep()
		}
	}
}

// sweep drops the keys that nobody needs.
func (r *Ring) sweep() {
	before := r.options.Now().Add(-idle).Unix()
	r.mu.Lock()
	var gone []*entry
	for ref, e := range r.entries {
		if !r.followed[ref] && e.used.Load() < before {
			delete(r.entries, ref)
			if e.stop != nil {
				e.stop()
			}
			gone = append(gone, e)
		}
	}
	r.mu.Unlock()
	for _, e := range gone {
		r.observe(Change{Reference: e.ref, Gone: true})
	}
}

// follow takes what the source reports.
func (r *Ring) follow(ctx context.Context, e *entry) {
	source := r.options.Services
	if e.ref.Scheme() == verify.SecretScheme {
		source = r.options.Secrets
	}
	if source == nil {
		r.report(e, nil, reason.New(reason.TrustMaterialUnavailable, "the key "+string(e.ref)+" cannot be looked up here"))
		return
	}
	source.Follow(ctx, e.ref, func(public crypto.PublicKey, err error) {
		if ctx.Err() == nil {
			r.report(e, public, err)
		}
	})
}

// report puts a key in force, or takes it out.
func (r *Ring) report(e *entry, public crypto.PublicKey, err error) {
	now := &state{}
	if err == nil {
		now.key, err = checked(e.ref, public)
	}
	if err != nil {
		now.key, now.err = nil, reason.Of(err)
	}
	before := e.state.Load()
	if before != nil && same(before, now) {
		return
	}
	e.state.Store(now)
	if before == nil {
		close(e.known)
	}
	r.observe(Change{Reference: e.ref, Err: now.err})
}

// checked is a key that was found, if it is fit to verify signatures with.
func checked(ref verify.Reference, public crypto.PublicKey) (*verify.Key, error) {
	key, err := verify.NewKey(public)
	if err != nil {
		return nil, reason.New(reason.TrustMaterialInvalid, "the key "+string(ref)+": "+err.Error())
	}
	return key, nil
}

func same(a, b *state) bool {
	if a.err != nil || b.err != nil {
		return a.err != nil && b.err != nil && a.err.Code == b.err.Code && a.err.Unreachable == b.err.Unreachable && a.err.Text == b.err.Text
	}
	return a.key.ID == b.key.ID
}

func (r *Ring) observe(c Change) {
	if r.options.Observe == nil {
		return
	}
	r.observing.Lock()
	defer r.observing.Unlock()
	r.options.Observe(c)
}
