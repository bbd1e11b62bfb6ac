package policy

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/wildcard"
)

// Snapshot is an immutable set of policies, indexed for matching: what a policy says of other kinds, namespaces or
// registries costs a request next to nothing.
type Snapshot struct {
	policies   []*Policy
	byKind     map[string]*bucket
	anyKind    []indexed
	needsRoles bool
	excepted   map[*Rule][]*Exception
	former     map[Key]former
}

// bucket holds the rules about one kind: those of single namespaces, and the others.
type bucket struct {
	byNamespace map[string][]indexed
	rest        []indexed
}

// indexed is a rule with its place in the order of evaluation.
type indexed struct {
	order int
	rule  *Rule
	hosts []string // the registries that it is about; nil for any
}

// about tells whether the rule may have something to say of images in these registries.
func (x *indexed) about(hosts []string) bool {
	if x.hosts == nil {
		return true
	}
	for _, own := range x.hosts {
		for _, h := range hosts {
			if own == h {
				return true
			}
		}
	}
	return false
}

// NewSnapshot indexes policies, in the order of their keys, and what takes rules of them away.
func NewSnapshot(policies []*Policy, exceptions ...*Exception) *Snapshot {
	s := &Snapshot{policies: slices.Clone(policies), byKind: map[string]*bucket{}}
	slices.SortFunc(s.policies, func(a, b *Policy) int { return compareKeys(a.Key, b.Key) })
	s.except(exceptions)
	s.needsRoles = slices.ContainsFunc(exceptions, func(x *Exception) bool {
		return x.Filter.NeedsRoles() || ReadsRoles(x.Conditions.Variables())
	})
	order := 0
	for _, p := range s.policies {
		for _, r := range p.Rules {
			s.needsRoles = s.needsRoles || r.NeedsRoles()
			s.index(indexed{order: order, rule: r, hosts: hostsOf(r)})
			order++
		}
	}
	return s
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// except finds the exceptions that name each rule, in the order of their keys.
func (s *Snapshot) except(exceptions []*Exception) {
	if len(exceptions) == 0 {
		return
	}
	exceptions = slices.Clone(exceptions)
	slices.SortFunc(exceptions, func(a, b *Exception) int { return compareKeys(a.Key, b.Key) })
	s.excepted = map[*Rule][]*Exception{}
	for _, p := range s.policies {
		for _, r := range p.Rules {
			for _, x := range exceptions {
				if x.Names(r) {
					s.excepted[r] = append(s.excepted[r], x)
				}
			}
		}
	}
}

// NeedsRoles tells whether anything in force may ask for the roles of users.
func (s *Snapshot) NeedsRoles() bool { return s.needsRoles }

// Exceptions are those that name a rule. The slice must not be changed.
func (s *Snapshot) Exceptions(r *Rule) []*Exception { return s.excepted[r] }

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
	namespaces := x.rule.Namespaces()
	for name := range names {
		b := s.byKind[name]
		if b == nil {
			b = &bucket{byNamespace: map[string][]indexed{}}
			s.byKind[name] = b
		}
		if namespaces == nil {
			b.rest = append(b.rest, x)
		}
		for _, ns := range namespaces {
			b.byNamespace[ns] = append(b.byNamespace[ns], x)
		}
	}
}

// hostsOf are the registries that a rule's patterns name; nil when one of them leaves it open, or when the rule looks for
// images where others do not.
func hostsOf(r *Rule) []string {
	if r.Broken != "" || r.Extractors != nil {
		return nil
	}
	var hosts []string
	for _, e := range r.Entries {
		for i := range e.Images {
			host, ok := e.Images[i].Host()
			if !ok {
				return nil
			}
			if !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// Namespaces are those outside of which the rule cannot match; nil when they are not a plain list.
func (r *Rule) Namespaces() []string {
	if ns := r.Policy.Namespace; ns != "" {
		return []string{ns}
	}
	if r.Broken != "" {
		return nil // its filter is what could be read of it
	}
	for i := range r.Filter.Match.All {
		if list := literals(r.Filter.Match.All[i].Namespaces); list != nil {
			return list
		}
	}
	var out []string
	for i := range r.Filter.Match.Any {
		list := literals(r.Filter.Match.Any[i].Namespaces)
		if list == nil {
			return nil
		}
		for _, ns := range list {
			if !slices.Contains(out, ns) {
				out = append(out, ns)
			}
		}
	}
	return out
}

// literals are the texts of patterns without wildcards; nil when one has some, or when there are none.
func literals(patterns []wildcard.Pattern) []string {
	var out []string
	for i := range patterns {
		text, ok := patterns[i].Literal()
		if !ok {
			return nil
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// Match returns the rules that a request falls under, in order: by policy, then as computed. Those of which that cannot
// be told are among them: Rule.Undecided says why.
func (s *Snapshot) Match(a *match.Attributes) []*Rule { return s.match(a, nil, true) }

// MatchHosts is Match without the rules that are only about images in other registries than these.
func (s *Snapshot) MatchHosts(a *match.Attributes, hosts []string) []*Rule {
	return s.match(a, hosts, false)
}

func (s *Snapshot) match(a *match.Attributes, hosts []string, anyHost bool) []*Rule {
	lists := [3][]indexed{s.anyKind}
	if b := s.byKind[a.Kind]; b != nil {
		lists[1], lists[2] = b.rest, b.byNamespace[a.NamespaceOf()]
	}
	var hits []indexed
	for _, candidates := range lists {
		for i := range candidates {
			x := &candidates[i]
			if !anyHost && !x.about(hosts) {
				continue
			}
			if ns := x.rule.Policy.Namespace; ns != "" && ns != a.Namespace {
				continue
			}
			if matches, err := x.rule.Filter.Matches(a); matches || err != nil {
				hits = append(hits, *x)
			}
		}
	}
	slices.SortFunc(hits, func(a, b indexed) int { return cmp.Compare(a.order, b.order) })
	rules := make([]*Rule, len(hits))
	for i, x := range hits {
		rules[i] = x.rule
	}
	return rules
}

// Policies returns the policies in order. The slice must not be changed.
func (s *Snapshot) Policies() []*Policy { return s.policies }

// References returns the keys that the policies refer to and that are kept elsewhere, each once.
func (s *Snapshot) References() []verify.Reference {
	var refs []verify.Reference
	seen := map[verify.Reference]bool{}
	for _, p := range s.policies {
		for _, r := range p.Rules {
			for _, ref := range r.references() {
				if !seen[ref] {
					seen[ref] = true
					refs = append(refs, ref)
				}
			}
		}
	}
	return refs
}

// RefersTo tells whether the policy refers to a key that is kept elsewhere.
func (p *Policy) RefersTo(ref verify.Reference) bool {
	return slices.ContainsFunc(p.Rules, func(r *Rule) bool { return slices.Contains(r.references(), ref) })
}

func (r *Rule) references() []verify.Reference {
	var refs []verify.Reference
	for _, e := range r.Entries {
		if e.Requirement != nil && r.Broken == "" {
			refs = append(refs, e.Requirement.References...)
		}
	}
	return refs
}

// Store holds the policies in force and publishes them as snapshots. It is safe for concurrent use.
type Store struct {
	mu         sync.Mutex
	policies   map[Key]*Policy
	exceptions map[Key]*Exception
	former     map[Key]former
	published  func(*Snapshot)
	current    atomic.Pointer[Snapshot]
	now        func() time.Time
}

// NewStore returns a store that has not been synced: Snapshot gives nil until Sync.
func NewStore() *Store {
	return &Store{policies: map[Key]*Policy{}, exceptions: map[Key]*Exception{}, former: map[Key]former{}, now: time.Now}
}

// OnPublish has f told of every snapshot from now on. It is called while the store is locked, so it must not call the store.
func (s *Store) OnPublish(f func(*Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published = f
	if snapshot := s.current.Load(); snapshot != nil {
		f(snapshot)
	}
}

// Sync publishes the first snapshot, once every policy that exists has been put in.
func (s *Store) Sync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish()
}

// Put publishes a policy, replacing its earlier generation. If that was on another common path, the policy stays there too
// until Settle.
func (s *Store) Put(p *Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(p, false)
}

// Delete takes a policy out of force.
func (s *Store) Delete(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.policies[k]; !ok {
		return
	}
	delete(s.policies, k)
	delete(s.former, k)
	if s.current.Load() != nil {
		s.publish()
	}
}

// PutException publishes an exception, replacing its earlier generation.
func (s *Store) PutException(x *Exception) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exceptions[x.Key] = x
	if s.current.Load() != nil {
		s.publish()
	}
}

// DeleteException takes an exception out of force.
func (s *Store) DeleteException(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.exceptions[k]; !ok {
		return
	}
	delete(s.exceptions, k)
	if s.current.Load() != nil {
		s.publish()
	}
}

// ExceptionKeys are those of the exceptions in force, in no order.
func (s *Store) ExceptionKeys() []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.exceptions))
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
	snapshot := NewSnapshot(all, slices.Collect(maps.Values(s.exceptions))...)
	snapshot.former = s.stillFormer()
	s.current.Store(snapshot)
	if s.published != nil {
		s.published(snapshot)
	}
}

// Snapshot returns the policies in force, or nil while they have not all been read once.
func (s *Store) Snapshot() *Snapshot { return s.current.Load() }
