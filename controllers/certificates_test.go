package controllers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// clock is a time that moves only when it is told to.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newAPI(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	s := runtime.NewScheme()
	if err := AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).Build()
}

func ensure(t *testing.T, c *Certificates) *x509.Certificate {
	t.Helper()
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c.current.Load().serving.Leaf
}

func parse(t *testing.T, bundle []byte) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for {
		block, rest := pem.Decode(bundle)
		if block == nil {
			return out
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out, bundle = append(out, c), rest
	}
}

func secretOf(t *testing.T, api client.Client, name string) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: "kyverno", Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

const (
	caSecret  = "kyverno-svc.kyverno.svc.kyverno-tls-ca"
	tlsSecret = "kyverno-svc.kyverno.svc.kyverno-tls-pair"
)

func TestCertificatesAlgorithms(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []KeyAlgorithm{"", RSA, ECDSA, Ed25519} {
		t.Run("algorithm "+string(algorithm), func(t *testing.T) {
			t.Parallel()
			api := newAPI(t)
			// A new process reads back what the first one wrote, and serves the same.
			o := CertificateOptions{SystemNamespace: "kyverno", KeyAlgorithm: algorithm, ServerIP: "192.0.2.7:9443"}
			first, second := NewCertificates(api, o), NewCertificates(api, o)
			if a, b := ensure(t, first), ensure(t, second); !a.Equal(b) || !bytes.Equal(first.CABundle(), second.CABundle()) {
				t.Error("two replicas serve different certificates")
			}
			for _, name := range []string{caSecret, tlsSecret} {
				if s := secretOf(t, api, name); s.Type != corev1.SecretTypeTLS || len(s.Data["tls.crt"]) == 0 || len(s.Data["tls.key"]) == 0 {
					t.Errorf("Secret %s: type %s", name, s.Type)
				}
			}
			for _, name := range []string{"kyverno-svc", "kyverno-svc.kyverno", "kyverno-svc.kyverno.svc", "192.0.2.7"} {
				if err := handshake(t, second, name, tls.VersionTLS12); err != nil {
					t.Errorf("TLS 1.2 as %s: %v", name, err)
				}
				if err := handshake(t, second, name, tls.VersionTLS13); err != nil {
					t.Errorf("TLS 1.3 as %s: %v", name, err)
				}
			}
			if err := handshake(t, second, "elsewhere.example", tls.VersionTLS13); err == nil {
				t.Error("the certificate holds for a name that was not asked for")
			}
		})
	}
}

// handshake connects as a client that trusts the bundle and speaks one version.
func handshake(t *testing.T, c *Certificates, name string, version uint16, suites ...uint16) error {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.CABundle())
	l, err := tls.Listen("tcp", "127.0.0.1:0", c.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.(*tls.Conn).HandshakeContext(context.Background())
		_ = conn.Close()
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: name, RootCAs: roots, MinVersion: version, MaxVersion: version, CipherSuites: suites,
		Time: c.options.Now})
	return conn.HandshakeContext(t.Context())
}

// T-009: old versions and suites without authenticated encryption are refused.
func TestT009TLSConfigRefuses(t *testing.T) {
	t.Parallel()
	c := NewCertificates(newAPI(t), CertificateOptions{SystemNamespace: "kyverno", KeyAlgorithm: RSA})
	if err := handshake(t, c, "kyverno-svc", tls.VersionTLS13); err == nil {
		t.Error("a handshake before there is a certificate")
	}
	ensure(t, c)
	if err := handshake(t, c, "kyverno-svc", tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	for _, suite := range []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256} {
		if err := handshake(t, c, "kyverno-svc", tls.VersionTLS12, suite); err == nil {
			t.Errorf("%s is accepted", tls.CipherSuiteName(suite))
		}
	}
	if err := handshake(t, c, "kyverno-svc", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256); err != nil {
		t.Errorf("a good suite is refused: %v", err)
	}
}

func TestServingCertificateRenewal(t *testing.T) {
	t.Parallel()
	clock, api := newClock(), newAPI(t)
	c := NewCertificates(api, CertificateOptions{SystemNamespace: "kyverno", Now: clock.now})
	first := ensure(t, c)
	if got := first.NotAfter.Sub(clock.now()); got != ServingLife {
		t.Errorf("holds for %s", got)
	}
	clock.advance(ServingLife - defaultRenewBefore - time.Minute)
	if !ensure(t, c).Equal(first) {
		t.Error("replaced too early")
	}
	clock.advance(2 * time.Minute)
	second := ensure(t, c)
	if second.Equal(first) {
		t.Error("not replaced when due")
	}
	if len(parse(t, c.CABundle())) != 1 {
		t.Error("the authority was replaced too")
	}
}

// at no moment of a rotation does a replica serve what a webhook configuration, old or new, does not trust.
func TestA56AuthorityRotation(t *testing.T) {
	t.Parallel()
	clock, api := newClock(), newAPI(t)
	o := CertificateOptions{SystemNamespace: "kyverno", Now: clock.now}
	a, b := NewCertificates(api, o), NewCertificates(api, o)
	ensure(t, a)
	ensure(t, b)
	rotations, announced := 0, a.CABundle() // what the API server knows
	a.onChange(func() { rotations++ })
	// Two years in large steps, and in small ones through the hours after the authority falls due, 15 days ahead.
	var steps []time.Duration
	for range 2 {
		steps = append(steps, slices.Repeat([]time.Duration{24 * time.Hour}, 349)...)
		steps = append(steps, slices.Repeat([]time.Duration{4 * time.Minute}, 2*24*15)...)
	}
	for _, step := range steps {
		clock.advance(step)
		before := a.CABundle()
		for _, c := range []*Certificates{a, b} {
			leaf := ensure(t, c)
			if !trusted(leaf, parse(t, announced), clock.now()) {
				t.Fatalf("at %s a replica serves what the API server does not trust yet", clock.now())
			}
		}
		// The leader writes what it has just learned; until then the API server keeps what it knew.
		if !bytes.Equal(before, a.CABundle()) {
			announced = a.CABundle()
			for _, c := range []*Certificates{a, b} {
				if !trusted(c.current.Load().serving.Leaf, parse(t, announced), clock.now()) {
					t.Fatalf("at %s the new bundle does not trust what is served", clock.now())
				}
			}
		}
		if len(parse(t, announced)) > 2 {
			t.Fatal("the bundle grows")
		}
	}
	if rotations < 2 {
		t.Errorf("%d rotations in two years", rotations)
	}
}

func TestReissue(t *testing.T) {
	t.Parallel()
	base := CertificateOptions{SystemNamespace: "kyverno"}
	tests := map[string]struct {
		later CertificateOptions
		spoil func(t *testing.T, api client.Client)
		// sameAuthority tells whether the newest authority stays.
		sameAuthority bool
	}{
		"another address": {
			later: CertificateOptions{SystemNamespace: "kyverno", ServerIP: "192.0.2.7"}, sameAuthority: true,
		},
		"a host name": {
			later: CertificateOptions{SystemNamespace: "kyverno", ServerIP: "host.example:9443"}, sameAuthority: true,
		},
		"a pair that does not belong together": {
			later: base, sameAuthority: true,
			spoil: func(t *testing.T, api client.Client) {
				s := secretOf(t, api, tlsSecret)
				s.Data["tls.key"] = secretOf(t, api, caSecret).Data["tls.key"]
				if err := api.Update(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			},
		},
		"no authority any more": {
			later: base,
			spoil: func(t *testing.T, api client.Client) {
				if err := api.Delete(t.Context(), secretOf(t, api, caSecret)); err != nil {
					t.Fatal(err)
				}
			},
		},
		"an authority that is none": {
			later: base,
			spoil: func(t *testing.T, api client.Client) {
				s := secretOf(t, api, caSecret)
				s.Data = map[string][]byte{"tls.crt": []byte("-----BEGIN"), "tls.key": nil}
				if err := api.Update(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newAPI(t)
			before := NewCertificates(api, base)
			leaf := ensure(t, before)
			if tt.spoil != nil {
				tt.spoil(t, api)
			}
			after := NewCertificates(api, tt.later)
			if ensure(t, after).Equal(leaf) {
				t.Error("not issued anew")
			}
			if missing := after.names.missing(after.current.Load().serving.Leaf); len(missing) > 0 {
				t.Errorf("it does not hold for %v", missing)
			}
			same := parse(t, before.CABundle())[0].Equal(parse(t, after.CABundle())[0])
			if same != tt.sameAuthority {
				t.Errorf("same authority: %v, want %v", same, tt.sameAuthority)
			}
		})
	}
}

func TestLostAuthorityStaysTrusted(t *testing.T) {
	t.Parallel()
	clock, api := newClock(), newAPI(t)
	c := NewCertificates(api, CertificateOptions{SystemNamespace: "kyverno", Now: clock.now})
	leaf, old := ensure(t, c), parse(t, c.CABundle())[0]
	if err := api.Delete(t.Context(), secretOf(t, api, caSecret)); err != nil {
		t.Fatal(err)
	}
	if !ensure(t, c).Equal(leaf) {
		t.Error("the certificate changed before the API server could know its new authority")
	}
	if bundle := parse(t, c.CABundle()); len(bundle) != 2 || !bundle[1].Equal(old) {
		t.Errorf("the bundle has %d authorities", len(bundle))
	}
	clock.advance(settleTime)
	if ensure(t, c).Equal(leaf) {
		t.Error("the certificate of the lost authority stays")
	}
}

func TestForeignSecrets(t *testing.T) {
	t.Parallel()
	foreign := func(t *testing.T, name string, data map[string][]byte) *corev1.Secret {
		t.Helper()
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kyverno", Name: name}, Type: corev1.SecretTypeTLS, Data: data}
	}
	t.Run("usable ones are used", func(t *testing.T) {
		t.Parallel()
		made := newAPI(t)
		ensure(t, NewCertificates(made, CertificateOptions{SystemNamespace: "kyverno"}))
		api := newAPI(t, foreign(t, "my-ca", secretOf(t, made, caSecret).Data), foreign(t, "my-pair", secretOf(t, made, tlsSecret).Data))
		c := NewCertificates(api, CertificateOptions{SystemNamespace: "kyverno", CASecretName: "my-ca", TLSSecretName: "my-pair"})
		ensure(t, c)
		if diff := cmp.Diff(string(secretOf(t, made, caSecret).Data["tls.crt"]), string(c.CABundle())); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("unusable ones are an error and stay as they are", func(t *testing.T) {
		t.Parallel()
		api := newAPI(t, foreign(t, caSecret, map[string][]byte{"tls.crt": []byte("mine"), "tls.key": []byte("mine")}))
		err := NewCertificates(api, CertificateOptions{SystemNamespace: "kyverno"}).Ensure(t.Context())
		if err == nil || !strings.Contains(err.Error(), "not Signet's to replace") {
			t.Errorf("got %v", err)
		}
		if string(secretOf(t, api, caSecret).Data["tls.crt"]) != "mine" {
			t.Error("somebody else's Secret was changed")
		}
	})
}

func TestReplicasRace(t *testing.T) {
	t.Parallel()
	api := newAPI(t)
	var wg sync.WaitGroup
	all := make([]*Certificates, 4)
	errs := make([]error, len(all))
	for i := range all {
		all[i] = NewCertificates(api, CertificateOptions{SystemNamespace: "kyverno"})
		wg.Go(func() { errs[i] = all[i].Ensure(t.Context()) })
	}
	wg.Wait()
	for i := range all {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if !bytes.Equal(all[i].CABundle(), all[0].CABundle()) || !all[i].current.Load().serving.Leaf.Equal(all[0].current.Load().serving.Leaf) {
			t.Error("replicas do not agree")
		}
	}
}
