package env

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// Registry is one in-memory OCI registry (with the referrers API) that answers for several hosts at once:
// by plain HTTP under its own loopback address, and by TLS under the hosts' names for clients that use its proxy.
type Registry struct {
	// Addr is the loopback address, 127.0.0.1:PORT; it speaks plain HTTP.
	Addr string
	// ProxyURL is an HTTP proxy whose only destinations are the hosts; it speaks TLS as each of them. It lets a program
	// that knows no mirrors, like cosign, use the real names without internet and without touching /etc/hosts.
	ProxyURL string
	// CAFile holds the authority that the hosts' certificates are signed with.
	CAFile string
	// Store is what the registry holds.
	Store ociregistry.Interface

	hosts   []string
	servers []*http.Server
}

// StartRegistry starts an empty registry for the given hosts, for example "ghcr.io". Its log and CA file are in dir.
func StartRegistry(dir string, hosts ...string) (*Registry, error) {
	r := &Registry{Store: ocimem.New(), CAFile: filepath.Join(dir, "registry-ca.crt"), hosts: hosts}
	if err := r.start(dir); err != nil {
		r.Stop()
		return nil, fmt.Errorf("starting the registry: %w", err)
	}
	return r, nil
}

func (r *Registry) start(dir string) error {
	ca, err := NewAuthority("signet-env registry")
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.CAFile, ca.PEM, 0o644); err != nil {
		return err
	}
	certPEM, keyPEM, err := ca.Serve(append([]string{"127.0.0.1"}, r.hosts...)...)
	if err != nil {
		return err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, "registry.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	requests := log.New(file, "", log.Lmicroseconds)
	handler := logged(requests, ociserver.New(r.Store, nil))
	plain, err := r.serve(handler, requests, nil)
	if err != nil {
		return err
	}
	secure, err := r.serve(handler, requests, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	proxy, err := r.serve(newTunnel(secure, r.hosts), requests, nil)
	if err != nil {
		return err
	}
	r.Addr, r.ProxyURL = plain, "http://"+proxy
	return nil
}

// serve listens on a free loopback port and returns its address.
func (r *Registry) serve(h http.Handler, errorLog *log.Logger, config *tls.Config) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := l.Addr().String()
	if config != nil {
		l = tls.NewListener(l, config)
	}
	s := &http.Server{Handler: h, ErrorLog: errorLog, ReadHeaderTimeout: 10 * time.Second}
	r.servers = append(r.servers, s)
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			errorLog.Printf("serving %s: %v", addr, err)
		}
	}()
	return addr, nil
}

// Stop closes the registry and forgets what it held.
func (r *Registry) Stop() {
	for _, s := range r.servers {
		_ = s.Close()
	}
}

// ClientEnv is the environment that makes a program reach the hosts here: its proxy and the authority to trust.
func (r *Registry) ClientEnv() []string {
	return []string{
		"HTTPS_PROXY=" + r.ProxyURL, "https_proxy=" + r.ProxyURL, "HTTP_PROXY=", "http_proxy=", "NO_PROXY=", "no_proxy=",
		"SSL_CERT_FILE=" + r.CAFile,
	}
}

// WriteMirrors writes containerd's kind of registry configuration, dir/HOST/hosts.toml for every host, that sends pulls
// to this registry. The registry also stands in as the host's server: a miss is final, nothing asks the internet.
func (r *Registry) WriteMirrors(dir string) error {
	for _, host := range r.hosts {
		hostDir := filepath.Join(dir, host)
		if err := os.MkdirAll(hostDir, 0o755); err != nil {
			return fmt.Errorf("writing the mirror of %s: %w", host, err)
		}
		text := fmt.Sprintf("server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", "http://"+r.Addr, "http://"+r.Addr)
		if err := os.WriteFile(filepath.Join(hostDir, "hosts.toml"), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the mirror of %s: %w", host, err)
		}
	}
	return nil
}

// logged writes one line per request: method, path, status.
func logged(l *log.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(s, r)
		l.Printf("%s %s%s %d", r.Method, r.Host, r.URL.RequestURI(), s.status)
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(code int) {
	s.status = code
	s.ResponseWriter.WriteHeader(code)
}
