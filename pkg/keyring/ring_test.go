package keyring_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// place is a place where keys are kept: what is put there is reported to whoever follows it.
type place struct {
	mu        sync.Mutex
	followers map[verify.Reference]func(crypto.PublicKey, error)
	changed   *sync.Cond
}

func newPlace() *place {
	p := &place{followers: map[verify.Reference]func(crypto.PublicKey, error){}}
	p.changed = sync.NewCond(&p.mu)
	return p
}

func (p *place) Follow(ctx context.Context, ref verify.Reference, report func(crypto.PublicKey, error)) {
	p.mu.Lock()
	p.followers[ref] = report
	p.changed.Broadcast()
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	delete(p.followers, ref)
	p.changed.Broadcast()
	p.mu.Unlock()
}

// put waits for a follower and tells it.
func (p *place) put(ref verify.Reference, key crypto.PublicKey, err error) {
	p.mu.Lock()
	for p.followers[ref] == nil {
		p.changed.Wait()
	}
	report := p.followers[ref]
	p.mu.Unlock()
	report(key, err)
}

func (p *place) left(ref verify.Reference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.followers[ref] != nil {
		p.changed.Wait()
	}
}

func public(t *testing.T) crypto.PublicKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &private.PublicKey
}

// clock is a time that stands still unless it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// start runs a ring until the test ends, and collects what is observed.
func start(t *testing.T, o keyring.Options) (*keyring.Ring, *[]string) {
	t.Helper()
	observed := &[]string{}
	o.Observe = func(c keyring.Change) {
		text := "ready"
		if c.Err != nil {
			text = string(c.Err.Code)
		}
		if c.Gone {
			text = "gone"
		}
		*observed = append(*observed, string(c.Reference)+" "+text)
	}
	r := keyring.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r, observed
}

const signer = verify.Reference("k8s://team/signer")

// a key is in force from the moment that it is there, and from the moment that it is gone it never is again.
func TestA41Ring(t *testing.T) {
	t.Parallel()
	secrets := newPlace()
	r, observed := start(t, keyring.Options{Secrets: secrets})
	r.Follow([]verify.Reference{signer})
	one, two := public(t), public(t)
	missing := reason.New(reason.TrustMaterialUnavailable, "gone")
	for i, step := range []struct {
		key  crypto.PublicKey
		err  error
		want reason.Code
	}{
		{one, nil, ""}, {one, nil, ""}, {two, nil, ""}, {nil, missing, reason.TrustMaterialUnavailable}, {nil, missing, reason.TrustMaterialUnavailable},
		{two, nil, ""}, {"no key", nil, reason.TrustMaterialInvalid}, {nil, errors.New("unknown"), reason.InternalError}, {one, nil, ""},
	} {
		secrets.put(signer, step.key, step.err)
		key, err := r.Key(t.Context(), signer)
		switch {
		case step.want == "" && (err != nil || key.ID != verify.KeyHint(step.key)):
			t.Errorf("step %d: %v, %v", i, key, err)
		case step.want != "" && (key != nil || reason.Of(err) == nil || reason.Of(err).Code != step.want):
			t.Errorf("step %d: %v, %v", i, key, err)
		}
	}
	want := []string{}
	for _, s := range []string{"ready", "ready", "TrustMaterialUnavailable", "ready", "TrustMaterialInvalid", "InternalError", "ready"} {
		want = append(want, string(signer)+" "+s)
	}
	if d := cmp.Diff(want, *observed); d != "" {
		t.Error(d)
	}
}

// A key that nobody followed is waited for, as long as the request lasts.
func TestRingFirstLook(t *testing.T) {
	t.Parallel()
	secrets := newPlace()
	r, _ := start(t, keyring.Options{Secrets: secrets})
	key := public(t)
	found := make(chan error)
	for range 3 {
		go func() {
			k, err := r.Key(t.Context(), signer)
			if err == nil && k.ID != verify.KeyHint(key) {
				err = errors.New("another key")
			}
			found <- err
		}()
	}
	secrets.put(signer, key, nil)
	for range 3 {
		if err := <-found; err != nil {
			t.Error(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ref := range []verify.Reference{"k8s://team/silent", "awskms:///alias/nobody"} {
		_, err := r.Key(ended, ref)
		if got := reason.Of(err); got == nil || got.Code != reason.TrustMaterialUnavailable || got.Unreachable {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := r.Key(t.Context(), "awskms:///alias/nobody"); err == nil {
		t.Error("a key of a service that there is not")
	}
}

// What only requests name is bounded, and does not keep what policies name from being followed.
func TestRingBounded(t *testing.T) {
	t.Parallel()
	now := &clock{now: time.Unix(1, 0)}
	r := keyring.New(keyring.Options{Secrets: newPlace(), Now: now.Now})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 300 {
		_, err := r.Key(ended, verify.SecretReference("team", fmt.Sprint("asked-", i)))
		if want := map[bool]string{true: "known", false: "followed"}[i < 128]; err == nil || !contains(err, want) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	r.Follow([]verify.Reference{signer})
	if _, err := r.Key(ended, signer); !contains(err, "not known yet") {
		t.Error(err)
	}
}

func contains(err error, text string) bool {
	return err != nil && strings.Contains(err.Error(), text)
}
