package engine

import (
	"strings"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

// outcome is what the entries of a rule say together of one image: the worst of them.
type outcome struct {
	status   Status // 0 when no entry says anything
	code     reason.Code
	messages []string
	// unknown is set on a fail beside which something else could not be checked.
	unknown bool
}

// add folds one entry in. Messages of a better status than the worst one are dropped.
func (o *outcome) add(status Status, code reason.Code, message string) {
	switch {
	case status > o.status:
		*o = outcome{status: status, code: code, messages: []string{message}}
	case status == o.status:
		for _, m := range o.messages {
			if m == message {
				return
			}
		}
		o.messages = append(o.messages, message)
	}
}

func (o *outcome) message() string { return strings.Join(o.messages, "; ") }

// FromCache is the message of a pass that the cache answered (VI 6.3(3)).
const FromCache = "verified from cache"

// verified judges one image of a rule by the entries that have attestors or attestations. Status is 0 when none has.
func (r *review) verified(rule string, ri *plan.RuleImage) outcome {
	var o outcome
	shown := ri.Image.Ref.String()
	for _, e := range ri.Entries {
		if e.Requirement == nil {
			continue
		}
		if e.Invalid != nil {
			o.add(statusOf(e.Invalid), e.Invalid.Code, "failed to verify image "+shown+": "+e.Invalid.Text)
			continue
		}
		v, ok := r.images[ri.Image.Index].verdicts[r.jobKey(e)]
		kind := "signatures"
		if len(e.Requirement.Attestations) > 0 {
			kind = "attestations"
		}
		switch c, known := r.checked(e, ri.Image.Index); {
		case ok && v.err != nil:
			o.add(statusOf(v.err), v.err.Code, "failed to verify image "+shown+": "+v.err.Text)
		case !ok || !known:
			o.add(Error, reason.InternalError, "failed to verify image "+shown+": "+errNoVerdict.Error())
		case c.err != nil:
			o.add(statusOf(c.err), c.err.Code, c.err.Text)
		default:
			text := "verified image " + kind + " for " + shown
			if v.cached {
				text = FromCache
			}
			o.add(Pass, reason.Verified, text)
			if c.validated {
				o.add(Pass, reason.Verified, "verifyImages validation is passed in "+rule+" rule")
			}
		}
	}
	return o
}

// skipped says that the image was left out, which it is only if every entry that matched it left it out.
func skipped(o *outcome, rule *policy.Rule, ri *plan.RuleImage) {
	if len(ri.Entries) == 0 && len(ri.Skipping) > 0 {
		o.add(Skip, reason.SkippedByPolicy, "skipping image reference image "+ri.Image.Ref.String()+
			", policy "+rule.Policy.Name+" ruleName "+rule.Name)
	}
}

// mutates tells whether an entry pins digests of the object under review.
func (r *review) mutates(e *policy.Entry) bool {
	return e.MutateDigest && e.Action(&r.req.Attributes) == policy.Enforce
}

// pins works out whether a rule pins an image: an entry that judged it, mutates digests, and has no objection. It adds
// what the entries without attestors have to say to the outcome.
func (r *review) pins(ri *plan.RuleImage, o *outcome) bool {
	if ri.Image.Ref.RawDigest() != "" {
		return false
	}
	img := &r.images[ri.Image.Index]
	pin := false
	for _, e := range ri.Entries {
		if !r.mutates(e) {
			continue
		}
		switch failed := img.failed[r.accessID(e)]; {
		case e.Requirement == nil && failed != nil:
			o.add(statusOf(failed), failed.Code, "failed to update digest: "+failed.Text)
		case e.Requirement == nil:
			pin = true
			if o.status == 0 {
				o.add(Pass, reason.Verified, "mutated image digest")
			}
		default:
			v, ok := img.verdicts[r.jobKey(e)]
			c, known := r.checked(e, ri.Image.Index)
			pin = pin || ok && v.err == nil && failed == nil && known && c.err == nil
		}
	}
	return pin
}

// digest is the digest of an image as far as it is known.
func (r *review) digest(img *plan.Image) image.Digest {
	if known := r.images[img.Index].pinned.Digest(); known != "" {
		return known
	}
	d, err := image.ParseDigest(img.Ref.RawDigest())
	if err != nil {
		return ""
	}
	return d
}

// validated judges one image in the validating phase: is a digest there, and is the image verified?
func (r *review) validated(ri *plan.RuleImage, verification *outcome) outcome {
	var o outcome
	shown := ri.Image.Ref.String()
	img := &r.images[ri.Image.Index]
	_, pinned, unusable := ri.Image.Ref.Pinned()
	unknown := false
	for _, e := range ri.Entries {
		switch failed := img.failed[r.accessID(e)]; {
		case !e.VerifyDigest:
		case unusable != nil:
			o.add(Fail, reason.InvalidImageReference, unusable.Error())
		case !pinned && r.mutates(e) && failed != nil:
			o.add(statusOf(failed), failed.Code, "missing digest for "+shown)
		case !pinned:
			o.add(Fail, reason.MissingDigest, "missing digest for "+shown)
		}
		if !e.Required {
			continue
		}
		switch {
		case verification.status == 0:
			o.add(Fail, reason.NotVerified, "unverified image "+shown)
		case verification.status.bad():
			o.add(verification.status, verification.code, "unverified image "+shown)
			unknown = verification.status == Error
		}
	}
	if unknown && o.status == Fail {
		// The violation is another one, and may be one that only audits.
		o.unknown = true
		o.messages = append(o.messages, "unverified image "+shown)
	}
	if o.status == 0 && len(ri.Entries) > 0 {
		o.add(Pass, reason.Verified, "image verified")
	}
	return o
}
