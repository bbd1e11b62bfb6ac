package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
)

// TestT015Token has an API server that redirects elsewhere, and services that ask for credentials: the token of the service account
// goes to the API server alone.
func TestT015Token(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string][]string{} // headers by who got them
	hear := func(who string, next http.HandlerFunc) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			seen[who] = append(seen[who], r.Header.Get("Authorization")+r.Header.Get("Cookie"))
			mu.Unlock()
			next(w, r)
		}))
		t.Cleanup(s.Close)
		return s
	}
	attacker := hear("attacker", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="kubernetes"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	api := hear("api", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/namespaces/away":
			http.Redirect(w, r, attacker.URL+"/api", http.StatusTemporaryRedirect)
		case "/api/v1/namespaces/home":
			http.Redirect(w, r, "/api/v1/nodes", http.StatusFound)
		default:
			_, _ = io.WriteString(w, `"fine"`)
		}
	})
	client, err := newAPI(&rest.Config{Host: api.URL, BearerToken: "token of the service account"}, "kyverno")
	if err != nil {
		t.Fatal(err)
	}
	l := loader.New(loader.Options{API: client})
	load := func(c policy.CallSource) (any, error) {
		return l.Load(t.Context(), &policy.ContextEntry{Name: "x", Call: &c}, expr.NewScope(expr.Env{}), nil)
	}
	text := func(s string) *expr.Template {
		e, err := expr.CompileTemplate(s)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if v, err := load(policy.CallSource{Path: text("/api/v1/nodes")}); v != "fine" {
		t.Errorf("%v, %v", v, err)
	}
	for name, c := range map[string]policy.CallSource{
		"a redirect to another host": {Path: text("/api/v1/namespaces/away")},
		"a redirect":                 {Path: text("/api/v1/namespaces/home")},
		"a redirect of a POST":       {Path: text("/api/v1/namespaces/away"), Post: true},
		"another host":               {Path: text("//" + strings.TrimPrefix(attacker.URL, "http://") + "/api")},
		"a host as the user":         {Path: text("/@" + strings.TrimPrefix(attacker.URL, "http://") + "/api")},
		"a service":                  {URL: text(attacker.URL)},
		"a service at the server":    {URL: text(api.URL + "/api/v1/nodes")},
	} {
		if v, err := load(c); err == nil {
			t.Errorf("%s: %v", name, v)
		}
	}
	for _, sent := range seen["api"] {
		if sent != "Bearer token of the service account" {
			t.Errorf("the API server got %q", sent)
		}
	}
	if len(seen["api"]) != 4 || len(seen["attacker"]) > 0 {
		t.Errorf("%d requests at the API server, the attacker got %q", len(seen["api"]), seen["attacker"])
	}
}
