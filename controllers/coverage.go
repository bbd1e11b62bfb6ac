package controllers

import (
	"maps"
	"sync"
	"time"

	"github.com/signet-policy/signet/pkg/policy"
)

// coverage remembers for which policies the API server has been told to ask. It compares compiled policies by identity:
// an edit that leaves the generation alone, such as one of annotations, is another policy too.
type coverage struct {
	mu       sync.Mutex
	looked   bool
	included map[policy.Key]*policy.Policy
	problems map[policy.Key]problem
	// waiting are the policies that some replica does not hold, and what there is to say about that.
	waiting map[policy.Key]string
	// API servers follow the webhook configurations by a watch: what was written is in effect when spread has passed since.
	// Without now it is at once.
	now     func() time.Time
	spread  time.Duration
	written time.Time // last
	// effective is when the webhooks of a policy are in effect, where that was still to come.
	effective map[policy.Key]time.Time
	// failure is why the last round wrote nothing; empty after a round that did.
	failure string
}

// problem is why the webhooks of one policy are not complete.
type problem struct {
	policy *policy.Policy
	cause  string
}

// succeeded records a round that wrote the webhooks of all these policies, some of which may have problems.
func (c *coverage) succeeded(policies []*policy.Policy, problems map[policy.Key]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked, c.failure = true, ""
	before, effective := c.included, map[policy.Key]time.Time{}
	c.included = make(map[policy.Key]*policy.Policy, len(policies))
	c.problems = map[policy.Key]problem{}
	for _, p := range policies {
		if cause := problems[p.Key]; cause != "" {
			c.problems[p.Key] = problem{p, cause}
			continue
		}
		c.included[p.Key] = p
		// What is written for others later does not put off one that was among it before.
		at := c.written.Add(c.spread)
		if before[p.Key] == p {
			at = c.effective[p.Key]
		}
		if c.ahead(at) > 0 {
			effective[p.Key] = at
		}
	}
	c.effective = effective
}

// wrote records that a webhook configuration was changed.
func (c *coverage) wrote() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil {
		c.written = c.now()
	}
}

// ahead is how long it is until then; less than nothing for what has passed. The caller holds mu.
func (c *coverage) ahead(at time.Time) time.Duration {
	if c.now == nil || at.IsZero() {
		return 0
	}
	return at.Sub(c.now())
}

// effects returns the policies whose webhooks came into effect since it was asked last, and how long it is until the next do; 0
// when there are no more.
func (c *coverage) effects() (now []policy.Key, next time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, at := range maps.Clone(c.effective) {
		left := c.ahead(at)
		switch {
		case left <= 0:
			now = append(now, k)
			delete(c.effective, k)
		case next == 0 || left < next:
			next = left
		}
	}
	return now, next
}

// waits records for which policies replicas are waited for.
func (c *coverage) waits(waiting map[policy.Key]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = waiting
}

// failed records a round that did not get as far as writing. What was covered before still is.
func (c *coverage) failed(cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked, c.failure = true, cause
}

// tried tells whether there has been a round at all.
func (c *coverage) tried() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looked
}

// of tells whether the API server asks for a policy and every replica holds it, and if not, what is known to stand in the way.
func (c *coverage) of(p *policy.Policy) (covered bool, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x, ok := c.problems[p.Key]; ok && x.policy == p {
		return false, x.cause
	}
	if c.included[p.Key] == p {
		if c.ahead(c.effective[p.Key]) > 0 {
			return false, ""
		}
		cause, waits := c.waiting[p.Key]
		return !waits, cause
	}
	return false, c.failure
}
