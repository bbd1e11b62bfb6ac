package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

const sbom = "application/vnd.example.sbom+json"

func (f *fixture) referrers(t testing.TB, types ...string) *image.Attached {
	t.Helper()
	a, err := f.client.Referrers(t.Context(), pin(t, f.Host()+"/"+repo, f.digest), types)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.Problems {
		noSecrets(t, p.Error())
	}
	return a
}

// notarize attaches a Notary signature to a digest.
func (f *fixture) notarize(digest, payload string) string {
	return f.Attach(repo, digest, image.NotarySignature, image.NotaryEnvelopeJWS, nil, []byte(payload))
}

func (f *fixture) describe(digest string) image.Descriptor {
	body, mediaType := f.Get(repo, digest)
	return image.Descriptor{MediaType: mediaType, Digest: image.Digest(digest), Size: int64(len(body))}
}

func TestReferrers(t *testing.T) {
	t.Parallel()
	for _, places := range []string{"referrers API", "fallback tag"} {
		t.Run(places, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			place := "referrers API"
			attach := func(subject, kind, mediaType, payload string) string {
				d := f.AttachLayers(repo, subject, kind, registrytest.Layer{MediaType: mediaType, Payload: []byte(payload)})
				if places != place {
					f.AttachFallback(repo, subject, d)
				}
				return d.Digest
			}
			sig := attach(f.digest, image.NotarySignature, image.NotaryEnvelopeJWS, "one")
			cose := attach(f.digest, image.NotarySignature, image.NotaryEnvelopeCOSE, "two")
			artifact := attach(f.digest, sbom, "application/json", "{}")
			own := attach(artifact, image.NotarySignature, image.NotaryEnvelopeCOSE, "three")
			attach(f.digest, bundle, bundle, "bundle")
			attach(f.digest, "application/spdx+json", "application/json", "{}")
			at := map[string]string{}
			for _, d := range []string{f.digest, artifact} {
				at[d] = place
				if places != place {
					at[d] = "tag " + registrytest.FallbackTag(d)
				}
			}
			if places != place {
				f.NoReferrersAPI()
			}
			got := f.referrers(t, image.NotarySignature, sbom)
			img := f.describe(f.digest)
			want := []image.Artifact{
				{Place: at[f.digest], Manifest: image.Digest(sig), ArtifactType: image.NotarySignature, MediaType: image.NotaryEnvelopeJWS, Payload: []byte("one"), Subject: img},
				{Place: at[f.digest], Manifest: image.Digest(cose), ArtifactType: image.NotarySignature, MediaType: image.NotaryEnvelopeCOSE, Payload: []byte("two"), Subject: img},
				{Place: at[f.digest], Manifest: image.Digest(artifact), ArtifactType: sbom, MediaType: "application/json", Payload: []byte("{}"), Subject: img,
					Attached: &image.Attached{Artifacts: []image.Artifact{{
						Place: at[artifact], Manifest: image.Digest(own), ArtifactType: image.NotarySignature, MediaType: image.NotaryEnvelopeCOSE, Payload: []byte("three"), Subject: f.describe(artifact),
					}}}},
			}
			order := func(x, y image.Artifact) int {
				return strings.Compare(x.MediaType+string(x.Payload), y.MediaType+string(y.Payload))
			}
			slices.SortFunc(want, order)
			slices.SortFunc(got.Artifacts, order)
			if d := cmp.Diff(&image.Attached{Artifacts: want}, got); d != "" {
				t.Error(d)
			}
			if n := f.Count(registrytest.Match{Kind: registrytest.Blob}); n != 4 {
				t.Errorf("%d blobs fetched, want 4", n)
			}
		})
	}
}

// What is not asked for costs nothing, and an image without signatures is not fetched.
func TestReferrersOfNoInterest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Attach(repo, f.digest, bundle, bundle, nil, []byte("bundle"))
	f.notarize(f.Attach(repo, f.digest, sbom, "application/json", nil, []byte("{}")), "one")
	if a := f.referrers(t, image.NotarySignature); len(a.Artifacts)+len(a.Problems) != 0 || a.Truncated {
		t.Errorf("%+v", a)
	}
	for _, m := range []registrytest.Match{{Kind: registrytest.Blob}, {Kind: registrytest.Manifest, Reference: f.digest}, {Reference: f.tag() + ".sig"}} {
		if n := f.Count(m); n != 0 {
			t.Errorf("%d requests %+v", n, m)
		}
	}
}

// Manifests that cannot be signatures are rejected, each for itself.
func TestReferrersRejected(t *testing.T) {
	t.Parallel()
	layer := func(mediaType, payload string) registrytest.Layer {
		return registrytest.Layer{MediaType: mediaType, Payload: []byte(payload)}
	}
	for name, tc := range map[string]struct {
		arrange func(f *fixture)
		code    reason.Code
	}{
		"no layer": {func(f *fixture) { f.AttachLayers(repo, f.digest, image.NotarySignature) }, reason.BadSignature},
		"two layers": {func(f *fixture) {
			f.AttachLayers(repo, f.digest, image.NotarySignature, layer(image.NotaryEnvelopeJWS, "a"), layer(image.NotaryEnvelopeJWS, "b"))
		}, reason.BadSignature},
		"unknown form": {func(f *fixture) { f.AttachLayers(repo, f.digest, image.NotarySignature, layer("text/plain", "a")) }, reason.BadSignature},
		"bad digest":   {func(f *fixture) { f.manifest(`"layers":[{"mediaType":"application/cose","digest":"md5:1","size":1}]`) }, reason.BadSignature},
		"negative size": {func(f *fixture) {
			f.manifest(`"layers":[{"mediaType":"application/cose","digest":"` + f.digest + `","size":-1}]`)
		}, reason.BadSignature},
		"missing layer": {func(f *fixture) {
			f.manifest(`"layers":[{"mediaType":"application/cose","digest":"` + f.digest + `","size":1}]`)
		}, reason.BadSignature},
		"T-072 other subject": {func(f *fixture) {
			d := f.AttachLayers(repo, string(image.DigestOf([]byte("other"))), image.NotarySignature, layer(image.NotaryEnvelopeJWS, "a"))
			f.AttachFallback(repo, f.digest, d)
		}, reason.DigestMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			tc.arrange(f)
			f.notarize(f.digest, "good")
			a := f.referrers(t, image.NotarySignature)
			if d := cmp.Diff([]string{"good"}, payloads(a)); d != "" {
				t.Error(d)
			}
			if bad := rejected(a); len(bad) != 1 || bad[0].Code != tc.code {
				t.Errorf("rejected: %v", bad)
			}
		})
	}
}

// manifest attaches a signature manifest with the layers.
func (f *fixture) manifest(layers string) {
	d := f.PushManifest(repo, "", ociManifest, []byte(`{"schemaVersion":2,"mediaType":"`+ociManifest+`","artifactType":"`+image.NotarySignature+
		`","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"`+f.digest+`","size":2},"subject":{"mediaType":"`+ociManifest+`","digest":"`+f.digest+`","size":2},`+layers+`}`))
	f.AttachFallback(repo, f.digest, d)
}

// T-008 and T-071: signatures without end, in number and in size.
func TestT071ReferrersLimits(t *testing.T) {
	t.Parallel()
	t.Run("size", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.notarize(f.digest, strings.Repeat("a", 1<<20))
		f.notarize(f.digest, strings.Repeat("b", 1<<20+1))
		a := f.referrers(t, image.NotarySignature)
		if got := payloads(a); len(got) != 1 || got[0][0] != 'a' {
			t.Errorf("%d payloads", len(got))
		}
		if bad := rejected(a); len(bad) != 1 || bad[0].Code != reason.LimitReached {
			t.Errorf("rejected: %v", bad)
		}
	})
	t.Run("size of an artifact", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.Attach(repo, f.digest, sbom, "application/json", nil, bytes.Repeat([]byte("a"), 16<<20))
		f.Attach(repo, f.digest, sbom, "application/json", nil, bytes.Repeat([]byte("b"), 16<<20+1))
		a := f.referrers(t, sbom)
		if got := payloads(a); len(got) != 1 || got[0][0] != 'a' {
			t.Errorf("%d payloads", len(got))
		}
	})
	for n, truncated := range map[int]bool{64: false, 65: true, 256: true, 300: true} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			for i := range n {
				f.notarize(f.digest, fmt.Sprint(i))
			}
			a := f.referrers(t, image.NotarySignature)
			if len(payloads(a)) != 64 || a.Truncated != truncated {
				t.Errorf("%d payloads, truncated %v", len(payloads(a)), a.Truncated)
			}
		})
	}
	t.Run("of artifacts", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		for i := range 8 {
			d := f.Attach(repo, f.digest, sbom, "application/json", nil, fmt.Append(nil, i))
			for k := range 40 {
				f.notarize(d, fmt.Sprint(i, k))
			}
		}
		a := f.referrers(t, sbom)
		n := 0
		for _, x := range a.Artifacts {
			n += len(payloads(x.Attached))
		}
		if len(a.Artifacts) != 8 || n != 64 || !a.Truncated {
			t.Errorf("%d artifacts with %d signatures, truncated %v", len(a.Artifacts), n, a.Truncated)
		}
	})
}

// A place that cannot be read is a problem, wherever it is, and never "none".
func TestReferrersProblems(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		match  func(f *fixture, artifact string) registrytest.Match
		fault  registrytest.Fault
		code   reason.Code
		usable bool // the image's signature all the same
	}{
		"list": {func(f *fixture, _ string) registrytest.Match {
			return registrytest.Match{Kind: registrytest.Referrers, Reference: f.digest}
		}, registrytest.Status(403, "DENIED"), reason.RegistryUnauthorized, false},
		"list of an artifact": {func(_ *fixture, a string) registrytest.Match {
			return registrytest.Match{Kind: registrytest.Referrers, Reference: a}
		}, registrytest.Status(429, ""), reason.RegistryRateLimited, true},
		"fallback": {func(f *fixture, _ string) registrytest.Match {
			return registrytest.Match{Kind: registrytest.Tag, Reference: f.tag()}
		}, registrytest.Status(503, ""), reason.RegistryUnavailable, true},
		"the image": {func(f *fixture, _ string) registrytest.Match {
			return registrytest.Match{Kind: registrytest.Manifest, Reference: f.digest}
		}, registrytest.Status(404, "MANIFEST_UNKNOWN"), reason.ImageNotFound, false},
		"the image, other bytes": {func(f *fixture, _ string) registrytest.Match {
			return registrytest.Match{Kind: registrytest.Manifest, Reference: f.digest}
		}, registrytest.FlipBit(), reason.DigestMismatch, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.notarize(f.digest, "image")
			artifact := f.Attach(repo, f.digest, sbom, "application/json", nil, []byte("{}"))
			f.notarize(artifact, "artifact")
			f.Fault(tc.match(f, artifact), tc.fault)
			a := f.referrers(t, image.NotarySignature, sbom)
			if len(a.Problems) != 1 || reason.Of(a.Problems[0]).Code != tc.code {
				t.Errorf("problems: %v", a.Problems)
			}
			if got := slices.Contains(payloads(a), "image"); got != tc.usable {
				t.Errorf("the image's signature: %v", got)
			}
		})
	}
}

func TestReferrersCancelled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a, err := f.client.Referrers(ctx, pin(t, f.Host()+"/"+repo, f.digest), []string{sbom}); err == nil || a != nil {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := f.client.Referrers(t.Context(), image.Pinned{}, nil); err == nil {
		t.Error("no image, and no error")
	}
}

// Addresses in certificates do not lead into the machine or the cloud's metadata service.
func TestOutside(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	client := registry.Outside("test")
	for _, address := range []string{"http://" + f.Host(), "http://localhost:1", "http://169.254.169.254/", "http://[fe80::1]/", "http://0.0.0.0:1", "http://[::ffff:127.0.0.1]:1"} {
		resp, err := client.Get(address)
		if err == nil {
			resp.Body.Close()
			t.Errorf("%s answers", address)
			continue
		}
		if !strings.Contains(err.Error(), "address refused") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if n := len(f.Log()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// VI 6.11(2): tools that attach any file call only the manifest a signature. What is empty or of another type is none.
func TestTypeOfManifest(t *testing.T) {
	t.Parallel()
	const bundle, plain, empty = "application/vnd.dev.sigstore.bundle.v0.3+json", "application/octet-stream", "application/vnd.oci.empty.v1+json"
	f := newFixture(t)
	f.Attach(repo, f.digest, bundle, plain, nil, []byte("bundle"))
	f.Attach(repo, f.digest, "application/vnd.dev.cosign.artifact.sig.v1+json", plain, nil, []byte("payload"))
	f.Attach(repo, f.digest, bundle, empty, nil, []byte("{}"))
	f.Attach(repo, f.digest, "application/spdx+json", plain, nil, []byte("no bundle"))
	f.Attach(repo, f.digest, bundle, plain, nil, make([]byte, 1<<20+1))
	a := f.attached(t, context.Background())
	if diff := cmp.Diff([]string{"bundle", "payload"}, payloads(a), cmpopts.SortSlices(strings.Compare)); diff != "" || len(a.Problems) > 0 {
		t.Error(diff, a.Problems)
	}
	var rejected []reason.Code
	for _, x := range a.Artifacts {
		if x.Err != nil {
			rejected = append(rejected, reason.Of(x.Err).Code)
		}
	}
	if diff := cmp.Diff([]reason.Code{reason.LimitReached}, rejected); diff != "" {
		t.Error(diff)
	}
}

// A registry may keep its lists of referrers elsewhere: a redirect to the same list is followed.
func TestReferrersElsewhere(t *testing.T) {
	t.Parallel()
	f, other := newFixture(t), registrytest.New(t)
	list := "/v2/" + repo + "/referrers/" + f.digest
	f.Attach(repo, f.digest, "application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle.v0.3+json", nil, []byte("bundle"))
	other.Fault(registrytest.Match{Kind: registrytest.Referrers}, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, f.URL()+list+"?moved", http.StatusTemporaryRedirect)
	})
	f.Fault(registrytest.Match{Kind: registrytest.Referrers}, registrytest.Unless(func(r *http.Request) bool { return r.URL.RawQuery != "" },
		registrytest.Redirect(http.StatusTemporaryRedirect, other.URL()+list)))
	if a := f.attached(t, context.Background()); len(a.Artifacts) != 1 || len(a.Problems) > 0 {
		t.Errorf("%+v", a)
	}
}
