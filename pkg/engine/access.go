package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

// Access says with what registries are read for one entry of a rule and one object. The zero value is the process' own.
type Access struct {
	// Credentials are the entry's; nil for none.
	Credentials *policy.Credentials
	// Namespace is the object's. It is the only one in which the names that follow mean anything.
	Namespace string
	// PullSecrets are those that the object's pod spec names.
	PullSecrets []string
	// ServiceAccount is whose pull secrets the API server gives to the object's Pods; empty where it has done so already.
	ServiceAccount string
}

// Accesses opens registries. The error says why credentials cannot be read. Secrets that are not there are no error.
type Accesses interface {
	Open(ctx context.Context, a Access) (Opened, error)
}

// Opened is a registry as it is read with some credentials.
type Opened struct {
	Registry Registry
	// ID tells credentials apart: what was learnt with some is never told to who has others. Empty is the process' own.
	ID string
	// Insecure tells that the answers may have come over plain HTTP.
	Insecure bool
}

var errNoAccesses = errors.New("registry credentials of rules cannot be read here")

// open reads the credentials of all entries that will ask a registry. A rule of which some cannot be read is an error.
func (r *review) open(ctx context.Context) {
	r.opened = map[*policy.Credentials]*Opened{}
	for i := range r.plan.Rules {
		rule := &r.plan.Rules[i]
		for k := range rule.Images {
			if err := r.openImage(ctx, &rule.Images[k]); err != nil {
				rule.Undecide(fmt.Errorf("failed to fetch secrets: %w", err))
				break
			}
		}
	}
}

func (r *review) openImage(ctx context.Context, ri *plan.RuleImage) error {
	for _, e := range ri.Entries {
		if !r.asks(e, ri.Image.Ref) || r.opened[e.Credentials] != nil {
			continue
		}
		o, err := r.engine.open(ctx, r.access(e.Credentials))
		if err != nil {
			return err
		}
		r.opened[e.Credentials] = &o
	}
	return nil
}

// asks tells whether an entry needs a registry to judge an image.
func (r *review) asks(e *policy.Entry, ref image.Ref) bool {
	if e.Invalid != nil || e.Deferred != nil {
		return false // no image satisfies it
	}
	return e.Requirement != nil || r.mutates(e) && ref.RawDigest() == ""
}

// accessID names what an entry reads registries with.
func (r *review) accessID(e *policy.Entry) string {
	if o := r.opened[e.Credentials]; o != nil {
		return o.ID
	}
	return ""
}

func (e *Engine) open(ctx context.Context, a Access) (Opened, error) {
	switch {
	case e.opts.Accesses != nil:
		return e.opts.Accesses.Open(ctx, a)
	case a.Credentials != nil:
		return Opened{}, errNoAccesses
	default:
		return Opened{Registry: e.opts.Registry}, nil
	}
}

// access is that of the request's object and an entry. Of a Pod the API server has completed the pull secrets before it
// asks; of what makes Pods it will, from the service account.
func (r *review) access(c *policy.Credentials) Access {
	pull := r.pull()
	a := Access{Credentials: c}
	if !pull.Found || r.req.Attributes.Namespace == "" {
		return a
	}
	a.Namespace, a.PullSecrets = r.req.Attributes.Namespace, pull.Secrets
	if r.req.Attributes.Kind != "Pod" && len(a.PullSecrets) == 0 {
		if a.ServiceAccount = pull.ServiceAccount; a.ServiceAccount == "" {
			a.ServiceAccount = "default"
		}
	}
	return a
}

// resolve is the only tag-to-digest step of a request. Of several accesses the first that gives a digest gives it to all,
// so that nobody judges another image; but what came over plain HTTP is only for who allows that.
func (r *review) resolve(ctx context.Context, ref image.Ref, accesses []*Opened) (out resolved) {
	accesses = slices.Clone(accesses)
	slices.SortStableFunc(accesses, func(a, b *Opened) int { return rank(a) - rank(b) })
	for i, o := range accesses {
		pinned, err := r.resolveBy(ctx, ref, o)
		if err == nil {
			out.pinned = pinned
			for _, other := range accesses[:i] {
				if !o.Insecure || other.Insecure {
					delete(out.failed, other.ID)
				}
			}
			return out
		}
		if out.failed == nil {
			out.failed = map[string]*reason.Error{}
		}
		out.failed[o.ID] = err
	}
	return out
}

func rank(o *Opened) int {
	if o.Insecure {
		return 1
	}
	return 0
}

func (r *review) resolveBy(ctx context.Context, ref image.Ref, o *Opened) (pinned image.Pinned, cause *reason.Error) {
	defer recovered(&cause)
	pinned, ok, err := ref.Pinned()
	if err != nil {
		return image.Pinned{}, reason.Wrap(reason.InvalidImageReference, err)
	}
	if ok {
		return pinned, nil
	}
	pinned, err = r.tags.resolve(ctx, o, ref)
	if err != nil {
		return image.Pinned{}, reason.Of(err)
	}
	return pinned, nil
}
