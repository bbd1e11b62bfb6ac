package cli

import (
	encodedpem "encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gitServer serves a repository over HTTPS by git's own server, to whoever says the password. It returns where.
func gitServer(t *testing.T, repo, password string) (url string, certificate []byte) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: git, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(repo), "GIT_HTTP_EXPORT_ALL=1"}}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, got, _ := r.BasicAuth(); got != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who is it?", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, encodedpem.EncodeToMemory(&encodedpem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}

// TestGitOverHTTPS reads tests by git's own protocol, with git's own authorities and credentials, which nothing prints
// (VI 10.1(4), 10.2).
func TestGitOverHTTPS(t *testing.T) {
	s := stocked(t, "acme/key-notlog-v3-bundle", "acme/unsigned")
	mirrors := t.TempDir()
	s.WriteHostsToml(mirrors, "ghcr.io")
	in := map[string]string{}
	for name, text := range testFilesOf(t, "", "- {policy: signed, rule: check, kind: Pod, resources: [good], result: pass}\n") {
		in["suite/"+name] = text
	}
	repo := gitRepository(t, in)
	server, certificate := gitServer(t, repo, "s3cret")
	url := server + "/" + filepath.Base(repo) + "/.git"
	call := func(t *testing.T) output {
		t.Helper()
		return call(t, "test", url+"/suite", "-b", "main", "--registry-config-dir", mirrors)
	}
	config := func(t *testing.T, authorities string, lines ...string) {
		t.Helper()
		t.Setenv("GIT_SSL_CAINFO", authorities)
		t.Setenv("NO_PROXY", "127.0.0.1")
		t.Setenv("GIT_CONFIG_GLOBAL", file(t, "gitconfig", strings.Join(lines, "\n")+"\n"))
		t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
		t.Setenv("HOME", t.TempDir())
	}
	authority := file(t, "ca.pem", string(certificate))
	helper := func(password string) string {
		return "[credential]\n\thelper = \"!f() { echo username=a; echo password=" + password + "; }; f\""
	}
	t.Run("an authority that nobody trusts", func(t *testing.T) {
		config(t, file(t, "none.pem", ""), helper("s3cret"))
		if got := call(t); got.exit != 1 || !strings.Contains(got.stderr, "branch main cannot be cloned: ") || !strings.Contains(got.stderr, "certificate") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("no credentials, and nobody is asked", func(t *testing.T) {
		config(t, authority)
		if got := call(t); got.exit != 1 || !strings.Contains(got.stderr, "branch main cannot be cloned: ") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("credentials that are refused", func(t *testing.T) {
		config(t, authority, helper("wr0ng"))
		if got := call(t); got.exit != 1 || !strings.Contains(got.stderr, "branch main cannot be cloned: ") || strings.Contains(got.stdout+got.stderr, "wr0ng") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("git's own credentials", func(t *testing.T) {
		config(t, authority, helper("s3cret"))
		got := call(t)
		if got.exit != 0 || !strings.Contains(got.stdout, "Test Summary: 1 tests passed and 0 tests failed") || strings.Contains(got.stdout+got.stderr, "s3cret") {
			t.Errorf("%+v", got)
		}
	})
}
