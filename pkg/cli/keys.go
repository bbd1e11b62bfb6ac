package cli

import (
	"context"
	"sync"
	"time"

	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/verify"
)

// keys supplies the keys that policies refer to, each asked for once. Those in Secrets that are not known here could not be
// checked, which decides only where the outcome depends on it.
type keys struct {
	services *keyring.Services
	objects  *objects

	mu    sync.Mutex
	known map[verify.Reference]keyAnswer
}

// keyAnswer is a key, or why there is none.
type keyAnswer struct {
	key *verify.Key
	err error
}

// Key is that of verify.Keys.
func (k *keys) Key(ctx context.Context, ref verify.Reference) (*verify.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a, ok := k.known[ref]; ok {
		return a.key, a.err
	}
	var a keyAnswer
	if ref.Scheme() == verify.SecretScheme {
		a.key, a.err = k.objects.key(ctx, ref)
	} else {
		a.key, a.err = k.services.Ask(ctx, ref)
	}
	if k.known == nil {
		k.known = map[verify.Reference]keyAnswer{}
	}
	k.known[ref] = a
	return a.key, a.err
}

// bind puts keys in the place of the references that stand in the policies, so that reports name their attestors. Those
// that come out of variables the engine asks for.
func (k *keys) bind(ctx context.Context, timeout time.Duration, policies []*policy.Policy) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, p := range policies {
		for _, r := range p.Rules {
			for _, e := range r.Entries {
				if e.Requirement != nil {
					e.Requirement = verify.Bind(e.Requirement, func(ref verify.Reference) (*verify.Key, error) { return k.Key(ctx, ref) })
				}
			}
		}
	}
}
