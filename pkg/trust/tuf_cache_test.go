package trust_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/trust/trusttest"
)

// T-062: what is kept on disk survives a restart, is verified again, and is nobody else's.
func TestT062TUFCache(t *testing.T) {
	t.Parallel()
	r, dir := trusttest.NewRepository(t), filepath.Join(t.TempDir(), "tuf", "cache")
	r.Rotate(metadata.TIMESTAMP)
	r.Publish(trusttest.EmptyRoot(0))
	cached := func(o *trust.TUFOptions) { o.CacheDir = dir }
	if err := newTUF(t, r, cached).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || len(entries[0].Name()) != 64+len(".json") {
		t.Fatalf("%v %v", entries, err)
	}
	file := filepath.Join(dir, entries[0].Name())
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	expired := expiredCache(t, r, filepath.Join(t.TempDir(), "c"))

	other := trusttest.NewRepository(t)
	other.Publish(trusttest.EmptyRoot(3))
	r.Instead(status(503))
	tests := map[string]struct {
		content []byte
		change  func(*trust.TUFOptions)
		ok      bool
	}{
		"as it was":     {content: kept, ok: true},
		"not JSON":      {content: kept[1:]},
		"cut off":       {content: kept[:len(kept)/2]},
		"another kind":  {content: []byte(`["x"]`)},
		"tampered":      {content: editKey(t, kept, r.Server.URL+"/timestamp.json", other.State()["/timestamp.json"])},
		"expired":       {content: expired},
		"another root":  {content: kept, change: func(o *trust.TUFOptions) { o.Root = other.Initial }},
		"another place": {content: kept, change: func(o *trust.TUFOptions) { o.Mirror += "/x" }},
		"no cache":      {content: kept, change: func(o *trust.TUFOptions) { o.CacheDir = "" }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := filepath.Join(t.TempDir(), "own")
			if err := os.Mkdir(own, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(own, filepath.Base(file)), tc.content, 0o600); err != nil {
				t.Fatal(err)
			}
			s := newTUF(t, r, func(o *trust.TUFOptions) {
				o.CacheDir = own
				if tc.change != nil {
					tc.change(o)
				}
			})
			start(t, s)
			if _, err := s.Material(t.Context()); (err == nil) != tc.ok {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// expiredCache is what would be kept of the repository if its metadata had expired.
func expiredCache(t *testing.T, r *trusttest.Repository, dir string) []byte {
	t.Helper()
	s := newTUF(t, r, func(o *trust.TUFOptions) { o.CacheDir = dir })
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, entries[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	state, expires := r.State(), r.Expires
	r.Expires = time.Now().Add(-time.Hour)
	r.Publish(trusttest.EmptyRoot(0))
	for _, name := range []string{"timestamp.json", "1.snapshot.json", "1.targets.json"} {
		b = editKey(t, b, r.Server.URL+"/"+name, r.State()["/"+name])
	}
	r.GoBack(state)
	r.Expires = expires
	return b
}

// T-062: a place that cannot be written to does no harm.
func TestT062TUFReadOnly(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	r.Publish(trusttest.EmptyRoot(0))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	var observed []error
	s := newTUF(t, r, func(o *trust.TUFOptions) {
		o.CacheDir, o.Observe = filepath.Join(file, "below"), func(err error) { observed = append(observed, err) }
	})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantInForce(t, s, trusttest.EmptyRoot(0))
	if len(observed) != 2 || observed[0] == nil || observed[1] != nil {
		t.Errorf("observed %v", observed)
	}
}

// T-062: names that a repository chooses are no names of files.
func TestT062TUFNames(t *testing.T) {
	t.Parallel()
	r, dir := trusttest.NewRepository(t), t.TempDir()
	r.Publish(trusttest.EmptyRoot(0))
	cache := filepath.Join(dir, "cache")
	s := newTUF(t, r, func(o *trust.TUFOptions) { o.CacheDir, o.Mirror = cache, o.Mirror+"/a/../../../b/.." })
	_ = s.Refresh(t.Context())
	s = newTUF(t, r, func(o *trust.TUFOptions) { o.CacheDir, o.Mirror = cache, o.Mirror+"/" })
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}
