package trust_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/trust/trusttest"
)

func TestTUFOptions(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	r.Publish(trusttest.EmptyRoot(0))
	file := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(file, r.Initial, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change  func(*trust.TUFOptions)
		wantErr string
	}{
		"file":           {change: func(o *trust.TUFOptions) { o.Root, o.RootLocation = nil, file }},
		"no such file":   {change: func(o *trust.TUFOptions) { o.Root, o.RootLocation = nil, file+"x" }, wantErr: "no such file"},
		"both":           {change: func(o *trust.TUFOptions) { o.RootLocation = file }, wantErr: "twice"},
		"http":           {change: func(o *trust.TUFOptions) { o.Root, o.RootLocation = nil, "http://a/b" }, wantErr: "https"},
		"no host":        {change: func(o *trust.TUFOptions) { o.Root, o.RootLocation = nil, "https:///b" }, wantErr: "https"},
		"no root":        {change: func(o *trust.TUFOptions) { o.Root = []byte("{}") }, wantErr: "unusable"},
		"unsigned":       {change: func(o *trust.TUFOptions) { o.Root = edit(t, r.Initial, "signed/version", 7) }, wantErr: "unusable"},
		"mirror a file":  {change: func(o *trust.TUFOptions) { o.Mirror = "file:///x" }, wantErr: "http"},
		"mirror no URL":  {change: func(o *trust.TUFOptions) { o.Mirror = "::" }, wantErr: "http"},
		"mirror no host": {change: func(o *trust.TUFOptions) { o.Mirror = "https://" }, wantErr: "http"},
		"large":          {change: func(o *trust.TUFOptions) { o.Root = make([]byte, 1<<20) }, wantErr: "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := trust.TUFOptions{Mirror: r.Server.URL, Root: r.Initial}
			tc.change(&o)
			s, err := trust.NewTUF(o)
			if tc.wantErr == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantInForce(t, s, trusttest.EmptyRoot(0))
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error %v, want %q", err, tc.wantErr)
			}
		})
	}
	if _, err := trust.NewTUF(trust.TUFOptions{}); err != nil {
		t.Errorf("the public instance: %v", err)
	}
}

// The initial root may be read from an https URL, which has to stay one.
func TestTUFRootFromURL(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	r.Publish(trusttest.EmptyRoot(0))
	for name, tc := range map[string]struct {
		serve http.HandlerFunc
		trust bool
		ok    bool
		text  string
	}{
		"good":             {serve: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(r.Initial) }, trust: true, ok: true},
		"unknown server":   {serve: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(r.Initial) }, text: "no usable root"},
		"no root":          {serve: page, trust: true, text: "no usable root"},
		"not there":        {serve: http.NotFound, trust: true, text: "HTTP 404"},
		"redirect to http": {serve: func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, r.Server.URL, 302) }, trust: true, text: "no usable root"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewTLSServer(tc.serve)
			server.Config.ErrorLog = nil
			t.Cleanup(server.Close)
			transport := &http.Transport{TLSClientConfig: &tls.Config{}}
			if tc.trust {
				transport = server.Client().Transport.(*http.Transport)
			}
			s := newTUF(t, r, func(o *trust.TUFOptions) {
				o.Root, o.RootLocation, o.Transport = nil, server.URL+"/root.json", transport
			})
			start(t, s)
			_, err := s.Material(t.Context())
			if tc.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantUnavailable(t, err, false, tc.text)
		})
	}
}

// A password in the mirror's URL is for the mirror alone.
func TestTUFPassword(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	var told error
	s := newTUF(t, r, func(o *trust.TUFOptions) {
		o.Mirror = strings.Replace(o.Mirror, "http://", "http://user:secret@", 1)
		o.Observe = func(err error) { told = err }
	})
	for _, h := range []http.HandlerFunc{nil, status(500), hangUp, page} {
		r.Instead(h)
		err := s.Refresh(t.Context())
		if err == nil || told == nil || strings.Contains(err.Error()+told.Error(), "secret") {
			t.Errorf("%v; %v", err, told)
		}
	}
}

// A host that does not exist, one that nobody listens on, and one that speaks no HTTP.
func TestTUFUnreachable(t *testing.T) {
	t.Parallel()
	r := trusttest.NewRepository(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "SSH-2.0-evil\r\n")
			_ = c.Close()
		}
	}()
	for mirror, unreachable := range map[string]bool{
		"http://nothing.invalid": true, "http://127.0.0.1:1": true, "http://" + l.Addr().String(): false, "https://" + l.Addr().String(): false,
	} {
		s := newTUF(t, r, func(o *trust.TUFOptions) { o.Mirror = mirror })
		err := s.Refresh(t.Context())
		wantUnavailable(t, err, unreachable, "the TUF repository "+mirror)
	}
}
