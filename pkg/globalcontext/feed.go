package globalcontext

import (
	"context"
	"slices"
	"sync"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/policy"
)

// feed is one resource that is followed for all entries that name it.
type feed struct {
	keeper   *Keeper
	resource policy.Resource
	cancel   context.CancelFunc
	readers  int // the entries that have not left; covered by the Keeper's mu

	// mu covers what follows, and orders what the entries are told.
	mu      sync.Mutex
	entries []*entry
	known   bool
	data    expr.Prepared
	err     error
}

// feed is that of a resource, with one more reader. The caller holds mu, and the Keeper runs.
func (k *Keeper) feed(r policy.Resource) *feed {
	f := k.feeds[r]
	if f == nil {
		f = &feed{keeper: k, resource: r}
		var ctx context.Context
		ctx, f.cancel = context.WithCancel(k.running)
		k.feeds[r] = f
		k.workers.Go(func() {
			k.opts.Resources.Follow(ctx, r, func(data expr.Prepared, err error) {
				if ctx.Err() == nil {
					f.report(data, err)
				}
			})
		})
	}
	f.readers++
	return f
}

// leave takes an entry from a feed, which ends with its last one.
func (k *Keeper) leave(f *feed, e *entry) {
	k.mu.Lock()
	if f.readers--; f.readers == 0 {
		delete(k.feeds, f.resource)
		f.cancel()
	}
	k.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	e.left = true
	f.entries = slices.DeleteFunc(f.entries, func(x *entry) bool { return x == e })
}

// join tells an entry what is known, and from then on every change.
func (f *feed) join(e *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.left {
		return
	}
	f.entries = append(f.entries, e)
	if f.known {
		f.keeper.set(e, f.data, f.err)
	}
}

func (f *feed) report(data expr.Prepared, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known, f.data, f.err = true, data, err
	for _, e := range f.entries {
		f.keeper.set(e, data, err)
	}
}
