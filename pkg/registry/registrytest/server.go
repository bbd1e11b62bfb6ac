// Package registrytest is a registry in memory for tests, which can be told to misbehave.
//
// Content is kept by an implementation of the distribution protocol with a correct referrers API. In front of it stands
// a handler that logs every request and applies the faults asked for: wrong bytes, lying headers, silence, redirects,
// challenges. A gate can hold requests back, so that a test sees which of them a client makes at the same time without
// looking at the clock.
package registrytest

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// The kinds of requests in logs and matches.
const (
	Tag       = "tag"
	Manifest  = "manifest"
	Blob      = "blob"
	Referrers = "referrers"
	Token     = "token"
	Other     = "other"
)

// TokenPath is the path below which a server counts requests as token requests. Nothing answers there without a fault.
const TokenPath = "/token"

// Entry is one logged request.
type Entry struct {
	Method string
	Kind   string
	// Repository and Reference are empty for requests outside of the protocol.
	Repository string
	Reference  string
	Path       string
	Query      string
	Header     http.Header
	// Status is zero when the connection was broken off before one was sent.
	Status int
	// Begin and End are ticks of one clock that counts both: two requests overlapped if neither ended before the other
	// began. End is zero while the request runs.
	Begin, End int
}

// Server is a registry on a loopback address.
type Server struct {
	t    testing.TB
	http *httptest.Server
	mem  *ocimem.Registry
	api  http.Handler
	stop context.CancelFunc
	life context.Context

	mu     sync.Mutex
	held   map[string]*held // by repository
	log    []*Entry
	tick   int
	faults []*armed
	gate   *Gate
}

// New starts a registry over plain HTTP. With a t, helpers that fail end the test and the server is closed after it;
// with nil they panic and the caller closes.
func New(t testing.TB) *Server { return start(t, false) }

// NewTLS starts a registry over HTTPS with a certificate that CA signs for 127.0.0.1 and example.com.
func NewTLS(t testing.TB) *Server { return start(t, true) }

func start(t testing.TB, tls bool) *Server {
	s := &Server{t: t, mem: ocimem.NewWithConfig(&ocimem.Config{LaxChildReferences: true})}
	s.life, s.stop = context.WithCancel(context.Background())
	s.api = ociserver.New(s.mem, nil)
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	// Broken handshakes are part of the tests and not worth a line.
	s.http.Config.ErrorLog = quiet()
	if tls {
		s.http.EnableHTTP2 = true
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	if t != nil {
		t.Cleanup(s.Close)
	}
	return s
}

// Close ends the server and every request that hangs.
func (s *Server) Close() {
	s.stop()
	s.http.CloseClientConnections()
	s.http.Close()
}

// Host is the server's address, "127.0.0.1:port", as image references want it.
func (s *Server) Host() string { return s.http.Listener.Addr().String() }

// URL is the server's address with its scheme.
func (s *Server) URL() string { return s.http.URL }

// CA is the certificate that a client of NewTLS must trust, in PEM.
func (s *Server) CA() []byte {
	if s.http.Certificate() == nil {
		s.fatal(fmt.Errorf("no TLS"))
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// WriteHostsToml makes the server stand for the registry host in a configuration directory: it is the only mirror and
// the upstream as well, so that nothing else is asked.
func (s *Server) WriteHostsToml(dir, host string) {
	name := host
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		name = host[:i] + "_" + host[i+1:] + "_"
	}
	sub := filepath.Join(dir, name)
	s.must(os.MkdirAll(sub, 0o755))
	ca := ""
	if s.http.Certificate() != nil {
		s.must(os.WriteFile(filepath.Join(sub, "ca.pem"), s.CA(), 0o644))
		ca = "ca = \"ca.pem\"\n"
	}
	text := fmt.Sprintf("server = %q\n%s\n[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n%s", s.URL(), ca, s.URL(), ca)
	s.must(os.WriteFile(filepath.Join(sub, "hosts.toml"), []byte(text), 0o644))
}

// Log returns the requests seen so far, in the order in which they began.
func (s *Server) Log() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := make([]Entry, len(s.log))
	for i, e := range s.log {
		log[i] = *e
	}
	return log
}

// ResetLog forgets the requests seen so far.
func (s *Server) ResetLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// Count is the number of logged requests that match.
func (s *Server) Count(m Match) int {
	n := 0
	for _, e := range s.Log() {
		if m.fits(&e) {
			n++
		}
	}
	return n
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	e := &Entry{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone()}
	e.Kind, e.Repository, e.Reference = classify(r.URL.Path)
	s.mu.Lock()
	s.tick++
	e.Begin = s.tick
	s.log = append(s.log, e)
	gate := s.gate
	fault := s.faultFor(e)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tick++
		e.End = s.tick
	}()
	if gate != nil {
		gate.wait(r.Context(), s.life)
	}
	rec := &recorder{ResponseWriter: w, status: func(code int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.Status == 0 {
			e.Status = code
		}
	}}
	// Hanging handlers end with the server.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	r = r.WithContext(ctx)
	if fault != nil {
		fault(rec, r, s.api)
		return
	}
	if e.Kind == Token {
		http.NotFound(rec, r)
		return
	}
	s.api.ServeHTTP(rec, r)
}

// classify reads a path of the protocol.
func classify(path string) (kind, repository, reference string) {
	if strings.HasPrefix(path, TokenPath) {
		return Token, "", ""
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return Other, "", ""
	}
	for _, k := range []struct{ part, kind string }{{"/manifests/", Manifest}, {"/blobs/", Blob}, {"/referrers/", Referrers}} {
		i := strings.LastIndex(rest, k.part)
		if i < 0 {
			continue
		}
		repository, reference = rest[:i], rest[i+len(k.part):]
		if k.kind == Manifest && !strings.Contains(reference, ":") {
			return Tag, repository, reference
		}
		return k.kind, repository, reference
	}
	return Other, "", ""
}

type recorder struct {
	http.ResponseWriter
	status func(int)
}

func (r *recorder) WriteHeader(code int) {
	r.status(code)
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.status(http.StatusOK)
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (s *Server) must(err error) {
	if err != nil {
		s.fatal(err)
	}
}

func (s *Server) fatal(err error) {
	if s.t == nil {
		panic(err)
	}
	s.t.Helper()
	s.t.Fatal(err)
}
