package controllers

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// TroublesAnnotation is where a replica's lease says what its policies lacked lately.
const TroublesAnnotation = "kyverno.io/signet-troubles"

// Bounds of what is remembered and told of troubles.
const (
	troubleMemory  = 10 * time.Minute // after it was met last
	maxTroubled    = 64               // policies
	maxTroubleNote = 3                // things that a message names
	maxTroubleName = 200              // bytes of each
	maxTroubleKeys = 256              // keys that cannot be used
	maxTroubleText = 64 << 10         // bytes of all that is told: a lease of more than 256 KiB could not be renewed
)

// theRest is what trust material is called that is no key of a policy.
const theRest = "the trusted root, a transparency log or a revocation service"

// Troubles are what policies need and this replica could not have lately: registries and trust material. They are for people, and
// decide nothing. They are safe for concurrent use.
type Troubles struct {
	now func() time.Time

	mu     sync.Mutex
	recent map[policy.Key]map[trouble]time.Time
	keys   map[verify.Reference]reason.Code
}

// trouble is one thing that a policy lacked: the type of the condition that tells of it, why, and what it was.
type trouble struct {
	condition string
	code      reason.Code
	name      string
}

// NewTroubles returns none.
func NewTroubles() *Troubles {
	return &Troubles{now: time.Now, recent: map[policy.Key]map[trouble]time.Time{}, keys: map[verify.Reference]reason.Code{}}
}

// Judged notes what the results of a review say. An image that was verified ends what was said of its registry.
func (t *Troubles) Judged(results []engine.Result) {
	for i := range results {
		r := &results[i]
		if r.Image == nil || r.Rule == nil {
			continue
		}
		host := cut(r.Image.Ref.Registry(), maxTroubleName)
		switch r.Reason {
		case reason.RegistryUnauthorized, reason.RegistryRateLimited, reason.RegistryTimeout, reason.RegistryUnavailable:
			t.met(r.Rule.Policy.Key, trouble{v1.ConditionRegistry, r.Reason, host})
		case reason.TrustMaterialUnavailable, reason.TrustMaterialInvalid:
			if t.usable(r.Rule.Policy) {
				t.met(r.Rule.Policy.Key, trouble{v1.ConditionTrustMaterial, r.Reason, theRest})
			}
		case reason.Verified:
			t.over(r.Rule.Policy.Key, host)
		}
	}
}

// Key notes whether a key can be used (no err), or is not followed any more (gone).
func (t *Troubles) Key(ref verify.Reference, err *reason.Error, gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, ref)
	if !gone && err != nil && len(t.keys) < maxTroubleKeys {
		t.keys[ref] = err.Code
	}
}

// usable tells whether all keys that a policy refers to can be used, so that it lacks something else.
func (t *Troubles) usable(p *policy.Policy) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ref := range t.keys {
		if p.RefersTo(ref) {
			return false
		}
	}
	return true
}

func (t *Troubles) met(k policy.Key, x trouble) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.recent[k] == nil {
		if len(t.recent) >= maxTroubled && k.Namespace != "" { // authors of Policies do not silence ClusterPolicies
			return
		}
		t.recent[k] = map[trouble]time.Time{}
	}
	if _, known := t.recent[k][x]; known || len(t.recent[k]) < 4*maxTroubleNote {
		t.recent[k][x] = t.now()
	}
}

// over ends what is said of a registry, and of trust material that is no key: something was verified with both.
func (t *Troubles) over(k policy.Key, host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for x := range t.recent[k] {
		if x.name == host || x.name == theRest {
			delete(t.recent[k], x)
		}
	}
}

// told is what a lease says of one policy: why and what, by condition.
type told struct {
	Policy string `json:"policy"`
	// Conditions holds "code name" texts by the type of the condition.
	Conditions map[string][]string `json:"conditions"`
}

// tell is what there is to say of the policies of a snapshot, as the value of the annotation; empty for nothing.
func (t *Troubles) tell(s *policy.Snapshot) string {
	if t == nil || s == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for k, all := range t.recent {
		for x, at := range all {
			if now.Sub(at) > troubleMemory {
				delete(all, x)
			}
		}
		if len(all) == 0 {
			delete(t.recent, k)
		}
	}
	var out []json.RawMessage
	size := 0
	for _, p := range s.Policies() { // ClusterPolicies come first
		of := told{Policy: p.String(), Conditions: map[string][]string{}}
		for x := range t.recent[p.Key] {
			of.add(x)
		}
		for ref, code := range t.keys {
			if p.RefersTo(ref) {
				of.add(trouble{v1.ConditionTrustMaterial, code, cut(string(ref), maxTroubleName)})
			}
		}
		if len(of.Conditions) == 0 {
			continue
		}
		for c, texts := range of.Conditions {
			slices.Sort(texts)
			of.Conditions[c] = texts[:min(len(texts), maxTroubleNote)]
		}
		raw, err := json.Marshal(of)
		if err != nil {
			continue // cannot happen for strings
		}
		if size += len(raw) + 1; size > maxTroubleText-2 {
			break
		}
		if out = append(out, raw); len(out) == maxTroubled {
			break
		}
	}
	if len(out) == 0 {
		return ""
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return "" // cannot happen for strings
	}
	return string(raw)
}

func (o *told) add(x trouble) {
	o.Conditions[x.condition] = append(o.Conditions[x.condition], string(x.code)+" "+strings.ToValidUTF8(x.name, ""))
}
