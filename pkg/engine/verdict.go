package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"

	"github.com/signet-policy/signet/pkg/budget"
	"github.com/signet-policy/signet/pkg/extract"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// parallel is the number of images and requirements of one request that are worked on at once. The registry client
// has limits of its own, per host.
const parallel = 32

// maxHeld is how much of what registries send is held at once, in bytes, by all requests together. Small things are not
// counted; opening large ones takes about as much again.
const maxHeld = 64 << 20

// review is one request on its way through the engine.
type review struct {
	engine *Engine
	req    *Request
	at     path
	plan   *plan.Plan
	images []resolved // by plan.Image.Index
	tags   tags
	// prepared is what is known of each rule before its entries judge; nil for a rule that prepares nothing.
	prepared []*prepared
	// pull is what the object says about credentials; opened are the registries, by the entry's credentials.
	pull   func() extract.Pull
	opened map[*policy.Credentials]*Opened
	// attested is set when an entry has attestations; checks is what their conditions say.
	attested bool
	checks   map[checkKey]checked

	mu   sync.Mutex
	held map[string]*holding // by digest and repository
}

func newReview(e *Engine, at path, p *plan.Plan) *review {
	req := at.req
	return &review{engine: e, req: req, at: at, plan: p, images: make([]resolved, len(p.Images)), held: map[string]*holding{},
		pull: sync.OnceValue(func() extract.Pull { return extract.PullSecrets(req.Attributes.Kind, req.Object) })}
}

// resolved is what is known of one image: its digest or why there is none, and a verdict for each requirement.
type resolved struct {
	pinned   image.Pinned
	failed   map[string]*reason.Error // why there is no digest, by access; those without a failure share pinned
	verdicts map[string]verdict       // by requirement fingerprint, access, and whether the cache may serve
}

// verdict is the outcome of one requirement on one image.
type verdict struct {
	err    *reason.Error // nil for a pass
	cached bool
	// statements are the verified ones that conditions read.
	statements []verify.Statement
	// partial verdicts are not remembered, and others not beyond until, if that is not zero.
	partial bool
	until   time.Time
}

// job is one requirement to judge, with its keys in place. Its key is that of the requirement as it was compiled: what is
// behind a reference may change before the verdict is read.
type job struct {
	key         string
	requirement *verify.Requirement
	useCache    bool
	access      *Opened
}

func (r *review) jobKey(e *policy.Entry) string {
	key := e.Requirement.Fingerprint
	if id := r.accessID(e); id != "" {
		key += " by " + id
	}
	if e.UseCache {
		return key
	}
	return "fresh " + key
}

// gather resolves and verifies all that the plan needs, every image and requirement once.
func (r *review) gather(ctx context.Context) {
	r.open(ctx)
	jobs := make([][]job, len(r.plan.Images))
	accesses := make([][]*Opened, len(r.plan.Images))
	keys := r.keys(ctx)
	for _, rule := range r.plan.Rules {
		for _, ri := range rule.Images {
			for _, e := range ri.Entries {
				i, access := ri.Image.Index, r.opened[e.Credentials]
				if !r.asks(e, ri.Image.Ref) {
					continue
				}
				if !hasAccess(accesses[i], access.ID) {
					accesses[i] = append(accesses[i], access)
				}
				if e.Requirement == nil {
					continue
				}
				r.attested = r.attested || len(e.Requirement.Attestations) > 0
				if key := r.jobKey(e); !hasJob(jobs[i], key) {
					jobs[i] = append(jobs[i], job{key: key, requirement: r.engine.bind(e.Requirement, keys), useCache: e.UseCache, access: access})
				}
			}
		}
	}
	var open []int
	for i := range r.images {
		if len(accesses[i]) > 0 && !r.fromCache(i, jobs[i]) {
			open = append(open, i)
		}
	}
	each(open, func(i int) { r.image(ctx, i, accesses[i], jobs[i]) })
}

func hasAccess(accesses []*Opened, id string) bool {
	for _, o := range accesses {
		if o.ID == id {
			return true
		}
	}
	return false
}

// each calls f for every index, at the same time when there are several.
func each(indexes []int, f func(int)) {
	switch len(indexes) {
	case 0:
		return
	case 1:
		f(indexes[0])
		return
	}
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, i := range indexes {
		g.Go(func() error { f(i); return nil })
	}
	_ = g.Wait() // f leaves its outcome elsewhere, and recovers what panics
}

func hasJob(jobs []job, key string) bool {
	for i := range jobs {
		if jobs[i].key == key {
			return true
		}
	}
	return false
}

// fromCache answers an image that has a digest and whose requirements are all cached, without a goroutine.
func (r *review) fromCache(i int, jobs []job) bool {
	pinned, ok, err := r.plan.Images[i].Ref.Pinned()
	if !ok || err != nil || len(jobs) == 0 {
		return false
	}
	verdicts := make(map[string]verdict, len(jobs))
	for _, j := range jobs {
		if !j.useCache {
			return false
		}
		proof := r.engine.cached(pinned, &j)
		if proof == nil {
			return false
		}
		verdicts[j.key] = verdict{cached: true, statements: proof.Statements}
	}
	r.images[i].pinned, r.images[i].verdicts = pinned, verdicts
	return true
}

// image resolves one image and judges its requirements.
func (r *review) image(ctx context.Context, i int, accesses []*Opened, jobs []job) {
	out := &r.images[i]
	*out = r.resolve(ctx, r.plan.Images[i].Ref, accesses)
	out.verdicts = make(map[string]verdict, len(jobs))
	if len(jobs) == 0 {
		return
	}
	verdicts := make([]verdict, len(jobs))
	all := make([]int, len(jobs))
	for k := range all {
		all[k] = k
	}
	held := r.hold(out.pinned)
	defer held.release()
	ctx = budget.With(ctx, held.share)
	each(all, func(k int) { verdicts[k] = r.judge(ctx, out, &held.memo, &jobs[k]) })
	for k, j := range jobs {
		out.verdicts[j.key] = verdicts[k]
	}
}

// holding is what is attached to one digest. It is held for as long as an image of the digest is worked on, and no longer.
type holding struct {
	memo  memo
	share *budget.Share
	users int // covered by the review's mutex

	release func()
}

// hold is the holding of a digest, which images of one digest share.
func (r *review) hold(img image.Pinned) *holding {
	key := img.String()
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.held[key]
	if h == nil {
		h = &holding{share: r.engine.memory.Share()}
		h.release = func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if h.users--; h.users == 0 {
				delete(r.held, key)
				h.share.Release()
			}
		}
		r.held[key] = h
	}
	h.users++
	return h
}

// judge gives the verdict of one requirement.
func (r *review) judge(ctx context.Context, img *resolved, fetch *memo, j *job) (v verdict) {
	defer recovered(&v.err)
	e := r.engine
	if cause := img.failed[j.access.ID]; cause != nil {
		_, err := e.evaluate(ctx, unavailable{cause}, img.pinned, j.requirement)
		if err == nil {
			err = reason.New(reason.InternalError, "an image without a digest was verified")
		}
		return verdict{err: reason.Of(err)}
	}
	if !j.useCache || e.proofs == nil {
		return r.verify(ctx, img.pinned, fetch, j)
	}
	if proof := e.cached(img.pinned, j); proof != nil {
		return verdict{cached: true, statements: proof.Statements}
	}
	return r.shared(ctx, img.pinned, fetch, j)
}

// shared joins concurrent requests for the same verdict. The work goes on for the others when one of them gives up. A
// timeout that was joined may be that of a request with less time, so those who still have some try once more.
func (r *review) shared(ctx context.Context, img image.Pinned, fetch *memo, j *job) verdict {
	key := r.engine.cacheKey(img, j)
	for again := true; ; again = false {
		flight := r.engine.flights.DoChan(key, func() (any, error) {
			if proof := r.engine.cached(img, j); proof != nil {
				return verdict{statements: proof.Statements}, nil // an earlier flight landed since this request looked
			}
			ctx, cancel := detach(ctx)
			defer cancel()
			v := r.verify(ctx, img, fetch, j)
			// Another trust root that came meanwhile may be the one that it was verified by.
			if v.err == nil && !v.partial && r.engine.cacheKey(img, j) == key {
				r.engine.proofs.add(key, &verify.Proof{Image: img, Statements: v.statements, Until: v.until})
			}
			return v, nil
		})
		select {
		case <-ctx.Done():
			return verdict{err: timedOut(ctx)}
		case result := <-flight:
			v, ok := result.Val.(verdict)
			if !ok {
				return verdict{err: reason.New(reason.InternalError, "the verification ended without a verdict")}
			}
			if v.err != nil && again && v.err.Code == reason.RegistryTimeout && result.Shared && ctx.Err() == nil {
				continue
			}
			return v
		}
	}
}

// detach keeps the deadline of ctx but not its cancellation.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	free := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(free, deadline)
	}
	return context.WithCancel(free)
}

func timedOut(ctx context.Context) *reason.Error {
	return &reason.Error{Code: reason.RegistryTimeout, Text: "no complete answer within the time for this request", Err: ctx.Err()}
}

// verify evaluates a requirement afresh.
func (r *review) verify(ctx context.Context, img image.Pinned, fetch *memo, j *job) (v verdict) {
	defer recovered(&v.err)
	if share := budget.From(ctx); share != nil {
		share.Use() // a flight may outlive the request that began it
		defer share.Release()
	}
	f := &fetcher{memo: fetch, access: j.access, types: notaryTypes(j.requirement)}
	defer f.done()
	proof, err := r.engine.evaluate(ctx, f, img, j.requirement)
	if err == nil {
		if proof == nil || proof.Image.Digest() != img.Digest() {
			return verdict{err: reason.New(reason.InternalError, "the verification proved another image")}
		}
		noteNames(ctx, img, proof)
		return verdict{statements: proof.Statements, partial: proof.Partial, until: proof.Until}
	}
	cause := reason.Of(err)
	if cause.Code != reason.Unsigned && !errors.Is(err, verify.ErrNothingFound) || img.Ref().RawDigest() == "" {
		return verdict{err: cause}
	}
	// Nothing is attached to a digest that nobody resolved: is the image there at all?
	if missing := j.access.Registry.Exists(ctx, img); missing != nil {
		_, err = r.engine.evaluate(ctx, unavailable{missing}, img, j.requirement)
		if err != nil {
			return verdict{err: reason.Of(err)}
		}
	}
	return verdict{err: cause}
}

// noteNames writes a line for signatures that were made for the image under another name. They count: an image that is copied
// keeps its signatures. It is written with the verification, not for each request that the cache answers.
func noteNames(ctx context.Context, img image.Pinned, proof *verify.Proof) {
	var told []string
	for _, s := range proof.Signatures {
		if s.SignedAs != "" && !slices.Contains(told, s.SignedAs) {
			told = append(told, s.SignedAs)
			logr.FromContextOrDiscard(ctx).Info("the signature names the image otherwise, as that of a copied image does",
				"image", img.String(), "signedAs", s.SignedAs)
		}
	}
}

// recovered turns a panic into an error of the rule.
func recovered(cause **reason.Error) {
	if p := recover(); p != nil {
		*cause = reason.New(reason.InternalError, fmt.Sprintf("internal error: %.200v", p))
	}
}

// unavailable is a fetcher for an image that could not be resolved.
type unavailable struct{ err error }

func (u unavailable) Attached(context.Context, image.Pinned, image.Ref) (*image.Attached, error) {
	return nil, u.err
}

// fetcher fetches once per digest of a request what several requirements of it look at.
type fetcher struct {
	memo   *memo
	access *Opened
	types  []string // artifact types of referrers, for Notary
	alone  bool
}

func (f *fetcher) Attached(ctx context.Context, img image.Pinned, repository image.Ref) (*image.Attached, error) {
	got, err := f.fetch(ctx, img, repository)
	// Opening what is large takes as much memory again, which one requirement after the other may do.
	if got != nil && !f.alone && heavy(got) {
		f.memo.heavy.Lock()
		f.alone = true
	}
	return got, err
}

// done lets the next requirement work with what is large.
func (f *fetcher) done() {
	if f.alone {
		f.memo.heavy.Unlock()
	}
}

func heavy(a *image.Attached) bool {
	total := 0
	for i := range a.Artifacts {
		total += len(a.Artifacts[i].Payload)
	}
	return total > budget.Small
}

func (f *fetcher) fetch(ctx context.Context, img image.Pinned, repository image.Ref) (*image.Attached, error) {
	if f.types != nil {
		return f.memo.do(strings.Join(f.types, " ")+" "+img.String()+" "+f.access.ID, func() (*image.Attached, error) {
			return referrers(ctx, f.access.Registry, img, f.types)
		})
	}
	name := img.Repository()
	if !repository.IsZero() {
		name = repository.Repository()
	}
	return f.memo.do(name+"@"+string(img.Digest())+" "+f.access.ID, func() (*image.Attached, error) {
		return f.access.Registry.Attached(ctx, img, repository)
	})
}

// memo runs a fetch once per key.
type memo struct {
	once[*image.Attached]
	heavy sync.Mutex // held by the requirement that has opened something large
}

// cacheKey names a verdict: what was verified, where its signatures were, by which requirement and trust material, read
// with whose credentials. No part of it is a tag or a policy.
func (e *Engine) cacheKey(img image.Pinned, j *job) string {
	generation := e.opts.Verifier.Generation()
	if j.requirement.Notary && e.opts.Notary != nil {
		generation = e.opts.Notary.Generation()
	}
	return strings.Join([]string{string(img.Digest()), img.Repository(), j.requirement.Fingerprint, generation, j.access.ID}, "\x00")
}

func (e *Engine) cached(img image.Pinned, j *job) *verify.Proof {
	if e.proofs == nil {
		return nil
	}
	return e.proofs.get(e.cacheKey(img, j))
}

// statusOf is the contract's table of statuses: a cause is an error when nobody could be asked or a prerequisite of the
// rule failed, and a violation otherwise.
func statusOf(cause *reason.Error) Status {
	switch cause.Code {
	case reason.ContextError, reason.InternalError:
		return Error
	}
	if cause.Unreachable {
		return Error
	}
	return Fail
}

var errNoVerdict = errors.New("no verdict was reached")
