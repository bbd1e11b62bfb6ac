package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

// Loader gets what context entries name. It is safe for concurrent use.
type Loader interface {
	// Load gives the value of an entry as JSON values. Scope is what the entry may read. Images are read by describe, with
	// the entry's credentials, so that the request has one digest for each tag.
	Load(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope,
		describe func(context.Context, *policy.ContextEntry, string) (*image.Description, error)) (any, error)
}

// prepared is what is known of a rule before its entries judge.
type prepared struct {
	scope *expr.Scope
	// err ends the rule with an error, skip (when it is not empty) with a skip.
	err  *reason.Error
	skip string
	// properties are the report properties; nil for those of the policy.
	properties map[string]string
}

// contextError is that of a context entry which could not be loaded. It wraps nothing: what is missing inside an entry is not
// a field that is missing in the data, for which an expression may have a default.
type contextError struct{ text string }

func (e *contextError) Error() string { return e.text }

// failed is the error of a rule, a prerequisite of which cannot be had or evaluated.
func failed(doing string, err error) *reason.Error {
	if c := loading(err); c != nil {
		return c
	}
	return reason.New(reason.ContextError, doing+": "+err.Error())
}

// loading is the error of a rule if a context entry could not be loaded; nil otherwise.
func loading(err error) *reason.Error {
	var c *contextError
	if errors.As(err, &c) {
		return reason.New(reason.ContextError, "failed to load context: "+c.text)
	}
	return nil
}

// ended tells whether the rule has its result before its entries judge.
func (p *prepared) ended() bool { return p != nil && (p.err != nil || p.skip != "") }

// prepare loads and evaluates what rules need before images are verified. Rules that match no image load nothing; rules
// without context, preconditions and variables cost nothing.
func (r *review) prepare(ctx context.Context) {
	r.prepared = make([]*prepared, len(r.plan.Rules))
	var open []int
	for i := range r.plan.Rules {
		if p := &r.plan.Rules[i]; len(p.Images) > 0 && p.Rule.Prepares() {
			r.prepared[i] = &prepared{}
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return
	}
	now := newData(r, r.req.Object, named)
	r.rules(open, func(planned *plan.Rule, out *prepared) { r.prepareRule(ctx, planned, now, out) })
}

// substitute replaces the variables of the rules that judge.
func (r *review) substitute(ctx context.Context) {
	var open []int
	for i := range r.plan.Rules {
		if p := &r.plan.Rules[i]; len(p.Images) > 0 && r.prepared[i] != nil && p.Rule.Substitutes() {
			open = append(open, i)
		}
	}
	r.rules(open, func(planned *plan.Rule, out *prepared) { substituteRule(ctx, planned, out) })
}

// rules calls f for rules, at the same time when there are several. What ends a rule leaves it without images.
func (r *review) rules(indexes []int, f func(*plan.Rule, *prepared)) {
	each(indexes, func(i int) {
		planned, out := &r.plan.Rules[i], r.prepared[i]
		defer func() {
			if p := recover(); p != nil {
				out.err = reason.New(reason.InternalError, fmt.Sprintf("internal error: %.200v", p))
			}
			if out.ended() {
				for k := range planned.Images {
					planned.HeldBefore = planned.HeldBefore && planned.Images[k].Image.Unchanged()
				}
				planned.Images = nil
			}
		}()
		f(planned, out)
	})
}

func (r *review) prepareRule(ctx context.Context, planned *plan.Rule, now *data, out *prepared) {
	rule := planned.Rule
	out.scope = r.contextScope(rule, now, planned.Found)
	if r.engine.opts.EagerContext {
		for i := range rule.Context {
			if err := out.scope.Load(ctx, rule.Context[i].Name); err != nil {
				out.err = failed("failed to load context", err)
				planned.HeldBefore = planned.HeldBefore && rule.Preconditions == nil
				return
			}
		}
	}
	if rule.Preconditions != nil {
		held, messages, err := rule.Preconditions.Eval(ctx, out.scope)
		switch {
		case err != nil:
			// What cannot be told of the object cannot be told of the old one either.
			out.err, planned.HeldBefore = failed("failed to evaluate preconditions", err), false
			return
		case !held:
			out.skip = "preconditions not met"
			if m := expr.JoinMessages(messages); m != "" {
				out.skip += "; " + m
			}
			return
		}
		planned.HeldBefore = planned.HeldBefore && r.heldBefore(ctx, planned)
	}
}

func substituteRule(ctx context.Context, planned *plan.Rule, out *prepared) {
	rule := planned.Rule
	entries, err := rule.Substituted(ctx, out.scope)
	if err == nil {
		out.properties, err = rule.Properties(ctx, out.scope)
	}
	if err != nil {
		out.err = failed("failed to substitute variables", err)
		return
	}
	for k := range planned.Images {
		planned.Images[k] = plan.Judge(entries, planned.Images[k].Image)
	}
}

// heldBefore tells whether the preconditions of a rule also held for the object before the update. If that cannot be told,
// they did not. It is of interest only where an image is unchanged.
func (r *review) heldBefore(ctx context.Context, planned *plan.Rule) bool {
	interesting := false
	for i := range planned.Images {
		for _, u := range planned.Images[i].Image.Uses {
			interesting = interesting || u.Unchanged
		}
	}
	old := before(r.req)
	if !interesting || old == nil {
		return false
	}
	images := plan.Read(&plan.Input{Attributes: old, Object: r.req.Old, Images: r.engine.parser()}).See(planned.Rule)
	if images.Err != nil || len(images.Invalid) > 0 {
		return false
	}
	scope := r.contextScope(planned.Rule, newData(r, r.req.Old, named), images)
	held, _, err := planned.Rule.Preconditions.Eval(ctx, scope)
	return held && err == nil
}

// contextScope is what a rule can read: the request, its images, and the rule's context entries, each of which is loaded
// when it is first read and sees those before it.
func (r *review) contextScope(rule *policy.Rule, d *data, found *plan.Found) *expr.Scope {
	scope := d.base.Fork()
	d.setImages(scope, found)
	for i := range rule.Context {
		entry, visible := &rule.Context[i], scope.Fork()
		load := func(ctx context.Context) (any, error) {
			value, err := r.load(ctx, entry, visible)
			if err != nil {
				return nil, &contextError{text: "context entry " + entry.Name + ": " + err.Error()}
			}
			return value, nil
		}
		if entry.Literal {
			scope.SetLazy(entry.Name, load)
		} else {
			scope.SetLazyData(entry.Name, load)
		}
	}
	return scope
}

func (r *review) load(ctx context.Context, entry *policy.ContextEntry, visible *expr.Scope) (any, error) {
	if r.engine.opts.Loader == nil {
		return nil, errNoLoader
	}
	return r.engine.opts.Loader.Load(ctx, entry, visible, r.describe)
}

// describer is a registry that tells what it holds of an image.
type describer interface {
	Describe(ctx context.Context, img image.Pinned) (*image.Description, error)
}

// describe reads what a registry holds of an image, with the credentials of a context entry and of the object.
func (r *review) describe(ctx context.Context, entry *policy.ContextEntry, reference string) (*image.Description, error) {
	named, err := r.engine.parser().Parse(reference)
	if err != nil {
		return nil, err
	}
	by, err := r.engine.open(ctx, r.access(entry.Credentials))
	if err != nil {
		return nil, fmt.Errorf("failed to fetch secrets: %w", err)
	}
	registry, ok := by.Registry.(describer)
	if !ok {
		return nil, errNoRegistry
	}
	pinned, cause := r.resolveBy(ctx, named.Ref, &by)
	if cause != nil {
		return nil, cause
	}
	return registry.Describe(ctx, pinned)
}

var errNoRegistry = errors.New("there is no registry to ask")

var errNoLoader = errors.New("there is nobody to load it")
