package loader

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/policy"
)

// maxRedirects is how many redirects of a service are followed.
const maxRedirects = 3

// services are the HTTP clients for services, one for each bundle of authorities. They have no credentials, no proxy and no
// cookies.
type services struct {
	resolver Resolver
	connect  func(ctx context.Context, network, address string) (net.Conn, error)
	clients  *lru.Cache[[sha256.Size]byte, *http.Client]
}

func newServices(o Options) *services {
	s := &services{resolver: o.Resolver, connect: o.Dial}
	if s.connect == nil {
		s.connect = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: -1}).DialContext
	}
	if s.resolver == nil {
		s.resolver = net.DefaultResolver
	}
	// Bundles are texts of policies; there are a few. The error is that of a size below one.
	s.clients, _ = lru.NewWithEvict(64, func(_ [sha256.Size]byte, c *http.Client) { c.CloseIdleConnections() })
	return s
}

// client is the client that checks certificates against a bundle, or the system's authorities if it is empty.
func (s *services) client(bundle string) (*http.Client, error) {
	key := sha256.Sum256([]byte(bundle))
	if c, ok := s.clients.Get(key); ok {
		return c, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if bundle != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(bundle)) {
			return nil, errors.New("caBundle holds no PEM certificates")
		}
	}
	c := &http.Client{
		Transport: &http.Transport{
			// A connection is for one call: another policy, which may ask other addresses, must not find it open.
			DialContext: s.dial, TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 5 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: redirected,
	}
	s.clients.Add(key, c)
	return c, nil
}

// redirected judges a redirect. What is sent to a service is for that service: it is not sent on elsewhere.
func redirected(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case first.Method != http.MethodGet || req.Method != http.MethodGet:
		return errors.New("a POST request is not sent elsewhere by a redirect")
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("redirect from HTTPS to HTTP")
	}
	if req.URL.Host != first.URL.Host || req.URL.Scheme != first.URL.Scheme {
		agent, accept := first.UserAgent(), first.Header.Get("Accept")
		req.Header = http.Header{"User-Agent": {agent}, "Accept": {accept}}
	}
	return plain(req.URL)
}

// plain tells whether a URL is one that may be asked at all. Addresses are looked at when they are known.
func plain(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Opaque != "" {
		return refuse("the URL of a service is http or https with a host, and without a user")
	}
	return nil
}

// service asks a service (VI 1.4(6)).
func (l *Loader) service(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope, body []byte) (any, error) {
	call := entry.Call
	target, err := text(ctx, scope, call.URL, "url")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, refuse("the URL of a service cannot be read")
	}
	if err := plain(u); err != nil {
		return nil, err
	}
	bundle := ""
	if call.CABundle != nil {
		if bundle, err = text(ctx, scope, call.CABundle, "caBundle"); err != nil {
			return nil, err
		}
	}
	client, err := l.services.client(bundle)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, destinationKey{}, destination{namespace: entry.Namespace, read: l.ownService})
	req, err := newRequest(ctx, call.Post, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", l.opts.UserAgent)
	for _, h := range call.Headers {
		value, err := text(ctx, scope, h.Value, "header "+h.Name)
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(h.Name, "Host") {
			req.Host = value
			continue
		}
		req.Header.Set(h.Name, value)
	}
	value, err := l.ask(client, req)
	if err != nil {
		return nil, fmt.Errorf("service %s://%s: %w", u.Scheme, clip(u.Host), err)
	}
	return value, nil
}

func (l *Loader) ask(client *http.Client, req *http.Request) (any, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	return decode(resp.Body, l.opts.MaxResponse)
}
