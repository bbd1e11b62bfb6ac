package registry_test

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
)

const (
	simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	envelope      = "application/vnd.dsse.envelope.v1+json"
	bundle        = "application/vnd.dev.sigstore.bundle.v0.3+json"
	ociManifest   = "application/vnd.oci.image.manifest.v1+json"
	ociIndex      = "application/vnd.oci.image.index.v1+json"
)

// TestMain keeps the proxies of the surroundings out of the tests.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

// keychain holds credentials by host.
type keychain map[string]authn.AuthConfig

func (k keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if c, ok := k[r.RegistryStr()]; ok {
		return authn.FromConfig(c), nil
	}
	return authn.Anonymous, nil
}

func newClient(t testing.TB, o registry.Options) *registry.Client {
	t.Helper()
	if o.Keychain == nil {
		o.Keychain = keychain{}
	}
	c, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t testing.TB, s string) image.Ref {
	t.Helper()
	r, err := image.Parse(s, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pin(t testing.TB, repository, digest string) image.Pinned {
	t.Helper()
	p, _, err := parse(t, repository+"@"+digest).Pinned()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// soon is a deadline for tests in which time has to run out, and not before a slow machine has connected.
func soon(t testing.TB) context.Context {
	return within(t, 4*time.Second)
}

// within is a context that a test must not need to the end.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// wantReason checks an error's code, whether it counts as "no connection", and that no word of a registry's answer got
// into its text.
func wantReason(t testing.TB, err error, code reason.Code, unreachable bool) *reason.Error {
	t.Helper()
	var e *reason.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *reason.Error with %s", err, code)
	}
	if e.Code != code || e.Unreachable != unreachable {
		t.Fatalf("got %s (unreachable %v) %q, want %s (unreachable %v)", e.Code, e.Unreachable, e.Text, code, unreachable)
	}
	noSecrets(t, e.Text)
	return e
}

// calls counts what a client reports to Observe.
type calls struct {
	mu   sync.Mutex
	list []registry.Request
}

func (c *calls) observe(r registry.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, r)
}

func (c *calls) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.list)
}

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
