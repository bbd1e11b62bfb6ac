package registry_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// A loopback host without configuration may speak either of HTTP and HTTPS; an unknown certificate stays unknown.
func TestLoopbackScheme(t *testing.T) {
	t.Parallel()
	s := registrytest.NewTLS(t)
	digest := s.PushImage(repo, "v1", nil)
	_, err := newClient(t, registry.Options{}).Resolve(within(t, 2*time.Minute), parse(t, s.Host()+"/"+repo+":v1"))
	e := wantReason(t, err, reason.RegistryUnavailable, false)
	if !strings.Contains(e.Text, "TLS failure") {
		t.Error(e.Text)
	}
	// Plain HTTP was answered with "this is HTTPS", nothing else was said over it.
	if n := len(s.Log()); n != 0 {
		t.Errorf("%d requests", n)
	}
	dir := hosts(t, nil)
	write(t, filepath.Join(dir, "_default", "ca.pem"), string(s.CA()))
	write(t, filepath.Join(dir, "_default", "hosts.toml"), `ca = "ca.pem"`)
	c := newClient(t, registry.Options{ConfigDir: dir})
	for range 3 {
		p, err := c.Resolve(within(t, 2*time.Minute), parse(t, s.Host()+"/"+repo+":v1"))
		if err != nil || p.Digest().String() != digest {
			t.Errorf("got %s, %v", p.Digest(), err)
		}
	}
}

// certificates that do not hold, and what relaxes them: only hosts.toml.
func TestA51Certificates(t *testing.T) {
	t.Parallel()
	s := registrytest.NewTLS(t)
	s.PushImage(repo, "v1", nil)
	port := s.Host()[strings.LastIndexByte(s.Host(), ':'):]
	cases := map[string]struct {
		url, extra string
		ok         bool
		text       string
	}{
		"unknown authority": {"https://127.0.0.1", "", false, "unknown authority"},
		"known":             {"https://127.0.0.1", `ca = "ca.pem"`, true, ""},
		"list":              {"https://127.0.0.1", `ca = ["ca.pem"]`, true, ""},
		"wrong name":        {"https://localhost", `ca = "ca.pem"`, false, "not for this host"},
		"skip_verify":       {"https://localhost", "skip_verify = true", true, ""},
		"no TLS at all":     {"http://127.0.0.1", "", false, "400"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := hosts(t, map[string]string{"ghcr.io": "server = \"" + tc.url + port + "\""})
			write(t, filepath.Join(dir, "ghcr.io", "ca.pem"), string(s.CA()))
			write(t, filepath.Join(dir, "ghcr.io", "hosts.toml"), "server = \""+tc.url+port+"\"\n"+tc.extra)
			// AllowInsecure permits plain HTTP and nothing else.
			for _, insecure := range []bool{false, true} {
				c := newClient(t, registry.Options{ConfigDir: dir, AllowInsecure: insecure})
				_, err := c.Resolve(within(t, 2*time.Minute), parse(t, "ghcr.io/"+repo+":v1"))
				if tc.ok {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				if e := wantReason(t, err, reason.RegistryUnavailable, false); !strings.Contains(e.Text, tc.text) {
					t.Errorf("text %q, want %q", e.Text, tc.text)
				}
			}
		})
	}
}

// a certificate that has ended, or that nobody but itself vouches for, is no certificate, for whoever may use plain HTTP too.
func TestA51EndedCertificates(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	digest := s.PushImage(repo, "v1", nil)
	target, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		from, until time.Duration
		known       bool
		text        string
	}{
		"in order":    {-time.Hour, time.Hour, true, ""},
		"ended":       {-2 * time.Hour, -time.Hour, true, "expired"},
		"not yet":     {time.Hour, 2 * time.Hour, true, "expired"},
		"self-signed": {-time.Hour, time.Hour, false, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, ca := selfSigned(t, time.Now().Add(tc.from), time.Now().Add(tc.until))
			front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(target))
			front.Config.ErrorLog = quietLog()
			front.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			front.StartTLS()
			t.Cleanup(front.Close)
			extra := ""
			if tc.known {
				extra = `ca = "ca.pem"`
			}
			dir := hosts(t, map[string]string{"ghcr.io": "server = \"" + front.URL + "\"\n" + extra})
			write(t, filepath.Join(dir, "ghcr.io", "ca.pem"), string(ca))
			write(t, filepath.Join(dir, "ghcr.io", "hosts.toml"), "server = \""+front.URL+"\"\n"+extra)
			for _, insecure := range []bool{false, true} {
				p, err := newClient(t, registry.Options{ConfigDir: dir, AllowInsecure: insecure}).Resolve(within(t, 2*time.Minute), parse(t, "ghcr.io/"+repo+":v1"))
				if tc.text == "" {
					if err != nil || p.Digest().String() != digest {
						t.Error(err)
					}
					continue
				}
				if e := wantReason(t, err, reason.RegistryUnavailable, false); !strings.Contains(e.Text, tc.text) {
					t.Errorf("text %q, want %q", e.Text, tc.text)
				}
			}
		})
	}
}

// selfSigned is a certificate for 127.0.0.1 and, as PEM, what to trust for it.
func selfSigned(t testing.TB, from, until time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// AllowInsecure reaches a host that is not loopback over plain HTTP once TLS fails for want of TLS; one client's leave
// is not another's.
func TestAllowInsecure(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	s.PushImage(repo, "v1", nil)
	_, port, _ := net.SplitHostPort(s.Host())
	// A transport that resolves every name to the server stands for a network.
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Host())
	}}
	strict := newClient(t, registry.Options{Transport: transport})
	ref := parse(t, "registry.example.com:"+port+"/"+repo+":v1")
	for range 2 {
		if _, err := strict.With(keychain{}, true).Resolve(within(t, 2*time.Minute), ref); err != nil {
			t.Error(err)
		}
		_, err := strict.Resolve(within(t, 2*time.Minute), ref)
		e := wantReason(t, err, reason.RegistryUnavailable, false)
		if !strings.Contains(e.Text, "does not speak TLS") {
			t.Error(e.Text)
		}
	}
}

// TLS that is too old, or that stalls, is no answer.
func TestA51BrokenTLS(t *testing.T) {
	t.Parallel()
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.Config.ErrorLog = quietLog()
	old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	old.StartTLS()
	t.Cleanup(old.Close)
	cases := map[string]struct {
		host        string
		short       bool
		code        reason.Code
		unreachable bool
	}{
		"TLS 1.1":       {old.Listener.Addr().String(), false, reason.RegistryUnavailable, false},
		"garbage":       {listen(t, func(c net.Conn) { c.Write([]byte(strings.Repeat("secret", 100))); swallow(c) }), false, reason.RegistryUnavailable, false},
		"stall":         {listen(t, swallow), true, reason.RegistryTimeout, false},
		"closed":        {listen(t, func(c net.Conn) { c.Read(make([]byte, 1)); c.Close() }), false, reason.RegistryUnavailable, true},
		"half a record": {listen(t, func(c net.Conn) { c.Read(make([]byte, 4096)); c.Write([]byte{22, 3, 3, 0, 100, 2}); c.Close() }), false, reason.RegistryUnavailable, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := within(t, 2*time.Minute)
			if tc.short {
				ctx = soon(t)
			}
			dir := hosts(t, map[string]string{"ghcr.io": `server = "https://` + tc.host + `"` + "\nskip_verify = true"})
			_, err := newClient(t, registry.Options{ConfigDir: dir}).Resolve(ctx, parse(t, "ghcr.io/"+repo+":v1"))
			wantReason(t, err, tc.code, tc.unreachable)
		})
	}
}

// a redirect never leads from HTTPS to HTTP, nor from elsewhere to loopback.
func TestA43RedirectFromTLS(t *testing.T) {
	t.Parallel()
	s, plain := registrytest.NewTLS(t), registrytest.New(t)
	plain.PushImage(repo, "v1", nil)
	s.Fault(registrytest.Match{}, registrytest.Redirect(307, plain.URL()+"/v2/"+repo+"/manifests/v1"))
	dir := t.TempDir()
	s.WriteHostsToml(dir, "ghcr.io")
	_, err := newClient(t, registry.Options{ConfigDir: dir}).Resolve(within(t, 2*time.Minute), parse(t, "ghcr.io/"+repo+":v1"))
	e := wantReason(t, err, reason.RegistryUnavailable, false)
	if !strings.Contains(e.Text, "from HTTPS to HTTP") || len(plain.Log()) > 0 {
		t.Errorf("%s, %d requests", e.Text, len(plain.Log()))
	}
}

func TestA43RedirectToLoopback(t *testing.T) {
	t.Parallel()
	s, inside := registrytest.NewTLS(t), registrytest.NewTLS(t)
	for _, target := range []string{inside.URL(), "https://localhost" + inside.Host()[strings.LastIndexByte(inside.Host(), ':'):], "https://[::1]:1", "https://0.0.0.0:1"} {
		remove := s.Fault(registrytest.Match{}, registrytest.Redirect(307, target+"/v2/"+repo+"/manifests/v1"))
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.HasPrefix(address, "registry.example.com") {
					address = s.Host()
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		}
		c := newClient(t, registry.Options{Transport: transport})
		_, err := c.Resolve(within(t, 2*time.Minute), parse(t, "registry.example.com/"+repo+":v1"))
		e := wantReason(t, err, reason.RegistryUnavailable, false)
		if !strings.Contains(e.Text, "address refused") || len(inside.Log()) > 0 {
			t.Errorf("%s: %s, %d requests", target, e.Text, len(inside.Log()))
		}
		remove()
	}
}
