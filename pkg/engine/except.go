package engine

import (
	"context"
	"strings"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

// excepted takes those planned rules away to which exceptions apply (VI 6.2(1), 9(2)). It runs before anything is asked of a
// registry, and after what is wrong with the object itself has been found: no exception hides that.
func (r *review) excepted(ctx context.Context, snapshot *policy.Snapshot) {
	var today, before *exempted
	for i := range r.plan.Rules {
		planned := &r.plan.Rules[i]
		list := snapshot.Exceptions(planned.Rule)
		if len(list) == 0 || planned.Err != nil || planned.Rule.Broken != "" || r.prepared[i].ended() || planned.Found.Err != nil || len(planned.Found.Invalid) > 0 {
			continue
		}
		if today == nil {
			today = exemption(r.engine, r.req, &r.req.Attributes, r.req.Object)
			before = exemptionBefore(r.engine, r.req)
		}
		// Images that an update leaves as they were do not block because the rule admitted them before. Where an exception
		// did, or may have done, the rule did not.
		planned.HeldBefore = planned.HeldBefore && !before.any(ctx, list)
		keys, err := today.by(ctx, list)
		switch {
		case len(keys) > 0:
			planned.Exceptions, planned.Images = keys, nil
		case err != nil:
			planned.Undecide(err)
		}
	}
}

// exempted evaluates exceptions for one version of an object.
type exempted struct {
	attributes *match.Attributes // nil when they cannot be told
	scope      func() *expr.Scope
}

func exemption(e *Engine, req *Request, attributes *match.Attributes, object map[string]any) *exempted {
	return &exempted{attributes: attributes, scope: func() *expr.Scope {
		as := *req
		as.Object = object
		p := plan.Read(&plan.Input{Attributes: attributes, Object: object, Images: e.parser()})
		d := newData(&review{engine: e, req: &as, plan: p}, object, named)
		d.setImages(d.base, &p.Found)
		return d.base
	}}
}

// exemptionBefore is that of the object before an update.
func exemptionBefore(e *Engine, req *Request) *exempted {
	return exemption(e, req, before(req), req.Old)
}

// by are the exceptions that apply. The error is that of labels which cannot be had and on which it depends whether one
// more does; conditions that cannot be evaluated do not hold.
func (x *exempted) by(ctx context.Context, list []*policy.Exception) (keys []policy.Key, unknown error) {
	for _, exception := range list {
		matches, err := exception.Filter.Matches(x.attributes)
		if err != nil {
			unknown = err
		}
		if !matches || err != nil {
			continue
		}
		if !exception.Conditions.Empty() {
			if holds, _, err := exception.Conditions.Eval(ctx, x.scope()); err != nil || !holds {
				continue
			}
		}
		keys = append(keys, exception.Key)
	}
	return keys, unknown
}

// any tells whether an exception applied, or may have.
func (x *exempted) any(ctx context.Context, list []*policy.Exception) bool {
	if x.attributes == nil {
		return true
	}
	for _, exception := range list {
		matches, err := exception.Filter.Matches(x.attributes)
		if err == nil && !matches {
			continue
		}
		if err == nil && !exception.Conditions.Empty() {
			if holds, _, err := exception.Conditions.Eval(ctx, x.scope()); err == nil && !holds {
				continue
			}
		}
		return true
	}
	return false
}

// exceptionText begins the message of a rule that exceptions take away; their names follow it at once.
const exceptionText = "rule is skipped due to policy exceptions"

// skippedWhole is the one result of a rule that exceptions take away.
func skippedWhole(planned *plan.Rule) Result {
	names := make([]string, len(planned.Exceptions))
	for i, k := range planned.Exceptions {
		names[i] = k.String()
	}
	return Result{Rule: planned.Rule, Status: Skip, Reason: reason.SkippedByException, Exceptions: planned.Exceptions,
		Message: exceptionText + strings.Join(names, ", ")}
}
