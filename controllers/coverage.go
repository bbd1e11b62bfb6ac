package controllers

import (
	"sync"

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
	c.included = make(map[policy.Key]*policy.Policy, len(policies))
	c.problems = map[policy.Key]problem{}
	for _, p := range policies {
		if cause := problems[p.Key]; cause != "" {
			c.problems[p.Key] = problem{p, cause}
			continue
		}
		c.included[p.Key] = p
	}
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
		cause, waits := c.waiting[p.Key]
		return !waits, cause
	}
	return false, c.failure
}
