package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// The sizes of payloads, at the limit and one above.
func TestPayloadSizes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mediaType string
		limit     int
	}{
		"simple signing": {simpleSigning, 64 << 10},
		"bundle":         {bundle, 1 << 20},
		"attestation":    {envelope, 16 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			at, above := bytes.Repeat([]byte("a"), tc.limit), bytes.Repeat([]byte("b"), tc.limit+1)
			f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: tc.mediaType, Payload: at}, registrytest.Layer{MediaType: tc.mediaType, Payload: above})
			a := f.attached(t, context.Background())
			if len(a.Artifacts) != 2 || !bytes.Equal(a.Artifacts[0].Payload, at) {
				t.Fatalf("%d artifacts", len(a.Artifacts))
			}
			if bad := rejected(a); len(bad) != 1 || bad[0].Code != reason.LimitReached {
				t.Errorf("rejected: %v", bad)
			}
			if n := f.Count(registrytest.Match{Kind: registrytest.Blob}); n != 1 {
				t.Errorf("%d blobs asked for", n)
			}
		})
	}
}

// T-043: layers of one manifest. Only those that may be signatures count.
func TestT043LayersPerManifest(t *testing.T) {
	t.Parallel()
	for n, truncated := range map[int]bool{64: false, 65: true, 2000: true} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.AttachTag(repo, f.digest, "sig", append(layers(n, simpleSigning, "s"), layers(100, "text/plain", "t")...)...)
			a := f.attached(t, context.Background())
			if len(payloads(a)) != 64 || a.Truncated != truncated {
				t.Errorf("%d candidates, truncated %v", len(payloads(a)), a.Truncated)
			}
		})
	}
}

func layers(n int, mediaType, prefix string) []registrytest.Layer {
	list := make([]registrytest.Layer, n)
	for i := range list {
		list[i] = registrytest.Layer{MediaType: mediaType, Payload: fmt.Appendf(nil, "%s%d", prefix, i)}
	}
	return list
}

// junk ahead does not push out what is behind it, whichever place is full of it.
func TestA52A75FairOrder(t *testing.T) {
	t.Parallel()
	cases := map[string]func(f *fixture){
		"60 junk referrers": func(f *fixture) {
			for _, l := range layers(60, bundle, "junk") {
				f.AttachLayers(repo, f.digest, bundle, l)
			}
			f.Attach(repo, f.digest, bundle, bundle, nil, []byte("good"))
		},
		"a full signature tag, then a referrer": func(f *fixture) {
			f.AttachTag(repo, f.digest, "sig", layers(64, simpleSigning, "junk")...)
			f.AttachTag(repo, f.digest, "att", layers(64, envelope, "more junk")...)
			f.Attach(repo, f.digest, bundle, bundle, nil, []byte("good"))
		},
		"full referrers, then the tag": func(f *fixture) {
			for i := range 3 {
				f.AttachLayers(repo, f.digest, bundle, layers(64, bundle, fmt.Sprint("junk", i))...)
			}
			f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("good")})
		},
		"300 other things listed first": func(f *fixture) {
			var list []registrytest.Descriptor
			for i := range 300 {
				d := f.AttachLayers(repo, f.digest, "application/spdx+json", registrytest.Layer{MediaType: "text/plain", Payload: fmt.Append(nil, i)})
				list = append(list, d)
			}
			f.EmptyReferrers()
			good := f.AttachLayers(repo, f.digest, bundle, registrytest.Layer{MediaType: bundle, Payload: []byte("good")})
			f.AttachFallback(repo, f.digest, append(list, good)...)
		},
	}
	for name, arrange := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			arrange(f)
			a := f.attached(t, within(t, 2*time.Minute))
			found := 0
			for _, p := range payloads(a) {
				if p == "good" {
					found++
				}
			}
			if found != 1 {
				t.Errorf("the good one is missing among %d candidates", len(a.Artifacts))
			}
			if len(a.Artifacts) > 64 {
				t.Errorf("%d candidates", len(a.Artifacts))
			}
		})
	}
}

func TestReferrersAtTheLimit(t *testing.T) {
	t.Parallel()
	for n, truncated := range map[int]bool{256: false, 257: true} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			for i := range n {
				f.Attach(repo, f.digest, "application/spdx+json", "text/plain", nil, fmt.Append(nil, i))
			}
			a := f.attached(t, context.Background())
			if a.Truncated != truncated || len(a.Artifacts) > 0 || len(a.Problems) > 0 {
				t.Errorf("got %+v", a)
			}
			if got := f.Count(registrytest.Match{Kind: registrytest.Manifest}); got != 256 {
				t.Errorf("%d manifests opened", got)
			}
		})
	}
}

// T-008 and A-46: lists without measure cost a bounded number of requests.
func TestT043HugeLists(t *testing.T) {
	t.Parallel()
	entry := `{"mediaType":"` + ociManifest + `","digest":"sha256:` + strings.Repeat("a", 64) + `","size":9},`
	big := []byte(`{"manifests":[` + strings.Repeat(entry, (4<<20-100)/len(entry)) + `{}]}`)
	cases := map[string]struct {
		fault registrytest.Fault
		check func(t *testing.T, f *fixture)
	}{
		"T-008 one big page": {registrytest.Body(200, ociIndex, big), func(t *testing.T, f *fixture) {
			if a := f.attached(t, within(t, 2*time.Minute)); !a.Truncated || len(rejected(a)) != 1 {
				t.Errorf("%d rejected, truncated %v", len(rejected(a)), a.Truncated)
			}
		}},
		"T-008 A-46 a million entries": {registrytest.Body(200, ociIndex, []byte(`{"manifests":[`+strings.Repeat("1,", 1_000_000)+`1]}`)), func(t *testing.T, f *fixture) {
			if a := f.attached(t, within(t, 2*time.Minute)); !a.Truncated || len(rejected(a)) != 256 {
				t.Errorf("%d rejected, truncated %v", len(rejected(a)), a.Truncated)
			}
		}},
		"T-008 too large": {registrytest.Body(200, ociIndex, append(big, bytes.Repeat([]byte(" "), 4<<20)...)), func(t *testing.T, f *fixture) {
			if a := f.attached(t, within(t, 2*time.Minute)); len(rejected(a)) != 1 || rejected(a)[0].Code != reason.LimitReached {
				t.Errorf("got %+v", a)
			}
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, tc.fault)
			tc.check(t, f)
			if n := len(f.Log()); n > 5 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// The sum of what is held for one image is bounded, not only each part.
func TestT044PayloadsPerImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.client = newClient(t, registry.Options{Limits: registry.Limits{Payloads: 10}})
	f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("12345")},
		registrytest.Layer{MediaType: simpleSigning, Payload: []byte("12345")}, registrytest.Layer{MediaType: simpleSigning, Payload: []byte("67890")})
	if a := f.attached(t, context.Background()); len(payloads(a)) != 3 || a.Truncated {
		t.Errorf("at the limit: %+v", a)
	}
	f.AttachTag(repo, f.digest, "att", registrytest.Layer{MediaType: envelope, Payload: []byte("x")})
	if a := f.attached(t, context.Background()); !a.Truncated {
		t.Errorf("above the limit: %+v", a)
	}
}

// A-45 and T-044: an endless body is cut at the limit and costs no more memory than it.
func TestT044EndlessBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var sent atomic.Int64
	f.Fault(registrytest.Match{Reference: "v1"}, registrytest.Endless(ociManifest, &sent))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := f.client.Resolve(within(t, 2*time.Minute), parse(t, f.Host()+"/"+repo+":v1"))
	runtime.ReadMemStats(&after)
	wantReason(t, err, reason.LimitReached, false)
	if n := sent.Load(); n > 32<<20 {
		t.Errorf("the server got rid of %d bytes", n)
	}
}

// The bytes in flight of all requests together are bounded: a second body waits for the first, and both arrive.
func TestBytesInFlight(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.client = newClient(t, registry.Options{Limits: registry.Limits{InFlight: 70 << 10}})
	f.AttachTag(repo, f.digest, "att", registrytest.Layer{MediaType: envelope, Payload: bytes.Repeat([]byte("a"), 60<<10)},
		registrytest.Layer{MediaType: envelope, Payload: bytes.Repeat([]byte("b"), 60<<10)})
	if a := f.attached(t, within(t, 2*time.Minute)); len(payloads(a)) != 2 {
		t.Errorf("got %d payloads, %v", len(payloads(a)), a.Problems)
	}
	// What can never fit is not waited for beyond the deadline.
	f.AttachTag(repo, f.digest, "att", registrytest.Layer{MediaType: envelope, Payload: bytes.Repeat([]byte("c"), 80<<10)})
	a := f.attached(t, soon(t))
	if len(a.Problems) != 1 {
		t.Fatalf("got %+v", a)
	}
	wantReason(t, a.Problems[0], reason.RegistryTimeout, false)
}

// HTTP's own word about the length of a body is not trusted either.
func TestT044ContentLength(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("payload")})
	for name, tc := range map[string]struct {
		fault registrytest.Fault
		want  []string
	}{
		"chunked": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			w.Write([]byte("payload"))
		}, []string{"payload"}},
		"chunked and longer": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			w.Write([]byte("payload!"))
		}, nil},
		"huge": {registrytest.Body(200, "x/y", nil, "Content-Length", "1000000000000"), nil},
	} {
		remove := f.Fault(registrytest.Match{Kind: registrytest.Blob}, tc.fault)
		if diff := cmp.Diff(tc.want, payloads(f.attached(t, within(t, 2*time.Minute)))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		remove()
	}
}
