package trust_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/trust/trusttest"
)

// VI 6.13(3): nothing is asked before somebody needs the root, and nothing for later requests.
func TestTUFFetchesOnceNeeded(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	r.Publish(trusttest.EmptyRoot(0))
	s := newTUF(t, r, nil)
	start(t, s)
	if s.Generation() != "none" || r.Requests() != 0 {
		t.Fatal("the mirror was asked before anybody needed it")
	}
	wantInForce(t, s, trusttest.EmptyRoot(0))
	n := r.Requests()
	r.Instead(func(http.ResponseWriter, *http.Request) { t.Error("a request for an image asked the mirror") })
	wantInForce(t, s, trusttest.EmptyRoot(0))
	if n == 0 || r.Requests() != n {
		t.Errorf("%d requests, then %d", n, r.Requests())
	}
}

// The mirror's content replaces the root in the background.
func TestTUFRefreshes(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	r.Publish(trusttest.EmptyRoot(0))
	observed := make(chan error, 100)
	s := newTUF(t, r, func(o *trust.TUFOptions) {
		o.Interval, o.Observe = 10*time.Millisecond, func(err error) { observed <- err }
	})
	start(t, s)
	first := wantInForce(t, s, trusttest.EmptyRoot(0))
	r.Next(trusttest.EmptyRoot(1))
	for s.Generation() == first {
		if err := <-observed; err != nil {
			t.Log(err) // the new state may have been half there
		}
	}
	wantInForce(t, s, trusttest.EmptyRoot(1))
}

// broken are things that a mirror may do instead of serving the repository's newest state.
var broken = map[string]struct {
	do          func(*trusttest.Repository)
	text        string
	unreachable bool
}{
	"no host":           {do: func(r *trusttest.Repository) { r.Server.Close() }, text: "could not be connected to", unreachable: true},
	"hangs up":          {do: func(r *trusttest.Repository) { r.Instead(hangUp) }, text: "could not be connected to", unreachable: true},
	"status 500":        {do: func(r *trusttest.Repository) { r.Instead(status(500)) }, text: "HTTP 500"},
	"status 403":        {do: func(r *trusttest.Repository) { r.Instead(status(403)) }, text: "HTTP 403"},
	"nothing there":     {do: func(r *trusttest.Repository) { r.Instead(http.NotFound) }, text: "HTTP 404"},
	"endless":           {do: func(r *trusttest.Repository) { r.Instead(endless) }, text: "no usable root"},
	"redirects forever": {do: func(r *trusttest.Repository) { r.Instead(around) }, text: "no usable root"},
	"page for all":      {do: func(r *trusttest.Repository) { r.Instead(page) }, text: "no usable root"},
	"no JSON":           {do: func(r *trusttest.Repository) { r.Put("timestamp.json", []byte("<html>evil")) }, text: "no usable root"},
	"null":              {do: func(r *trusttest.Repository) { r.Put("timestamp.json", []byte("null")) }, text: "no usable root"},
	"null in lists": {do: func(r *trusttest.Repository) {
		r.Put("timestamp.json", []byte(`{"signed":{"_type":"timestamp","meta":{"snapshot.json":null}},"signatures":[null]}`))
	}, text: "the TUF repository"},
	"deep": {do: func(r *trusttest.Repository) { r.Put("timestamp.json", []byte(strings.Repeat("[", 10000))) }, text: "no usable root"},
	"another role": {do: func(r *trusttest.Repository) {
		r.Put("timestamp.json", r.State()["/1.targets.json"])
	}, text: "no usable root"},
	"altered": {do: func(r *trusttest.Repository) {
		r.Put("timestamp.json", bytes.Replace(r.State()["/timestamp.json"], []byte(`"version":`), []byte(`"version":1`), -1))
	}, text: "not signed"},
	"no target": {do: func(r *trusttest.Repository) {
		for name := range r.State() {
			if strings.HasPrefix(name, "/targets/") {
				r.Put(name[1:], nil)
			}
		}
	}, text: "HTTP 404"},
	"another target": {do: func(r *trusttest.Repository) {
		for name := range r.State() {
			if strings.HasPrefix(name, "/targets/") {
				r.Put(name[1:], trusttest.EmptyRoot(5))
			}
		}
	}, text: "no usable root"},
	"unusable target": {do: func(r *trusttest.Repository) { r.Next([]byte("evil")) }, text: "no usable root"},
	"expired": {do: func(r *trusttest.Repository) {
		r.Expires = time.Now().Add(-time.Hour)
		r.Next(trusttest.EmptyRoot(1))
	}, text: "expired"},
	"root by a stranger": {do: func(r *trusttest.Repository) {
		_, stranger, _ := ed25519.GenerateKey(nil)
		r.Root.Signed.Version++
		r.Put("2.root.json", r.SignRoot(stranger))
	}, text: "not signed"},
	"root of threshold 0": {do: func(r *trusttest.Repository) {
		r.Root.Signed.Version++
		r.Root.Signed.Roles[metadata.TIMESTAMP].Threshold = 0
		r.Put("2.root.json", r.SignRoot(r.Keys[metadata.ROOT]))
	}, text: "no usable root"},
	"one key for a threshold of 2": {do: func(r *trusttest.Repository) {
		r.Root.Signed.Version++
		role := r.Root.Signed.Roles[metadata.TIMESTAMP]
		role.Threshold, role.KeyIDs = 2, append(role.KeyIDs, role.KeyIDs...)
		r.Put("2.root.json", r.SignRoot(r.Keys[metadata.ROOT]))
	}, text: "signed"},
	"root that skips a version": {do: func(r *trusttest.Repository) {
		r.Root.Signed.Version = 3
		r.Put("2.root.json", r.SignRoot(r.Keys[metadata.ROOT]))
	}, text: "versions"},
	"no TLS": {do: func(r *trusttest.Repository) {
		r.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Redirect(w, &http.Request{}, "https://"+r.Server.Listener.Addr().String()+"/x", http.StatusFound)
		})
	}, text: "no usable root"},
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "evil", code) }
}

func page(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>evil</html>")) }

func around(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

// endless sends until nobody listens.
func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write(make([]byte, 1<<16)); err != nil {
			return
		}
	}
}

// T-063: a mirror that is unreachable or broken at the start is no root, and says why; it is never fatal. Once it is in
// order, so is the root.
func TestT063TUFWithoutRoot(t *testing.T) {
	t.Parallel()
	for name, tc := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := trusttest.NewRepository(t)
			r.Publish(trusttest.EmptyRoot(0))
			tc.do(r)
			s := newTUF(t, r, nil)
			start(t, s)
			_, err := s.Material(t.Context())
			wantUnavailable(t, err, tc.unreachable, tc.text)
			if s.Generation() != "none" {
				t.Error("a generation without a root")
			}
			// Nobody waits for the next attempt, however long it takes.
			block := make(chan struct{})
			t.Cleanup(func() { close(block) })
			r.Instead(func(_ http.ResponseWriter, req *http.Request) {
				select {
				case <-block:
				case <-req.Context().Done():
				}
			})
			_, err = s.Material(t.Context())
			wantUnavailable(t, err, tc.unreachable, tc.text)
		})
	}
}

// T-063: whatever the mirror does, the last good root stays; what is newer and in order replaces it.
func TestT063TUFKeepsTheLastGoodRoot(t *testing.T) {
	t.Parallel()
	more := map[string]func(*trusttest.Repository){
		"timestamp rolled back": func(r *trusttest.Repository) { r.Timestamp--; r.Publish(trusttest.EmptyRoot(1)) },
		"snapshot rolled back":  func(r *trusttest.Repository) { r.Timestamp++; r.Snapshot--; r.Publish(trusttest.EmptyRoot(1)) },
		"targets rolled back": func(r *trusttest.Repository) {
			r.Timestamp++
			r.Snapshot++
			r.Targets--
			r.Publish(trusttest.EmptyRoot(1))
		},
	}
	for name, tc := range broken {
		more[name] = tc.do
	}
	for name, do := range more {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := trusttest.NewRepository(t)
			r.Timestamp, r.Snapshot, r.Targets = 5, 5, 5
			if name == "another role" {
				r.Timestamp, r.Snapshot, r.Targets = 1, 1, 1
			}
			r.Publish(trusttest.EmptyRoot(0))
			s := newTUF(t, r, nil)
			if err := s.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := wantInForce(t, s, trusttest.EmptyRoot(0))
			good := r.State()
			do(r)
			if err := s.Refresh(t.Context()); err == nil {
				t.Fatal("the mirror's answer was accepted")
			}
			if got := wantInForce(t, s, trusttest.EmptyRoot(0)); got != before {
				t.Errorf("generation %s became %s", before, got)
			}
			if name == "no host" || name == "no TLS" {
				return
			}
			r.GoBack(good)
			r.Instead(nil)
			r.Expires = time.Now().Add(48 * time.Hour)
			if strings.Contains(name, "threshold") {
				// The root's own signature was good, so only a newer root can put that right.
				for _, role := range r.Root.Signed.Roles {
					role.Threshold, role.KeyIDs = 1, role.KeyIDs[:1]
				}
				r.Rotate()
			}
			r.Timestamp, r.Snapshot, r.Targets = 20, 20, 20
			r.Publish(trusttest.EmptyRoot(2))
			if err := s.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if wantInForce(t, s, trusttest.EmptyRoot(2)) == before {
				t.Error("another root has the same generation")
			}
		})
	}
}

// Keys that were replaced count no more, also for a mirror that hides the rotation.
func TestTUFKeyRotation(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	r.Timestamp, r.Snapshot = 100, 100
	r.Publish(trusttest.EmptyRoot(0))
	s := newTUF(t, r, nil)
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := r.State()

	r.Rotate(trusttest.Roles()...)
	// The old keys may have been used to make the versions as high as one likes; the new ones begin anew.
	r.Timestamp, r.Snapshot = 1, 1
	r.Next(trusttest.EmptyRoot(1))
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantInForce(t, s, trusttest.EmptyRoot(1))

	r.GoBack(old)
	if err := s.Refresh(t.Context()); err == nil {
		t.Error("the old keys were accepted after the new ones")
	}
	wantInForce(t, s, trusttest.EmptyRoot(1))

	// A client that knows only the first root follows the chain.
	r.Rotate(metadata.ROOT)
	r.Put("2.root.json", nil)
	fresh := newTUF(t, r, nil)
	if err := fresh.Refresh(t.Context()); err != nil {
		t.Fatal(err) // the old state, which a fresh client cannot tell from a current one
	}
	wantInForce(t, fresh, trusttest.EmptyRoot(0))
}

// The root that was verified counts even when the rest of the update was not there.
func TestTUFRotationIsRememberedAfterAFailure(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	r.Publish(trusttest.EmptyRoot(0))
	s := newTUF(t, r, nil)
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := r.State()
	r.Rotate(trusttest.Roles()...)
	r.Put("timestamp.json", nil)
	if err := s.Refresh(t.Context()); err == nil {
		t.Fatal("an update without a timestamp")
	}
	r.GoBack(old)
	err := s.Refresh(t.Context())
	wantUnavailable(t, err, false, "not signed")
	wantInForce(t, s, trusttest.EmptyRoot(0))
}

// The first ones wait for the first attempt, each as long as it has time.
func TestTUFFirstAttempt(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	r.Publish(trusttest.EmptyRoot(0))
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.Instead(func(w http.ResponseWriter, req *http.Request) {
		once.Do(func() { close(asked) })
		<-release
		r.Instead(nil)
		r.ServeHTTP(w, req)
	})
	s := newTUF(t, r, nil)
	start(t, s)
	impatient, giveUp := context.WithCancel(t.Context())
	type result struct {
		who string
		err error
	}
	results := make(chan result)
	for who, ctx := range map[string]context.Context{"impatient": impatient, "patient": t.Context()} {
		go func() {
			_, err := s.Material(ctx)
			results <- result{who, err}
		}()
	}
	<-asked
	giveUp()
	got := <-results
	if got.who != "impatient" {
		t.Fatalf("%s came first: %v", got.who, got.err)
	}
	wantUnavailable(t, got.err, false, "not answered in time")
	close(release)
	if got := <-results; got.err != nil {
		t.Error(got.err)
	}
	wantInForce(t, s, trusttest.EmptyRoot(0))
}

// A client that ends leaves nobody waiting.
func TestTUFEnds(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	s := newTUF(t, r, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Start(ctx); err != nil {
		t.Error(err)
	}
	_, err := s.Material(t.Context())
	wantUnavailable(t, err, false, "not asked any more")
	if r.Requests() != 0 {
		t.Error("the mirror was asked")
	}
}

// Refreshing and reading at the same time is safe; readers see one root or the other.
func TestTUFConcurrency(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	r.Publish(trusttest.EmptyRoot(0))
	s := newTUF(t, r, nil)
	start(t, s)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if m, err := s.Material(t.Context()); err != nil || m == nil || s.Generation() == "none" {
					t.Error("no root: ", err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 10 {
			r.Next(trusttest.EmptyRoot(i + 1))
			if err := s.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	wantInForce(t, s, trusttest.EmptyRoot(10))
}
