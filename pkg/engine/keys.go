package engine

import (
	"context"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// maxBound bounds the requirements that are remembered with their keys in place.
const maxBound = 1024

func newBound() *lru.Cache[string, *verify.Requirement] {
	c, err := lru.New[string, *verify.Requirement](maxBound)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return c
}

// found is what became of a reference: a key, or why there is none.
type found struct {
	key *verify.Key
	err *reason.Error
}

// keys looks up, once for the whole request, the keys that its requirements refer to; nil when they refer to none. Only
// keys that were never asked for before are waited for.
func (r *review) keys(ctx context.Context) map[verify.Reference]found {
	var refs []verify.Reference
	var out map[verify.Reference]found
	for _, rule := range r.plan.Rules {
		for _, ri := range rule.Images {
			for _, e := range ri.Entries {
				if e.Requirement == nil {
					continue
				}
				for _, ref := range e.Requirement.References {
					if _, ok := out[ref]; ok {
						continue
					}
					if out == nil {
						out = map[verify.Reference]found{}
					}
					out[ref] = found{}
					refs = append(refs, ref)
				}
			}
		}
	}
	if len(refs) == 0 || r.engine.opts.Keys == nil {
		return nil
	}
	results, all := make([]found, len(refs)), make([]int, len(refs))
	for i := range all {
		all[i] = i
	}
	each(all, func(i int) { results[i] = r.engine.key(ctx, refs[i]) })
	for i, ref := range refs {
		out[ref] = results[i]
	}
	return out
}

// key asks for one key. A source that panics has none.
func (e *Engine) key(ctx context.Context, ref verify.Reference) (f found) {
	defer recovered(&f.err)
	key, err := e.opts.Keys.Key(ctx, ref)
	if err != nil || key == nil {
		return found{err: reason.Of(err)}
	}
	return found{key: key}
}

// bind puts keys into a requirement. The result for the same keys is remembered, so that a request with nothing new does
// not work it out again.
func (e *Engine) bind(req *verify.Requirement, keys map[verify.Reference]found) *verify.Requirement {
	if len(req.References) == 0 {
		return req
	}
	lookup := func(ref verify.Reference) (*verify.Key, error) {
		f := keys[ref]
		if f.err != nil {
			return nil, f.err
		}
		return f.key, nil
	}
	ids := make([]string, 0, 1+len(req.References))
	ids = append(ids, req.Fingerprint)
	for _, ref := range req.References {
		f := keys[ref]
		if f.key == nil {
			return verify.Bind(req, lookup) // it says why, which is not to be remembered
		}
		ids = append(ids, f.key.ID)
	}
	name := strings.Join(ids, "\x00")
	if bound, ok := e.bound.Get(name); ok {
		return bound
	}
	bound := verify.Bind(req, lookup)
	e.bound.Add(name, bound)
	return bound
}
