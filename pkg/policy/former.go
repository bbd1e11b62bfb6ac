package policy

import (
	"maps"
	"time"
)

// CommonPath is the failure policy of the common path that the API server asks about the policy on; 0 for a policy with
// webhooks of its own.
func (p *Policy) CommonPath() FailurePolicy {
	if p.FineGrained() {
		return 0
	}
	return p.FailurePolicy
}

// former are common paths on which the API server may still ask about a policy, because its webhooks are written by others
// and later than this process reads the policy. A path of its own needs no mention: it names the policy.
type former struct {
	on [Ignore + 1]bool // by failure policy
	// until is when that ends; zero while the policy's webhooks are not known to be registered.
	until time.Time
}

func (f *former) over(now time.Time) bool { return !f.until.IsZero() && !now.Before(f.until) }

// AsksFor tells whether a request on the common path of a failure policy is also about this policy: it is the policy's path,
// or it was and the API server may not have been told of the new one yet (VI 1.6, A-55).
func (s *Snapshot) AsksFor(p *Policy, path FailurePolicy, now time.Time) bool {
	if path == 0 {
		return false
	}
	if p.CommonPath() == path {
		return true
	}
	f, ok := s.former[p.Key]
	return ok && f.on[path] && !f.over(now)
}

// PutUnsure is Put for a policy of which generations may have passed unseen: any common path may still be in use for it.
func (s *Store) PutUnsure(p *Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(p, true)
}

// Settle says that every replica holds the generation of a policy that is in force here, and that its webhooks are
// registered: what remains of former paths ends after a while, in which every API server has read the new webhooks.
func (s *Store) Settle(k Key, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.former[k]
	if !ok || !f.until.IsZero() {
		return
	}
	f.until = s.now().Add(after)
	s.former[k] = f
	if s.current.Load() != nil {
		s.publish()
	}
}

// put replaces a policy, and keeps in mind on which path it was. The caller holds mu.
func (s *Store) put(p *Policy, unsure bool) {
	f := s.former[p.Key]
	if f.over(s.now()) {
		f = former{}
	}
	if before := s.policies[p.Key]; before != nil && before.CommonPath() != p.CommonPath() {
		f.on[before.CommonPath()], f.until = true, time.Time{}
	}
	if unsure {
		f.on[Fail], f.on[Ignore], f.until = true, true, time.Time{}
	}
	f.on[0] = false
	s.policies[p.Key] = p
	if f.on == (former{}).on {
		delete(s.former, p.Key)
	} else {
		s.former[p.Key] = f
	}
	if s.current.Load() != nil {
		s.publish()
	}
}

// stillFormer are the former paths for a snapshot. The caller holds mu.
func (s *Store) stillFormer() map[Key]former {
	now := s.now()
	maps.DeleteFunc(s.former, func(_ Key, f former) bool { return f.over(now) })
	return maps.Clone(s.former)
}
