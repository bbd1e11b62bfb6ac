package keyring

import (
	"context"
	"crypto"
	"errors"
	"time"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// ErrRefused is in the chain of an error by which a key management service says for certain that the key is not to be
// had: it does not exist, is disabled, or may not be read. Every other error may pass.
var ErrRefused = errors.New("refused by the key management service")

const (
	// fetchTimeout bounds one question to a service.
	fetchTimeout = 15 * time.Second
	// firstRetry doubles up to lastRetry while a key cannot be had.
	firstRetry, lastRetry = time.Second, 2 * time.Minute
	// refresh is how often it is looked whether a reference without a version stands for another key.
	refresh = 15 * time.Minute
)

// Service asks for one key.
type Service interface {
	// PublicKey asks once. The error is a *reason.Error. It may disregard ctx; it is then left alone until it returns.
	PublicKey(ctx context.Context) (crypto.PublicKey, error)
}

// Services is the Source of keys in key management services. It asks for the key once, and again only where the
// reference may come to stand for another one.
type Services struct {
	// Open prepares the questions for one key, without asking any. What it makes may be used as long as ctx lasts. The
	// error is a *reason.Error.
	Open func(ctx context.Context, ref verify.Reference) (Service, error)
	// After defaults to time.After.
	After func(time.Duration) <-chan time.Time
}

// Follow is that of Source. A key that was had stays while the service cannot be asked, and goes when the service
// refuses it.
func (s *Services) Follow(ctx context.Context, ref verify.Reference, report func(crypto.PublicKey, error)) {
	after := s.After
	if after == nil {
		after = time.After
	}
	q := &question{ref: ref, open: s.Open}
	held, retry := false, firstRetry
	for {
		public, err := q.ask(ctx, after)
		if ctx.Err() != nil {
			return
		}
		wait := retry
		switch {
		case err == nil:
			held, retry, wait = true, firstRetry, refresh
			report(public, nil)
			if ref.Fixed() {
				return
			}
		case held && !errors.Is(err, ErrRefused):
			retry = min(2*retry, lastRetry)
		default:
			held, retry = false, min(2*retry, lastRetry)
			report(nil, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-after(wait):
		}
	}
}

// Ask asks for a key once, without following it.
func (s *Services) Ask(ctx context.Context, ref verify.Reference) (*verify.Key, error) {
	public, err := (&question{ref: ref, open: s.Open}).ask(ctx, time.After)
	if err != nil {
		return nil, err
	}
	return checked(ref, public)
}

// question is what is asked of a service about one key, one question at a time.
type question struct {
	ref     verify.Reference
	open    func(context.Context, verify.Reference) (Service, error)
	service Service
	// pending is an answer that is still out: the libraries of some services do not stop when they are told to.
	pending chan answer
}

type answer struct {
	public crypto.PublicKey
	err    error
}

// ask waits for one answer, for a limited time.
func (q *question) ask(ctx context.Context, after func(time.Duration) <-chan time.Time) (crypto.PublicKey, error) {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	if q.pending == nil {
		q.pending = make(chan answer, 1)
		go q.answer(ctx, asking, q.pending)
	}
	select {
	case a := <-q.pending:
		q.pending = nil
		return a.public, a.err
	case <-after(fetchTimeout):
	case <-ctx.Done():
	}
	return nil, reason.New(reason.TrustMaterialUnavailable, "the key "+string(q.ref)+" is not available: no answer in time")
}

// answer asks the service. What a library makes of an unexpected answer must not end the process.
func (q *question) answer(ctx, asking context.Context, out chan<- answer) {
	a := answer{err: reason.New(reason.TrustMaterialUnavailable, "the key "+string(q.ref)+" is not available: no usable answer")}
	defer func() {
		_ = recover()
		out <- a
	}()
	service := q.service
	if service == nil {
		opened, err := q.open(ctx, q.ref)
		if err != nil {
			a.err = err
			return
		}
		q.service, service = opened, opened
	}
	public, err := service.PublicKey(asking)
	a = answer{public: public, err: err}
}
