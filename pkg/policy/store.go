package policy

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/signet-policy/signet/pkg/match"
)

// Snapshot is an immutable set of policies, indexed for matching.
type Snapshot struct {
	policies []*Policy
	byKind   map[string][]indexed
	anyKind  []indexed
}

// indexed is a rule with its place in the order of evaluation.
type indexed struct {
	order int
	rule  *Rule
}

// NewSnapshot indexes policies, in the order of their keys.
func NewSnapshot(policies []*Policy) *Snapshot {
	s := &Snapshot{policies: slices.Clone(policies), byKind: map[string][]indexed{}}
	slices.SortFunc(s.policies, func(a, b *Policy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	order := 0
	for _, p := range s.policies {
		for _, r := range p.Rules {
			s.index(indexed{order: order, rule: r})
			order++
		}
	}
	return s
}

func (s *Snapshot) index(x indexed) {
	names := map[string]bool{}
	for i := range x.rule.Kinds {
		_, _, kind, _ := x.rule.Kinds[i].Parts()
		name, ok := kind.Literal()
		if !ok {
			s.anyKind = append(s.anyKind, x)
			return
		}
		names[name] = true
	}
	for name := range names {
		s.byKind[name] = append(s.byKind[name], x)
	}
}

// Match returns the rules that a request falls under, in order: by policy, then as computed.
func (s *Snapshot) Match(a *match.Attributes) []*Rule {
	var hits []indexed
	for _, candidates := range [2][]indexed{s.byKind[a.Kind], s.anyKind} {
		for _, x := range candidates {
			if ns := x.rule.Policy.Namespace; ns != "" && ns != a.Namespace {
				continue
			}
			if x.rule.Filter.Matches(a) {
				hits = append(hits, x)
			}
		}
	}
	if len(s.anyKind) > 0 {
		slices.SortFunc(hits, func(a, b indexed) int { return cmp.Compare(a.order, b.order) })
	}
	rules := make([]*Rule, len(hits))
	for i, x := range hits {
		rules[i] = x.rule
	}
	return rules
}

// Policies returns the policies in order. The slice must not be changed.
func (s *Snapshot) Policies() []*Policy { return s.policies }

// Store holds the policies in force and publishes them as snapshots. It is safe for concurrent use.
type Store struct {
	mu       sync.Mutex
	policies map[Key]*Policy
	current  atomic.Pointer[Snapshot]
}

// NewStore returns a store that has not been synced: Snapshot gives nil until Sync.
func NewStore() *Store { return &Store{policies: map[Key]*Policy{}} }

// Sync publishes the first snapshot, once every policy that exists has been put in.
func (s *Store) Sync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish()
}

// Put publishes a policy, replacing its earlier generation.
func (s *Store) Put(p *Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies[p.Key] = p
	if s.current.Load() != nil {
		s.publish()
	}
}

// Delete takes a policy out of force.
func (s *Store) Delete(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.policies[k]; !ok {
		return
	}
	delete(s.policies, k)
	if s.current.Load() != nil {
		s.publish()
	}
}

// Get returns the generation of a policy that is in force, nil when none is.
func (s *Store) Get(k Key) *Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policies[k]
}

func (s *Store) publish() {
	all := make([]*Policy, 0, len(s.policies))
	for _, p := range s.policies {
		all = append(all, p)
	}
	s.current.Store(NewSnapshot(all))
}

// Snapshot returns the policies in force, or nil while they have not all been read once.
func (s *Store) Snapshot() *Snapshot { return s.current.Load() }
