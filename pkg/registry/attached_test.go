package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

const repo = "acme/app"

// fixture is a registry with one image and a client.
type fixture struct {
	*registrytest.Server
	client *registry.Client
	digest string
}

func newFixture(t testing.TB) *fixture {
	s := registrytest.New(t)
	return &fixture{Server: s, client: newClient(t, registry.Options{Limits: registry.Limits{Pause: time.Millisecond}}), digest: s.PushImage(repo, "v1", nil)}
}

func (f *fixture) attached(t testing.TB, ctx context.Context) *image.Attached {
	t.Helper()
	a, err := f.client.Attached(ctx, pin(t, f.Host()+"/"+repo, f.digest), image.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range a.Artifacts {
		if x.Err != nil {
			noSecrets(t, x.Err.Error())
			if len(x.Payload) > 0 {
				t.Error("an artifact with both an error and a payload")
			}
		}
	}
	for _, p := range a.Problems {
		noSecrets(t, p.Error())
	}
	return a
}

func (f *fixture) tag() string { return registrytest.FallbackTag(f.digest) }

// payloads returns the payloads of the usable artifacts.
func payloads(a *image.Attached) []string {
	var list []string
	for _, x := range a.Artifacts {
		if x.Err == nil {
			list = append(list, string(x.Payload))
		}
	}
	return list
}

// rejected returns the code and text of each artifact with an error.
func rejected(a *image.Attached) []*reason.Error {
	var list []*reason.Error
	for _, x := range a.Artifacts {
		if x.Err != nil {
			list = append(list, reason.Of(x.Err))
		}
	}
	return list
}

func sorted() cmp.Option { return cmpopts.SortSlices(func(a, b string) bool { return a < b }) }

func TestAttached(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	sig := f.AttachTag(repo, f.digest, "sig",
		registrytest.Layer{MediaType: simpleSigning, Annotations: map[string]string{"dev.cosignproject.cosign/signature": "one"}, Payload: []byte("same")},
		registrytest.Layer{MediaType: simpleSigning, Annotations: map[string]string{"dev.cosignproject.cosign/signature": "two"}, Payload: []byte("same")})
	att := f.AttachTag(repo, f.digest, "att", registrytest.Layer{MediaType: envelope, Payload: []byte("attestation")})
	ref := f.Attach(repo, f.digest, bundle, bundle, map[string]string{"a": "b"}, []byte("bundle"))
	f.Attach(repo, f.digest, "application/vnd.cncf.notary.signature", "application/jose+json", nil, []byte("notary"))
	f.Attach(repo, f.digest, "application/spdx+json", "application/spdx+json", nil, []byte("sbom"))
	old := f.AttachLayers(repo, f.digest, bundle, registrytest.Layer{MediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1", Payload: []byte("old bundle")})
	f.AttachFallback(repo, f.digest, old)
	a := f.attached(t, context.Background())
	const config = "application/vnd.oci.image.config.v1+json"
	want := &image.Attached{Artifacts: []image.Artifact{
		{Place: "tag " + f.tag() + ".sig", Manifest: image.Digest(sig), ArtifactType: config, MediaType: simpleSigning,
			Annotations: map[string]string{"dev.cosignproject.cosign/signature": "one"}, Payload: []byte("same")},
		{Place: "tag " + f.tag() + ".sig", Manifest: image.Digest(sig), ArtifactType: config, MediaType: simpleSigning,
			Annotations: map[string]string{"dev.cosignproject.cosign/signature": "two"}, Payload: []byte("same")},
		{Place: "tag " + f.tag() + ".att", Manifest: image.Digest(att), ArtifactType: config, MediaType: envelope, Payload: []byte("attestation")},
		{Place: "referrers API", Manifest: image.Digest(ref), ArtifactType: bundle, MediaType: bundle, Annotations: map[string]string{"a": "b"}, Payload: []byte("bundle")},
		{Place: "referrers API", Manifest: image.Digest(old.Digest), ArtifactType: bundle, MediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1", Payload: []byte("old bundle")},
	}}
	if diff := cmp.Diff(want, a, cmpopts.SortSlices(func(x, y image.Artifact) bool {
		return x.Place+string(x.Payload)+fmt.Sprint(x.Annotations) < y.Place+string(y.Payload)+fmt.Sprint(y.Annotations)
	})); diff != "" {
		t.Error(diff)
	}
	// Equal content is fetched once, and what cannot be a signature not at all.
	seen := map[string]int{}
	for _, e := range f.Log() {
		seen[e.Kind+" "+e.Reference]++
	}
	for k, n := range seen {
		if n != 1 {
			t.Errorf("%d requests for %s", n, k)
		}
	}
	if n := f.Count(registrytest.Match{Kind: registrytest.Blob}); n != 4 {
		t.Errorf("%d blobs fetched, want 4", n)
	}
}

func TestNothingAttached(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*fixture){
		"referrers API":    func(*fixture) {},
		"no referrers API": func(f *fixture) { f.NoReferrersAPI() },
		"empty list":       func(f *fixture) { f.EmptyReferrers() },
		"405 for referrers": func(f *fixture) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, registrytest.Status(405, ""))
		},
		"501 for referrers": func(f *fixture) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, registrytest.Status(501, ""))
		},
		"a web site for referrers": func(f *fixture) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, registrytest.Redirect(303, "https://site.invalid/packages/acme%2Fapp%2Freferrers%2Fsha256"))
		},
		"a web site for the very list": func(f *fixture) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				http.Redirect(w, r, "https://site.invalid/packages/"+url.PathEscape(strings.TrimPrefix(r.URL.Path, "/v2/")), http.StatusSeeOther)
			})
		},
		"unknown to everything": func(f *fixture) { f.Fault(registrytest.Match{}, registrytest.Status(404, "NAME_UNKNOWN")) },
	}
	for name, arrange := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			arrange(f)
			if diff := cmp.Diff(&image.Attached{}, f.attached(t, context.Background())); diff != "" {
				t.Error(diff)
			}
			if n := len(f.Log()); n != 4 {
				t.Errorf("%d requests, want 4", n)
			}
		})
	}
}

// VI 6.11(1): the fallback tag counts also when the API answers, even with an empty list.
func TestFallbackTag(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(*fixture){
		"no API":     func(f *fixture) { f.NoReferrersAPI() },
		"empty list": func(f *fixture) { f.EmptyReferrers() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			d := f.AttachLayers(repo, f.digest, bundle, registrytest.Layer{MediaType: bundle, Payload: []byte("bundle")})
			d.ArtifactType = ""
			f.AttachFallback(repo, f.digest, d)
			arrange(f)
			a := f.attached(t, context.Background())
			if diff := cmp.Diff([]string{"bundle"}, payloads(a)); diff != "" || len(a.Problems) > 0 {
				t.Error(diff, a.Problems)
			}
			if a.Artifacts[0].Place != "tag "+f.tag() {
				t.Errorf("place %q", a.Artifacts[0].Place)
			}
		})
	}
}

func TestOtherRepository(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Attach(repo, f.digest, bundle, bundle, nil, []byte("here"))
	f.Attach("acme/signatures", f.digest, bundle, bundle, nil, []byte("there"))
	f.AttachTag("acme/signatures", f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("tagged there")})
	a, err := f.client.Attached(context.Background(), pin(t, f.Host()+"/"+repo, f.digest), parse(t, f.Host()+"/acme/signatures"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"tagged there", "there"}, payloads(a)); diff != "" {
		t.Error(diff)
	}
	if n := f.Count(registrytest.Match{Repository: repo}); n != 0 {
		t.Errorf("%d requests to the image's own repository", n)
	}
}

// Round trips: the places at once, then the manifests at once, then the layers at once.
func TestDepth(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("sig")})
	f.Attach(repo, f.digest, bundle, bundle, nil, []byte("one"))
	f.Attach(repo, f.digest, bundle, bundle, nil, []byte("two"))
	gate := f.Gate()
	type result struct {
		a   *image.Attached
		err error
	}
	done := make(chan result, 1)
	ref := parse(t, f.Host()+"/"+repo+":v1")
	go func() {
		p, err := f.client.Resolve(context.Background(), ref)
		if err != nil {
			done <- result{nil, err}
			return
		}
		a, err := f.client.Attached(context.Background(), p, image.Ref{})
		done <- result{a, err}
	}()
	gate.Step(1) // the tag
	gate.Step(4) // the places
	gate.Step(2) // two referrers; the manifest of the tag is there already
	gate.Step(3) // their layers
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	if diff := cmp.Diff([]string{"one", "sig", "two"}, payloads(r.a), sorted()); diff != "" {
		t.Error(diff)
	}
	if n := len(f.Log()); n != 10 {
		t.Errorf("%d requests, want 10", n)
	}
}

// T-002 and A-47: what is there but not what it should be rejects that one candidate.
func TestA47RejectedContent(t *testing.T) {
	t.Parallel()
	descriptor := func(s string) registrytest.Fault {
		return registrytest.Body(200, ociIndex, []byte(`{"schemaVersion":2,"mediaType":"`+ociIndex+`","manifests":[`+s+`]}`))
	}
	hex64 := strings.Repeat("a", 64)
	cases := map[string]struct {
		arrange func(f *fixture, manifest string, payload string)
		code    reason.Code
		text    string
	}{
		"referrer manifest, other bytes": {func(f *fixture, m, _ string) {
			f.Fault(registrytest.Match{Reference: m}, registrytest.FlipBit())
		}, reason.DigestMismatch, "digest asked for"},
		"referrer manifest, another one": {func(f *fixture, m, _ string) {
			f.Fault(registrytest.Match{Reference: m}, registrytest.As(f.digest))
		}, reason.DigestMismatch, ""},
		"referrer manifest, lying header": {func(f *fixture, m, _ string) {
			f.Fault(registrytest.Match{Reference: m}, registrytest.Header("Docker-Content-Digest", f.digest))
		}, reason.DigestMismatch, "header"},
		"referrer manifest missing": {func(f *fixture, m, _ string) {
			f.Fault(registrytest.Match{Reference: m}, registrytest.Status(404, "MANIFEST_UNKNOWN"))
		}, reason.BadSignature, "listed but missing"},
		"referrer manifest of another type": {func(f *fixture, m, _ string) {
			f.Fault(registrytest.Match{Reference: m}, registrytest.Header("Content-Type", ociIndex))
		}, reason.BadSignature, "media type"},
		"blob, other bytes": {func(f *fixture, _, p string) {
			f.Fault(registrytest.Match{Reference: p}, registrytest.FlipBit())
		}, reason.DigestMismatch, "digest and size"},
		"blob missing": {func(f *fixture, _, p string) {
			f.Fault(registrytest.Match{Reference: p}, registrytest.Status(404, "BLOB_UNKNOWN"))
		}, reason.BadSignature, "BLOB_UNKNOWN"},
		"blob longer than described": {func(f *fixture, _, p string) {
			f.Fault(registrytest.Match{Reference: p}, registrytest.Body(200, "x/y", []byte("bundle and more")))
		}, reason.DigestMismatch, "size"},
		"blob without end": {func(f *fixture, _, p string) {
			f.Fault(registrytest.Match{Reference: p}, registrytest.Endless("x/y", nil))
		}, reason.DigestMismatch, "larger"},
		"blob shorter than described": {func(f *fixture, _, p string) {
			f.Fault(registrytest.Match{Reference: p}, registrytest.Body(200, "x/y", []byte("bun")))
		}, reason.DigestMismatch, "size"},
		"list says another size": {func(f *fixture, m, _ string) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, descriptor(`{"digest":"`+m+`","size":3}`))
		}, reason.DigestMismatch, "size"},
		"sha512": {func(f *fixture, _, _ string) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, descriptor(`{"digest":"sha512:`+hex64+hex64+`","size":3}`))
		}, reason.BadSignature, "sha256"},
		"upper case": {func(f *fixture, m, _ string) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, descriptor(`{"digest":"sha256:`+strings.ToUpper(m[7:])+`","size":3}`))
		}, reason.BadSignature, "sha256"},
		"63 digits": {func(f *fixture, _, _ string) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, descriptor(`{"digest":"sha256:`+hex64[1:]+`","size":3}`))
		}, reason.BadSignature, "sha256"},
		"negative size": {func(f *fixture, m, _ string) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, descriptor(`{"digest":"`+m+`","size":-1}`))
		}, reason.BadSignature, "negative"},
		"descriptor of another form": {func(f *fixture, _, _ string) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, descriptor(`{"digest":1},{"annotations":{"a":[]}}`))
		}, reason.BadSignature, "malformed"},
		"path instead of a digest": {func(f *fixture, _, _ string) {
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, descriptor(`{"digest":"../../../secret","size":1}`))
		}, reason.BadSignature, "sha256"},
		"signature tag, lying header": {func(f *fixture, _, _ string) {
			f.EmptyReferrers()
			f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("x")})
			f.Fault(registrytest.Match{Kind: registrytest.Tag, Reference: f.tag() + ".sig"}, registrytest.Header("Docker-Content-Digest", f.digest))
		}, reason.DigestMismatch, "tag sha256-"},
		"signature tag holds an index": {func(f *fixture, _, _ string) {
			f.EmptyReferrers()
			f.PushIndex(repo, f.tag()+".sig")
		}, reason.BadSignature, "unusable form"},
		"fallback tag holds a manifest": {func(f *fixture, _, _ string) {
			f.EmptyReferrers()
			f.Tag(repo, f.tag(), f.digest)
		}, reason.BadSignature, "not an index"},
		"signature tag too large": {func(f *fixture, _, _ string) {
			f.EmptyReferrers()
			f.Fault(registrytest.Match{Kind: registrytest.Tag, Reference: f.tag() + ".sig"},
				registrytest.Body(200, ociManifest, []byte(strings.Repeat(" ", 4<<20+1))))
		}, reason.LimitReached, "limit"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			payload := []byte("bundle")
			m := f.Attach(repo, f.digest, bundle, bundle, nil, payload)
			tc.arrange(f, m, registrytest.DigestOf(payload))
			a := f.attached(t, within(t, 2*time.Minute))
			bad := rejected(a)
			if len(bad) == 0 || len(payloads(a)) > 0 || len(a.Problems) > 0 {
				t.Fatalf("got %+v, want only rejected artifacts", a)
			}
			if bad[0].Code != tc.code || !strings.Contains(bad[0].Text, tc.text) {
				t.Errorf("got %s %q, want %s with %q", bad[0].Code, bad[0].Text, tc.code, tc.text)
			}
			// None of them is worth a second request.
			if n := f.Count(registrytest.Match{Kind: registrytest.Manifest, Reference: m}); n > 1 {
				t.Errorf("the manifest was asked for %d times", n)
			}
		})
	}
}

// VI 6.11(7): a broken candidate never stops the others, and a false description never spoils a true one.
func TestBrokenNeighbours(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.AttachLayers(repo, f.digest, bundle, registrytest.Layer{MediaType: bundle, Payload: []byte("good")})
	f.Attach(repo, string(image.DigestOf([]byte("another"))), bundle, bundle, nil, []byte("of another image"))
	foreign := f.AttachLayers(repo, string(image.DigestOf([]byte("another"))), bundle, registrytest.Layer{MediaType: bundle, Payload: []byte("of another image")})
	lying := good
	lying.Size++
	f.AttachFallback(repo, f.digest, lying, registrytest.Descriptor{Digest: "sha256:zz"}, foreign)
	// A manifest that gives the good payload's digest with another size, ahead of the good one.
	blob := registrytest.DigestOf([]byte("good"))
	liar := `{"schemaVersion":2,"mediaType":"` + ociManifest + `","artifactType":"` + bundle + `","config":{},"layers":[7,` +
		`{"mediaType":"` + bundle + `","digest":"` + blob + `","size":3},{"mediaType":"` + bundle + `","digest":"` + strings.ToUpper(blob) + `","size":4}],` +
		`"subject":{"mediaType":"` + ociManifest + `","digest":"` + f.digest + `","size":2}}`
	d := f.PushManifest(repo, "", "application/octet-stream", []byte(liar))
	f.AttachFallback(repo, f.digest, d)
	a := f.attached(t, within(t, 2*time.Minute))
	if diff := cmp.Diff([]string{"good"}, payloads(a)); diff != "" {
		t.Error(diff)
	}
	var codes []string
	for _, e := range rejected(a) {
		codes = append(codes, string(e.Code))
	}
	want := []string{"BadSignature", "BadSignature", "BadSignature", "DigestMismatch", "DigestMismatch", "DigestMismatch"}
	if diff := cmp.Diff(want, codes, sorted()); diff != "" {
		t.Errorf("%s\n%v", diff, rejected(a))
	}
	if len(a.Problems) > 0 || a.Truncated {
		t.Errorf("got %+v", a)
	}
}

// A referrer that names no subject, or another one, is no candidate and says so.
func TestSubject(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := f.AttachLayers(repo, string(image.DigestOf([]byte("other"))), bundle, registrytest.Layer{MediaType: bundle, Payload: []byte("a")})
	sbom := f.AttachLayers(repo, string(image.DigestOf([]byte("other"))), "application/spdx+json", registrytest.Layer{MediaType: "application/spdx+json", Payload: []byte("b")})
	f.AttachFallback(repo, f.digest, other, sbom)
	a := f.attached(t, context.Background())
	bad := rejected(a)
	if len(a.Artifacts) != 1 || len(bad) != 1 || bad[0].Code != reason.DigestMismatch || !strings.Contains(bad[0].Text, "subject names another digest") {
		t.Errorf("got %+v", a)
	}
	if n := f.Count(registrytest.Match{Kind: registrytest.Blob}); n != 0 {
		t.Errorf("%d blobs fetched", n)
	}
}

// A place that cannot be read is a problem, never "unsigned", and does not stop the others.
func TestUnreadablePlaces(t *testing.T) {
	t.Parallel()
	faults := map[string]struct {
		fault registrytest.Fault
		code  reason.Code
	}{
		"401":       {registrytest.Status(401, "UNAUTHORIZED"), reason.RegistryUnauthorized},
		"403":       {registrytest.Status(403, "DENIED"), reason.RegistryUnauthorized},
		"400":       {registrytest.Status(400, "UNSUPPORTED"), reason.RegistryUnavailable},
		"429":       {registrytest.Status(429, ""), reason.RegistryRateLimited},
		"503":       {registrytest.Status(503, ""), reason.RegistryUnavailable},
		"HTML":      {registrytest.Body(200, "text/html", []byte("<html>secret")), reason.RegistryUnavailable},
		"not JSON":  {registrytest.Body(200, ociIndex, []byte("secret")), reason.RegistryUnavailable},
		"truncated": {registrytest.Truncate(), reason.RegistryUnavailable},
		"loop":      {registrytest.Redirect(302, "/v2/loop"), reason.RegistryUnavailable},
	}
	places := map[string]func(f *fixture) registrytest.Match{
		"signature tag":   func(f *fixture) registrytest.Match { return registrytest.Match{Reference: f.tag() + ".sig"} },
		"attestation tag": func(f *fixture) registrytest.Match { return registrytest.Match{Reference: f.tag() + ".att"} },
		"fallback tag":    func(f *fixture) registrytest.Match { return registrytest.Match{Reference: f.tag()} },
		"referrers API":   func(f *fixture) registrytest.Match { return registrytest.Match{Kind: registrytest.Referrers} },
	}
	for place, match := range places {
		for name, tc := range faults {
			t.Run(place+"/"+name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("signature")})
				f.AttachTag(repo, f.digest, "att", registrytest.Layer{MediaType: envelope, Payload: []byte("attestation")})
				f.Attach(repo, f.digest, bundle, bundle, nil, []byte("bundle"))
				f.AttachFallback(repo, f.digest)
				f.Fault(registrytest.Match{Kind: "other"}, registrytest.Redirect(302, "/v2/loop"))
				f.Fault(match(f), tc.fault)
				a := f.attached(t, within(t, 2*time.Minute))
				if len(a.Problems) != 1 || len(rejected(a)) > 0 {
					t.Fatalf("problems %v, rejected %v", a.Problems, rejected(a))
				}
				wantReason(t, a.Problems[0], tc.code, false)
				want := 2
				if place == "fallback tag" {
					want = 3
				}
				if n := len(payloads(a)); n != want {
					t.Errorf("%d candidates, want %d", n, want)
				}
			})
		}
	}
}

// The same for content that a place names: a transport problem does not make the candidate a bad one.
func TestUnreadableContent(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{registrytest.Manifest, registrytest.Blob} {
		for name, tc := range map[string]struct {
			fault registrytest.Fault
			code  reason.Code
		}{
			"403": {registrytest.Status(403, "DENIED"), reason.RegistryUnauthorized},
			"429": {registrytest.Status(429, ""), reason.RegistryRateLimited},
			"500": {registrytest.Status(500, ""), reason.RegistryUnavailable},
			"206": {registrytest.Status(206, ""), reason.RegistryUnavailable},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("good")})
				m := f.Attach(repo, f.digest, bundle, bundle, nil, []byte("bundle"))
				ref := m
				if kind == registrytest.Blob {
					ref = registrytest.DigestOf([]byte("bundle"))
				}
				f.Fault(registrytest.Match{Kind: kind, Reference: ref}, tc.fault)
				a := f.attached(t, within(t, 2*time.Minute))
				if len(a.Problems) != 1 {
					t.Fatalf("got %+v", a)
				}
				wantReason(t, a.Problems[0], tc.code, false)
				if diff := cmp.Diff([]string{"good"}, payloads(a)); diff != "" || len(rejected(a)) > 0 {
					t.Error(diff, rejected(a))
				}
			})
		}
	}
}
