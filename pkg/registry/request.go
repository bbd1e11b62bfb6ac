package registry

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/signet-policy/signet/pkg/reason"
)

const (
	maxErrorBody  = 8 * kib
	errorBodyTime = time.Second
	longestPause  = 5 * time.Second
)

// want is one document of a repository, wherever it is served.
type want struct {
	kind   Kind
	suffix string // below the repository: "manifests/latest"
	accept string
	limit  int64
	size   int64 // as a descriptor says, or -1
	need   capability
	// from and page ask one host for a further page of what it answered before.
	from *endpoint
	page *url.URL
	// check looks at the content. A document that fails it is asked for at the next host.
	check func(r *received, url string) *failure
}

// received is an answer with its whole body.
type received struct {
	body   []byte
	header http.Header
	from   *endpoint
	url    *url.URL
}

// get asks the hosts in their order, and again after a pause when the outcome may change, as long as the context
// allows.
func (s *session) get(ctx context.Context, w want) (*received, *failure) {
	var last *failure
	for try := 1; ; try++ {
		r, f := s.getOnce(ctx, w)
		if f == nil {
			return r, nil
		}
		if last != nil && ctx.Err() != nil && f.status == 0 && !f.content {
			// Time ran out during the repetition; what the registry said before is the reason.
			return nil, last
		}
		if last != nil && !last.err.Unreachable {
			f = f.reached()
		}
		last = f
		if !f.transient || try >= s.client.shared.limits.Tries || !s.client.pause(ctx, try, f.retryAfter) {
			return nil, f
		}
	}
}

// pause waits before another try. It returns false at once when waiting would use up more than half of the time left,
// or when the registry asked for more patience than there is.
func (c *Client) pause(ctx context.Context, try int, wish time.Duration) bool {
	d := c.shared.limits.Pause << (try - 1)
	d = d/2 + rand.N(d)
	if wish > 0 {
		d += wish
	}
	longest := longestPause
	if deadline, ok := ctx.Deadline(); ok {
		longest = min(longest, time.Until(deadline)/2)
	}
	if d > longest {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// getOnce asks one host after the other. "Not found" is the result only when every host said so; otherwise the last
// failure of a host that answered counts before that of one that did not.
func (s *session) getOnce(ctx context.Context, w want) (*received, *failure) {
	var worst, absent *failure
	answered := false
	for _, ep := range s.endpoints {
		if ep.can&w.need == 0 || w.from != nil && w.from != ep {
			continue
		}
		r, f := s.fetchRested(ctx, ep, w)
		switch {
		case f == nil:
			return r, nil
		case f.notFound() || w.kind == KindReferrers && (f.status == http.StatusMethodNotAllowed || f.status == http.StatusNotImplemented):
			// Servers without a referrers API say so in several ways.
			f.status = http.StatusNotFound
			absent, answered = f, true
		case !f.err.Unreachable:
			worst, answered = f, true
		case worst == nil || worst.err.Unreachable:
			worst = f
		}
		// Also when time is up: a host that was not asked has not said "not found".
	}
	switch {
	case worst == nil && absent == nil:
		return nil, &failure{err: reason.New(reason.RegistryUnavailable, "no configured host may be asked for "+w.suffix)}
	case worst == nil:
		return nil, absent
	case answered:
		worst = worst.reached()
	}
	return nil, worst
}

// fetchRested asks one host, unless it could not be connected to a moment ago and is one of several: a cluster whose
// mirrors have everything must not wait for an upstream that it cannot reach with every image.
func (s *session) fetchRested(ctx context.Context, ep *endpoint, w want) (*received, *failure) {
	if len(s.endpoints) == 1 {
		return s.fetch(ctx, ep, w)
	}
	resting := s.client.shared.resting
	if since, ok := resting.Get(ep.host); ok && time.Since(since) < s.client.shared.limits.Rest {
		text := "GET " + showURL(s.locate(ep, ep.scheme, w)) + ": no connection a moment ago"
		return nil, &failure{err: &reason.Error{Code: reason.RegistryUnavailable, Unreachable: true, Text: text}}
	}
	r, f := s.fetch(ctx, ep, w)
	if f != nil && f.err.Unreachable && ctx.Err() == nil {
		resting.Add(ep.host, time.Now())
	}
	return r, f
}

// locate is the URL of a document on a host.
func (s *session) locate(ep *endpoint, scheme string, w want) *url.URL {
	if w.page != nil {
		return w.page
	}
	u := &url.URL{Scheme: scheme, Host: ep.host, Path: ep.root + "/" + s.path + "/" + w.suffix}
	if ep.namespace != "" {
		u.RawQuery = url.Values{"ns": {ep.namespace}}.Encode()
	}
	return u
}

// fetch asks one host, finding out about its scheme where that is open.
func (s *session) fetch(ctx context.Context, ep *endpoint, w want) (*received, *failure) {
	if ep.alt == "" {
		return s.ask(ctx, ep, ep.scheme, w)
	}
	// A scheme found by a client that allows plain HTTP is not for one that does not.
	key := ep.scheme + " " + ep.host
	schemes := s.client.shared.schemes
	first, other := ep.scheme, ep.alt
	if known, ok := schemes.Get(key); ok && known == ep.alt {
		first, other = ep.alt, ep.scheme
	}
	r, f := s.ask(ctx, ep, first, w)
	_, port := splitHost(ep.host)
	if f == nil || !f.wrongScheme && !(f.refused && port == "") {
		return r, f
	}
	r, second := s.ask(ctx, ep, other, w)
	if second != nil && (second.wrongScheme || second.refused) {
		return nil, f
	}
	if second == nil || second.status != 0 || second.content {
		schemes.Add(key, other)
	}
	return r, second
}

// ask asks one host over one scheme, with one credential after the other while the host refuses them.
func (s *session) ask(ctx context.Context, ep *endpoint, scheme string, w want) (*received, *failure) {
	for {
		r, used, f := s.askAs(ctx, ep, scheme, w)
		if f == nil || f.err.Code != reason.RegistryUnauthorized || used == nil || !s.another(ctx, ep, used) {
			return r, f
		}
	}
}

// askAs asks with the credential in use, answering challenges. It says which one that was; nil for none.
func (s *session) askAs(ctx context.Context, ep *endpoint, scheme string, w want) (*received, *credential, *failure) {
	origin := &url.URL{Scheme: scheme, Host: ep.host}
	u := s.locate(ep, scheme, w)
	o := outgoing{method: http.MethodGet, kind: w.kind, url: u, origin: origin, accept: w.accept, limit: w.limit, size: w.size}
	var used *credential
	o.authorization, used = s.authorization(ctx, ep, origin)
	for trips := 0; ; trips++ {
		r, f := s.client.do(ctx, ep, o)
		if f == nil {
			if w.check != nil {
				if f := w.check(r, showURL(u)); f != nil {
					return nil, used, f
				}
			}
			return r, used, nil
		}
		if f.challenge == nil || trips == s.client.shared.limits.AuthTrips {
			return nil, used, f
		}
		next, cred, fail := s.answer(ctx, ep, origin, f.challenge, o.authorization)
		if cred != nil {
			used = cred
		}
		if fail != nil {
			return nil, used, fail
		}
		if next == "" {
			return nil, used, f
		}
		o.authorization = next
	}
}

// outgoing is one HTTP request, redirects included.
type outgoing struct {
	method        string
	kind          Kind
	url           *url.URL
	origin        *url.URL // the registry's scheme and host
	form          string
	authorization string
	accept        string
	limit         int64
	size          int64
	noRedirects   bool
}

// do makes one request, follows its redirects and reads its body. Everything that is not a complete 200 is a failure.
func (c *Client) do(ctx context.Context, ep *endpoint, o outgoing) (*received, *failure) {
	shown := o.shown()
	ctx, cancel := context.WithTimeout(ctx, c.shared.limits.Request)
	defer cancel()
	release, err := c.shared.slots.acquire(ctx, o.url.Host)
	if err != nil {
		return nil, &failure{err: &reason.Error{Code: reason.RegistryTimeout, Text: "GET " + shown + ": not begun in time", Err: err}}
	}
	defer release()
	u, home := o.url, true
	for hop := 0; ; hop++ {
		resp, t, err := c.roundTrip(ctx, ep, o, u, home)
		if err != nil {
			f := transportFailure(ctx, shown, err, t)
			if hop > 0 {
				// The registry was there; where it pointed to is no excuse.
				f = f.reached()
			}
			return nil, f
		}
		next, f := c.redirect(resp, o, u, hop, shown)
		if f == nil && next == nil {
			defer resp.Body.Close()
			return c.receive(ctx, cancel, resp, ep, o, home, t)
		}
		resp.Body.Close()
		if f != nil {
			return nil, f
		}
		// A request that has left the host does not get its credentials back.
		u, home = next, home && sameOrigin(next, o.url)
	}
}

// roundTrip sends the request to u. Credentials and configured headers go along only to the host they were made for.
func (c *Client) roundTrip(ctx context.Context, ep *endpoint, o outgoing, u *url.URL, home bool) (*http.Response, *tracker, error) {
	host := u.Host == ep.host
	t := &tracker{target: dialAddress(u), loopback: host || isLoopback(o.origin.Hostname())}
	if err := guardHost(u.Hostname(), t.loopback); err != nil {
		return nil, t, err
	}
	var body io.Reader
	if o.form != "" {
		body = strings.NewReader(o.form)
	}
	req, err := http.NewRequestWithContext(t.attach(ctx), o.method, u.String(), body)
	if err != nil {
		return nil, t, err
	}
	if host && home && o.kind != KindToken {
		for name, values := range ep.header {
			req.Header[name] = values
		}
	}
	req.Header.Set("User-Agent", c.shared.userAgent)
	req.Header.Set("Accept-Encoding", "identity")
	if o.accept != "" {
		req.Header.Set("Accept", o.accept)
	}
	if o.form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if home && o.authorization != "" {
		req.Header.Set("Authorization", o.authorization)
	}
	transport := c.shared.transport
	if host {
		transport = ep.transport
	}
	start := time.Now()
	resp, err := transport.RoundTrip(req)
	seen := Request{Host: u.Host, Kind: o.kind, URL: observedURL(o, u), Duration: time.Since(start)}
	if err == nil {
		seen.Status = resp.StatusCode
	}
	c.shared.observe(seen)
	return resp, t, err
}

// redirect returns where an answer points to; nil when it points nowhere.
func (c *Client) redirect(resp *http.Response, o outgoing, from *url.URL, hop int, shown string) (*url.URL, *failure) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	refuse := func(text string) (*url.URL, *failure) {
		return nil, contentFailure(reason.RegistryUnavailable, shown, text)
	}
	if o.noRedirects {
		return refuse("redirect not allowed")
	}
	if hop >= c.shared.limits.Redirects {
		return refuse("too many redirects")
	}
	location := resp.Header.Get("Location")
	next, err := from.Parse(location)
	switch {
	case location == "", err != nil:
		return refuse("redirect without a usable location")
	case next.Host == "" || next.User != nil || next.Scheme != "http" && next.Scheme != "https":
		return refuse("redirect to something that is no plain URL")
	case o.kind == KindReferrers && !sameOrigin(next, o.url) && !sameList(next, o.url):
		// A registry without a referrers API that sends what it does not know to its web site, as ghcr.io does. What that
		// answers says nothing, and it may not want to be asked.
		return nil, &failure{err: reason.New(reason.RegistryUnavailable, "GET "+shown+": no referrers API: redirect to something else"),
			status: http.StatusNotFound, content: true}
	case next.Scheme == "http" && from.Scheme == "https":
		return refuse("redirect from HTTPS to HTTP")
	case next.Scheme == "http" && next.Host != o.url.Host && !c.insecure && !isLoopback(next.Hostname()):
		return refuse("redirect to plain HTTP on another host")
	}
	next.Fragment = ""
	return next, nil
}

// receive reads the answer that ended the request.
func (c *Client) receive(ctx context.Context, cancel func(), resp *http.Response, ep *endpoint, o outgoing, home bool, t *tracker) (*received, *failure) {
	shown := o.shown()
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, contentFailure(reason.RegistryUnavailable, shown, "compressed answer")
	}
	if resp.StatusCode != http.StatusOK {
		timer := time.AfterFunc(errorBodyTime, cancel)
		defer timer.Stop()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		f := statusFailure(shown, resp, body)
		if resp.StatusCode == http.StatusUnauthorized && home && o.kind != KindToken {
			f.challenge = resp.Header
		}
		text := string(body)
		f.wrongScheme = resp.StatusCode == http.StatusBadRequest && home && o.url.Scheme == "http" &&
			strings.Contains(text, "HTTP request") && strings.Contains(text, "HTTPS")
		return nil, f
	}
	limit := o.limit
	if o.size >= 0 {
		limit = min(limit, o.size)
		if resp.ContentLength >= 0 && resp.ContentLength != o.size {
			return nil, contentFailure(reason.DigestMismatch, shown, "the size differs from the descriptor's")
		}
	}
	if resp.ContentLength > limit {
		return nil, contentFailure(reason.LimitReached, shown, "larger than the limit")
	}
	body, over, err := c.read(ctx, resp.Body, limit, resp.ContentLength)
	switch {
	case err != nil:
		return nil, transportFailure(ctx, shown, err, t)
	case over && o.size >= 0 && limit == o.size:
		return nil, contentFailure(reason.DigestMismatch, shown, "larger than the descriptor says")
	case over:
		return nil, contentFailure(reason.LimitReached, shown, "larger than the limit")
	}
	return &received{body: body, header: resp.Header, from: ep, url: o.url}, nil
}

// read reads at most limit bytes. Every byte of buffer is accounted for before it is made, so that all requests
// together stay below the process' limit, and one that announces much but sends little holds little.
func (c *Client) read(ctx context.Context, r io.Reader, limit, hint int64) (body []byte, over bool, err error) {
	first := int64(4 * kib)
	if hint >= 0 {
		first = min(hint+1, 64*kib)
	}
	first = min(first, limit+1)
	var held int64
	defer func() { c.shared.inFlight.Release(held) }()
	var buf []byte
	for {
		if len(buf) == cap(buf) {
			size := max(first, min(2*int64(cap(buf)), limit+1))
			if err := c.shared.inFlight.Acquire(ctx, size-held); err != nil {
				return nil, false, err
			}
			held = size
			buf = append(make([]byte, 0, size), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return nil, true, nil
		case err == io.EOF:
			return buf, false, nil
		case err != nil:
			return nil, false, err
		}
	}
}

// shown is what is asked as it may be shown. The path of a token service is the registry's word, which is in no text.
func (o outgoing) shown() string {
	if o.kind == KindToken {
		return showToken(o.url)
	}
	return showURL(o.url)
}

func showToken(realm *url.URL) string {
	return showURL(&url.URL{Scheme: realm.Scheme, Host: realm.Host}) + " (token)"
}

// showURL is the URL as it may be shown: without user and query.
func showURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// observedURL is what observers are told of a request for o that went to u.
func observedURL(o outgoing, u *url.URL) string {
	if u != o.url || o.kind == KindToken {
		u = &url.URL{Scheme: u.Scheme, Host: u.Host}
	}
	return showURL(u)
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host) }

func dialAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// splitHost separates "name:port"; the port is empty when there is none.
func splitHost(host string) (name, port string) {
	u := url.URL{Host: host}
	return u.Hostname(), u.Port()
}
