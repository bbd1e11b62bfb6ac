package registry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

func TestPagesOfReferrers(t *testing.T) {
	t.Parallel()
	page := func(next string, list ...registrytest.Descriptor) registrytest.Fault {
		var b strings.Builder
		for i, d := range list {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"mediaType":%q,"digest":%q,"size":%d}`, d.MediaType, d.Digest, d.Size)
		}
		body := []byte(`{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + b.String() + `]}`)
		if next == "" {
			return registrytest.Body(200, ociIndex, body)
		}
		return registrytest.Body(200, ociIndex, body, "Link", `<`+next+`>; rel="next"`)
	}
	path := func(f *fixture, query string) string { return "/v2/" + repo + "/referrers/" + f.digest + query }
	cases := map[string]struct {
		arrange   func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault
		want      []string
		requests  int
		problem   reason.Code
		truncated bool
	}{
		"two pages": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			return []registrytest.Fault{page(path(f, "?last=a,b;c"), a), page("", b)}
		}, []string{"a", "b"}, 2, "", false},
		"empty first page": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			return []registrytest.Fault{page(path(f, "?last=a")), page(path(f, "?last=b"), b), page("")}
		}, []string{"b"}, 3, "", false},
		"absolute link": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			return []registrytest.Fault{page(f.URL()+path(f, "?n=1"), a), page("", b)}
		}, []string{"a", "b"}, 2, "", false},
		"T-078 endless": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			return []registrytest.Fault{page(path(f, "?again"), a)}
		}, []string{"a"}, 8, "", true},
		"eight pages": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			next := page(path(f, "?again"), a)
			return []registrytest.Fault{next, next, next, next, next, next, next, page("", b)}
		}, []string{"a", "b"}, 8, "", false},
		"T-078 foreign host": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			return []registrytest.Fault{page("http://localhost:1"+path(f, ""), a)}
		}, []string{"a"}, 1, reason.RegistryUnavailable, false},
		"T-078 other scheme": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			return []registrytest.Fault{page("https://"+f.Host()+path(f, ""), a)}
		}, []string{"a"}, 1, reason.RegistryUnavailable, false},
		"T-078 another list": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			return []registrytest.Fault{page("/v2/acme/other/tags/list", a)}
		}, []string{"a"}, 1, reason.RegistryUnavailable, false},
		"second page fails": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			return []registrytest.Fault{page(path(f, "?p"), a), registrytest.Status(403, "DENIED")}
		}, []string{"a"}, 2, reason.RegistryUnauthorized, false},
		"second page missing": {func(f *fixture, a, b registrytest.Descriptor) []registrytest.Fault {
			return []registrytest.Fault{page(path(f, "?p"), a), registrytest.Status(404, "")}
		}, []string{"a"}, 2, reason.RegistryUnavailable, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			a := f.AttachLayers(repo, f.digest, bundle, registrytest.Layer{MediaType: bundle, Payload: []byte("a")})
			b := f.AttachLayers(repo, f.digest, bundle, registrytest.Layer{MediaType: bundle, Payload: []byte("b")})
			f.Fault(registrytest.Match{Kind: registrytest.Referrers}, registrytest.InTurn(tc.arrange(f, a, b)...))
			got := f.attached(t, context.Background())
			if diff := cmp.Diff(tc.want, payloads(got), sorted()); diff != "" {
				t.Error(diff)
			}
			if got.Truncated != tc.truncated {
				t.Errorf("truncated: %v", got.Truncated)
			}
			if n := f.Count(registrytest.Match{Kind: registrytest.Referrers}); n != tc.requests {
				t.Errorf("%d pages read, want %d", n, tc.requests)
			}
			if (len(got.Problems) > 0) != (tc.problem != "") {
				t.Fatalf("problems: %v", got.Problems)
			}
			for _, p := range got.Problems {
				wantReason(t, p, tc.problem, false)
			}
		})
	}
}

// A silent place costs half of the time at most; what the others said is fetched in the rest.
func TestSilentPlace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Attach(repo, f.digest, bundle, bundle, nil, []byte("bundle"))
	f.Fault(registrytest.Match{Reference: f.tag() + ".sig"}, registrytest.Hang())
	ctx := within(t, 16*time.Second)
	a := f.attached(t, ctx)
	if diff := cmp.Diff([]string{"bundle"}, payloads(a)); diff != "" {
		t.Error(diff)
	}
	if len(a.Problems) != 1 {
		t.Fatalf("got %+v", a)
	}
	wantReason(t, a.Problems[0], reason.RegistryTimeout, false)
	if ctx.Err() != nil {
		t.Error("no time left to verify what was found")
	}
}

func TestAttachedCancelled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Fault(registrytest.Match{}, registrytest.Hang())
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for f.Count(registrytest.Match{}) < 4 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := f.client.Attached(ctx, pin(t, f.Host()+"/"+repo, f.digest), image.Ref{}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if _, err := f.client.Attached(context.Background(), image.Pinned{}, image.Ref{}); err == nil {
		t.Error("no error without an image")
	}
}
