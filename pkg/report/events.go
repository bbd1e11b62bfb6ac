package report

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

// The event reasons and actions of the contract that an admission request leads to.
const (
	policyViolation = "PolicyViolation"
	policyApplied   = "PolicyApplied"
	policySkipped   = "PolicySkipped"

	resourceBlocked = "Resource Blocked"
	resourcePassed  = "Resource Passed"
)

// event is one event before it is sent.
type event struct {
	regarding, related *corev1.ObjectReference
	kind               string // Normal or Warning
	reason, action     string
	note               string
}

// sendEvents sends a review's events. The sink queues them and never blocks.
func (r *Recorder) sendEvents(it *item) {
	if r.o.Events == nil {
		return
	}
	successes, actions := r.o.GenerateSuccessEvents, []string(nil)
	if r.o.SuccessEvents != nil && !successes {
		successes, actions = r.o.SuccessEvents()
	}
	for _, e := range reviewEvents(it, successes) {
		if e.reason == policyApplied && len(actions) > 0 && !slices.Contains(actions, e.action) {
			continue
		}
		r.send(&e)
	}
}

// eventsPerSecond is how many events of one type are sent for long; Options.MaxQueued of them are sent at once.
const eventsPerSecond = 20

// send sends an event, or counts it when there are too many.
func (r *Recorder) send(e *event) {
	switch {
	case slices.Contains(r.o.OmitEvents, e.reason):
	case !r.events[e.kind].TryAccept():
		r.metrics.dropped.Inc()
	default:
		r.o.Events.Eventf(e.regarding, e.related, e.kind, e.reason, e.action, "%s", e.note)
	}
}

// ruleOutcome is the worst result of a rule, with the messages of all bad ones.
type ruleOutcome struct {
	rule     *policy.Rule
	status   engine.Status
	code     reason.Code
	messages []string
	// exceptions are those that take the rule away, and skip is what is said of that.
	exceptions []policy.Key
	skip       string
}

// outcomes sums results up by rule, in order.
func outcomes(results []engine.Result) []ruleOutcome {
	var out []ruleOutcome
	for i := range results {
		res := &results[i]
		if res.Rule == nil || res.Rule.Policy == nil || res.Status == 0 {
			continue
		}
		if n := len(out); n == 0 || out[n-1].rule != res.Rule {
			out = append(out, ruleOutcome{rule: res.Rule})
		}
		o := &out[len(out)-1]
		if res.Status > o.status {
			o.status, o.code = res.Status, res.Reason
		}
		if len(res.Exceptions) > 0 {
			o.exceptions, o.skip = res.Exceptions, res.Message
		}
		if bad(res.Status) && !slices.Contains(o.messages, res.Message) {
			o.messages = append(o.messages, res.Message)
		}
	}
	return out
}

func bad(s engine.Status) bool { return s == engine.Fail || s == engine.Error }

// reviewEvents are the events of one webhook call. What is judged again in the validating phase is left to that, unless
// the request ends here; so a request has one event for each rule, and a created object has its UID by then.
func reviewEvents(it *item, successes bool) []event {
	object := &corev1.ObjectReference{APIVersion: apiVersion(it.key.group, it.version), Kind: it.key.kind,
		Namespace: it.key.namespace, Name: it.key.name, UID: it.uid}
	var out []event
	passes := map[*policy.Policy]bool{}
	var order []*policy.Policy
	for _, o := range outcomes(it.results) {
		if it.slot.phase == engine.Mutating && it.allowed && o.rule.Validates() {
			continue
		}
		p := o.rule.Policy
		if _, seen := passes[p]; !seen {
			order, passes[p] = append(order, p), true
		}
		if o.status != engine.Pass {
			passes[p] = false
		}
		if bad(o.status) {
			out = append(out, violation(it, object, &o)...)
		}
		if o.status == engine.Skip && len(o.exceptions) > 0 {
			out = append(out, exempted(it, object, &o)...)
		}
	}
	if !successes {
		return out
	}
	for _, p := range order {
		if passes[p] {
			out = append(out, event{regarding: policyReference(p, ""), related: object, kind: corev1.EventTypeNormal,
				reason: policyApplied, action: resourcePassed, note: note(title(it)+": pass", reason.Verified)})
		}
	}
	return out
}

// violation are the events of a rule that fails or cannot be judged: on the policy, and on an object that was admitted.
func violation(it *item, object *corev1.ObjectReference, o *ruleOutcome) []event {
	on := policyReference(o.rule.Policy, o.rule.Name)
	message := strings.Join(o.messages, "; ")
	e := event{regarding: on, related: object, kind: corev1.EventTypeWarning, reason: policyViolation, action: resourcePassed}
	blocked := ""
	if !it.allowed {
		e.action, blocked = resourceBlocked, " (blocked)"
	}
	e.note = note(title(it)+": ["+o.rule.Name+"] "+o.status.String()+blocked+"; "+message, o.code)
	if !it.allowed || it.key.name == "" {
		return []event{e}
	}
	return []event{e, {regarding: object, related: on, kind: e.kind, reason: e.reason, action: e.action,
		note: note("policy "+o.rule.Policy.Name+"/"+o.rule.Name+" "+o.status.String()+": "+message, o.code)}}
}

// exempted are the events of a rule that exceptions take away: on the policy and on each exception.
func exempted(it *item, object *corev1.ObjectReference, o *ruleOutcome) []event {
	on := policyReference(o.rule.Policy, o.rule.Name)
	e := event{regarding: on, related: object, kind: corev1.EventTypeNormal, reason: policySkipped, action: resourcePassed,
		note: note(title(it)+": ["+o.rule.Name+"] skip; "+o.skip, o.code)}
	out := []event{e}
	for _, k := range o.exceptions {
		about := e
		about.regarding = &corev1.ObjectReference{APIVersion: "kyverno.io/v2", Kind: "PolicyException", Namespace: k.Namespace, Name: k.Name}
		about.note = note(title(it)+": policy "+o.rule.Policy.Key.String()+"/"+o.rule.Name+" skip", o.code)
		out = append(out, about)
	}
	return out
}

// title names the object.
func title(it *item) string {
	if it.key.namespace == "" {
		return it.key.kind + " " + it.key.name
	}
	return it.key.kind + " " + it.key.namespace + "/" + it.key.name
}

// policyReference refers to a policy. The rule is its field path: events that differ in nothing else but their note are
// taken for repetitions of one another.
func policyReference(p *policy.Policy, rule string) *corev1.ObjectReference {
	ref := &corev1.ObjectReference{APIVersion: "kyverno.io/v1", Kind: "ClusterPolicy", Namespace: p.Namespace, Name: p.Name, UID: p.UID}
	if p.Namespace != "" {
		ref.Kind = "Policy"
	}
	if rule != "" {
		ref.FieldPath = "spec.rules{" + rule + "}"
	}
	return ref
}
