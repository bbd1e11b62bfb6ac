package kms_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/keyring/kms"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// The environment of the process gives the services' addresses and credentials, so these tests run one after the other.

func ask(t *testing.T, ref verify.Reference) (*verify.Key, error) {
	t.Helper()
	return (&keyring.Services{Open: kms.Open}).Ask(t.Context(), ref)
}

func newKey(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// transit answers like Vault's transit engine.
type transit struct {
	token, path, body string
	status            int
}

func (s *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("X-Vault-Token") != s.token:
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errors":["permission denied to sekret"]}`)
	case s.status != 0:
		w.WriteHeader(s.status)
		fmt.Fprint(w, `{"errors":["sekret"]}`)
	case r.Method != http.MethodGet || r.URL.Path != s.path:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[]}`)
	default:
		fmt.Fprint(w, s.body)
	}
}

func transitKey(t *testing.T, der []byte) string {
	t.Helper()
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	b, err := json.Marshal(map[string]any{"data": map[string]any{"latest_version": 2, "type": "ecdsa-p256", "keys": map[string]any{
		"1": map[string]any{"name": "P-256", "public_key": "old"}, "2": map[string]any{"name": "P-256", "public_key": text}}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type wants struct {
	code                 reason.Code
	unreachable, refused bool
	text                 string
}

func expect(t *testing.T, err error, want wants) {
	t.Helper()
	got := reason.Of(err)
	if got == nil || got.Code != want.code || got.Unreachable != want.unreachable || errors.Is(err, keyring.ErrRefused) != want.refused || !strings.Contains(got.Text, want.text) {
		t.Errorf("%#v", got)
	}
	if got != nil && strings.Contains(got.Text, "sekret") {
		t.Errorf("the service's own words: %s", got.Text)
	}
}

// VI 6.5(1), 6.14: the newest version of a key of Vault's transit engine, and every way not to get it.
func TestVault(t *testing.T) {
	key, der := newKey(t)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	const path, token = "/v1/transit/keys/signer", "t0ken"
	unavailable := reason.TrustMaterialUnavailable
	for name, c := range map[string]struct {
		server  transit
		address string
		token   string
		ref     verify.Reference
		want    *wants
	}{
		"key":           {transit{body: transitKey(t, der)}, "", token, "hashivault://signer", nil},
		"no such key":   {transit{body: transitKey(t, der)}, "", token, "hashivault://other", &wants{unavailable, false, true, "404"}},
		"wrong token":   {transit{}, "", "other", "hashivault://signer", &wants{unavailable, false, true, "403"}},
		"too many":      {transit{status: 429}, "", token, "hashivault://signer", &wants{unavailable, false, false, "429"}},
		"nothing":       {transit{body: `{"data":{}}`}, "", token, "hashivault://signer", &wants{unavailable, false, false, "no usable answer"}},
		"no JSON":       {transit{body: `<html>`}, "", token, "hashivault://signer", &wants{unavailable, false, false, "no usable answer"}},
		"no key in it":  {transit{body: transitKey(t, []byte("x"))}, "", token, "hashivault://signer", &wants{unavailable, false, false, "no usable answer"}},
		"nobody":        {transit{}, closed.URL, token, "hashivault://signer", &wants{unavailable, true, false, "no connection"}},
		"no such name":  {transit{}, "http://vault.invalid", token, "hashivault://signer", &wants{unavailable, true, false, "not resolved"}},
		"no credential": {transit{}, "", "", "hashivault://signer", &wants{unavailable, false, false, "no usable credentials"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.server.token, c.server.path = token, path
			server := httptest.NewServer(&c.server)
			defer server.Close()
			if c.address == "" {
				c.address = server.URL
			}
			t.Setenv("VAULT_ADDR", c.address)
			t.Setenv("VAULT_TOKEN", c.token)
			t.Setenv("VAULT_MAX_RETRIES", "0")
			t.Setenv("HOME", t.TempDir())
			got, err := ask(t, c.ref)
			if c.want != nil {
				expect(t, err, *c.want)
				return
			}
			if err != nil || !key.PublicKey.Equal(got.Public) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// amazon answers like AWS KMS.
type amazon struct {
	der   []byte
	fails string
}

func (s *amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if s.fails != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q,"message":"sekret"}`, s.fails)
		return
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if !strings.Contains(string(body), `"alias/signer"`) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"NotFoundException","message":"sekret"}`)
		return
	}
	switch r.Header.Get("X-Amz-Target") {
	case "TrentService.GetPublicKey":
		fmt.Fprintf(w, `{"PublicKey":%q}`, base64.StdEncoding.EncodeToString(s.der))
	case "TrentService.DescribeKey":
		fmt.Fprint(w, `{"KeyMetadata":{"KeyId":"a","SigningAlgorithms":["ECDSA_SHA_256"]}}`)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// The same for AWS KMS, whose address is the environment's or the reference's.
func TestAWS(t *testing.T) {
	key, der := newKey(t)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	unavailable := reason.TrustMaterialUnavailable
	for name, c := range map[string]struct {
		server      amazon
		address     string
		ref         verify.Reference
		credentials bool
		want        *wants
	}{
		"key":            {amazon{der: der}, "", "awskms:///alias/signer", true, nil},
		"no such key":    {amazon{der: der}, "", "awskms:///alias/other", true, &wants{unavailable, false, true, "NotFoundException"}},
		"not allowed":    {amazon{fails: "AccessDeniedException"}, "", "awskms:///alias/signer", true, &wants{unavailable, false, true, "AccessDeniedException"}},
		"disabled":       {amazon{fails: "DisabledException"}, "", "awskms:///alias/signer", true, &wants{unavailable, false, true, "DisabledException"}},
		"unknown":        {amazon{fails: "sekret"}, "", "awskms:///alias/signer", true, &wants{unavailable, false, false, "has a problem"}},
		"no key in it":   {amazon{der: []byte("x")}, "", "awskms:///alias/signer", true, &wants{unavailable, false, false, "no usable answer"}},
		"nobody":         {amazon{}, closed.URL, "awskms:///alias/signer", true, &wants{unavailable, true, false, "no connection"}},
		"no credentials": {amazon{der: der}, "", "awskms:///alias/signer", false, &wants{unavailable, false, false, "no usable credentials"}},
		// T-016: a name that leads to this machine.
		"this machine": {amazon{der: der}, "", "awskms://localhost:1/alias/signer", true, &wants{unavailable, false, true, "address refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(&c.server)
			defer server.Close()
			if c.address == "" {
				c.address = server.URL
			}
			if !c.ref.Foreign() { // which the environment would take the place of
				t.Setenv("AWS_ENDPOINT_URL_KMS", c.address)
			}
			t.Setenv("AWS_REGION", "eu-central-1")
			t.Setenv("AWS_MAX_ATTEMPTS", "1")
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			t.Setenv("HOME", t.TempDir())
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			if c.credentials {
				t.Setenv("AWS_ACCESS_KEY_ID", "a")
				t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
			}
			got, err := ask(t, c.ref)
			if c.want != nil {
				expect(t, err, *c.want)
				return
			}
			if err != nil || !key.PublicKey.Equal(got.Public) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// What the other services' libraries make of an environment without credentials is a problem of this side, and nobody is
// asked in vain.
func TestWithoutCredentials(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", t.TempDir()+"/none.json")
	t.Setenv("AZURE_TENANT_ID", "")
	if _, err := ask(t, "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k"); err == nil {
		t.Error("a key of Google's")
	} else {
		expect(t, err, wants{reason.TrustMaterialUnavailable, false, false, "no usable credentials"})
	}
	_, err := ask(t, "k8s://team/signer")
	expect(t, err, wants{reason.TrustMaterialInvalid, false, false, "no key management service"})
}

// A server that takes the connection and says nothing is not unreachable.
func TestSilence(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv("VAULT_ADDR", "http://"+listener.Addr().String())
	t.Setenv("VAULT_TOKEN", "t")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if c, err := listener.Accept(); err == nil {
			defer c.Close()
			cancel()
			<-t.Context().Done()
		}
	}()
	_, err = (&keyring.Services{Open: kms.Open}).Ask(ctx, "hashivault://signer")
	expect(t, err, wants{reason.TrustMaterialUnavailable, false, false, "no answer in time"})
}
