// Package engine reviews admission requests against the policies in force.
//
// It is the only place with concurrency, and the only place that decides what a reason means for admission: a violation
// is a fail, judged by the rule's action; what could not be checked because nobody could be reached, or because a
// prerequisite failed, is an error, judged by the failure policy.
package engine

import (
	"context"
	"errors"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/signet-policy/signet/pkg/budget"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/verify"
)

// Registry resolves tags and fetches what is attached to images.
type Registry interface {
	verify.Fetcher
	// Resolve turns a tag into a digest: the only step of the program that does.
	Resolve(ctx context.Context, ref image.Ref) (image.Pinned, error)
	// Exists tells whether the image's manifest is there.
	Exists(ctx context.Context, img image.Pinned) error
}

// Referrers fetches what refers to an image and is of one of the artifact types. A Registry that has it serves requirements
// of type Notary too.
type Referrers interface {
	Referrers(ctx context.Context, img image.Pinned, types []string) (*image.Attached, error)
}

// Options configure an engine. Verifier, Store, and Registry or Accesses are required.
type Options struct {
	Registry Registry
	Verifier verify.Verifier
	Store    *policy.Store
	// Notary judges requirements of type Notary; without it they are errors.
	Notary verify.Verifier
	// Images says how short references are read; Parser, when there is one, says it anew for every request.
	Images image.Options
	Parser func() *image.Parser
	// CacheDisabled turns the verification cache off; CacheSize (entries) and CacheTTL default to 1000 and an hour.
	CacheDisabled bool
	CacheSize     int
	CacheTTL      time.Duration
	// Timeout is the time for a request whose policies set none; it defaults to 10 s.
	Timeout time.Duration
	// Accesses opens registries, with the credentials of rules and objects. Without it everything is read by Registry,
	// and rules with credentials of their own are errors.
	Accesses Accesses
	// Namespaces knows the labels of namespaces; without it, rules that need some are errors.
	Namespaces Namespaces
	// Roles knows what is bound to users; without it, rules that need their roles are errors.
	Roles Roles
	// Keys supplies keys by reference; without it, attestors that refer to one have none.
	Keys verify.Keys
	// Loader gets what context entries name; without it, rules that need some are errors.
	Loader Loader
	// Current tells whether what the store holds may be relied on now; without it, it always may.
	Current func() bool
	// Resolve looks up the addresses of a host for is_external_url(); without it, names of hosts are errors there.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// EagerContext loads all context entries of a rule before its preconditions are looked at, instead of each when it is
	// first read.
	EagerContext bool
}

// Engine reviews requests. It is safe for concurrent use.
type Engine struct {
	opts    Options
	images  *image.Parser
	proofs  *proofs
	flights singleflight.Group
	memory  *budget.Budget
	bound   *lru.Cache[string, *verify.Requirement]
	margin  time.Duration
}

// New returns an engine.
func New(opts Options) *Engine {
	if opts.CacheSize <= 0 {
		opts.CacheSize = 1000
	}
	if opts.CacheTTL <= 0 {
		opts.CacheTTL = time.Hour
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	e := &Engine{opts: opts, images: image.NewParser(opts.Images), bound: newBound(), memory: budget.New(maxHeld), margin: margin}
	if !opts.CacheDisabled {
		e.proofs = newProofs(opts.CacheSize, opts.CacheTTL)
	}
	return e
}

// parser reads the references of a request.
func (e *Engine) parser() *image.Parser {
	if e.opts.Parser != nil {
		return e.opts.Parser()
	}
	return e.images
}

// Phase is the admission phase of a request. There is no zero phase.
type Phase int

// The phases.
const (
	Mutating Phase = iota + 1
	Validating
)

// Request is one admission request for an object that is created or updated.
type Request struct {
	Phase Phase
	// FailurePolicy is that of the webhook path: only policies with the same one decide here, and those that had it before
	// while the API server may not know better.
	FailurePolicy policy.FailurePolicy
	// Policy is the one policy of a fine-grained path: it alone decides here. Zero on a common path, where every policy
	// without such a path decides.
	Policy     policy.Key
	Attributes match.Attributes
	// Name is the object's name, empty while it has only a generateName.
	Name   string
	Object map[string]any
	// Old is the object before an update, nil otherwise.
	Old map[string]any
	// OldUnasked says that the API server may not have asked about the old object, so that what it holds counts as new.
	OldUnasked bool
	// Timeout is the API server's for this call, 0 when it is not known.
	Timeout time.Duration
	// Admission gives more fields of the admission request, such as uid, as JSON values; nil for none. It is called when a
	// variable reads the request.
	Admission func() map[string]any
}

// path is the path of one request, at the time of that.
type path struct {
	req      *Request
	snapshot *policy.Snapshot
	now      time.Time
}

// asks tells whether the path is one on which the API server asks about a policy, so that the policy decides. A path that names
// the policy is, whether or not the policy still has webhooks of its own.
func (p path) asks(about *policy.Policy) bool {
	if p.req.Policy != (policy.Key{}) {
		return about.Key == p.req.Policy
	}
	return p.snapshot.AsksFor(about, p.req.FailurePolicy, p.now)
}

// ErrNotReady says that the policies have not been read yet.
var ErrNotReady = errors.New("the policies have not been read yet")

// ErrLapsed says that others may rely on policies that are newer than those that were read.
var ErrLapsed = errors.New("this replica of Signet could not renew its Lease in time, so that its policies may be old; its log says why")

// margin is what is left to the API server of its own timeout, so that Signet's verdict arrives before it gives up.
const margin = 500 * time.Millisecond

// Review judges a request. It returns ErrNotReady while there is no snapshot, and ErrLapsed while there is none to rely on; every
// other trouble is in the decision.
func (e *Engine) Review(ctx context.Context, req *Request) (*Decision, error) {
	snapshot := e.opts.Store.Snapshot()
	switch {
	case snapshot == nil:
		return nil, ErrNotReady
	case e.opts.Current != nil && !e.opts.Current():
		return nil, ErrLapsed
	}
	start := time.Now()
	in := plan.Input{Attributes: &req.Attributes, Object: req.Object, Images: e.parser(), Own: req.Policy}
	if e.opts.Namespaces != nil && req.Attributes.Namespace != "" {
		lookup := &namespaceLabels{source: e.opts.Namespaces, ctx: ctx, budget: e.budget(req, nil), name: req.Attributes.Namespace}
		req.Attributes.NamespaceLabels = lookup
	}
	if e.opts.Roles != nil {
		req.Attributes.Roles = &userRoles{source: e.opts.Roles, ctx: ctx, budget: e.budget(req, nil), user: req.Attributes.User, wanted: snapshot.NeedsRoles()}
	}
	in.Old, in.OldAttributes = req.Old, before(req)
	p := plan.Read(&in)
	at := path{req, snapshot, start}
	rules := e.rules(at, p)
	askNamespace(rules, req)
	askRoles(rules, req)
	if len(rules) == 0 {
		return e.unmatched(req), nil
	}
	p.Add(rules)
	end := start.Add(e.budget(req, rules))
	gathering, cancel := context.WithDeadline(budget.For(ctx, req.Attributes.Namespace), end)
	defer cancel()
	r := newReview(e, at, p)
	r.prepare(gathering)
	r.excepted(gathering, snapshot)
	r.substitute(gathering)
	r.gather(gathering)
	if r.attested {
		// The registry of another image may have taken all of that time. What is verified is not to fail for it.
		checking, cancel := context.WithDeadline(ctx, end.Add(e.margin/2))
		defer cancel()
		r.check(checking)
	}
	return r.decide(), nil
}

// rules are those that judge the request in its phase. In the mutating phase those of the other paths are
// among them, for the annotation tells of all.
func (e *Engine) rules(at path, p *plan.Plan) []*policy.Rule {
	snapshot, req := at.snapshot, at.req
	var matched []*policy.Rule
	if hosts, any := p.Hosts(); any {
		matched = snapshot.Match(&req.Attributes)
	} else {
		matched = snapshot.MatchHosts(&req.Attributes, hosts)
	}
	if req.Phase == Mutating {
		return matched
	}
	rules := matched[:0]
	for _, r := range matched {
		if r.Validates() && at.asks(r.Policy) {
			rules = append(rules, r)
		}
	}
	return rules
}

// budget is the time for a request: the largest timeout of its policies, cut to what the API server gives.
func (e *Engine) budget(req *Request, rules []*policy.Rule) time.Duration {
	var d time.Duration
	if len(rules) == 0 {
		d = e.opts.Timeout
	}
	for _, r := range rules {
		t := e.opts.Timeout
		if r.Policy.TimeoutSeconds > 0 {
			t = time.Duration(r.Policy.TimeoutSeconds) * time.Second
		}
		d = max(d, t)
	}
	if req.Timeout > 0 {
		d = min(d, req.Timeout)
	}
	return max(d-e.margin, e.margin/5)
}

// unmatched answers a request that no rule is about. An annotation that it brings along is not ours to leave there.
func (e *Engine) unmatched(req *Request) *Decision {
	d := &Decision{Allowed: true}
	if req.Phase == Mutating {
		d.Patches = annotationPatches(req, nil)
	}
	return d
}
