package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// checked is what the conditions of an entry, and the validate blocks of its rule, say of one image whose attestations
// verified. The error's text is the whole message.
type checked struct {
	err       *reason.Error
	validated bool
}

// checkKey names an entry and the image that it judged.
type checkKey struct {
	entry *policy.Entry
	image int
}

// check evaluates conditions on the verified statements, for every request anew (VI 6.6(5), 6.7, 7.1(3)). What it finds
// is for the decision. Requests without attestations never come here.
func (r *review) check(ctx context.Context) {
	r.checks = map[checkKey]checked{}
	data := newData(r, r.req.Object, r.digest)
	for i := range r.plan.Rules {
		rule := &r.plan.Rules[i]
		for k := range rule.Images {
			r.checkImage(ctx, r.imageScope(data, i, rule.Images[k].Image), rule.Rule, &rule.Images[k])
		}
	}
}

// passed is an entry with attestations whose cryptography holds.
type passed struct {
	entry      *policy.Entry
	statements []verify.Statement
	named      map[int]map[string]any // predicates of statements, by their index
}

// checkImage judges one image of a rule. Its scope is its own: nothing of it is seen by another image or rule. Should it
// panic, the statements are to blame, and what they are may not make an error of a violation.
func (r *review) checkImage(ctx context.Context, scope *expr.Scope, rule *policy.Rule, ri *plan.RuleImage) {
	entries, all := r.passed(ri)
	if len(entries) == 0 {
		return
	}
	judged := slices.Clone(entries)
	defer func() {
		if recover() == nil {
			return
		}
		for _, p := range judged {
			r.checks[checkKey{p.entry, ri.Image.Index}] = checked{err: failedCheck("failed to check attestations: malformed statement")}
		}
	}()
	outcomes := map[*policy.Entry]checked{}
	// Names are set before anything is evaluated, so that the order of entries does not matter.
	held := entries[:0]
	for _, p := range entries {
		if err := p.name(scope); err != nil {
			outcomes[p.entry] = checked{err: err}
			all = false
			continue
		}
		held = append(held, p)
	}
	for _, p := range held {
		err := p.conditions(ctx, scope, ri.Image.Ref.String())
		outcomes[p.entry] = checked{err: err}
		all = all && err == nil
	}
	if all {
		err, validated := deny(ctx, scope, rule)
		for _, p := range held {
			outcomes[p.entry] = checked{err: err, validated: validated}
		}
	}
	for e, c := range outcomes {
		r.checks[checkKey{e, ri.Image.Index}] = c
	}
}

// checked is what the conditions of an entry say of an image, and whether that is known. An entry without attestations has
// none, which hold.
func (r *review) checked(e *policy.Entry, image int) (c checked, known bool) {
	if len(e.Requirement.Attestations) == 0 {
		return checked{}, true
	}
	c, known = r.checks[checkKey{e, image}]
	return c, known
}

// passed are the entries whose attestations verified, and whether these are all entries with attestations.
func (r *review) passed(ri *plan.RuleImage) (entries []*passed, all bool) {
	all = true
	for _, e := range ri.Entries {
		if e.Requirement == nil || len(e.Requirement.Attestations) == 0 {
			continue
		}
		v, ok := r.images[ri.Image.Index].verdicts[r.jobKey(e)]
		if !ok || v.err != nil {
			all = false
			continue
		}
		entries = append(entries, &passed{entry: e, statements: v.statements})
	}
	return entries, all
}

func failedCheck(text string) *reason.Error {
	return reason.New(reason.AttestationConditionFailed, text)
}

// maxElements bounds the elements of a predicate, each of which takes some tens of bytes once it is read.
const maxElements = 2 << 20

// predicate reads one predicate.
func (p *passed) predicate(i int) (fields map[string]any, err *reason.Error) {
	if known, ok := p.named[i]; ok {
		return known, nil
	}
	const prefix = "failed to extract predicate from statement: "
	raw := p.statements[i].Predicate
	if bytes.Count(raw, []byte{','})+bytes.Count(raw, []byte{'{'})+bytes.Count(raw, []byte{'['}) > maxElements {
		return nil, failedCheck(fmt.Sprintf("%sit has more than %d elements", prefix, maxElements))
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, failedCheck(prefix + err.Error())
	}
	if fields == nil {
		return nil, failedCheck(prefix + "it is not an object")
	}
	return fields, nil
}

// name stores the first statement of each named attestation.
func (p *passed) name(scope *expr.Scope) *reason.Error {
	p.named = map[int]map[string]any{}
	seen := -1
	for i := range p.statements {
		s := &p.statements[i]
		if s.Attestation == seen || s.Name == "" {
			continue
		}
		seen = s.Attestation
		fields, err := p.predicate(i)
		if err != nil {
			return err
		}
		p.named[i] = fields
		scope.SetData(s.Name, fields)
	}
	return nil
}

// conditions evaluates those of every attestation on each of its statements.
func (p *passed) conditions(ctx context.Context, scope *expr.Scope, shown string) *reason.Error {
	evaluated := make([]int, len(p.entry.Requirement.Attestations))
	for i := range p.statements {
		s := &p.statements[i]
		if s.Attestation < 0 || s.Attestation >= len(p.entry.Conditions) {
			return failedCheck("failed to check attestations: a statement of no attestation")
		}
		evaluated[s.Attestation]++
		conditions := p.entry.Conditions[s.Attestation]
		if conditions.Empty() {
			continue
		}
		fields, failed := p.predicate(i)
		if failed != nil {
			return failed
		}
		restore := scope.Push(fields)
		ok, messages, err := conditions.Eval(ctx, scope)
		restore()
		switch {
		case err != nil:
			if failed := loading(err); failed != nil {
				return failed
			}
			return failedCheck("failed to check attestations: " + err.Error())
		case !ok:
			text := "attestation checks failed for " + shown + " and predicate " + s.Type
			if m := expr.JoinMessages(messages); m != "" {
				text += ": " + m
			}
			return failedCheck(text)
		}
	}
	for i, a := range p.entry.Requirement.Attestations {
		if a.Read && evaluated[i] == 0 {
			return failedCheck("failed to check attestations: no statement of predicate type " + a.Type)
		}
	}
	return nil
}

// deny evaluates the validate blocks of a rule. It tells whether there were any.
func deny(ctx context.Context, scope *expr.Scope, rule *policy.Rule) (failed *reason.Error, validated bool) {
	const prefix = "validation in verifyImages failed: "
	for _, e := range rule.Entries {
		if e.Deny == nil {
			continue
		}
		validated = true
		denied, messages, err := e.Deny.Conditions.Eval(ctx, scope)
		switch {
		case err != nil:
			if failed := loading(err); failed != nil {
				return failed, true
			}
			return failedCheck(prefix + "failed to check deny conditions: " + err.Error()), true
		case denied:
			return failedCheck(prefix + deniedText(ctx, scope, e.Deny, messages)), true
		}
	}
	return nil, validated
}

// deniedText is why a validate block refuses. A message that cannot be written out is left away: the denial stands.
func deniedText(ctx context.Context, scope *expr.Scope, d *policy.Deny, messages []string) string {
	if d.Message != nil {
		if v, err := d.Message.Eval(ctx, scope); err == nil {
			if text, ok := v.(string); ok {
				messages = append([]string{text}, messages...)
			}
		}
	}
	if text := expr.JoinMessages(messages); text != "" {
		return text
	}
	return "validation error: imageVerify  failed"
}
