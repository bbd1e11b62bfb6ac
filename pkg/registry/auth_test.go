package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// guarded makes the server let only those in that bring the token, and sends the others to the realm.
func guarded(s *registrytest.Server, realm, token string) {
	s.Fault(registrytest.Match{}, registrytest.Unless(
		func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+token },
		registrytest.Status(401, "UNAUTHORIZED", "WWW-Authenticate",
			fmt.Sprintf(`Bearer realm=%q,service="the service",scope="repository:%s:pull,push"`, realm, repo))))
}

func tokens(s *registrytest.Server, body string) {
	s.Fault(registrytest.Match{Kind: registrytest.Token}, registrytest.Body(200, "application/json", []byte(body)))
}

func TestToken(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		credential *authn.AuthConfig
		body       string
		method     string
		header     string // of the token request
		query      string
	}{
		"anonymous":      {nil, `{"token":"T"}`, "GET", "", "scope=repository%3Aacme%2Fapp%3Apull&service=the+service"},
		"access_token":   {nil, `{"access_token":"T","expires_in":300}`, "GET", "", "scope=repository%3Aacme%2Fapp%3Apull&service=the+service"},
		"password":       {&authn.AuthConfig{Username: "me", Password: "hunter2"}, `{"token":"T"}`, "GET", "Basic " + basic("me", "hunter2"), "scope=repository%3Aacme%2Fapp%3Apull&service=the+service"},
		"auth field":     {&authn.AuthConfig{Auth: basic("me", "hunter2")}, `{"token":"T"}`, "GET", "Basic " + basic("me", "hunter2"), "scope=repository%3Aacme%2Fapp%3Apull&service=the+service"},
		"identity token": {&authn.AuthConfig{Username: "<token>", IdentityToken: "hunter2"}, `{"token":"T"}`, "POST", "", ""},
		"huge lifetime":  {nil, `{"token":"T","expires_in":1e300}`, "GET", "", "scope=repository%3Aacme%2Fapp%3Apull&service=the+service"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			guarded(f.Server, f.URL()+registrytest.TokenPath, "T")
			tokens(f.Server, tc.body)
			k := keychain{}
			if tc.credential != nil {
				k[f.Host()] = *tc.credential
			}
			c := newClient(t, registry.Options{Keychain: k})
			p, err := c.Resolve(context.Background(), parse(t, f.Host()+"/"+repo+":v1"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Attached(context.Background(), p, image.Ref{}); err != nil {
				t.Fatal(err)
			}
			log := f.Log()
			var kinds []string
			for _, e := range log[:3] {
				kinds = append(kinds, e.Kind)
			}
			// One refusal, one token, and then never again.
			if diff := cmp.Diff([]string{"tag", "token", "tag"}, kinds); diff != "" || len(log) != 7 {
				t.Errorf("%s%d requests", diff, len(log))
			}
			e := log[1]
			if e.Method != tc.method || e.Header.Get("Authorization") != tc.header || e.Query != tc.query {
				t.Errorf("token request %s ?%s %q", e.Method, e.Query, e.Header.Get("Authorization"))
			}
		})
	}
}

// Many requests that need the same token fetch it once.
func TestTokenOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	guarded(f.Server, f.URL()+registrytest.TokenPath, "T")
	tokens(f.Server, `{"token":"T"}`)
	for range 3 {
		if a := f.attached(t, context.Background()); len(a.Problems) > 0 {
			t.Error(a.Problems)
		}
	}
	if n := f.Count(registrytest.Match{Kind: registrytest.Token}); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// A token that is not taken any more is replaced; a registry that never has enough is left after two.
func TestTokenRenewed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var valid atomic.Int64
	valid.Store(1)
	f.Fault(registrytest.Match{}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") == fmt.Sprintf("Bearer T%d", valid.Load()) {
			next.ServeHTTP(w, r)
			return
		}
		registrytest.Status(401, "", "WWW-Authenticate", `Bearer realm="`+f.URL()+registrytest.TokenPath+`"`)(w, r, next)
	})
	f.Fault(registrytest.Match{Kind: registrytest.Token}, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		fmt.Fprintf(w, `{"token":"T%d"}`, valid.Load())
	})
	ref := parse(t, f.Host()+"/"+repo+":v1")
	for range 2 {
		if _, err := f.client.Resolve(context.Background(), ref); err != nil {
			t.Fatal(err)
		}
		valid.Add(1)
	}
	valid.Store(-1)
	f.Fault(registrytest.Match{Kind: registrytest.Token}, registrytest.Body(200, "", []byte(`{"token":"never right"}`)))
	f.ResetLog()
	_, err := f.client.Resolve(context.Background(), ref)
	wantReason(t, err, reason.RegistryUnavailable, false) // blanks in a token
	f.Fault(registrytest.Match{Kind: registrytest.Token}, registrytest.Body(200, "", []byte(`{"token":"wrong"}`)))
	f.ResetLog()
	_, err = f.client.Resolve(context.Background(), ref)
	wantReason(t, err, reason.RegistryUnauthorized, false)
	if n := f.Count(registrytest.Match{Kind: registrytest.Token}); n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
	if n := f.Count(registrytest.Match{Kind: registrytest.Tag}); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

func TestBasic(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	want := "Basic " + basic("me", "hunter2")
	f.Fault(registrytest.Match{}, registrytest.Unless(
		func(r *http.Request) bool { return r.Header.Get("Authorization") == want },
		registrytest.Status(401, "UNAUTHORIZED", "WWW-Authenticate", `Basic realm="secret"`)))
	p := pin(t, f.Host()+"/"+repo, f.digest)
	good := newClient(t, registry.Options{Keychain: keychain{f.Host(): {Username: "me", Password: "hunter2"}}})
	for range 2 {
		if err := good.Exists(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.Log()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	// what one client may do, another one that shares its connections may not.
	for name, k := range map[string]keychain{
		"anonymous": {}, "wrong": {f.Host(): {Username: "me", Password: "other"}}, "of another host": {"127.0.0.1": {Username: "me", Password: "hunter2"}},
	} {
		f.ResetLog()
		wantReason(t, good.With(k, false).Exists(context.Background(), p), reason.RegistryUnauthorized, false)
		if n := len(f.Log()); n > 2 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

// users is a keychain with several credentials for each host.
type users []string

func (u users) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return u.Choice(context.Background(), r, 0)
}

func (u users) Choice(_ context.Context, _ authn.Resource, n int) (authn.Authenticator, error) {
	if n >= len(u) {
		return nil, nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: u[n], Password: "x"}), nil
}

// A credential that the registry, or the realm of its tokens, refuses is followed by the next one, for all that is asked.
func TestNextCredential(t *testing.T) {
	t.Parallel()
	many := func(first ...string) users { return append(first, "c", "d", "e", "f", "g", "h", "i", "j", "k") }
	cases := map[string]struct {
		users  users
		wanted bool
	}{
		"first":             {users{"good", "b"}, true},
		"second":            {users{"b", "good"}, true},
		"same twice":        {users{"b", "b", "good"}, true},
		"one too many":      {many("b", "a", "good")[:3], true},
		"after the maximum": {append(many("a", "b"), "good"), false},
		"none":              {users{"a", "b"}, false},
	}
	challenge := func(f *fixture) string { return `Bearer realm="` + f.URL() + registrytest.TokenPath + `"` }
	ways := map[string]func(f *fixture){
		"basic": func(f *fixture) {
			f.Fault(registrytest.Match{}, registrytest.Unless(
				func(r *http.Request) bool { return r.Header.Get("Authorization") == "Basic "+basic("good", "x") },
				registrytest.Status(401, "UNAUTHORIZED", "WWW-Authenticate", `Basic realm="secret"`)))
		},
		"no token for the others": func(f *fixture) {
			guarded(f.Server, f.URL()+registrytest.TokenPath, "T")
			f.Fault(registrytest.Match{Kind: registrytest.Token}, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				if user, _, _ := r.BasicAuth(); user != "good" {
					http.Error(w, "", http.StatusForbidden)
					return
				}
				fmt.Fprint(w, `{"token":"T"}`)
			})
		},
		"a token without rights for the others": func(f *fixture) {
			f.Fault(registrytest.Match{}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				switch r.Header.Get("Authorization") {
				case "Bearer good":
					next.ServeHTTP(w, r)
				case "":
					registrytest.Status(401, "", "WWW-Authenticate", challenge(f))(w, r, next)
				default:
					http.Error(w, "", http.StatusForbidden)
				}
			})
			f.Fault(registrytest.Match{Kind: registrytest.Token}, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				user, _, _ := r.BasicAuth()
				fmt.Fprintf(w, `{"token":%q}`, user)
			})
		},
	}
	for way, guard := range ways {
		for name, tc := range cases {
			t.Run(way+"/"+name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				guard(f)
				c := newClient(t, registry.Options{Keychain: tc.users})
				p, err := c.Resolve(t.Context(), parse(t, f.Host()+"/"+repo+":v1"))
				if tc.wanted && err == nil {
					_, err = c.Attached(t.Context(), p, image.Ref{})
				}
				switch {
				case !tc.wanted:
					wantReason(t, err, reason.RegistryUnauthorized, false)
				case err != nil:
					t.Fatal(err)
				}
				if n := len(f.Log()); n > 30 {
					t.Errorf("%d requests", n)
				}
			})
		}
	}
}

// Tokens of one credential and of one repository are not used for another.
func TestA49TokensAreApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.PushImage("acme/other", "v1", nil)
	f.Fault(registrytest.Match{Kind: registrytest.Token}, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		user, _, _ := r.BasicAuth()
		name := strings.Split(r.URL.Query().Get("scope"), ":")[1]
		fmt.Fprintf(w, `{"token":"%s/%s"}`, user, name)
	})
	f.Fault(registrytest.Match{Kind: registrytest.Tag}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/v1")
		if r.Header.Get("Authorization") == "Bearer a/"+name {
			next.ServeHTTP(w, r)
			return
		}
		registrytest.Status(401, "", "WWW-Authenticate", `Bearer realm="`+f.URL()+`/token",scope="repository:acme/secret:pull,push,delete"`)(w, r, next)
	})
	a := newClient(t, registry.Options{Keychain: keychain{f.Host(): {Username: "a", Password: "x"}}})
	b := a.With(keychain{f.Host(): {Username: "b", Password: "x"}}, false)
	for _, name := range []string{repo, "acme/other"} {
		ref := parse(t, f.Host()+"/"+name+":v1")
		if _, err := a.Resolve(context.Background(), ref); err != nil {
			t.Error(err)
		}
		_, err := b.Resolve(context.Background(), ref)
		wantReason(t, err, reason.RegistryUnauthorized, false)
	}
	for _, e := range f.Log() {
		if strings.Contains(e.Query, "secret") || strings.Contains(e.Query, "push") {
			t.Errorf("asked for %s", e.Query)
		}
	}
}

// T-077: a realm elsewhere never sees credentials.
func TestT077ForeignRealm(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		realm func(f, other *fixture) string
		code  reason.Code
		asked bool
	}{
		"another loopback name": {func(_, o *fixture) string { return strings.Replace(o.URL(), "127.0.0.1", "localhost", 1) + "/token" }, reason.RegistryUnauthorized, true},
		"plain HTTP elsewhere":  {func(_, _ *fixture) string { return "http://auth.example.com/token" }, reason.RegistryUnavailable, false},
		"link-local":            {func(_, _ *fixture) string { return "https://169.254.169.254/token" }, reason.RegistryUnavailable, false},
		"link-local, HTTP":      {func(_, _ *fixture) string { return "http://169.254.169.254/token" }, reason.RegistryUnavailable, false},
		"file":                  {func(_, _ *fixture) string { return "file:///var/run/secrets/token" }, reason.RegistryUnavailable, false},
		"user in URL":           {func(_, o *fixture) string { return "http://a:b@" + o.Host() + "/token" }, reason.RegistryUnavailable, false},
		"relative":              {func(_, _ *fixture) string { return "/token" }, reason.RegistryUnavailable, false},
		"nonsense":              {func(_, _ *fixture) string { return "http://[::1" }, reason.RegistryUnavailable, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, other := newFixture(t), newFixture(t)
			guarded(f.Server, tc.realm(f, other), "T")
			tokens(other.Server, `{"token":"not the one"}`)
			other.Fault(registrytest.Match{Kind: registrytest.Token}, registrytest.Status(401, ""))
			for _, cred := range []authn.AuthConfig{{Username: "me", Password: "hunter2"}, {IdentityToken: "hunter2"}} {
				c := newClient(t, registry.Options{Keychain: keychain{f.Host(): cred}})
				_, err := c.Resolve(within(t, 2*time.Minute), parse(t, f.Host()+"/"+repo+":v1"))
				wantReason(t, err, tc.code, false)
			}
			for _, e := range other.Log() {
				if e.Method != "GET" || e.Header.Get("Authorization") != "" || strings.Contains(e.Query, "hunter2") {
					t.Errorf("the foreign realm got %s ?%s %v", e.Method, e.Query, e.Header)
				}
			}
			if (len(other.Log()) > 0) != tc.asked {
				t.Errorf("the foreign realm was asked %d times", len(other.Log()))
			}
		})
	}
}

// A redirect away from the host loses the credentials for good, also on the way back.
func TestT077RedirectDropsCredentials(t *testing.T) {
	t.Parallel()
	f, other := newFixture(t), newFixture(t)
	want := "Basic " + basic("me", "hunter2")
	f.Fault(registrytest.Match{}, registrytest.Unless(
		func(r *http.Request) bool { return r.Header.Get("Authorization") == want },
		registrytest.Status(401, "", "WWW-Authenticate", `Basic realm="x"`)))
	f.Fault(registrytest.Match{Reference: "v1"}, registrytest.Redirect(307, other.URL()+"/v2/"+repo+"/manifests/v1"))
	other.Fault(registrytest.Match{}, registrytest.Redirect(307, f.URL()+"/v2/"+repo+"/manifests/v2"))
	c := newClient(t, registry.Options{Keychain: keychain{f.Host(): {Username: "me", Password: "hunter2"}}})
	if err := c.Exists(context.Background(), pin(t, f.Host()+"/"+repo, f.digest)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Resolve(context.Background(), parse(t, f.Host()+"/"+repo+":v1"))
	wantReason(t, err, reason.RegistryUnauthorized, false)
	log := f.Log()
	if got := log[len(log)-2].Header.Get("Authorization"); got != want {
		t.Errorf("the host itself got %q", got)
	}
	if got := log[len(log)-1].Header.Get("Authorization"); got != "" {
		t.Errorf("after the detour the host got %q", got)
	}
	if got := other.Log()[0].Header.Get("Authorization"); got != "" {
		t.Errorf("another host got %q", got)
	}
}

// hostile challenges and token servers.
func TestA46HostileAuth(t *testing.T) {
	t.Parallel()
	challenge := func(v string) registrytest.Fault { return registrytest.Status(401, "", "WWW-Authenticate", v) }
	cases := map[string]struct {
		challenge func(f *fixture) string
		token     registrytest.Fault
		code      reason.Code
	}{
		"no challenge":     {func(*fixture) string { return "" }, nil, reason.RegistryUnauthorized},
		"unknown scheme":   {func(*fixture) string { return `Negotiate abc` }, nil, reason.RegistryUnauthorized},
		"no realm":         {func(*fixture) string { return `Bearer service="x"` }, nil, reason.RegistryUnauthorized},
		"half a quotation": {func(*fixture) string { return `Bearer realm="x` }, nil, reason.RegistryUnauthorized},
		"huge challenge":   {func(*fixture) string { return `Bearer realm="` + strings.Repeat("x", 8<<10) + `"` }, nil, reason.RegistryUnauthorized},
		"10 MB token":      {nil, registrytest.Body(200, "", []byte(`{"token":"`+strings.Repeat("x", 10<<20)+`"}`)), reason.RegistryUnavailable},
		"40 KiB token":     {nil, registrytest.Body(200, "", []byte(`{"token":"`+strings.Repeat("x", 40<<10)+`"}`)), reason.RegistryUnavailable},
		"line break":       {nil, registrytest.Body(200, "", []byte(`{"token":"a\r\nX: y"}`)), reason.RegistryUnavailable},
		"no token":         {nil, registrytest.Body(200, "", []byte(`{}`)), reason.RegistryUnavailable},
		"HTML":             {nil, registrytest.Body(200, "text/html", []byte(`<html>secret`)), reason.RegistryUnavailable},
		"401":              {nil, registrytest.Status(401, ""), reason.RegistryUnauthorized},
		"404":              {nil, registrytest.Status(404, ""), reason.RegistryUnauthorized},
		"429":              {nil, registrytest.Status(429, "", "Retry-After", "900"), reason.RegistryRateLimited},
		"503":              {nil, registrytest.Status(503, ""), reason.RegistryUnavailable},
		"closed":           {nil, registrytest.Close(), reason.RegistryUnavailable},
		"redirect":         {nil, registrytest.Redirect(302, "/token/elsewhere"), reason.RegistryUnavailable},
		"endless":          {nil, registrytest.Endless("application/json", nil), reason.RegistryUnavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			header := `Bearer realm="` + f.URL() + `/token"`
			if tc.challenge != nil {
				header = tc.challenge(f)
			}
			f.Fault(registrytest.Match{}, challenge(header))
			if tc.token != nil {
				f.Fault(registrytest.Match{Kind: registrytest.Token}, tc.token)
			}
			_, err := f.client.Resolve(within(t, 2*time.Minute), parse(t, f.Host()+"/"+repo+":v1"))
			wantReason(t, err, tc.code, false)
			if n := len(f.Log()); n > 12 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A keychain that cannot be read is no anonymous one.
func TestBrokenKeychain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	guarded(f.Server, f.URL()+"/token", "T")
	tokens(f.Server, `{"token":"T"}`)
	c := newClient(t, registry.Options{Keychain: brokenKeychain{}})
	_, err := c.Resolve(context.Background(), parse(t, f.Host()+"/"+repo+":v1"))
	wantReason(t, err, reason.RegistryUnauthorized, false)
}

type brokenKeychain struct{}

func (brokenKeychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return nil, fmt.Errorf("secret helper failed: hunter2")
}

// Observers learn the host of a token server and nothing of how it was asked.
func TestObserveToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	guarded(f.Server, f.URL()+registrytest.TokenPath+"/hunter2", "T")
	tokens(f.Server, `{"token":"T"}`)
	var seen calls
	c := newClient(t, registry.Options{Observe: seen.observe})
	if _, err := c.Resolve(context.Background(), parse(t, f.Host()+"/"+repo+":v1")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range seen.list {
		got = append(got, fmt.Sprintf("%s %d %s", r.Kind, r.Status, r.URL))
	}
	document := f.URL() + "/v2/" + repo + "/manifests/v1"
	want := []string{"tag 401 " + document, "token 200 " + f.URL(), "tag 200 " + document}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// T-080: credentials are for one host. Hosts whose names look like it, and those of clouds, get none, and nobody is asked
// for any on their behalf.
func TestT080LookAlikes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var got []string
	var mu sync.Mutex
	f.Fault(registrytest.Match{}, registrytest.Unless(func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Header.Get("Authorization"))
		return false
	}, registrytest.Status(401, "UNAUTHORIZED", "WWW-Authenticate", `Basic realm="x"`)))
	dir := t.TempDir()
	names := []string{"evil.azurecr.io.attacker.example", "xazurecr.io", "azurecr.io.example", "amazonaws.com.example", "ghcr.io.example", "evil-ghcr.io", "gcr.io.example"}
	for _, name := range names {
		f.WriteHostsToml(dir, name)
	}
	secret := authn.AuthConfig{Username: "me", Password: "hunter2"}
	c := newClient(t, registry.Options{ConfigDir: dir, Keychain: keychain{"azurecr.io": secret, "evil.azurecr.io": secret, "amazonaws.com": secret, "ghcr.io": secret, "gcr.io": secret}})
	for _, name := range names {
		_, err := c.Resolve(context.Background(), parse(t, name+"/"+repo+":v1"))
		wantReason(t, err, reason.RegistryUnauthorized, false)
	}
	for _, line := range got {
		if line != "" {
			t.Errorf("sent %q", line)
		}
	}
	if len(got) == 0 {
		t.Error("nobody was asked")
	}
}
