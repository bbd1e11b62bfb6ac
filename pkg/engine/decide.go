package engine

import (
	"errors"
	"slices"
	"strings"

	"github.com/signet-policy/signet/pkg/extract"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

// decide turns what was gathered into the decision. It does no I/O.
func (r *review) decide() *Decision {
	d := &Decision{Allowed: true}
	records := newRecords()
	patched := map[string]string{}
	var current *policy.Policy
	stopped := false
	for i := range r.plan.Rules {
		planned := &r.plan.Rules[i]
		if planned.Rule.Policy != current {
			current, stopped = planned.Rule.Policy, false
		}
		if stopped {
			continue
		}
		here := r.at.asks(planned.Rule.Policy)
		results, responses, pins := r.rule(planned, r.prepared[i])
		if here {
			d.Results = append(d.Results, results...)
			d.Responses = append(d.Responses, responses...)
			for p, v := range pins {
				patched[p] = v
			}
		}
		records.add(planned, results)
		stopped = planned.Rule.Policy.ApplyOne && decided(responses)
	}
	r.answer(d, records, patched)
	return d
}

// decided tells whether a rule produced pass or fail, which is what applyRules: One waits for.
func decided(responses []Result) bool {
	for i := range responses {
		if s := responses[i].Status; s == Pass || s == Fail {
			return true
		}
	}
	return false
}

// rule judges one rule: results by image, responses for the client, and the pins by JSON pointer.
func (r *review) rule(planned *plan.Rule, ready *prepared) (results, responses []Result, pins map[string]string) {
	if len(planned.Exceptions) > 0 {
		skip := []Result{skippedWhole(planned)}
		return skip, skip, nil
	}
	results = r.objections(planned, ready)
	responses = append(responses, results...)
	pins = map[string]string{}
	for i := range planned.Images {
		ri := &planned.Images[i]
		result := Result{Rule: planned.Rule, Image: ri.Image, Digest: r.digest(ri.Image),
			Unchanged: planned.HeldBefore && ri.Image.Unchanged()}
		verification := r.verified(planned.Rule.Name, ri)
		if r.req.Phase == Validating {
			validation := r.validated(ri, &verification)
			skipped(&verification, planned.Rule, ri)
			response := result
			fill(&response, &validation)
			if len(ri.Entries) == 0 {
				fill(&response, &verification)
			}
			responses = append(responses, response)
			if verification.status == 0 || validation.status.bad() && validation.status > verification.status {
				verification = validation
			}
			fill(&result, &verification)
		} else {
			pin := r.pins(ri, &verification)
			skipped(&verification, planned.Rule, ri)
			fill(&result, &verification)
			if pin {
				for _, u := range ri.Image.Uses {
					if u.From == "" && (!u.Unchanged || !planned.HeldBefore) {
						pins[u.Pointer] = r.images[ri.Image.Index].pinned.Patched()
					}
				}
			}
			if result.Status != 0 {
				responses = append(responses, result)
			}
		}
		if result.Status != 0 {
			results = append(results, result)
		}
	}
	action := planned.Rule.Action(&r.req.Attributes)
	for _, list := range [][]Result{results, responses} {
		for i := range list {
			if ready != nil {
				list[i].Properties = ready.properties
			}
			list[i].Blocks = blocks(&list[i], action)
		}
	}
	if r.req.Phase == Validating {
		responses = joined(planned.Rule, responses)
	}
	return results, responses, pins
}

func fill(result *Result, o *outcome) {
	result.Status, result.Reason, result.Message = o.status, o.code, o.message()
	result.Skipped, result.unknown = o.status == Skip, o.unknown
}

// objections are the results that concern no single judged image: preconditions, what could not be
// loaded, images that cannot be extracted or parsed.
func (r *review) objections(planned *plan.Rule, ready *prepared) []Result {
	var out []Result
	const prefix = "failed to instantiate handler: "
	if broken := planned.Rule.Broken; broken != "" {
		return []Result{{Rule: planned.Rule, Status: Error, Reason: reason.InternalError,
			Message: "the policy cannot be evaluated: " + broken, Unchanged: planned.HeldBefore && planned.Found.Unchanged()}}
	}
	if planned.Err != nil {
		return []Result{{Rule: planned.Rule, Status: Error, Reason: reason.ContextError,
			Message: planned.Err.Error(), Unchanged: planned.HeldBefore && len(planned.Found.Invalid) == 0 && planned.Found.Err == nil}}
	}
	if ready != nil && (ready.err != nil || ready.skip != "") {
		whole := Result{Rule: planned.Rule, Status: Skip, Reason: reason.PreconditionsNotMet, Message: ready.skip, Unchanged: planned.HeldBefore}
		if ready.err != nil {
			whole.Status, whole.Reason, whole.Message = Error, ready.err.Code, ready.err.Text
		}
		out = append(out, whole)
	}
	if err := planned.Found.Err; err != nil {
		status, code := Error, reason.ContextError
		if errors.Is(err, extract.ErrTooMany) {
			status, code = Fail, reason.LimitReached
		}
		out = append(out, Result{Rule: planned.Rule, Status: status, Reason: code, Message: prefix + err.Error()})
	}
	for _, bad := range planned.Found.Invalid {
		out = append(out, Result{Rule: planned.Rule, Status: Error, Reason: reason.InvalidImageReference,
			Message: prefix + bad.Err.Error(), Unchanged: planned.HeldBefore && bad.Unchanged})
	}
	return out
}

// blocks is the contract's blocking rule: a violation by the action, an error by the failure policy.
func blocks(result *Result, action policy.Action) bool {
	if result.Unchanged {
		return false
	}
	switch result.Status {
	case Fail:
		return action == policy.Enforce || result.unknown && result.Rule.Policy.FailurePolicy == policy.Fail
	case Error:
		return result.Rule.Policy.FailurePolicy == policy.Fail
	default:
		return false
	}
}

// joined makes one response of a rule's in the validating phase: everything that objects, in image order.
func joined(rule *policy.Rule, responses []Result) []Result {
	out := Result{Rule: rule, Unchanged: true}
	var objections, skips []string
	for i := range responses {
		resp := &responses[i]
		if resp.Status > out.Status {
			out.Status, out.Reason, out.Message = resp.Status, resp.Reason, resp.Message
		}
		out.Blocks = out.Blocks || resp.Blocks
		out.Unchanged = out.Unchanged && resp.Unchanged
		switch {
		case resp.Status.bad() && !slices.Contains(objections, resp.Message):
			objections = append(objections, resp.Message)
		case resp.Status == Skip && resp.Image != nil:
			skips = append(skips, resp.Image.Ref.String())
		}
	}
	switch {
	case out.Status == 0:
		return nil
	case len(objections) > 0:
		out.Message = strings.Join(objections, "; ")
	case len(skips) > 0 && out.Status == Skip:
		out.Skipped = true
		out.Message = "image skipped, skipped images: " + strings.Join(skips, " ")
	case len(skips) > 0:
		out.Message = "image verified, skipped images: " + strings.Join(skips, " ")
	}
	return []Result{out}
}

// shownAfter is the shown form of an image once the patches are applied.
func shownAfter(img *plan.Image, digest image.Digest, patched map[string]string) string {
	for _, u := range img.Uses {
		if _, ok := patched[u.Pointer]; ok {
			return img.Ref.Pin(digest).String()
		}
	}
	return img.Ref.String()
}
