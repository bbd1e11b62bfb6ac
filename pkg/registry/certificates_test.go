package registry_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// A registry that asks for a client's certificate gets it, from a hosts.toml and from a directory that holds nothing else.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	s.PushImage(repo, "v1", nil)
	target, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	serving, authority := selfSigned(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	mine, mineCert := selfSigned(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	der, err := x509.MarshalPKCS8PrivateKey(mine.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	mineKey := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(mineCert)
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(target))
	front.Config.ErrorLog = quietLog()
	front.TLS = &tls.Config{Certificates: []tls.Certificate{serving}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	front.StartTLS()
	t.Cleanup(front.Close)
	host := strings.TrimPrefix(front.URL, "https://")

	for name, tc := range map[string]struct {
		files map[string]string
		ok    bool
	}{
		"a pair":            {map[string]string{"hosts.toml": "ca = \"a.pem\"\nclient = [[\"c.pem\", \"k.pem\"]]"}, true},
		"one file for both": {map[string]string{"hosts.toml": "ca = \"a.pem\"\nclient = \"both.pem\""}, true},
		"no certificate":    {map[string]string{"hosts.toml": "ca = \"a.pem\""}, false},
		"certificates":      {map[string]string{"own.crt": string(authority), "me.cert": string(mineCert), "me.key": string(mineKey)}, true},
		"an authority":      {map[string]string{"own.crt": string(authority)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			sub := filepath.Join(dir, host)
			if err := os.Mkdir(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range tc.files {
				write(t, filepath.Join(sub, file), text)
			}
			if tc.files["hosts.toml"] != "" {
				for file, text := range map[string]string{"a.pem": string(authority), "c.pem": string(mineCert), "k.pem": string(mineKey), "both.pem": string(mineCert) + string(mineKey)} {
					write(t, filepath.Join(sub, file), text)
				}
			}
			_, err := newClient(t, registry.Options{ConfigDir: dir}).Resolve(within(t, 2*time.Minute), parse(t, host+"/"+repo+":v1"))
			if tc.ok && err != nil {
				t.Error(err)
			}
			if !tc.ok {
				wantReason(t, err, reason.RegistryUnavailable, false)
			}
		})
	}
}

// A directory that nobody could have meant stops the start.
func TestCertificatesErrors(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"without the key":       {"me.cert": "x"},
		"no certificate":        {"own.crt": "x"},
		"a misspelt hosts.toml": {"own.crt": "x", "host.toml": ""},
		"other files":           {"README": "x", "me.key": "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "ghcr.io"), 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range files {
				write(t, filepath.Join(dir, "ghcr.io", file), text)
			}
			if _, err := registry.New(registry.Options{ConfigDir: dir}); err == nil || !strings.Contains(err.Error(), "ghcr.io") {
				t.Error(err)
			}
		})
	}
}
