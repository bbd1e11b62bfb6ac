package registry

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// The bounds of an Outside client: redirects as for registries, and for one answer as a whole its time and its bytes.
const (
	outsideTime = 5 * time.Second
	outsideBody = 8 * mib
)

var (
	errTooManyRedirects = errors.New("too many redirects")
	errTooLarge         = errors.New("the answer is larger than the limit")
)

// Outside returns an HTTP client for addresses that certificates name, to ask there whether they are revoked. It refuses
// link-local, metadata and loopback addresses by their resolved form, knows no credentials, follows 3 redirects, and gives
// up on an answer after 5 seconds or 8 MiB.
func Outside(userAgent string) *http.Client { return outside(userAgent, outsideBody) }

func outside(userAgent string, body int64) *http.Client {
	limits := Limits{}.withDefaults()
	return &http.Client{
		Timeout:   outsideTime,
		Transport: &guarded{next: newTransport(limits, 0, nil), userAgent: userAgent, body: body},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > limits.Redirects {
				return errTooManyRedirects
			}
			return nil
		},
	}
}

// guarded refuses addresses that a stranger may not lead to, and cuts what comes back.
type guarded struct {
	next      http.RoundTripper
	userAgent string
	body      int64
}

// RoundTrip implements http.RoundTripper.
func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := guardHost(r.URL.Hostname(), false); err != nil {
		return nil, err
	}
	t := &tracker{target: dialAddress(r.URL)}
	r = r.Clone(t.attach(r.Context()))
	r.Header.Set("User-Agent", g.userAgent)
	resp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &cutBody{ReadCloser: resp.Body, left: g.body}
	return resp, nil
}

// cutBody fails as soon as more comes than is read.
type cutBody struct {
	io.ReadCloser
	left int64
}

func (b *cutBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
