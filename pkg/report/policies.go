package report

import (
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
)

var (
	policyLabels = []string{"policy_validation_mode", "policy_type", "policy_background_mode", "policy_namespace", "policy_name"}

	ruleInfoMetric = Metric{"kyverno_policy_rule_info_total", "gauge",
		"Always 1, for each rule in force, generated ones included. status_ready is false for a rule that refuses what it matches, because it cannot be evaluated.",
		append(policyLabels[:len(policyLabels):len(policyLabels)], "rule_name", "rule_type", "status_ready")}
	changesMetric = Metric{"kyverno_policy_changes_total", "counter",
		"Policies that came into force, changed or went since the start, by policy_change_type (created, updated, deleted). From the 1025th policy on, name and namespace are other.",
		append(policyLabels[:len(policyLabels):len(policyLabels)], "policy_change_type")}
)

// policyValues are the values of policyLabels. The mode is enforce if a rule of the policy is, overrides for single namespaces
// aside.
func policyValues(p *policy.Policy, rules ...*policy.Rule) []string {
	var anywhere engine.Request
	mode, kind, namespace := policy.Audit, "cluster", "-"
	for _, r := range rules {
		if r.Action(&anywhere.Attributes) != policy.Audit {
			mode = policy.Enforce
		}
	}
	if p.Namespace != "" {
		kind, namespace = "namespaced", p.Namespace
	}
	return []string{strings.ToLower(mode.String()), kind, strconv.FormatBool(p.Background), label(namespace), label(p.Name)}
}

// ruleInfo collects kyverno_policy_rule_info_total from what is in force when somebody asks.
type ruleInfo struct {
	desc     *prometheus.Desc
	snapshot func() *policy.Snapshot
}

func newRuleInfo(snapshot func() *policy.Snapshot) *ruleInfo {
	return &ruleInfo{desc: prometheus.NewDesc(ruleInfoMetric.Name, ruleInfoMetric.Help, ruleInfoMetric.Labels, nil), snapshot: snapshot}
}

// Describe implements prometheus.Collector.
func (c *ruleInfo) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c *ruleInfo) Collect(to chan<- prometheus.Metric) {
	s := c.snapshot()
	if s == nil {
		return
	}
	for _, p := range s.Policies() {
		// One name twice, as in a policy that was stored before anybody looked at it, would cost all metrics.
		seen := map[string]bool{}
		for _, r := range p.Rules {
			name := label(r.Name)
			if seen[name] {
				continue
			}
			seen[name] = true
			to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1,
				append(policyValues(p, r), name, "imageVerify", strconv.FormatBool(r.Broken == ""))...)
		}
	}
}

// changes counts how the policies in force change.
type changes struct {
	mu     sync.Mutex
	before *policy.Snapshot
	names  bounded
}

// PoliciesChanged compares the policies in force with those that were when it was last called, and counts what changed. The
// first ones there are, those of the start, are no change.
func (r *Recorder) PoliciesChanged() {
	c, now := &r.changes, r.snapshot()
	if now == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.before
	if c.before = now; before == nil || before == now {
		return
	}
	known := map[policy.Key]*policy.Policy{}
	for _, p := range before.Policies() {
		known[p.Key] = p
	}
	for _, p := range now.Policies() {
		old := known[p.Key]
		delete(known, p.Key)
		switch {
		case old == nil:
			r.countChange(p, "created")
		case old.UID != p.UID || old.Generation != p.Generation:
			r.countChange(p, "updated")
		}
	}
	for _, p := range known {
		r.countChange(p, "deleted")
	}
}

func (r *Recorder) countChange(p *policy.Policy, change string) {
	values := policyValues(p, p.Rules...)
	if r.changes.names.value(p.Namespace+":"+p.Name) == other {
		values[3], values[4] = other, other
	}
	r.metrics.changes.WithLabelValues(append(values, change)...).Inc()
}
