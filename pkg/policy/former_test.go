package policy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/signet-policy/signet/pkg/policy"
)

// at is a policy on a path: that of a failure policy, or with own its own.
func at(f policy.FailurePolicy, own bool) *policy.Policy {
	p := &policy.Policy{Key: policy.Key{Name: "a"}, FailurePolicy: f}
	if own {
		p.MatchConditions = []admissionregistrationv1.MatchCondition{{Name: "a", Expression: "true"}}
	}
	return p
}

// VI 1.6: the common paths that a policy is judged on, after what happened to it.
func TestFormerPaths(t *testing.T) {
	t.Parallel()
	put := func(p *policy.Policy) func(*policy.Store) { return func(s *policy.Store) { s.Put(p) } }
	unsure := func(p *policy.Policy) func(*policy.Store) { return func(s *policy.Store) { s.PutUnsure(p) } }
	settle := func(after time.Duration) func(*policy.Store) {
		return func(s *policy.Store) { s.Settle(policy.Key{Name: "a"}, after) }
	}
	gone := func(s *policy.Store) { s.Delete(policy.Key{Name: "a"}) }
	fail, ignore, own := at(policy.Fail, false), at(policy.Ignore, false), at(policy.Fail, true)
	both := []policy.FailurePolicy{policy.Fail, policy.Ignore}
	tests := map[string]struct {
		steps []func(*policy.Store)
		after time.Duration // until it is looked at
		want  []policy.FailurePolicy
	}{
		"new":                          {steps: []func(*policy.Store){put(fail)}, want: both[:1]},
		"new with webhooks of its own": {steps: []func(*policy.Store){put(own)}},
		"another failure policy":       {steps: []func(*policy.Store){put(fail), put(ignore)}, want: both},
		"and settled":                  {steps: []func(*policy.Store){put(fail), put(ignore), settle(time.Minute)}, want: both},
		"for a while":                  {steps: []func(*policy.Store){put(fail), put(ignore), settle(time.Minute)}, after: 2 * time.Minute, want: both[1:]},
		"forever without that":         {steps: []func(*policy.Store){put(fail), put(ignore)}, after: time.Hour, want: both},
		"several edits":                {steps: []func(*policy.Store){put(fail), put(ignore), put(own)}, want: both},
		"back again":                   {steps: []func(*policy.Store){put(fail), put(own), put(fail)}, want: both[:1]},
		"webhooks of its own":          {steps: []func(*policy.Store){put(ignore), put(own)}, want: both[1:]},
		"no more webhooks of its own":  {steps: []func(*policy.Store){put(own), put(ignore)}, want: both[1:]},
		"edits after it was settled":   {steps: []func(*policy.Store){put(fail), put(ignore), settle(0), put(own)}, want: both[1:]},
		"an edit before that is over":  {steps: []func(*policy.Store){put(fail), put(ignore), settle(time.Minute), put(own)}, after: time.Hour, want: both},
		"the same path again while that lasts": {steps: []func(*policy.Store){put(fail), put(ignore), settle(time.Minute), put(ignore)},
			after: 2 * time.Minute, want: both[1:]},
		"settled twice":          {steps: []func(*policy.Store){put(fail), put(ignore), settle(time.Minute), settle(time.Hour)}, after: 2 * time.Minute, want: both[1:]},
		"deleted and made anew":  {steps: []func(*policy.Store){put(fail), gone, put(ignore)}, want: both[1:]},
		"not known":              {steps: []func(*policy.Store){unsure(own)}, want: both},
		"not known, and settled": {steps: []func(*policy.Store){unsure(own), settle(0)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := policy.NewStore()
			s.Sync()
			for _, step := range tt.steps {
				step(s)
			}
			var got []policy.FailurePolicy
			snapshot := s.Snapshot()
			for _, path := range both {
				if snapshot.AsksFor(snapshot.Policies()[0], path, time.Now().Add(tt.after)) {
					got = append(got, path)
				}
			}
			if snapshot.AsksFor(snapshot.Policies()[0], 0, time.Now()) {
				t.Error("asked about on no path")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
