package trust

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/signet-policy/signet/pkg/reason"
)

// Live is a trusted root that is replaced while it is used. Readers never wait: they see either the old root or the new
// one. It is safe for concurrent use.
type Live struct {
	name    string
	mu      sync.Mutex // one change at a time
	changes int
	raw     []byte
	current atomic.Pointer[revision]
}

// revision is one root that was in force, or is.
type revision struct {
	material   root.TrustedMaterial
	generation string
}

// NewLive returns a root without content. The name says in messages where the content comes from.
func NewLive(name string) *Live { return &Live{name: name} }

// Set puts another root in force, given in its JSON form, and tells whether that changed anything. When the bytes are no
// usable root there is an error, and the root that is in force stays.
func (l *Live) Set(b []byte) (changed bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current.Load() != nil && bytes.Equal(l.raw, b) {
		return false, nil
	}
	m, err := parse(b)
	if err != nil {
		return false, fmt.Errorf("%s: %w", l.name, err)
	}
	l.changes++
	l.raw = bytes.Clone(b)
	// A root that comes back is another generation than it was: what was found out meanwhile is not mixed up with it.
	l.current.Store(&revision{material: m, generation: fmt.Sprintf("%s-%d", generation(b), l.changes)})
	return true, nil
}

// Material is the root in force. Before there is one the error is a *reason.Error, TrustMaterialUnavailable.
func (l *Live) Material(context.Context) (root.TrustedMaterial, error) {
	r := l.current.Load()
	if r == nil {
		return nil, reason.New(reason.TrustMaterialUnavailable, l.name+" has given no trusted root yet")
	}
	return r.material, nil
}

// Generation changes with the content; it is "none" before there is any.
func (l *Live) Generation() string {
	if r := l.current.Load(); r != nil {
		return r.generation
	}
	return "none"
}
