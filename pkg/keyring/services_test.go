package keyring_test

import (
	"context"
	"crypto"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// served are the answers of a service, one after the other.
type served struct {
	answers []func(context.Context) (crypto.PublicKey, error)
	asked   atomic.Int32
}

func (s *served) PublicKey(ctx context.Context) (crypto.PublicKey, error) {
	return s.answers[s.asked.Add(1)-1](ctx)
}

// timeline is a clock whose waits are over at once, but for those of a question, which never are.
type timeline struct{ waits []time.Duration }

func (l *timeline) after(d time.Duration) <-chan time.Time {
	if d == 15*time.Second {
		return nil
	}
	l.waits = append(l.waits, d)
	c := make(chan time.Time, 1)
	c <- time.Time{}
	return c
}

// VI 6.13(5), 6.14: a key is asked for until it is there, again where the reference may come to stand for another one,
// stays while the service cannot be asked, and goes when it refuses.
func TestServices(t *testing.T) {
	t.Parallel()
	one, two := public(t), public(t)
	gives := func(k crypto.PublicKey) func(context.Context) (crypto.PublicKey, error) {
		return func(context.Context) (crypto.PublicKey, error) { return k, nil }
	}
	fails := func(text string, unreachable bool, chain error) func(context.Context) (crypto.PublicKey, error) {
		return func(context.Context) (crypto.PublicKey, error) {
			return nil, &reason.Error{Code: reason.TrustMaterialUnavailable, Unreachable: unreachable, Text: text, Err: chain}
		}
	}
	down, refused := fails("down", true, nil), fails("refused", false, keyring.ErrRefused)
	panics := func(context.Context) (crypto.PublicKey, error) { panic("nil pointer") }
	type answers = []func(context.Context) (crypto.PublicKey, error)
	const minute, refresh = time.Minute, 15 * time.Minute
	for name, c := range map[string]struct {
		ref     verify.Reference
		answers answers
		want    []string
		waits   []time.Duration
	}{
		"a fixed version is asked for once": {"azurekms://a.vault.azure.net/k/1", answers{gives(one)}, []string{"one"}, nil},
		"an alias may be pointed elsewhere": {"awskms:///alias/a", answers{gives(one), gives(one), gives(two)}, []string{"one", "one", "two"},
			[]time.Duration{refresh, refresh}},
		"retried, less and less often": {"azurekms://a.vault.azure.net/k/1", answers{down, refused, panics, down, down, down, down, down, down, gives(one)},
			[]string{"down!", "refused", "the key azurekms://a.vault.azure.net/k/1 is not available: no usable answer", "down!", "down!", "down!", "down!", "down!", "down!", "one"},
			[]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, 64 * time.Second, 2 * minute, 2 * minute}},
		"stays while the service is down": {"hashivault://a", answers{gives(one), down, panics, gives(two)}, []string{"one", "two"},
			[]time.Duration{refresh, time.Second, 2 * time.Second}},
		"goes when the service refuses": {"hashivault://a", answers{gives(one), refused, down, gives(one)}, []string{"one", "refused", "down!", "one"},
			[]time.Duration{refresh, time.Second, 2 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, line := &served{answers: c.answers}, &timeline{}
			var got []string
			follow := &keyring.Services{After: func(d time.Duration) <-chan time.Time {
				if d != 15*time.Second && int(s.asked.Load()) == len(c.answers) {
					cancel()
					return nil
				}
				return line.after(d)
			}, Open: func(context.Context, verify.Reference) (keyring.Service, error) { return s, nil }}
			follow.Follow(ctx, c.ref, func(key crypto.PublicKey, err error) {
				switch {
				case err != nil && reason.Of(err).Unreachable:
					got = append(got, err.Error()+"!")
				case err != nil:
					got = append(got, err.Error())
				default:
					got = append(got, map[crypto.PublicKey]string{one: "one", two: "two"}[key])
				}
			})
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.waits, line.waits); d != "" {
				t.Error(d)
			}
		})
	}
}

// A library that does not come back keeps nobody waiting, and is not asked a second time meanwhile.
func TestServiceThatHangs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	key := public(t)
	release, opened := make(chan struct{}), 0
	s := &served{}
	for range 2 {
		s.answers = append(s.answers, func(context.Context) (crypto.PublicKey, error) { <-release; return key, nil })
	}
	timeouts := 0
	services := &keyring.Services{
		Open: func(context.Context, verify.Reference) (keyring.Service, error) { opened++; return s, nil },
		After: func(d time.Duration) <-chan time.Time {
			c := make(chan time.Time, 1)
			switch {
			case d != 15*time.Second:
				c <- time.Time{}
			case timeouts < 3:
				timeouts++
				c <- time.Time{}
			default:
				close(release)
				return nil
			}
			return c
		},
	}
	var got []string
	services.Follow(ctx, "azurekms://a.vault.azure.net/k/1", func(k crypto.PublicKey, err error) {
		if err != nil {
			got = append(got, err.Error())
			return
		}
		got = append(got, verify.KeyHint(k))
	})
	late := "the key azurekms://a.vault.azure.net/k/1 is not available: no answer in time"
	if d := cmp.Diff([]string{late, late, late, verify.KeyHint(key)}, got); d != "" || opened != 1 || s.asked.Load() != 1 {
		t.Errorf("opened %d times, asked %d times: %s", opened, s.asked.Load(), d)
	}
}

// A service that cannot be opened is opened again.
func TestServiceNotOpened(t *testing.T) {
	t.Parallel()
	key, opened := public(t), 0
	services := &keyring.Services{Open: func(context.Context, verify.Reference) (keyring.Service, error) {
		if opened++; opened == 1 {
			return nil, errors.New("no credentials")
		}
		return &served{answers: []func(context.Context) (crypto.PublicKey, error){func(context.Context) (crypto.PublicKey, error) { return key, nil }}}, nil
	}}
	if _, err := services.Ask(t.Context(), "hashivault://a"); err == nil {
		t.Error("a key from a service that was not opened")
	}
	if k, err := services.Ask(t.Context(), "hashivault://a"); err != nil || k.ID != verify.KeyHint(key) {
		t.Errorf("%v, %v", k, err)
	}
}
