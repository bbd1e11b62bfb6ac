package registry

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/signet-policy/signet/pkg/egress"
)

// newTransport returns a transport that connects under the rules of guard, keeps enough idle connections for the
// concurrency allowed, and never decompresses.
func newTransport(limits Limits, dial time.Duration, config *tls.Config) *http.Transport {
	if config == nil {
		config = &tls.Config{}
	}
	config.MinVersion = tls.VersionTLS12
	if dial <= 0 {
		dial = limits.Dial
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer(dial),
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    2 * limits.Dial,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: limits.Headers,
		MaxIdleConns:           16 * limits.PerHost,
		MaxIdleConnsPerHost:    limits.PerHost,
		IdleConnTimeout:        90 * time.Second,
	}
}

func dialer(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		t := trackerOf(ctx)
		d := net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
		// A proxy is the operator's choice, wherever it lives; only the way to the target itself is guarded.
		if t == nil || t.target == address {
			loopback := t == nil || t.loopback
			d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
				return egress.Check(address, loopback)
			}
		}
		t.startDial()
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		counted := &countedConn{Conn: conn}
		t.dialed(counted)
		return counted, nil
	}
}

// guardHost refuses a host that is written as an address; names are left to the dialer.
func guardHost(hostname string, loopback bool) error {
	hostname = strings.Trim(hostname, "[]")
	if !loopback && isLoopback(hostname) {
		return egress.ErrForbidden
	}
	if a, err := netip.ParseAddr(hostname); err == nil && egress.Forbidden(a, loopback) {
		return egress.ErrForbidden
	}
	return nil
}

// isLoopback tells whether the host name (without port) is the machine itself by its spelling.
func isLoopback(hostname string) bool {
	if strings.EqualFold(hostname, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(hostname, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}

// tracker learns how far one HTTP request got: whether a connection was tried, made, and whether a byte came back. A
// nil tracker knows nothing.
type tracker struct {
	target   string // the address a direct dial would have
	loopback bool

	mu    sync.Mutex
	tried bool
	last  *countedConn
	got   net.Conn
}

type trackerKey struct{}

func trackerOf(ctx context.Context) *tracker {
	t, _ := ctx.Value(trackerKey{}).(*tracker)
	return t
}

func (t *tracker) attach(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, trackerKey{}, t)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.got = i.Conn
	}})
}

func (t *tracker) startDial() {
	if t != nil {
		t.mu.Lock()
		t.tried = true
		t.mu.Unlock()
	}
}

func (t *tracker) dialed(c *countedConn) {
	if t != nil {
		t.mu.Lock()
		t.last = c
		t.mu.Unlock()
	}
}

// neverConnected tells that a connection was tried and none was made.
func (t *tracker) neverConnected() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tried && t.last == nil && t.got == nil
}

// unanswered tells that a connection was made for this request and brought no byte. What is not known counts as
// answered.
func (t *tracker) unanswered() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.last
	if t.got != nil {
		conn := t.got
		if inner, ok := conn.(*tls.Conn); ok {
			conn = inner.NetConn()
		}
		c, _ = conn.(*countedConn)
	}
	return c != nil && c.read.Load() == 0
}

// countedConn counts the bytes that came from the peer.
type countedConn struct {
	net.Conn
	read atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}
