package trust

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	sgtuf "github.com/sigstore/sigstore-go/pkg/tuf"

	"github.com/signet-policy/signet/pkg/reason"
)

const (
	defaultInterval = 24 * time.Hour
	defaultRetry    = time.Second
	// maxWait bounds the pause after failures while no root was ever obtained, and maxStale the pause after failures
	// to refresh one.
	maxWait  = time.Minute
	maxStale = time.Hour
	// attemptTime bounds one attempt, and dialTime each of its connections: shorter than a request lasts, so that the
	// first request learns that there was no connection.
	attemptTime = time.Minute
	dialTime    = 4 * time.Second
)

// TUFOptions say which TUF repository the trusted root comes from. The zero value is the public Sigstore instance's.
type TUFOptions struct {
	// Mirror is the repository's URL, http or https; it defaults to the public instance's.
	Mirror string
	// Root is the initial root.json that everything else is checked by, and RootLocation a file or https URL to read
	// it from. At most one of them may be set; without either it is the public instance's.
	Root         []byte
	RootLocation string
	// CacheDir is where the last good content is kept over a restart; empty keeps it in memory only. A directory that
	// cannot be written to does no harm.
	CacheDir string
	// Interval is how often the root is refreshed; it defaults to 24 hours. Metadata that expires earlier is refreshed
	// before it does.
	Interval time.Duration
	// Retry is the pause after the first failure, which doubles with each further one; it defaults to one second.
	Retry time.Duration
	// UserAgent is sent to the mirror.
	UserAgent string
	// Observe is told about each attempt: nil, or why it failed. The text is bounded, and part of it may be the
	// mirror's. Optional.
	Observe func(error)
	// Transport defaults to one like http.DefaultTransport.
	Transport http.RoundTripper
}

// TUF is the trusted root that a TUF repository publishes as its target trusted_root.json. Nothing is asked of a network
// before somebody needs the root. The first who do wait for the first attempt, as long as their time lasts; nobody
// waits for any later one. A root that was obtained stays in force until a newer one has been verified, whatever the
// mirror does. Each TUF has its own state: it shares none with those of other repositories.
//
// Start has to run for anything to be fetched. It is safe for concurrent use.
type TUF struct {
	options TUFOptions
	mirror  string
	live    *Live

	wanted  chan struct{} // closed when somebody needs the root
	settled chan struct{} // closed when the first attempt has ended, well or not
	want    sync.Once
	settle  sync.Once
	failure atomic.Pointer[reason.Error]

	mu    sync.Mutex // one attempt at a time; guards what follows
	known *known
}

// NewTUF checks the options. It reads a root that is a file, and nothing else.
func NewTUF(o TUFOptions) (*TUF, error) {
	if o.Mirror == "" {
		o.Mirror = sgtuf.DefaultMirror
	}
	u, err := url.Parse(o.Mirror)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, errors.New("the mirror must be an http or https URL")
	case len(o.Root) > 0 && o.RootLocation != "":
		return nil, errors.New("the initial root is given twice")
	case len(o.Root) == 0 && o.RootLocation == "":
		o.Root = sgtuf.DefaultRoot()
	}
	if o.RootLocation != "" && !isURL(o.RootLocation) {
		if o.Root, err = readFile(o.RootLocation, maxRoot); err != nil {
			return nil, err
		}
		o.RootLocation = ""
	}
	if o.RootLocation != "" {
		if r, err := url.Parse(o.RootLocation); err != nil || r.Scheme != "https" || r.Host == "" {
			return nil, errors.New("the initial root must be a file or an https URL: nothing else vouches for it")
		}
	} else if err := checkInitial(o.Root); err != nil {
		return nil, err
	}
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.Retry <= 0 {
		o.Retry = defaultRetry
	}
	if o.Observe == nil {
		o.Observe = func(error) {}
	}
	if o.Transport == nil {
		o.Transport = transport()
	}
	return &TUF{
		options: o, mirror: o.Mirror, live: NewLive("the TUF repository " + u.Redacted()),
		wanted: make(chan struct{}), settled: make(chan struct{}),
	}, nil
}

// Material is the root in force. Before there is one, it waits for the first attempt as long as ctx lasts; later it never
// waits. The error is a *reason.Error, TrustMaterialUnavailable; it is Unreachable when the last attempt could connect
// to nobody.
func (t *TUF) Material(ctx context.Context) (root.TrustedMaterial, error) {
	if m, err := t.live.Material(ctx); err == nil {
		return m, nil
	}
	t.want.Do(func() { close(t.wanted) })
	select {
	case <-t.settled:
	default:
		select {
		case <-t.settled:
		case <-ctx.Done():
			return nil, &reason.Error{Code: reason.TrustMaterialUnavailable, Text: t.live.name + " has not answered in time", Err: ctx.Err()}
		}
	}
	if m, err := t.live.Material(ctx); err == nil {
		return m, nil
	}
	return nil, t.failure.Load()
}

// Generation changes with the root; it is "none" before there is one.
func (t *TUF) Generation() string { return t.live.Generation() }

// NeedLeaderElection tells the manager that each replica has its own root.
func (t *TUF) NeedLeaderElection() bool { return false }

// Start fetches the root once somebody needs it, and refreshes it until ctx ends. It never fails: what goes wrong is told
// to Observe.
func (t *TUF) Start(ctx context.Context) error {
	defer t.settle.Do(func() {
		t.failure.CompareAndSwap(nil, reason.New(reason.TrustMaterialUnavailable, t.live.name+" is not asked any more"))
		close(t.settled)
	})
	select {
	case <-ctx.Done():
		return nil
	case <-t.wanted:
	}
	for failures := 0; ; {
		if err := t.Refresh(ctx); err != nil {
			failures++
		} else {
			failures = 0
		}
		timer := time.NewTimer(t.pause(failures))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// pause is how long to wait before the next attempt, after so many failures in a row.
func (t *TUF) pause(failures int) time.Duration {
	if failures > 0 {
		limit := maxWait
		if t.live.current.Load() != nil {
			limit = maxStale
		}
		pause := t.options.Retry
		for ; failures > 1 && pause < limit; failures-- {
			pause *= 2
		}
		return min(pause, limit)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// Some time before the end, so that a mirror which is down for a moment leaves no gap.
	return max(min(t.options.Interval, time.Until(t.known.expires)*9/10), time.Second)
}

// Refresh makes one attempt now: it looks for newer content and puts it in force. Start does so by itself. The error is
// a *reason.Error; the root that was in force stays so.
func (t *TUF) Refresh(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle.Do(func() { close(t.settled) })
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	web := &web{client: &http.Client{Transport: t.options.Transport, CheckRedirect: redirect}, agent: t.options.UserAgent}
	err := t.attempt(ctx, web)
	if err != nil {
		failure := t.explain(ctx, web, err)
		t.failure.Store(failure)
		t.options.Observe(failure.Err)
		return failure
	}
	t.options.Observe(nil)
	return nil
}

func (t *TUF) attempt(ctx context.Context, web *web) error {
	if len(t.options.Root) == 0 {
		b, err := web.get(ctx, t.options.RootLocation, maxRoot)
		if err != nil {
			return err
		}
		if err := checkInitial(b); err != nil {
			return err
		}
		t.options.Root = b
	}
	if t.known == nil {
		t.known = &known{root: t.options.Root}
		if files := readCache(t.cacheFile()); files != nil {
			// What was kept is verified like what a mirror sends, and is not asked of it again when it is good.
			if t.publish(t.known.update(t.mirror, files.get)) == nil {
				t.settle.Do(func() { close(t.settled) })
			}
		}
	}
	if err := t.publish(t.known.update(t.mirror, func(u string, limit int64) ([]byte, error) { return web.get(ctx, u, limit) })); err != nil {
		return err
	}
	if file := t.cacheFile(); file == "" {
		t.known.files = nil
	} else if err := t.known.files.write(file); err != nil {
		t.options.Observe(fmt.Errorf("keeping the trusted root on disk: %w", shortened(err)))
	}
	return nil
}

// publish puts the target in force.
func (t *TUF) publish(target []byte, err error) error {
	if err != nil {
		return err
	}
	_, err = t.live.Set(target)
	return err
}
