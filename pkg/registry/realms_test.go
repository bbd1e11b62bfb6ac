package registry

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRealms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Realms{
		"":                                     {},
		",":                                    {},
		"reg.corp.internal=auth.corp.internal": {"reg.corp.internal": {"auth.corp.internal"}},
		" Reg.corp:443=Auth.corp:443 , reg.corp=login.test,":   {"reg.corp": {"auth.corp", "login.test"}},
		"harbor.test:5000=login.test:8443,reg.test=[2001::1]":  {"harbor.test:5000": {"login.test:8443"}, "reg.test": {"[2001::1]"}},
		"reg.test=reg.test,reg.test=reg.test,127.0.0.1:5000=a": {"reg.test": {"reg.test"}, "127.0.0.1:5000": {"a"}},
	} {
		got, err := ParseRealms(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, diff)
		}
	}
	for _, text := range []string{"reg.test", "=a", "a=", "a=b=c", "https://reg.test=a", "a=b/token", "a=*.test", "a=me@b", "a b=c", "a=b?c", "a=b#c", "a=b\nc", "a=:443"} {
		if got, err := ParseRealms(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

// T-077 and A-49: a registry whose realms are named gives its credentials to these and to itself, over HTTPS, and to no others
// of its domain. That it is named does not let a realm be asked which is refused otherwise.
func TestT077A49NamedRealms(t *testing.T) {
	t.Parallel()
	named, err := ParseRealms("reg.corp.internal=auth.corp.internal,reg.example.com=login.example.org:8443,plain.example.com=auth.example.com,near.example.com=localhost,near.example.com=169.254.169.254")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		registry, realm string
		credentials, ok bool
	}{
		"named":                     {"https://reg.corp.internal", "https://auth.corp.internal/token", true, true},
		"named, other case":         {"https://REG.corp.internal:443", "https://AUTH.corp.internal:443/token", true, true},
		"its own host":              {"https://reg.corp.internal", "https://reg.corp.internal/token", true, true},
		"not named":                 {"https://reg.corp.internal", "https://evil.corp.internal/token", false, true},
		"below the named one":       {"https://reg.corp.internal", "https://a.auth.corp.internal/token", false, true},
		"behind the named one":      {"https://reg.corp.internal", "https://auth.corp.internal.evil.example/token", false, true},
		"another registry's":        {"https://reg.example.com", "https://auth.corp.internal/token", false, true},
		"other port of the named":   {"https://reg.example.com", "https://login.example.org/token", false, true},
		"port of the named":         {"https://reg.example.com", "https://login.example.org:8443/token", true, true},
		"of its domain, not named":  {"https://reg.example.com", "https://auth.example.com/token", false, true},
		"registry that is not":      {"https://other.example.com", "https://auth.example.com/token", true, true},
		"other port of a registry":  {"https://reg.corp.internal:5000", "https://auth.corp.internal/token", false, true},
		"plain HTTP":                {"https://reg.corp.internal", "http://auth.corp.internal/token", false, false},
		"plain HTTP of a plain one": {"http://plain.example.com", "http://auth.example.com/token", false, false},
		"loopback":                  {"https://near.example.com", "https://localhost/token", false, false},
		"link-local":                {"https://near.example.com", "https://169.254.169.254/token", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, err := url.Parse(tc.registry)
			if err != nil {
				t.Fatal(err)
			}
			_, credentials, ok := realmRule(from, tc.realm, named)
			if credentials != tc.credentials || ok != tc.ok {
				t.Errorf("credentials %v, asked %v", credentials, ok)
			}
		})
	}
}
