package registrytest_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// What the faults do to a client that has no bounds of its own.
func TestHostile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault registrytest.Fault
		fails bool
		check func(res *http.Response, body string) bool
	}{
		"raw":          {fault: registrytest.Raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), fails: true},
		"no HTTP":      {fault: registrytest.Raw("220 ready\r\n"), fails: true},
		"reset":        {fault: registrytest.Reset(), fails: true},
		"loop":         {fault: registrytest.Loop(), fails: true},
		"drips":        {fault: registrytest.DripHeader(time.Second), fails: true},
		"interim ones": {fault: registrytest.Informational(new(atomic.Int64)), fails: true},
		"header":       {fault: registrytest.BigHeader(100_000), check: func(res *http.Response, _ string) bool { return len(res.Header) > 100 }},
		"pages": {fault: registrytest.EndlessPages(3), check: func(res *http.Response, body string) bool {
			return strings.Count(body, "sha256:") == 3 && strings.Contains(res.Header.Get("Link"), "page=1")
		}},
		"challenge": {fault: registrytest.Challenge("http://x/token", "repository:a:pull"), check: func(res *http.Response, _ string) bool {
			return res.StatusCode == 401 && strings.Contains(res.Header.Get("WWW-Authenticate"), `realm="http://x/token"`)
		}},
		"gzip":         {fault: registrytest.Gzip(true), check: func(res *http.Response, body string) bool { return res.Uncompressed && strings.HasPrefix(body, "{") }},
		"gzip, unsaid": {fault: registrytest.Gzip(false), check: func(_ *http.Response, body string) bool { return strings.HasPrefix(body, "\x1f\x8b") }},
		"bomb":         {fault: registrytest.Bomb("x/y", 5<<20), check: func(res *http.Response, body string) bool { return res.Uncompressed && len(body) == 5<<20 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := registrytest.New(t)
			s.PushImage("a/b", "v1", nil)
			s.Fault(registrytest.Match{}, tc.fault)
			client := http.Client{Timeout: 300 * time.Millisecond}
			if !tc.fails {
				client.Timeout = time.Minute
			}
			res, err := client.Get(s.URL() + "/v2/a/b/manifests/v1")
			var body []byte
			if err == nil {
				defer res.Body.Close()
				body, err = io.ReadAll(res.Body)
			}
			if (err != nil) != tc.fails {
				t.Fatal(err)
			}
			if !tc.fails && !tc.check(res, string(body)) {
				t.Errorf("%d %v %.200s", res.StatusCode, res.Header, body)
			}
		})
	}
}

// Over HTTP/2 a broken answer is a reset of its stream, and the connection lives on.
func TestResetOverHTTP2(t *testing.T) {
	t.Parallel()
	s := registrytest.NewTLS(t)
	s.PushImage("a/b", "v1", nil)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	client := http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	remove := s.Fault(registrytest.Match{}, registrytest.Reset())
	get := func() error {
		res, err := client.Get(s.URL() + "/v2/a/b/manifests/v1")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.ProtoMajor != 2 {
			t.Errorf("HTTP/%d", res.ProtoMajor)
		}
		_, err = io.ReadAll(res.Body)
		return err
	}
	if err := get(); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
		t.Error(err)
	}
	remove()
	if err := get(); err != nil {
		t.Error(err)
	}
}
