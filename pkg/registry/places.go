package registry

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/sigstore/cosign/v2/pkg/types"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// Media types that layers of signatures and attestations have; the last one is a prefix.
const (
	typeSimpleSigning = types.SimpleSigningMediaType
	typeEnvelope      = types.DssePayloadType
	prefixBundle      = "application/vnd.dev.sigstore.bundle"
)

// Other types: of a manifest whose layers are simple signatures, and of what holds nothing.
const (
	typeSignature = "application/vnd.dev.cosign.artifact.sig.v1+json"
	typeEmpty     = "application/vnd.oci.empty.v1+json"
)

// payloadLimit is the largest size of a layer of the media type, in a manifest of the artifact type; zero for a type that
// cannot be a candidate. Tools that attach any file give the type to the manifest alone.
func (a *gathering) payloadLimit(mediaType, artifactType string) int64 {
	switch {
	case mediaType == typeSimpleSigning:
		return a.limits.Signature
	case mediaType == typeEnvelope:
		return a.limits.Attestation
	case strings.HasPrefix(mediaType, prefixBundle):
		return a.limits.Bundle
	case mediaType == typeEmpty:
		return 0
	case strings.HasPrefix(artifactType, prefixBundle):
		return a.limits.Bundle
	case artifactType == typeSignature:
		return a.limits.Signature
	default:
		return 0
	}
}

// rank orders the listed manifests: what says that it is a signature, what does not say what it is, the rest. It never
// leaves one out as such, because servers and signers fill the field in differently.
func rank(d descriptor) int {
	switch t := d.ArtifactType; {
	case strings.HasPrefix(t, prefixBundle), strings.HasPrefix(t, "application/vnd.dev.cosign."), t == typeEnvelope:
		return 0
	case t == "", strings.HasPrefix(t, "application/vnd.oci."), strings.HasPrefix(t, "application/vnd.docker."):
		return 1
	default:
		return 2
	}
}

// listing is what a list of referrers said.
type listing struct {
	place     string
	entries   []json.RawMessage
	truncated bool
	fail      *failure
}

// places asks the four places at once and returns the manifests they name, each once, the likelier ones first.
func (a *gathering) places(ctx context.Context) []*manifest {
	name := "sha256-" + a.subject.Hex()
	tags := []*manifest{{place: "tag " + name + ".sig"}, {place: "tag " + name + ".att"}}
	lists := []*listing{{place: "referrers API"}, {place: "tag " + name}}
	each([]func(){
		func() { a.tagged(ctx, name+".sig", tags[0]) },
		func() { a.tagged(ctx, name+".att", tags[1]) },
		func() { a.referrers(ctx, lists[0]) },
		func() { a.fallback(ctx, name, lists[1]) },
	}, 4, func(f func()) { f() })

	var found []*manifest
	seen := map[content]bool{}
	for _, m := range tags {
		switch {
		case m.fail == nil:
			seen[content{m.digest, m.size}] = true
			found = append(found, m)
		case !m.fail.notFound():
			a.failed(image.Artifact{Place: m.place}, m.fail)
		}
	}
	return append(found, a.listed(lists, seen)...)
}

// listed returns the manifests that the lists name and that were not seen elsewhere, each once, the likelier ones first.
func (a *gathering) listed(lists []*listing, seen map[content]bool) (found []*manifest) {
	var listed []*manifest
	for _, l := range lists {
		a.out.Truncated = a.out.Truncated || l.truncated
		if l.fail != nil && !l.fail.notFound() {
			a.failed(image.Artifact{Place: l.place}, l.fail)
		}
		for _, raw := range l.entries {
			m := listedManifest(l.place, raw, a.rank)
			key := content{m.digest, m.size}
			if m.fail == nil && seen[key] {
				continue
			}
			seen[key] = true
			listed = append(listed, m)
		}
	}
	slices.SortStableFunc(listed, func(x, y *manifest) int { return x.rank - y.rank })
	if len(listed) > a.limits.Referrers {
		listed, a.out.Truncated = listed[:a.limits.Referrers], true
	}
	for _, m := range listed {
		if m.fail != nil {
			a.failed(image.Artifact{Place: m.place, ArtifactType: m.artifact}, m.fail)
			continue
		}
		found = append(found, m)
	}
	return found
}

func listedManifest(place string, raw json.RawMessage, rank func(descriptor) int) *manifest {
	broken := func(text string) *failure {
		return &failure{err: reason.New(reason.BadSignature, "a listed manifest's "+text), content: true}
	}
	var d descriptor
	if json.Unmarshal(raw, &d) != nil {
		return &manifest{place: place, rank: 3, fail: broken("descriptor is malformed")}
	}
	m := &manifest{place: place, size: d.Size, artifact: d.ArtifactType, rank: rank(d), referrer: true}
	var err error
	if m.digest, err = image.ParseDigest(d.Digest); err != nil {
		m.fail = broken("digest is " + err.Error())
	} else if d.Size < 0 {
		m.fail = broken("size is negative")
	}
	return m
}

// tagged fetches the manifest of a signature tag.
func (a *gathering) tagged(ctx context.Context, tag string, m *manifest) {
	_, m.fail = a.get(ctx, want{
		kind: KindTag, suffix: "manifests/" + tag, accept: acceptManifest, limit: a.limits.Manifest, size: -1, need: canResolve,
		check: func(r *received, url string) *failure {
			digest := image.DigestOf(r.body)
			if f := checkDigest(r, url, digest); f != nil {
				return f
			}
			doc, err := parseDocument(r.body, r.header.Get("Content-Type"), a.limits.Depth)
			if err != nil {
				return contentFailure(reason.RegistryUnavailable, url, err.Error())
			}
			m.digest, m.size, m.doc = digest, int64(len(r.body)), doc
			return nil
		},
	})
}

// fallback fetches the index that clients keep where a registry has no referrers API.
func (a *gathering) fallback(ctx context.Context, tag string, l *listing) {
	m := &manifest{}
	a.tagged(ctx, tag, m)
	switch {
	case m.fail != nil:
		l.fail = m.fail
	case !m.doc.index:
		l.fail = &failure{err: reason.New(reason.BadSignature, "not an index"), content: true}
	default:
		l.entries, l.truncated = m.doc.Manifests.list, m.doc.Manifests.cut
	}
}

// referrers reads the pages of the referrers API. What was read before a page that fails is kept.
func (a *gathering) referrers(ctx context.Context, l *listing) {
	w := want{
		kind: KindReferrers, suffix: "referrers/" + a.subject.String(), accept: acceptIndex,
		limit: a.limits.Manifest, size: -1, need: canReferrers,
	}
	for page := 1; ; page++ {
		var doc *document
		w.check = func(r *received, url string) *failure {
			d, err := parseDocument(r.body, r.header.Get("Content-Type"), a.limits.Depth)
			if err == nil && !d.index {
				err = errMediaType
			}
			if err != nil {
				return contentFailure(reason.RegistryUnavailable, url, err.Error())
			}
			if len(d.Manifests.list) == 0 && w.page == nil && nextLink(r.header.Values("Link")) == "" {
				// An empty list is no more than "none here": another host may know some.
				return &failure{err: reason.New(reason.Unsigned, "empty list"), status: 404, content: true}
			}
			doc = d
			return nil
		}
		r, f := a.get(ctx, w)
		if f != nil {
			if page > 1 && f.notFound() {
				f = contentFailure(reason.RegistryUnavailable, showURL(w.page), "a page is missing")
			}
			l.fail = f
			return
		}
		l.entries = append(l.entries, doc.Manifests.list...)
		l.truncated = l.truncated || doc.Manifests.cut
		link := nextLink(r.header.Values("Link"))
		if link == "" {
			return
		}
		if page == a.limits.Pages {
			l.truncated = true
			return
		}
		next, ok := nextPage(r.url, link)
		if !ok {
			l.fail = contentFailure(reason.RegistryUnavailable, showURL(r.url), "the next page is not this host's list")
			return
		}
		w.from, w.page = r.from, next
	}
}

// nextLink returns the target of the link to the next page.
func nextLink(values []string) string {
	for _, v := range values {
		for {
			_, rest, ok := strings.Cut(v, "<")
			if !ok {
				break
			}
			target, rest, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			params, _, _ := strings.Cut(rest, "<")
			v = rest
			for _, p := range strings.FieldsFunc(strings.ToLower(params), func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
				if p == "rel=next" || p == `rel="next"` {
					return target
				}
			}
		}
	}
	return ""
}

// nextPage resolves a link. It must stay on the host and name the same list.
func nextPage(from *url.URL, link string) (*url.URL, bool) {
	next, err := from.Parse(link)
	if err != nil || !sameOrigin(next, from) || next.User != nil {
		return nil, false
	}
	if !sameList(next, from) {
		return nil, false
	}
	next.Fragment = ""
	return next, true
}

// sameList tells whether a URL names the list of referrers that was asked for.
func sameList(next, asked *url.URL) bool {
	list := asked.Path[strings.LastIndex(asked.Path, "/referrers/"):]
	return strings.HasSuffix(next.Path, list) && !strings.Contains(strings.ToLower(next.EscapedPath()), "%2f")
}
