package registry_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// BenchmarkCold resolves a tag and fetches everything attached to it, as a review without a cache does.
func BenchmarkCold(b *testing.B) {
	for _, bc := range []struct {
		name    string
		arrange func(f *fixture)
	}{
		{"unsigned", func(*fixture) {}},
		{"tag", func(f *fixture) {
			f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: make([]byte, 250)})
		}},
		{"bundle", func(f *fixture) { f.Attach(repo, f.digest, bundle, bundle, nil, make([]byte, 10<<10)) }},
		{"fallback", func(f *fixture) {
			f.NoReferrersAPI()
			f.AttachFallback(repo, f.digest, f.AttachLayers(repo, f.digest, bundle, registrytest.Layer{MediaType: bundle, Payload: make([]byte, 10<<10)}))
		}},
		{"ten bundles", func(f *fixture) {
			for i := range 10 {
				f.Attach(repo, f.digest, bundle, bundle, nil, fmt.Appendf(make([]byte, 10<<10), "%d", i))
			}
		}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			f := newFixture(b)
			bc.arrange(f)
			var seen calls
			c := newClient(b, registry.Options{Observe: seen.observe})
			ref := parse(b, f.Host()+"/"+repo+":v1")
			b.ReportAllocs()
			for b.Loop() {
				p, err := c.Resolve(context.Background(), ref)
				if err != nil {
					b.Fatal(err)
				}
				a, err := c.Attached(context.Background(), p, image.Ref{})
				if err != nil || len(a.Problems) > 0 {
					b.Fatal(a, err)
				}
				f.ResetLog()
			}
			b.ReportMetric(float64(seen.count())/float64(b.N), "requests/op")
		})
	}
}

func BenchmarkResolve(b *testing.B) {
	f := newFixture(b)
	ref := parse(b, f.Host()+"/"+repo+":v1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.client.Resolve(context.Background(), ref); err != nil {
			b.Fatal(err)
		}
		f.ResetLog()
	}
}
