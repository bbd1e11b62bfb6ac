package credentials

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

type asked struct{ host, path string }

func (a asked) String() string      { return a.host + "/" + a.path }
func (a asked) RegistryStr() string { return a.host }

// TestDockerEntry holds what is said of the docker configuration against what the default keychain finds in it.
func TestDockerEntry(t *testing.T) {
	const secret = "bWU6aHVudGVyMg==" // me:hunter2
	config := func(auths, more string) string {
		for _, key := range strings.Fields(auths) {
			more += `, "` + key + `": {"auth": "` + secret + `"}`
		}
		return `{"auths": {` + strings.TrimPrefix(more, ", ") + `}}`
	}
	for name, c := range map[string]struct {
		file, text string
		env        string
		host, path string
		want       string
	}{
		"a host":            {file: "DOCKER/config.json", text: config("ghcr.io", ""), host: "ghcr.io", path: "acme/app", want: "DOCKER/config.json, auths[ghcr.io]"},
		"another host":      {file: "DOCKER/config.json", text: config("ghcr.io", ""), host: "quay.io", path: "acme/app"},
		"a repository":      {file: "DOCKER/config.json", text: config("ghcr.io/acme/app ghcr.io", ""), host: "ghcr.io", path: "acme/app", want: "DOCKER/config.json, auths[ghcr.io/acme/app]"},
		"a URL":             {file: "DOCKER/config.json", text: config("https://ghcr.io/v2/", ""), host: "ghcr.io", path: "acme/app", want: "DOCKER/config.json, auths[https://ghcr.io/v2/]"},
		"Docker Hub":        {file: "DOCKER/config.json", text: config("https://index.docker.io/v1/", ""), host: "index.docker.io", path: "library/nginx", want: "DOCKER/config.json, auths[https://index.docker.io/v1/]"},
		"a user in the key": {file: "DOCKER/config.json", text: config("https://me:hunter2@ghcr.io/", ""), host: "ghcr.io", path: "acme/app", want: "DOCKER/config.json, auths[ghcr.io/]"},
		"the home":          {file: "HOME/.docker/config.json", text: config("ghcr.io", ""), host: "ghcr.io", path: "acme/app", want: "HOME/.docker/config.json, auths[ghcr.io]"},
		"podman":            {file: "HOME/.config/containers/auth.json", text: config("ghcr.io", ""), host: "ghcr.io", path: "acme/app", want: "HOME/.config/containers/auth.json, auths[ghcr.io]"},
		"the environment":   {file: "DOCKER/config.json", text: config("ghcr.io", ""), env: config("ghcr.io", ""), host: "ghcr.io", path: "acme/app", want: "environment variable DOCKER_AUTH_CONFIG, auths[ghcr.io]"},
		"no JSON":           {file: "DOCKER/config.json", text: "{", host: "ghcr.io", path: "acme/app"},
		"nothing":           {file: "HOME/x", text: "", host: "ghcr.io", path: "acme/app"},
	} {
		t.Run(name, func(t *testing.T) {
			dirs := strings.NewReplacer("DOCKER", t.TempDir(), "HOME", t.TempDir())
			for name, value := range map[string]string{
				"HOME": dirs.Replace("HOME"), "DOCKER_CONFIG": "", "XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": "", "REGISTRY_AUTH_FILE": "", "DOCKER_AUTH_CONFIG": c.env,
			} {
				t.Setenv(name, value)
			}
			if strings.HasPrefix(c.file, "DOCKER") {
				t.Setenv("DOCKER_CONFIG", dirs.Replace("DOCKER"))
			}
			path := dirs.Replace(c.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			want := dirs.Replace(c.want)
			if strings.HasPrefix(c.want, "environment") {
				want = c.want
			}
			got := DockerEntry(c.host, c.path)
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
			found, err := authn.DefaultKeychain.Resolve(asked{c.host, c.path})
			if has := err == nil && found != authn.Anonymous; has != (got != "") {
				t.Errorf("%q, and the keychain has one: %v (%v)", got, has, err)
			}
			if strings.Contains(got, "hunter2") {
				t.Error(got)
			}
		})
	}
}

// Helpers are named and not run.
func TestDockerHelpers(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("DOCKER_AUTH_CONFIG", "")
	path := filepath.Join(dir, "config.json")
	text := `{"auths": {"quay.io": {}}, "credHelpers": {"ghcr.io": "own"}, "credsStore": "desktop"}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"ghcr.io": path + ", credHelpers[ghcr.io] (docker-credential-own)", "quay.io": path + ", credsStore (docker-credential-desktop)",
	} {
		if got := DockerEntry(host, "acme/app"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
