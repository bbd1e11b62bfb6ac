package cloud

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
)

// T-019: which hosts belong to a provider, and look-alikes that belong to none.
func TestT019Hosts(t *testing.T) {
	t.Parallel()
	own := map[string]string{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com":          "amazon eu-west-1",
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com": "amazon us-gov-west-1-fips",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":      "amazon cn-north-1",
		"123456789012.dkr-ecr.eu-central-1.on.aws":              "amazon eu-central-1",
		"acme.azurecr.io":       "azure acme.azurecr.io",
		"acme-a1b2.azurecr.cn":  "azure acme-a1b2.azurecr.cn",
		"gcr.io":                "google ",
		"eu.gcr.io":             "google ",
		"europe-docker.pkg.dev": "google ",
	}
	for _, host := range []string{
		"evil.azurecr.io.attacker.tld", "xazurecr.io", "azurecr.io", "1.2.3.4", "a.b.azurecr.io", "acme.azurecr.io:5000", "acme.azurecr.io.",
		"amazonaws.com.evil", "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil", "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
		"x.123456789012.dkr.ecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.evil.amazonaws.com", "123456789012xdkr.ecr.eu-west-1.amazonaws.com",
		"123456789012.dkr.ecr.eu-west-1.evil.com/amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com", "public.ecr.aws",
		"gcr.io.evil", "evilgcr.io", "a.b.gcr.io", "xpkg.dev", "pkg.dev", "a.b.pkg.dev", "evil-ghcr.io", "", "gcr.io\n", "\ngcr.io",
	} {
		own[host] = ""
	}
	for host, want := range own {
		got := ""
		for name, account := range map[string]func(string) (string, bool){"amazon": amazonAccount, "azure": azureAccount, "google": googleAccount} {
			if a, ok := account(host); ok {
				got += name + " " + a
			}
		}
		if got != want {
			t.Errorf("%q belongs to %q, want %q", host, got, want)
		}
	}
}

type resource string

func (r resource) String() string      { return string(r) + "/acme/app" }
func (r resource) RegistryStr() string { return string(r) }

func authOf(t *testing.T, k authn.Keychain, host string) authn.AuthConfig {
	t.Helper()
	a, err := authn.Resolve(t.Context(), k, resource(host))
	if err != nil {
		t.Fatal(err)
	}
	c, err := authn.Authorization(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return *c
}

// A token is fetched once per account, renewed before its end, and a provider that fails is left alone for a while.
func TestKeychain(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	var calls, failures atomic.Int64
	var broken atomic.Bool
	o := Options{Now: func() time.Time { return now }, Failed: func(string, error) { failures.Add(1) }}
	k := newKeychain("test", o, func(h string) (string, bool) { return strings.CutSuffix(h, ".test") },
		func(_ context.Context, account string) (authn.AuthConfig, time.Time, error) {
			n := calls.Add(1)
			switch {
			case account == "panic":
				panic("hunter2")
			case broken.Load():
				return authn.AuthConfig{}, time.Time{}, errors.New("no identity")
			}
			return authn.AuthConfig{Username: account, Password: fmt.Sprint(n)}, now.Add(20 * time.Minute), nil
		})
	expect := func(host, want string, n int64) {
		t.Helper()
		if got := authOf(t, k, host).Password; got != want || calls.Load() != n {
			t.Errorf("%s: %q after %d calls, want %q after %d", host, got, calls.Load(), want, n)
		}
	}
	expect("other", "", 0)
	expect("a.test", "1", 1)
	expect("A.TEST", "1", 1)
	expect("b.test", "2", 2)
	now = now.Add(14 * time.Minute)
	expect("a.test", "1", 2)
	now = now.Add(2 * time.Minute)
	expect("a.test", "3", 3)
	broken.Store(true)
	now = now.Add(time.Hour)
	expect("a.test", "", 4)
	broken.Store(false)
	expect("a.test", "", 4)
	now = now.Add(2 * time.Minute)
	expect("a.test", "5", 5)
	expect("panic.test", "", 6)
	if failures.Load() != 2 {
		t.Errorf("%d failures told", failures.Load())
	}
}

// A provider that does not answer holds nobody up beyond the time of a request.
func TestKeychainHangs(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	k := newKeychain("test", Options{Now: time.Now, Failed: func(string, error) { close(ended) }}, func(string) (string, bool) { return "", true },
		func(ctx context.Context, _ string) (authn.AuthConfig, time.Time, error) {
			<-ended
			return authn.AuthConfig{}, time.Time{}, ctx.Err()
		})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a, err := k.ResolveContext(ctx, resource("x"))
	if err != nil || a != authn.Anonymous {
		t.Errorf("%v %v", a, err)
	}
	close(ended)
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	env := map[string]string{"GITHUB_TOKEN": "secret"}
	k := Keychains(Options{Getenv: func(n string) string { return env[n] }})["github"]
	for host, want := range map[string]authn.AuthConfig{"ghcr.io": {Username: "unset", Password: "secret"}, "ghcr.io.evil": {}, "evil-ghcr.io": {}, "docker.io": {}} {
		if d := cmp.Diff(want, authOf(t, k, host)); d != "" {
			t.Errorf("%s: %s", host, d)
		}
	}
	env["GITHUB_TOKEN"] = ""
	if d := cmp.Diff(authn.AuthConfig{}, authOf(t, k, "ghcr.io")); d != "" {
		t.Error(d)
	}
}

// sent is a transport that answers by a function.
type sent func(*http.Request) (*http.Response, error)

func (f sent) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"https://evil.test/"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// The token of the identity goes to the registry alone, and what comes back is a refresh token or nothing.
func TestAzureExchange(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer *http.Response
		want   string
	}{
		"refresh token": {answer(200, `{"refresh_token":"fresh"}`), "fresh"},
		"nothing":       {answer(200, `{}`), ""},
		"no JSON":       {answer(200, `<html>`), ""},
		"refused":       {answer(401, `{"refresh_token":"fresh"}`), ""},
		"redirect":      {answer(307, `{"refresh_token":"fresh"}`), ""},
		"endless":       {answer(200, `{"refresh_token":"`+strings.Repeat("x", 1<<20)+`"}`), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			x := &exchange{
				client: &http.Client{CheckRedirect: noRedirects, Transport: sent(func(r *http.Request) (*http.Response, error) {
					body, _ := io.ReadAll(r.Body)
					asked = append(asked, r.Method+" "+r.URL.String()+" "+string(body))
					return tc.answer, nil
				})},
				token: func(context.Context, string) (string, error) { return "identity", nil },
			}
			auth, _, err := x.fetch(t.Context(), "acme.azurecr.io")
			if auth.IdentityToken != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%q, %v", auth.IdentityToken, err)
			}
			if err != nil && strings.Contains(err.Error(), "identity") {
				t.Errorf("%v holds the token", err)
			}
			want := []string{"POST https://acme.azurecr.io/oauth2/exchange access_token=identity&grant_type=access_token&service=acme.azurecr.io"}
			if d := cmp.Diff(want, asked); d != "" {
				t.Error(d)
			}
		})
	}
}

// The SDK of Amazon asks an ECR endpoint with the identity of the environment.
func TestAmazonToken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") != "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken" || !strings.Contains(r.Header.Get("Authorization"), "Credential=AKID/") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d}]}`, base64.StdEncoding.EncodeToString([]byte("AWS:hunter2")), time.Now().Add(12*time.Hour).Unix())
	}))
	defer server.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL_ECR": server.URL, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	k := Keychains(Options{Failed: func(_ string, err error) { t.Error(err) }})["amazon"]
	want := authn.AuthConfig{Username: "AWS", Password: "hunter2"}
	if d := cmp.Diff(want, authOf(t, k, "123456789012.dkr.ecr.eu-west-1.amazonaws.com")); d != "" {
		t.Error(d)
	}
}

// A service account's key file gives a token of Google's token service.
func TestGoogleToken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"hunter2","token_type":"Bearer","expires_in":3600}`)
	}))
	defer server.Close()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	file := filepath.Join(t.TempDir(), "key.json")
	text := fmt.Sprintf(`{"type":"service_account","client_email":"a@b.test","private_key":%q,"token_uri":%q}`, block, server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	k := Keychains(Options{Failed: func(_ string, err error) { t.Error(err) }})["google"]
	want := authn.AuthConfig{Username: "oauth2accesstoken", Password: "hunter2"}
	if d := cmp.Diff(want, authOf(t, k, "europe-docker.pkg.dev")); d != "" {
		t.Error(d)
	}
}
