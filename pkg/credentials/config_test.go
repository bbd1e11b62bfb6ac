package credentials

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A-49, T-019: credentials are found for their own hosts only.
func TestFind(t *testing.T) {
	t.Parallel()
	c, err := parse(typeConfigJSON, map[string][]byte{keyConfigJSON: []byte(`{"auths": {
		"https://index.docker.io/v1/": {"username": "hub", "password": "x"},
		"ghcr.io": {"username": "ghcr", "password": "x"},
		"ghcr.io/acme": {"username": "acme", "password": "x"},
		"https://ghcr.io/acme/app": {"username": "app", "password": "x"},
		"*.azurecr.io": {"username": "azure", "password": "x"},
		"mine.azurecr.io": {"username": "mine", "password": "x"},
		"registry.corp:5000": {"auth": "cG9ydDp4"},
		"*": {"username": "label", "password": "x"},
		"empty.io": {}
	}}`)})
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		"index.docker.io/library/nginx":      "hub",
		"docker.io/library/nginx":            "hub",
		"registry-1.docker.io/library/nginx": "hub",
		"ghcr.io/other/app":                  "ghcr",
		"GHCR.IO/other/app":                  "ghcr",
		"ghcr.io/acme/tool":                  "acme",
		"ghcr.io/acme":                       "acme",
		"ghcr.io/acmeevil/tool":              "ghcr",
		"ghcr.io/acme/app":                   "app",
		"ghcr.io/acme/app/deep":              "app",
		"ghcr.io/acme/application":           "acme",
		"mine.azurecr.io/x":                  "mine",
		"other.azurecr.io/x":                 "azure",
		"a.b.azurecr.io/x":                   "",
		"azurecr.io/x":                       "",
		"evil.azurecr.io.attacker.tld/x":     "",
		"xazurecr.io/azurecr.io/x":           "",
		"evil-ghcr.io/x":                     "",
		"ghcr.io.attacker.tld/ghcr.io/x":     "",
		"ghcr.io:443/x":                      "",
		"other.azurecr.io:5000/x":            "",
		"registry.corp:5000/x":               "port",
		"registry.corp/x":                    "",
		"registry/x":                         "label",
		"empty.io/x":                         "",
	} {
		host, repository, _ := strings.Cut(at, "/")
		got := ""
		if e := c.find(host, repository); e != nil {
			got = e.auth.Username
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", at, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(true, []byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}}}`), "index.docker.io", "a")
	f.Add(false, []byte(`{"[a-":{"username":"a"},"*:*":{"password":"b"}}`), "x:1", "b/c")
	f.Fuzz(func(t *testing.T, modern bool, raw []byte, host, repository string) {
		kind, key := typeConfig, keyConfig
		if modern {
			kind, key = typeConfigJSON, keyConfigJSON
		}
		c, err := parse(kind, map[string][]byte{key: raw})
		if err != nil {
			if len(raw) > 8 && strings.Contains(err.Error(), string(raw)) {
				t.Error("the text quotes the Secret")
			}
			return
		}
		c.find(host, repository)
	})
}
