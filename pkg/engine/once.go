package engine

import (
	"context"
	"sync"

	"github.com/signet-policy/signet/pkg/image"
)

// once runs what several parts of a request ask for once per key.
type once[T any] struct {
	mu sync.Mutex
	m  map[string]func() (T, error)
}

func (o *once[T]) do(key string, f func() (T, error)) (T, error) {
	o.mu.Lock()
	known := o.m[key]
	if known == nil {
		if o.m == nil {
			o.m = map[string]func() (T, error){}
		}
		known = sync.OnceValues(f)
		o.m[key] = known
	}
	o.mu.Unlock()
	return known()
}

// tags are the tags of one request that have been resolved, each once for every access.
type tags struct{ once[image.Pinned] }

func (t *tags) resolve(ctx context.Context, by *Opened, ref image.Ref) (image.Pinned, error) {
	return t.do(by.ID+"\x00"+ref.String(), func() (image.Pinned, error) { return by.Registry.Resolve(ctx, ref) })
}
