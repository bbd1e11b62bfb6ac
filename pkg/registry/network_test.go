package registry_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// listen accepts connections and hands each to f, which owns it.
func listen(t testing.TB, f func(net.Conn)) (host string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	return l.Addr().String()
}

// refusing is an address on which nobody listens.
func refusing(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// swallow reads what comes until the peer has gone away.
func swallow(c net.Conn) {
	io.Copy(io.Discard, c)
	c.Close()
}

// VI 6.14(1)(b): what counts as "no connection could be made", and what does not.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	readRequest := func(c net.Conn) { c.Read(make([]byte, 4096)) }
	cases := map[string]struct {
		host        func(t *testing.T) string
		short       bool
		insecure    bool
		code        reason.Code
		unreachable bool
	}{
		"refused": {host: func(t *testing.T) string { return refusing(t) }, code: reason.RegistryUnavailable, unreachable: true},
		"name unknown": {host: func(*testing.T) string { return "registry.invalid" },
			code: reason.RegistryUnavailable, unreachable: true},
		"closed at once": {host: func(t *testing.T) string { return listen(t, func(c net.Conn) { c.Close() }) },
			code: reason.RegistryUnavailable, unreachable: true},
		"closed after the request": {host: func(t *testing.T) string {
			return listen(t, func(c net.Conn) { readRequest(c); c.Close() })
		}, code: reason.RegistryUnavailable, unreachable: true},
		"reset": {host: func(t *testing.T) string {
			return listen(t, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() })
		}, code: reason.RegistryUnavailable, unreachable: true},
		"closed after half a header": {host: func(t *testing.T) string {
			return listen(t, func(c net.Conn) { readRequest(c); io.WriteString(c, "HTTP/1.1 200 OK\r\nCont"); c.Close() })
		}, code: reason.RegistryUnavailable},
		"not HTTP": {host: func(t *testing.T) string {
			return listen(t, func(c net.Conn) {
				readRequest(c)
				io.WriteString(c, "secret 220 smtp.example.com ready\r\n\r\n")
				c.Close()
			})
		}, code: reason.RegistryUnavailable},
		"silence":         {host: func(t *testing.T) string { return listen(t, swallow) }, short: true, code: reason.RegistryTimeout},
		"header in drips": {host: func(t *testing.T) string { return listen(t, drip) }, short: true, code: reason.RegistryTimeout},
		"body in drips": {host: func(t *testing.T) string {
			s := registrytest.New(t)
			s.PushImage("a/b", "v1", nil)
			s.Fault(registrytest.Match{}, registrytest.Drip(50*time.Millisecond))
			return s.Host()
		}, short: true, code: reason.RegistryTimeout},
		"link-local":           {host: func(*testing.T) string { return "169.254.169.254" }, code: reason.RegistryUnavailable},
		"link-local with port": {host: func(*testing.T) string { return "169.254.1.1:5000" }, code: reason.RegistryUnavailable},
		"link-local over HTTP": {host: func(*testing.T) string { return "169.254.169.254" }, insecure: true, code: reason.RegistryUnavailable},
		"link-local IPv6":      {host: func(*testing.T) string { return "[fe80::1]" }, code: reason.RegistryUnavailable},
		"mapped link-local":    {host: func(*testing.T) string { return "[::ffff:a9fe:a9fe]" }, code: reason.RegistryUnavailable},
		"NAT64 link-local":     {host: func(*testing.T) string { return "[64:ff9b::a9fe:a9fe]" }, code: reason.RegistryUnavailable},
		"metadata IPv6":        {host: func(*testing.T) string { return "[fd00:ec2::254]" }, code: reason.RegistryUnavailable},
		"metadata":             {host: func(*testing.T) string { return "100.100.100.200" }, code: reason.RegistryUnavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := within(t, 2*time.Minute)
			if tc.short {
				ctx = soon(t)
			}
			c := newClient(t, registry.Options{AllowInsecure: tc.insecure})
			_, err := c.Resolve(ctx, parse(t, tc.host(t)+"/a/b:v1"))
			wantReason(t, err, tc.code, tc.unreachable)
			a, err := c.Attached(ctx, pin(t, tc.host(t)+"/a/b", string(image.DigestOf(nil))), image.Ref{})
			if err != nil {
				t.Fatal(err)
			}
			if tc.short {
				return
			}
			if len(a.Problems) != 4 || len(a.Artifacts) > 0 {
				t.Fatalf("got %+v", a)
			}
			for _, p := range a.Problems {
				wantReason(t, p, tc.code, tc.unreachable)
			}
		})
	}
}

func drip(c net.Conn) {
	defer c.Close()
	c.Read(make([]byte, 4096))
	for _, b := range []byte("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 1000)) {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// VI 6.14(4): what passes by is tried again.
func TestA48Retries(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		faults   []registrytest.Fault
		requests int
		code     reason.Code
	}{
		"503 once":                 {[]registrytest.Fault{registrytest.Status(503, ""), nil}, 2, ""},
		"429 once":                 {[]registrytest.Fault{registrytest.Status(429, ""), nil}, 2, ""},
		"429 with a short wait":    {[]registrytest.Fault{registrytest.Status(429, "", "Retry-After", "1"), nil}, 2, ""},
		"429 with a date":          {[]registrytest.Fault{registrytest.Status(429, "", "Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"), nil}, 2, ""},
		"429 with a long wait":     {[]registrytest.Fault{registrytest.Status(429, "", "Retry-After", "3600"), nil}, 1, reason.RegistryRateLimited},
		"429 for ever":             {[]registrytest.Fault{registrytest.Status(429, "", "Retry-After", "99999999999999999999"), registrytest.Status(429, "")}, 3, reason.RegistryRateLimited},
		"truncated twice":          {[]registrytest.Fault{registrytest.Truncate(), registrytest.Truncate(), nil}, 3, ""},
		"500 three times":          {[]registrytest.Fault{registrytest.Status(500, "")}, 3, reason.RegistryUnavailable},
		"403 is final":             {[]registrytest.Fault{registrytest.Status(403, ""), nil}, 1, reason.RegistryUnauthorized},
		"404 is final":             {[]registrytest.Fault{registrytest.Status(404, ""), nil}, 1, reason.ImageNotFound},
		"400 is final":             {[]registrytest.Fault{registrytest.Status(400, ""), nil}, 1, reason.RegistryUnavailable},
		"nonsense is final":        {[]registrytest.Fault{registrytest.Body(200, "text/html", []byte("<html>")), nil}, 1, reason.RegistryUnavailable},
		"503, then another digest": {[]registrytest.Fault{registrytest.Status(503, ""), registrytest.FlipBit()}, 2, reason.DigestMismatch},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.Fault(registrytest.Match{}, registrytest.InTurn(tc.faults...))
			_, err := f.client.Resolve(within(t, 2*time.Minute), parse(t, f.Host()+"/"+repo+":v1"))
			if tc.code == "" && err != nil {
				t.Error(err)
			}
			if tc.code != "" {
				wantReason(t, err, tc.code, false)
			}
			if n := len(f.Log()); n != tc.requests {
				t.Errorf("%d requests, want %d", n, tc.requests)
			}
		})
	}
}

// When time runs out during a repetition, the reason is what the registry said, not that time ran out.
func TestReasonSurvivesTheDeadline(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Fault(registrytest.Match{}, registrytest.InTurn(registrytest.Status(503, ""), registrytest.Hang()))
	_, err := f.client.Resolve(soon(t), parse(t, f.Host()+"/"+repo+":v1"))
	e := wantReason(t, err, reason.RegistryUnavailable, false)
	if !strings.Contains(e.Text, "503") {
		t.Error(e.Text)
	}
}

// no more than 16 requests at once against one host, and a stuck host does not hold up another.
func TestA45ConcurrencyPerHost(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	for i := range 40 {
		s.PushImage("acme/app", "v"+string(rune('a'+i%26))+string(rune('a'+i/26)), nil)
	}
	var now, most atomic.Int64
	full := make(chan struct{})
	s.Fault(registrytest.Match{}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 16 {
			close(full)
		}
		<-full
		next.ServeHTTP(w, r)
	})
	other := newFixture(t)
	c := newClient(t, registry.Options{})
	done := make(chan error, 40)
	for i := range 40 {
		ref := parse(t, s.Host()+"/acme/app:v"+string(rune('a'+i%26))+string(rune('a'+i/26)))
		go func() {
			_, err := c.Resolve(within(t, 2*time.Minute), ref)
			done <- err
		}()
	}
	if _, err := c.Resolve(within(t, 2*time.Minute), parse(t, other.Host()+"/"+repo+":v1")); err != nil {
		t.Error(err)
	}
	for range 40 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 16 {
		t.Errorf("%d requests at once, want 16", most.Load())
	}
}

// A request that never got its turn timed out; it did not fail to connect.
func TestWaitingForATurn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Fault(registrytest.Match{Reference: "v1"}, registrytest.Hang())
	c := newClient(t, registry.Options{Limits: registry.Limits{PerHost: 1}})
	stuck, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ref := parse(t, f.Host()+"/"+repo+":v1")
	go func() {
		_, err := c.Resolve(stuck, ref)
		done <- err
	}()
	for f.Count(registrytest.Match{}) == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := c.Resolve(soon(t), parse(t, f.Host()+"/"+repo+":v2"))
	wantReason(t, err, reason.RegistryTimeout, false)
	cancel()
	wantReason(t, <-done, reason.RegistryTimeout, false)
}

// where redirects may lead.
func TestA43Redirects(t *testing.T) {
	t.Parallel()
	const path = "/v2/" + repo + "/manifests/v1"
	cases := map[string]struct {
		to   func(f, other *fixture) string
		text string // empty: followed
	}{
		"another host":           {func(_, o *fixture) string { return o.URL() + path }, ""},
		"same host":              {func(_, o *fixture) string { return "/v2/acme/moved/manifests/v1" }, ""},
		"link-local":             {func(_, o *fixture) string { return "http://169.254.169.254/latest/meta-data/secret" }, "plain HTTP"},
		"link-local over HTTPS":  {func(_, o *fixture) string { return "https://169.254.169.254/latest/meta-data/secret" }, "address refused"},
		"metadata as IPv6":       {func(_, o *fixture) string { return "https://[fd00:ec2::254]/" }, "address refused"},
		"file":                   {func(_, o *fixture) string { return "file:///etc/secret" }, "no plain URL"},
		"ftp":                    {func(_, o *fixture) string { return "ftp://127.0.0.1/secret" }, "no plain URL"},
		"with a user":            {func(_, o *fixture) string { return "http://a:hunter2@" + o.Host() + path }, "no plain URL"},
		"plain HTTP elsewhere":   {func(_, o *fixture) string { return "http://registry.example.com" + path }, "plain HTTP"},
		"nowhere":                {func(_, o *fixture) string { return "" }, "location"},
		"not a URL":              {func(_, o *fixture) string { return "http://[::1" }, "location"},
		"loop":                   {func(f, _ *fixture) string { return f.URL() + path }, "too many"},
		"to itself, other query": {func(f, _ *fixture) string { return "?secret=1" }, "too many"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, other := newFixture(t), newFixture(t)
			want, _ := other.Get(repo, other.digest)
			f.PushManifest("acme/moved", "v1", ociManifest, want)
			f.Fault(registrytest.Match{Repository: repo}, registrytest.Redirect(307, tc.to(f, other)))
			p, err := f.client.Resolve(within(t, 2*time.Minute), parse(t, f.Host()+"/"+repo+":v1"))
			if tc.text == "" {
				if err != nil || p.Digest().String() != other.digest {
					t.Errorf("got %s, %v", p.Digest(), err)
				}
				return
			}
			e := wantReason(t, err, reason.RegistryUnavailable, false)
			if !strings.Contains(e.Text, tc.text) {
				t.Errorf("text %q, want %q", e.Text, tc.text)
			}
			if n := len(f.Log()); n > 4 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// where blobs may be. Another host is asked for one without the credentials of the registry, and where no redirect of a
// manifest may lead, none of a blob does.
func TestA43BlobLocations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		to   func(f, storage *fixture) string
		text string // empty: followed
	}{
		"storage":     {func(_, s *fixture) string { return s.URL() + "/storage?signature=secret" }, ""},
		"same host":   {func(*fixture, *fixture) string { return "/storage" }, ""},
		"metadata":    {func(*fixture, *fixture) string { return "https://169.254.169.254/latest/secret" }, "address refused"},
		"file":        {func(*fixture, *fixture) string { return "file:///etc/secret" }, "no plain URL"},
		"with a user": {func(_, s *fixture) string { return "http://a:hunter2@" + s.Host() + "/storage" }, "no plain URL"},
		"loop":        {nil, "too many"},
		"plain, far":  {func(*fixture, *fixture) string { return "http://storage.example.com/secret" }, "plain HTTP"},
		"another blob": {func(f, _ *fixture) string {
			return "/v2/" + repo + "/blobs/" + f.PushBlob(repo, "x/y", []byte("else!!!")).Digest
		}, "digest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, storage := newFixture(t), newFixture(t)
			want := "Basic " + basic("me", "hunter2")
			payload := []byte("payload")
			f.AttachTag(repo, f.digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: payload})
			for _, s := range []*fixture{f, storage} {
				s.Fault(registrytest.Match{Kind: registrytest.Other}, registrytest.Body(200, "x/y", payload))
			}
			fault := registrytest.Loop()
			if tc.to != nil {
				fault = registrytest.Redirect(307, tc.to(f, storage))
			}
			f.Fault(registrytest.Match{Kind: registrytest.Blob, Reference: registrytest.DigestOf(payload)}, fault)
			f.Fault(registrytest.Match{Kind: registrytest.Tag}, registrytest.Unless(
				func(r *http.Request) bool { return r.Header.Get("Authorization") == want },
				registrytest.Status(401, "", "WWW-Authenticate", `Basic realm="x"`)))
			f.client = newClient(t, registry.Options{Keychain: keychain{f.Host(): {Username: "me", Password: "hunter2"}}})
			a := f.attached(t, within(t, 2*time.Minute))
			if tc.text == "" {
				if diff := cmp.Diff([]string{"payload"}, payloads(a)); diff != "" {
					t.Error(diff, a.Problems)
				}
			} else {
				var told []string
				for _, bad := range rejected(a) {
					told = append(told, bad.Text)
				}
				for _, p := range a.Problems {
					told = append(told, p.Error())
				}
				if text := strings.Join(told, "\n"); len(payloads(a)) > 0 || !strings.Contains(text, tc.text) || strings.Contains(text, "secret") || strings.Contains(text, "hunter2") {
					t.Errorf("%d payloads, %q", len(payloads(a)), told)
				}
			}
			for _, e := range storage.Log() {
				if e.Header.Get("Authorization") != "" {
					t.Errorf("the storage got %v", e.Header)
				}
			}
			if n := len(f.Log()); n > 20 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// VI 6.14(2): a registry cannot make itself unreachable by what it answers.
func TestAnswersAreNoLackOfConnection(t *testing.T) {
	t.Parallel()
	dead := "http://" + refusing(t)
	closing := "http://" + listen(t, func(c net.Conn) { c.Close() })
	cases := map[string]registrytest.Fault{
		"redirect to nobody":       registrytest.Redirect(307, dead+"/v2/x"),
		"redirect and close":       registrytest.Redirect(307, closing+"/v2/x"),
		"redirect to no name":      registrytest.Redirect(307, "https://nowhere.invalid/v2/x"),
		"token from nobody":        registrytest.Status(401, "", "WWW-Authenticate", `Bearer realm="`+dead+`/token"`),
		"503 and then gone":        registrytest.InTurn(registrytest.Status(503, ""), registrytest.Close(), registrytest.Close()),
		"truncated, and then gone": registrytest.InTurn(registrytest.Truncate(), registrytest.Close(), registrytest.Close()),
	}
	for name, fault := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.Fault(registrytest.Match{}, fault)
			_, err := f.client.Resolve(within(t, 2*time.Minute), parse(t, f.Host()+"/"+repo+":v1"))
			var e *reason.Error
			if !errors.As(err, &e) || e.Unreachable {
				t.Errorf("got %v, %+v", err, e)
			}
		})
	}
}

// Three redirects are followed, a fourth is not.
func TestRedirectsAtTheLimit(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{3: true, 4: false} {
		f := newFixture(t)
		f.Fault(registrytest.Match{Times: n}, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, r.URL.Path+"?hop", http.StatusFound)
		})
		_, err := f.client.Resolve(context.Background(), parse(t, f.Host()+"/"+repo+":v1"))
		if (err == nil) != ok {
			t.Errorf("%d redirects: %v", n, err)
		}
	}
}

// One HTTP request, one call of Observe, redirects and failures included.
func TestObserve(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Fault(registrytest.Match{Reference: "v1", Times: 1}, registrytest.Redirect(302, "/v2/"+repo+"/manifests/v1?moved"))
	var seen calls
	c := newClient(t, registry.Options{Observe: seen.observe, UserAgent: "tester/1"})
	if _, err := c.Resolve(context.Background(), parse(t, f.Host()+"/"+repo+":v1")); err != nil {
		t.Fatal(err)
	}
	document := f.URL() + "/v2/" + repo + "/manifests/v1"
	// What a registry redirects to may have secrets in path and query.
	if got, want := []string{seen.list[0].URL, seen.list[1].URL}, []string{document, f.URL()}; !slices.Equal(got, want) {
		t.Errorf("observed %q, want %q", got, want)
	}
	if _, err := c.Resolve(context.Background(), parse(t, refusing(t)+"/"+repo+":v1")); err == nil {
		t.Fatal("no error")
	}
	var statuses []int
	for _, r := range seen.list {
		if r.Kind != registry.KindTag {
			t.Errorf("kind %q", r.Kind)
		}
		statuses = append(statuses, r.Status)
	}
	if len(statuses) < 3 || statuses[0] != 302 || statuses[1] != 200 || statuses[2] != 0 || seen.list[0].Host != f.Host() {
		t.Errorf("observed %+v", seen.list)
	}
	for _, e := range f.Log() {
		if e.Header.Get("User-Agent") != "tester/1" || e.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("headers %v", e.Header)
		}
	}
}
