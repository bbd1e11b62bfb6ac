package attacks_test

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// TestT043Signatures has one good signature among very many: within the limits its place does not matter, above them the
// image is refused as undecided, and the work is bounded either way.
func TestT043Signatures(t *testing.T) {
	t.Parallel()
	s, stranger := newSigner(t), newSigner(t)
	for name, tc := range map[string]struct {
		count, place int
		code         string
	}{
		"A-36 64, first":                {64, 0, "Verified"},
		"A-36 64, last":                 {64, 63, "Verified"},
		"A-36 64, in the middle":        {64, 31, "Verified"},
		"1000, last":                    {1000, 999, "LimitReached"},
		"10000, first":                  {10000, 0, "Verified"},
		"10000, none":                   {10000, -1, "LimitReached"},
		"T-071 64 of a stranger's":      {64, -1, "BadSignature"},
		"T-071 65 of a stranger's":      {65, -1, "LimitReached"},
		"A-75 63 of a stranger's ahead": {64, 63, "Verified"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(by(t, s)))
			digest := l.PushImage(repo, "v1", nil)
			layers := make([]registrytest.Layer, tc.count)
			junk := stranger.layer(t, digest)
			for i := range layers {
				layers[i] = junk
				// Another payload, so that none is fetched for another.
				layers[i].Payload = append(bytes.Clone(junk.Payload), bytes.Repeat([]byte(" "), i%1024)...)
				if i == tc.place {
					layers[i] = s.layer(t, digest)
				}
			}
			l.AttachTag(repo, digest, "sig", layers...)
			l.ResetLog()
			want(t, l.judge(t, ":v1"), tc.code)
			if n := len(l.Log()); n > 64+8 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestT044Attestations has attestations as large as they may be and larger, and sizes that lie about them.
func TestT044Attestations(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for name, tc := range map[string]struct {
		predicate string
		fault     registrytest.Fault
		code      string
	}{
		"small":                  {`{"ok":true}`, nil, "Verified"},
		"A-39 10 MB":             {`{"ok":true,"pad":"` + strings.Repeat("x", 10<<20) + `"}`, nil, "Verified"},
		"A-39 50 MB":             {`{"ok":true,"pad":"` + strings.Repeat("x", 50<<20) + `"}`, nil, "LimitReached"},
		"A-39 deep":              {`{"ok":true,"deep":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, nil, "AttestationMissing"},
		"endless":                {`{"ok":true}`, registrytest.Endless(envelope, nil), "AttestationMissing"},
		"a gigabyte is promised": {`{"ok":true}`, registrytest.Body(http.StatusOK, envelope, nil, "Content-Length", "1073741824"), "AttestationMissing"},
		"cut":                    {`{"ok":true}`, registrytest.Truncate(), "AttestationMissing"},
		"A-76 compressed":        {`{"ok":true}`, registrytest.Header("Content-Encoding", "gzip"), "RegistryUnavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// It is about sizes: a loaded machine and the race detector may take their time.
			l := newLab(t, engine.Options{Timeout: 2 * time.Minute}, enforce(attested(t, s, provenance, `[{all: [{key: "{{ ok }}", operator: Equals, value: true}]}]`)))
			digest := l.PushImage(repo, "v1", nil)
			layer := s.statement(t, digest, provenance, tc.predicate)
			l.AttachTag(repo, digest, "att", layer)
			if tc.fault != nil {
				l.Fault(registrytest.Match{Kind: registrytest.Blob}, tc.fault)
			}
			d := l.judge(t, ":v1")
			if name == "cut" || strings.HasPrefix(name, "a giga") || name == "endless" || strings.HasPrefix(name, "A-76") {
				if d.Allowed {
					t.Error("allowed")
				}
				return
			}
			want(t, d, tc.code)
		})
	}
}

// TestT044Memory asks for a hundred images at once with endless blobs: what is held of them is bounded together.
func TestT044Memory(t *testing.T) {
	s := newSigner(t)
	l := newLab(t, engine.Options{}, enforce(by(t, s)))
	var images []string
	for i := range 40 {
		digest := l.PushImage(repo, fmt.Sprint("v", i), []byte{byte(i)})
		l.AttachTag(repo, digest, "sig", s.layer(t, digest))
		images = append(images, fmt.Sprint(":v", i))
	}
	l.Fault(registrytest.Match{Kind: registrytest.Blob}, registrytest.Endless("x/y", nil))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if d := l.judge(t, images...); d.Allowed {
		t.Error("allowed")
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 256<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
}

// TestA34Places puts things where others belong. What counts is what a thing is and which digest it is about.
func TestA34Places(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for name, tc := range map[string]struct {
		arrange func(l *lab, digest, other string)
		code    string
	}{
		"a signature behind the attestations' tag": {func(l *lab, d, _ string) { l.AttachTag(repo, d, "att", s.layer(t, d)) }, "Verified"},
		"an attestation behind the signatures' tag": {func(l *lab, d, _ string) {
			l.AttachTag(repo, d, "sig", s.statement(t, d, provenance, "{}"))
		}, "Unsigned"},
		"a referrer for another digest": {func(l *lab, d, other string) {
			m := l.AttachLayers(repo, other, bundle, registrytest.Layer{MediaType: bundle, Payload: s.bundle(t, other, signType, "{}")})
			l.EmptyReferrers()
			l.AttachFallback(repo, d, m)
		}, "DigestMismatch"},
		"a referrer whose subject lies": {func(l *lab, d, other string) {
			l.Attach(repo, d, bundle, bundle, nil, s.bundle(t, other, signType, "{}"))
		}, "DigestMismatch"},
		"an artifact type that lies": {func(l *lab, d, _ string) {
			l.Attach(repo, d, "application/spdx+json", bundle, nil, s.bundle(t, d, signType, "{}"))
		}, "Verified"},
		"T-079 a JWS envelope": {func(l *lab, d, _ string) {
			l.Attach(repo, d, "application/vnd.cncf.notary.signature", "application/jose+json", nil, []byte(`{"payload":"","signatures":[{},{}]}`))
		}, "Unsigned"},
		"T-079 a JWS with the image's own signature in it": {func(l *lab, d, _ string) {
			l.Attach(repo, d, "application/vnd.cncf.notary.signature", "application/cose", nil, payloadFor(d))
		}, "Unsigned"},
		"the signature of another image": {func(l *lab, d, other string) { l.AttachTag(repo, d, "sig", s.layer(t, other)) }, "DigestMismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(by(t, s)))
			digest, other := l.PushImage(repo, "v1", nil), l.PushImage(repo, "v2", []byte("other"))
			tc.arrange(l, digest, other)
			want(t, l.judge(t, ":v1"), tc.code)
		})
	}
}

// TestA35Index judges an index by its own digest alone, whatever its children are.
func TestA35Index(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	child := func(l *lab, content string) registrytest.Descriptor {
		d := l.PushImage(repo, "", []byte(content))
		b, mediaType := l.Get(repo, d)
		return registrytest.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
	}
	sign := func(l *lab, digest string) { l.AttachTag(repo, digest, "sig", s.layer(t, digest)) }
	for name, tc := range map[string]struct {
		arrange func(l *lab) string
		code    string
	}{
		"the index alone": {func(l *lab) string {
			d := l.PushIndex(repo, "v1", child(l, "a"), child(l, "b"))
			sign(l, d)
			return d
		}, "Verified"},
		"its children alone": {func(l *lab) string {
			a, b := child(l, "a"), child(l, "b")
			sign(l, a.Digest)
			sign(l, b.Digest)
			return l.PushIndex(repo, "v1", a, b)
		}, "Unsigned"},
		"one child alone": {func(l *lab) string {
			a := child(l, "a")
			sign(l, a.Digest)
			return l.PushIndex(repo, "v1", a, child(l, "b"))
		}, "Unsigned"},
		"pushed again with one child more": {func(l *lab) string {
			a, b := child(l, "a"), child(l, "b")
			sign(l, l.PushIndex(repo, "v1", a))
			return l.PushIndex(repo, "v1", a, b)
		}, "Unsigned"},
		"an index of indexes, ten deep": {func(l *lab) string {
			d := child(l, "a")
			for range 10 {
				digest := l.PushIndex(repo, "v1", d)
				b, mediaType := l.Get(repo, digest)
				d = registrytest.Descriptor{MediaType: mediaType, Digest: digest, Size: int64(len(b))}
			}
			sign(l, d.Digest)
			return d.Digest
		}, "Verified"},
		"one child twice": {func(l *lab) string {
			a := child(l, "a")
			d := l.PushIndex(repo, "v1", a, a)
			sign(l, d)
			return d
		}, "Verified"},
		"a child is asked for by its digest": {func(l *lab) string {
			a := child(l, "a")
			sign(l, l.PushIndex(repo, "v1", a))
			return a.Digest
		}, "Unsigned"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(by(t, s)))
			digest := tc.arrange(l)
			l.ResetLog()
			if name == "a child is asked for by its digest" {
				want(t, l.judge(t, "@"+digest), tc.code)
				return
			}
			d := l.judge(t, ":v1")
			want(t, d, tc.code)
			if got := string(d.Results[0].Digest); got != digest {
				t.Errorf("judged is %s, not the index %s", got, digest)
			}
		})
	}
}
