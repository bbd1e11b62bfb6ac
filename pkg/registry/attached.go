package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-policy/signet/pkg/budget"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// The stages of Attached and the share of the time allowed after which each gives up on what has not come, so that
// one silent place does not take the others' answers with it, nor the time to verify them.
const (
	placesShare    = 0.5
	manifestsShare = 0.75
	payloadsShare  = 0.9
)

const errPlain = "the manifest is of an unusable form"

// Attached returns what is attached to the image by digest: in the image's own repository, or in another one when
// repository is not zero. It asks the tags sha256-<hex>.sig and .att, the referrers API and the fallback tag
// sha256-<hex> at once, then all manifests they name, then all layers that may be signatures or attestations.
//
// What was found but cannot be a candidate is an Artifact with Err; what could not be asked is one of Problems, each a
// *reason.Error. The error is for a cancelled context or a missing image or digest only; an expired deadline is a
// Problem. Artifacts share their payloads when their digests are equal, so payloads must not be changed.
func (c *Client) Attached(ctx context.Context, p image.Pinned, repository image.Ref) (*image.Attached, error) {
	if p.Ref().IsZero() || p.Digest() == "" {
		return nil, errors.New("attached: no image digest")
	}
	if repository.IsZero() {
		repository = p.Ref()
	}
	a := &gathering{
		session: c.session(repository), limits: c.shared.limits, subject: p.Digest(), out: &image.Attached{},
		seen: map[problemKey]bool{}, rank: rank,
	}
	stage := stages(ctx)
	placesCtx, cancel := stage(placesShare)
	manifests := a.places(placesCtx)
	cancel()
	manifestsCtx, cancel := stage(manifestsShare)
	a.open(manifestsCtx, manifests)
	cancel()
	payloadsCtx, cancel := stage(payloadsShare)
	a.fetch(payloadsCtx, a.candidates(manifests))
	cancel()
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	return a.out, nil
}

// stages returns contexts that end after shares of the time that ctx allows.
func stages(ctx context.Context) func(share float64) (context.Context, context.CancelFunc) {
	start := time.Now()
	return func(share float64) (context.Context, context.CancelFunc) {
		if deadline, ok := ctx.Deadline(); ok {
			return context.WithDeadline(ctx, start.Add(time.Duration(float64(deadline.Sub(start))*share)))
		}
		return context.WithCancel(ctx)
	}
}

// gathering is one call of Attached, or what Referrers asks about one subject.
type gathering struct {
	*session
	limits  Limits
	subject image.Digest
	out     *image.Attached
	seen    map[problemKey]bool
	// rank orders the listed manifests.
	rank func(descriptor) int
}

type problemKey struct {
	place       string
	code        reason.Code
	unreachable bool
}

// manifest is a manifest that a place named.
type manifest struct {
	place    string
	digest   image.Digest
	size     int64
	artifact string // as listed
	rank     int
	referrer bool // must name the image as its subject
	doc      *document
	fail     *failure
}

// layer is a layer that may be a candidate.
type layer struct {
	artifact image.Artifact
	digest   image.Digest
	size     int64
	of       *manifest // where Referrers looks for more
}

// problem records a place that could not be read; of many alike, the first one speaks.
func (a *gathering) problem(place string, f *failure) {
	key := problemKey{place, f.err.Code, f.err.Unreachable}
	if !a.seen[key] {
		a.seen[key] = true
		a.out.Problems = append(a.out.Problems, f.at(place))
	}
}

// failed sorts a failure: content that is there but unusable rejects one candidate, the rest is a problem.
func (a *gathering) failed(art image.Artifact, f *failure) {
	switch {
	case f.notFound():
		art.Err = reason.New(reason.BadSignature, art.Place+": listed but missing: "+f.err.Text)
	case f.err.Code == reason.DigestMismatch, f.err.Code == reason.LimitReached, f.err.Code == reason.BadSignature:
		art.Err = f.at(art.Place)
	default:
		a.problem(art.Place, f)
		return
	}
	a.out.Artifacts = append(a.out.Artifacts, art)
}

// open fetches the manifests whose content is not known yet.
func (a *gathering) open(ctx context.Context, manifests []*manifest) {
	each(manifests, a.limits.PerHost, func(m *manifest) {
		if m.doc != nil {
			return
		}
		_, m.fail = a.get(ctx, want{
			kind: KindManifest, suffix: "manifests/" + m.digest.String(), accept: acceptManifest,
			limit: a.limits.Manifest, size: m.size, need: canPull,
			check: func(r *received, url string) *failure {
				if f := checkDigest(r, url, m.digest); f != nil {
					return f
				}
				doc, err := parseDocument(r.body, r.header.Get("Content-Type"), a.limits.Depth)
				if err != nil {
					return contentFailure(reason.BadSignature, url, err.Error())
				}
				m.doc = doc
				return nil
			},
		})
	})
}

// candidates reads the layers of the manifests and takes them in turns, one of each manifest, so that a manifest with
// many layers does not push out the others.
func (a *gathering) candidates(manifests []*manifest) []*layer {
	var lists [][]*layer
	for _, m := range manifests {
		if m.fail != nil {
			a.failed(image.Artifact{Place: m.place, Manifest: m.digest, ArtifactType: m.artifact}, m.fail)
			continue
		}
		if list := a.layers(m); len(list) > 0 {
			lists = append(lists, list)
		}
	}
	var turn []*layer
	var sum int64
	counted := map[content]bool{}
	for i := 0; len(lists) > 0; i++ {
		rest := lists[:0]
		for _, list := range lists {
			l := list[i]
			if i+1 < len(list) {
				rest = append(rest, list)
			}
			key := content{l.digest, l.size}
			more := l.size
			if l.artifact.Err != nil || counted[key] {
				more = 0
			}
			if len(turn) == a.limits.Candidates || sum+more > a.limits.Payloads {
				a.out.Truncated = true
				continue
			}
			counted[key] = true
			sum += more
			turn = append(turn, l)
		}
		lists = rest
	}
	return turn
}

// layers returns the layers of a manifest that may be signatures or attestations.
func (a *gathering) layers(m *manifest) []*layer {
	base := image.Artifact{Place: m.place, Manifest: m.digest, ArtifactType: m.doc.ArtifactType}
	if base.ArtifactType == "" && m.doc.Config != nil {
		base.ArtifactType = m.doc.Config.MediaType
	}
	reject := func(art image.Artifact, code reason.Code, text string) *layer {
		art.Err = reason.New(code, m.place+": "+m.digest.String()+": "+text)
		return &layer{artifact: art}
	}
	if m.doc.index {
		if m.referrer {
			return nil
		}
		return []*layer{reject(base, reason.BadSignature, errPlain)}
	}
	var list []*layer
	for _, raw := range m.doc.Layers.list {
		var d descriptor
		if json.Unmarshal(raw, &d) != nil {
			list = append(list, reject(base, reason.BadSignature, "a layer's descriptor is malformed"))
			continue
		}
		limit := a.payloadLimit(d.MediaType, base.ArtifactType)
		if limit == 0 {
			continue
		}
		art := base
		art.MediaType, art.Annotations = d.MediaType, d.Annotations
		digest, err := image.ParseDigest(d.Digest)
		switch {
		case err != nil:
			list = append(list, reject(art, reason.BadSignature, "a layer's digest is "+err.Error()))
		case d.Size < 0:
			list = append(list, reject(art, reason.BadSignature, "a layer's size is negative"))
		case d.Size > limit:
			list = append(list, reject(art, reason.LimitReached, "a layer is larger than the limit"))
		default:
			list = append(list, &layer{artifact: art, digest: digest, size: d.Size})
		}
	}
	if len(list) > 0 && m.referrer && (m.doc.Subject == nil || m.doc.Subject.Digest != a.subject.String()) {
		return []*layer{reject(base, reason.DigestMismatch, "its subject names another digest")}
	}
	if m.doc.Layers.cut {
		a.out.Truncated = true
	}
	if len(list) > a.limits.Layers {
		list, a.out.Truncated = list[:a.limits.Layers], true
	}
	return list
}

// content is a blob as a descriptor claims it. Claims that differ in size are kept apart, so that a false one does not
// spoil a true one.
type content struct {
	digest image.Digest
	size   int64
}

type blob struct {
	content
	body []byte
	fail *failure
}

// fetch gets the payloads, each content once, and hands out the artifacts in their order.
func (a *gathering) fetch(ctx context.Context, layers []*layer) {
	blobs := map[content]*blob{}
	var list []*blob
	for _, l := range layers {
		key := content{l.digest, l.size}
		if l.artifact.Err == nil && blobs[key] == nil {
			b := &blob{content: key}
			blobs[key] = b
			list = append(list, b)
		}
	}
	var sum int64
	for _, b := range list {
		sum += b.size
	}
	memory := budget.Take(ctx, sum)
	each(list, a.limits.PerHost, func(b *blob) {
		if memory != nil {
			b.fail = &failure{err: reason.New(reason.RegistryTimeout, memory.Error())}
			return
		}
		var r *received
		r, b.fail = a.get(ctx, want{
			kind: KindBlob, suffix: "blobs/" + b.digest.String(), accept: "*/*", limit: b.size, size: b.size, need: canPull,
			check: func(r *received, url string) *failure {
				if int64(len(r.body)) != b.size || image.DigestOf(r.body) != b.digest {
					return contentFailure(reason.DigestMismatch, url, "the bytes received do not have the digest and size asked for")
				}
				return nil
			},
		})
		if b.fail == nil {
			b.body = r.body
		}
	})
	for _, l := range layers {
		b := blobs[content{l.digest, l.size}]
		switch {
		case l.artifact.Err != nil:
			a.out.Artifacts = append(a.out.Artifacts, l.artifact)
		case b.fail != nil:
			a.failed(l.artifact, b.fail)
		default:
			l.artifact.Payload = b.body
			a.out.Artifacts = append(a.out.Artifacts, l.artifact)
		}
	}
}

// each runs f for every item, at most limit at once, and waits for all. A panic of f becomes one of the caller, who can
// recover it; in a goroutine of its own it would end the process.
func each[T any](items []T, limit int, f func(T)) {
	if len(items) == 1 {
		f(items[0])
		return
	}
	var wg sync.WaitGroup
	var panicked atomic.Value
	gate := make(chan struct{}, limit)
	for _, item := range items {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panicked.Store(fmt.Sprint(p))
				}
				<-gate
			}()
			f(item)
		})
	}
	wg.Wait()
	if p := panicked.Load(); p != nil {
		panic(p)
	}
}
