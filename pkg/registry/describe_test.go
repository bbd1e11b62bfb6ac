package registry_test

import (
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// VI 1.4(4): the manifest and the configuration of an image, each as what its digest names.
func TestDescribe(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	c := newClient(t, registry.Options{})
	s.PushImage("acme/app", "v1", []byte("one"))
	img := s.PushImage("acme/app", "v2", []byte("two"))
	s.PushIndex("acme/app", "many", registrytest.Descriptor{MediaType: ociManifest, Digest: img, Size: 2})
	s.PushIndex("acme/app", "none")
	s.PushManifest("acme/app", "large", ociManifest, []byte(`{"schemaVersion":2,"config":{"digest":"`+img+`","size":99999999},"layers":[]}`))
	s.PushManifest("acme/app", "sha512", ociManifest, []byte(`{"schemaVersion":2,"config":{"digest":"sha512:00","size":2},"layers":[]}`))
	s.PushManifest("acme/app", "lost", ociManifest, []byte(`{"schemaVersion":2,"config":{"digest":"sha256:`+strings.Repeat("0", 64)+`","size":2},"layers":[]}`))
	for tag, want := range map[string]reason.Code{
		"v1": "", "many": "", "none": reason.RegistryUnavailable, "large": reason.LimitReached, "sha512": reason.LimitReached, "lost": reason.ImageNotFound,
	} {
		p, err := c.Resolve(t.Context(), parse(t, s.Host()+"/acme/app:"+tag))
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.Describe(t.Context(), p)
		switch {
		case want != "" && (err == nil || reason.Of(err).Code != want):
			t.Errorf("%s: %v, want %s", tag, err, want)
		case want == "" && err != nil:
			t.Errorf("%s: %v", tag, err)
		case want == "" && (d.Image != p || !strings.Contains(string(d.Config), `"architecture"`) || !strings.Contains(string(d.Manifest), `"layers"`) || (len(d.Index) > 0) != (tag == "many")):
			t.Errorf("%s: %+v", tag, d)
		}
	}
}

// A registry that serves other bytes is not believed.
func TestDescribeChanged(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"manifest", "blob"} {
		s := registrytest.New(t)
		s.PushImage("acme/app", "v1", nil)
		c := newClient(t, registry.Options{})
		p, err := c.Resolve(t.Context(), parse(t, s.Host()+"/acme/app:v1"))
		if err != nil {
			t.Fatal(err)
		}
		s.Fault(registrytest.Match{Kind: kind}, registrytest.FlipBit())
		if _, err := c.Describe(t.Context(), p); err == nil || reason.Of(err).Code != reason.DigestMismatch {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
