package registry

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// The stages of Referrers and their shares of the time allowed. What is signed is looked for first, its signatures
// afterwards.
const (
	listsShare   = 0.3
	openShare    = 0.45
	signedShare  = 0.6
	subjectShare = 0.8
)

// Referrers returns what refers to the image and is of one of the artifact types: Notary signatures of the image, when
// image.NotarySignature is among the types, and artifacts of other types with the Notary signatures that refer to them
// in turn. It asks the referrers API and the fallback tag. Each referrer must have exactly one layer, and name what it
// refers to as its subject.
//
// Artifacts, problems and errors are as with Attached; problems and limits met with an artifact's signatures are those of
// the answer too. When there are signatures of the image, its manifest is fetched for the Subject that they must name.
func (c *Client) Referrers(ctx context.Context, p image.Pinned, types []string) (*image.Attached, error) {
	if p.Ref().IsZero() || p.Digest() == "" {
		return nil, errors.New("referrers: no image digest")
	}
	session := c.session(p.Ref())
	top := newReferred(session, c.shared.limits, image.Descriptor{Digest: p.Digest()}, types)
	top.limits.Payloads = c.shared.limits.Payloads / 4 * 3
	stage := stages(ctx)
	listsCtx, cancel := stage(listsShare)
	manifests := top.list(listsCtx)
	cancel()
	openCtx, cancel := stage(openShare)
	top.open(openCtx, manifests)
	cancel()
	top.choose(manifests)

	signed := top.signed(c.shared.limits)
	signedCtx, cancel := stage(signedShare)
	manifestsOf := make([][]*manifest, len(signed))
	each(indexesOf(signed), top.limits.PerHost, func(i int) { manifestsOf[i] = signed[i].list(signedCtx) })
	cancel()
	subjectCtx, cancel := stage(subjectShare)
	steps := []func(){func() { top.identify(subjectCtx) }}
	for i, one := range signed {
		steps = append(steps, func() { one.open(subjectCtx, manifestsOf[i]) })
	}
	each(steps, top.limits.PerHost, func(f func()) { f() })
	cancel()
	payloadsCtx, cancel := stage(payloadsShare)
	steps = []func(){func() { top.fetch(payloadsCtx, top.chosen) }}
	for i, one := range signed {
		one.choose(manifestsOf[i])
		steps = append(steps, func() { one.fetch(payloadsCtx, one.chosen) })
	}
	each(steps, top.limits.PerHost, func(f func()) { f() })
	cancel()
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	for _, one := range signed {
		top.out.Problems = append(top.out.Problems, one.out.Problems...)
		top.out.Truncated = top.out.Truncated || one.out.Truncated
	}
	return top.out, nil
}

func indexesOf[T any](list []T) []int {
	indexes := make([]int, len(list))
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}

// referred is what refers to one manifest.
type referred struct {
	*gathering
	what   image.Descriptor
	types  []string
	chosen []*layer
}

func newReferred(s *session, limits Limits, what image.Descriptor, types []string) *referred {
	r := &referred{what: what, types: types}
	r.gathering = &gathering{
		session: s, limits: limits, subject: what.Digest, out: &image.Attached{}, seen: map[problemKey]bool{},
		rank: func(d descriptor) int {
			switch {
			case slices.Contains(types, d.ArtifactType):
				return 0
			case d.ArtifactType == "":
				return 1
			}
			return 2
		},
	}
	return r
}

// list asks both places for the manifests that refer to the subject.
func (r *referred) list(ctx context.Context) []*manifest {
	name := "sha256-" + r.subject.Hex()
	lists := []*listing{{place: "referrers API"}, {place: "tag " + name}}
	each([]func(){
		func() { r.referrers(ctx, lists[0]) },
		func() { r.fallback(ctx, name, lists[1]) },
	}, 2, func(f func()) { f() })
	return r.listed(lists, map[content]bool{})
}

// choose takes the layers of the manifests that are of the types.
func (r *referred) choose(manifests []*manifest) {
	var sum int64
	for _, m := range manifests {
		if m.fail != nil {
			r.failed(image.Artifact{Place: m.place, Manifest: m.digest, ArtifactType: m.artifact}, m.fail)
			continue
		}
		l := r.layer(m)
		switch {
		case l == nil:
			continue
		case len(r.chosen) == r.limits.Candidates || sum+l.size > r.limits.Payloads:
			r.out.Truncated = true
			continue
		}
		sum += l.size
		r.chosen = append(r.chosen, l)
	}
}

// layer is the only layer of a manifest of one of the types; nil for a manifest of another type.
func (r *referred) layer(m *manifest) *layer {
	art := image.Artifact{Place: m.place, Manifest: m.digest, ArtifactType: m.doc.ArtifactType, Subject: r.what}
	if art.ArtifactType == "" && m.doc.Config != nil {
		art.ArtifactType = m.doc.Config.MediaType
	}
	if m.doc.index || !slices.Contains(r.types, art.ArtifactType) {
		return nil
	}
	reject := func(code reason.Code, text string) *layer {
		art.Err = reason.New(code, m.place+": "+m.digest.String()+": "+text)
		return &layer{artifact: art}
	}
	if m.doc.Subject == nil || m.doc.Subject.Digest != r.subject.String() {
		return reject(reason.DigestMismatch, "its subject names another digest")
	}
	if len(m.doc.Layers.list) != 1 {
		return reject(reason.BadSignature, "it does not have exactly one layer")
	}
	var d descriptor
	if json.Unmarshal(m.doc.Layers.list[0], &d) != nil {
		return reject(reason.BadSignature, "its layer's descriptor is malformed")
	}
	art.MediaType, art.Annotations = d.MediaType, d.Annotations
	limit := r.limits.Attestation
	if art.ArtifactType == image.NotarySignature {
		limit = r.envelopeLimit(d.MediaType)
	}
	digest, err := image.ParseDigest(d.Digest)
	switch {
	case limit == 0:
		return reject(reason.BadSignature, "its layer is of no known form of a Notary signature")
	case err != nil:
		return reject(reason.BadSignature, "its layer's digest is "+err.Error())
	case d.Size < 0:
		return reject(reason.BadSignature, "its layer's size is negative")
	case d.Size > limit:
		return reject(reason.LimitReached, "its layer is larger than the limit")
	}
	return &layer{artifact: art, digest: digest, size: d.Size, of: m}
}

// envelopeLimit is the largest size of a Notary signature, which has its certificates with it as a bundle does; zero for a
// media type that none has.
func (r *referred) envelopeLimit(mediaType string) int64 {
	switch mediaType {
	case image.NotaryEnvelopeJWS, image.NotaryEnvelopeCOSE:
		return r.limits.Bundle
	}
	return 0
}

// signed are the chosen artifacts that need signatures of their own. Together they may cost as much as the signatures of
// one image.
func (r *referred) signed(limits Limits) (list []*referred) {
	var subjects []*layer
	for _, l := range r.chosen {
		if l.artifact.Err == nil && l.artifact.ArtifactType != image.NotarySignature {
			subjects = append(subjects, l)
		}
	}
	if n := len(subjects); n > 0 {
		limits.Referrers = max(1, limits.Referrers/n)
		limits.Candidates = max(1, limits.Candidates/n)
		limits.Pages = max(1, limits.Pages/n)
		limits.Payloads = max(1, limits.Payloads/4/int64(n))
	}
	for _, l := range subjects {
		what := image.Descriptor{MediaType: l.of.doc.kind, Digest: l.of.digest, Size: l.of.size}
		one := newReferred(r.session, limits, what, []string{image.NotarySignature})
		l.artifact.Attached = one.out
		list = append(list, one)
	}
	return list
}

// identify describes the image to those who signed it. Signatures of what cannot be described are left out; the problem
// stands for them.
func (r *referred) identify(ctx context.Context) {
	signature := func(l *layer) bool { return l.artifact.Err == nil && l.artifact.ArtifactType == image.NotarySignature }
	if !slices.ContainsFunc(r.chosen, signature) {
		return
	}
	_, f := r.get(ctx, want{
		kind: KindManifest, suffix: "manifests/" + r.subject.String(), accept: acceptManifest,
		limit: r.limits.Manifest, size: -1, need: canPull,
		check: func(got *received, url string) *failure {
			if f := checkDigest(got, url, r.subject); f != nil {
				return f
			}
			doc, err := parseDocument(got.body, got.header.Get("Content-Type"), r.limits.Depth)
			if err != nil {
				return contentFailure(reason.RegistryUnavailable, url, err.Error())
			}
			r.what.MediaType, r.what.Size = doc.kind, int64(len(got.body))
			return nil
		},
	})
	if f != nil {
		r.out.Problems = append(r.out.Problems, missing(f, "image not found"))
		r.chosen = slices.DeleteFunc(r.chosen, signature)
		return
	}
	for _, l := range r.chosen {
		l.artifact.Subject = r.what
	}
}
