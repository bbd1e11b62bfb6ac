package controllers

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/signet-policy/signet/pkg/policy"
)

// How many revisions a replica lists, and how many of them are those of one namespace's Policies: what is beyond waits until
// others are settled.
const (
	maxHolds           = 4096
	maxHoldsPerTenancy = 64
)

// revision names one generation of a policy as it is in force, in a few characters.
func revision(p *policy.Policy) string {
	path := p.FailurePolicy.String()
	if p.FineGrained() {
		path += "-finegrained"
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%s", p.UID, p.Generation, path))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// unsettled are the policies of a snapshot that are not known to be held by every replica, ClusterPolicies first.
func unsettled(s *policy.Snapshot, settled func(*policy.Policy) bool) []*policy.Policy {
	if s == nil {
		return nil
	}
	var out []*policy.Policy
	for _, p := range s.Policies() { // sorted by namespace, those without one first
		if !settled(p) {
			out = append(out, p)
		}
	}
	return out
}

// holding are the revisions that a replica lists for a snapshot.
func holding(s *policy.Snapshot, settled func(*policy.Policy) bool) []string {
	var out []string
	in := map[string]int{}
	for _, p := range unsettled(s, settled) {
		if p.Namespace != "" {
			if in[p.Namespace]++; in[p.Namespace] > maxHoldsPerTenancy {
				continue
			}
		}
		if out = append(out, revision(p)); len(out) == maxHolds {
			break
		}
	}
	return out
}

// listed reads the list of a lease.
func listed(annotation string) map[string]bool {
	out := map[string]bool{}
	for r := range strings.SplitSeq(annotation, ",") {
		if out[r] = true; len(out) > maxHolds {
			break
		}
	}
	return out
}
