package registry

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/egress"
)

// T-077: which realms may be asked, and which get credentials.
func TestT077RealmRule(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		registry, realm string
		credentials, ok bool
	}{
		"same host":                   {"https://ghcr.io", "https://ghcr.io/token", true, true},
		"same host, other case":       {"https://ghcr.io", "https://GHCR.io/token", true, true},
		"same host, other port":       {"https://reg.example.com:5000", "https://reg.example.com:5001/token", true, true},
		"Docker Hub":                  {"https://registry-1.docker.io", "https://auth.docker.io/token", true, true},
		"parent domain":               {"https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true, true},
		"look-alike":                  {"https://registry.gitlab.com", "https://gitlab.com.evil.example/jwt/auth", false, true},
		"look-alike prefix":           {"https://ghcr.io", "https://evil-ghcr.io/token", false, true},
		"foreign":                     {"https://ghcr.io", "https://evil.example/token", false, true},
		"suffix that everyone shares": {"https://a.github.io", "https://b.github.io/token", false, true},
		"top level domain":            {"https://ghcr.io", "https://io/token", false, true},
		"cluster names":               {"https://reg.a.svc.cluster.local", "https://auth.b.svc.cluster.local/token", false, true},
		"unregistered domain":         {"https://reg.corp.internal", "https://auth.corp.internal/token", false, true},
		"addresses":                   {"https://10.0.0.1", "https://10.0.0.2/token", false, true},
		"downgrade on the same host":  {"https://ghcr.io", "http://ghcr.io/token", false, false},
		"plain registry, same host":   {"http://reg.example.com", "http://reg.example.com/token", true, true},
		"plain registry, other host":  {"http://reg.example.com", "http://auth.example.com/token", false, false},
		"plain loopback, other name":  {"http://127.0.0.1:5000", "http://localhost:5001/token", false, true},
		"upgrade":                     {"http://reg.example.com", "https://auth.example.com/token", true, true},
		"to loopback":                 {"https://reg.example.com", "https://localhost/token", false, false},
		"to loopback address":         {"https://reg.example.com", "https://127.1.2.3/token", false, false},
		"to unspecified":              {"https://reg.example.com", "https://0.0.0.0/token", false, false},
		"link-local":                  {"https://reg.example.com", "https://169.254.169.254/token", false, false},
		"link-local IPv6 with a zone": {"https://reg.example.com", "https://[fe80::1%25eth0]/token", false, false},
		"other scheme":                {"https://reg.example.com", "ftp://reg.example.com/token", false, false},
		"user":                        {"https://reg.example.com", "https://a@reg.example.com/token", false, false},
		"fragment":                    {"https://reg.example.com", "https://reg.example.com/token#x", false, false},
		"no host":                     {"https://reg.example.com", "https:///token", false, false},
		"relative":                    {"https://reg.example.com", "//reg.example.com/token", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry, err := url.Parse(tc.registry)
			if err != nil {
				t.Fatal(err)
			}
			_, credentials, ok := realmRule(registry, tc.realm, nil)
			if credentials != tc.credentials || ok != tc.ok {
				t.Errorf("credentials %v, ok %v", credentials, ok)
			}
		})
	}
}

func TestParseChallenge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lines []string
		want  challenge
		ok    bool
	}{
		"bearer":       {[]string{`Bearer realm="https://a/t",service="s, t",scope="repository:a/b:pull"`}, challenge{true, "https://a/t", "s, t", "repository:a/b:pull"}, true},
		"spaces":       {[]string{`bearer  realm = "x" , service=s`}, challenge{}, false},
		"unquoted":     {[]string{`BEARER realm=https://a/t, service=s`}, challenge{true, "https://a/t", "s", ""}, true},
		"escapes":      {[]string{`Bearer realm="a\"b\\c"`}, challenge{true, `a"b\c`, "", ""}, true},
		"first counts": {[]string{`Bearer realm="a",realm="b"`}, challenge{true, "a", "", ""}, true},
		"basic":        {[]string{`Basic realm="x"`}, challenge{}, true},
		"bearer wins":  {[]string{`Basic realm="x"`, `Bearer realm="y"`}, challenge{true, "y", "", ""}, true},
		"neither":      {[]string{`Digest realm="x"`}, challenge{}, false},
		"empty":        {nil, challenge{}, false},
		"blank":        {[]string{""}, challenge{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := parseChallenge(http.Header{"Www-Authenticate": tc.lines})
			if got != tc.want || ok != tc.ok {
				t.Errorf("got %+v, %v", got, ok)
			}
		})
	}
}

// whatever the challenge asks for, the token is for pulling this repository.
func TestTokenScope(t *testing.T) {
	t.Parallel()
	for asked, want := range map[string]string{
		"":                                 "repository:acme/app:pull",
		"repository:acme/app:pull":         "repository:acme/app:pull",
		"repository:acme/app:pull,push,*":  "repository:acme/app:pull",
		"repository:proxy/acme/app:pull":   "repository:proxy/acme/app:pull",
		"repository:acme/secret:pull":      "repository:acme/app:pull",
		"repository:evilacme/app:pull":     "repository:acme/app:pull",
		"registry:catalog:*":               "repository:acme/app:pull",
		"repository:a:pull repository:b:*": "repository:acme/app:pull",
	} {
		if got := tokenScope(asked, "acme/app"); got != want {
			t.Errorf("%q: got %s, want %s", asked, got, want)
		}
	}
}

func TestParseToken(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for body, want := range map[string]time.Duration{
		`{"token":"a"}`:                            54 * time.Second,
		`{"access_token":"a","expires_in":100}`:    90 * time.Second,
		`{"token":"a","expires_in":-5}`:            54 * time.Second,
		`{"token":"a","expires_in":1e308}`:         54 * time.Minute,
		`{"token":"a","expires_in":0.5}`:           450 * time.Millisecond,
		`{"token":"a","access_token":"b","x":[1]}`: 54 * time.Second,
	} {
		got, ok := parseToken([]byte(body), now)
		if !ok || got.value != "a" || got.expires != now.Add(want) {
			t.Errorf("%s: got %v after %s, %v", body, got.value, got.expires.Sub(now), ok)
		}
	}
	for _, body := range []string{``, `[]`, `{}`, `{"token":""}`, `{"token":1}`, `{"token":"a b"}`, `{"token":"a","expires_in":"x"}`, `{"token":"ä"}`} {
		if _, ok := parseToken([]byte(body), now); ok {
			t.Errorf("%s: accepted", body)
		}
	}
}

func TestForbidden(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][2]bool{ // where loopback may be, and where not
		"10.0.0.1": {false, false}, "192.0.2.1": {false, false}, "2001:db8::1": {false, false}, "100.64.0.1": {false, false},
		"127.0.0.1": {false, true}, "::1": {false, true}, "0.0.0.0": {false, true}, "::": {false, true}, "::ffff:127.0.0.1": {false, true},
		"169.254.0.1": {true, true}, "fe80::1": {true, true}, "fe80::1%eth0": {true, true}, "::ffff:169.254.169.254": {true, true},
		"64:ff9b::169.254.169.254": {true, true}, "64:ff9b::10.0.0.1": {false, false}, "224.0.0.1": {true, true}, "ff02::1": {true, true},
		"255.255.255.255": {true, true}, "fd00:ec2::254": {true, true}, "168.63.129.16": {true, true}, "100.100.100.200": {true, true},
	} {
		a := netip.MustParseAddr(address)
		if got := [2]bool{egress.Forbidden(a, true), egress.Forbidden(a, false)}; got != want {
			t.Errorf("%s: got %v, want %v", address, got, want)
		}
		if egress.Check(netip.AddrPortFrom(a, 443).String(), false) == nil == want[1] {
			t.Errorf("%s: guard differs", address)
		}
	}
	if egress.Check("nonsense", true) == nil {
		t.Error("an address that cannot be read is let through")
	}
}

func TestNextLink(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lines []string
		want  string
	}{
		"plain":      {[]string{`</v2/a?x=1>; rel="next"`}, "/v2/a?x=1"},
		"unquoted":   {[]string{`</a>;rel=next`}, "/a"},
		"comma":      {[]string{`</a?x=1,2;3>; rel="next"`}, "/a?x=1,2;3"},
		"second":     {[]string{`</p>; rel="prev", </n>; rel="next"; title="x"`}, "/n"},
		"other line": {[]string{`</p>; rel=prev`, `</n>; rel=next`}, "/n"},
		"other rel":  {[]string{`</p>; rel="nextish"`}, ""},
		"no angle":   {[]string{`/p; rel="next"`, `</p; rel="next"`}, ""},
		"none":       {nil, ""},
	} {
		if got := nextLink(tc.lines); got != tc.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// The order of hosts is that of the file, which a map does not keep.
func TestHostOrder(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	var want []string
	for _, c := range "qwertzuiopasdfghjkl" {
		host := "https://" + string(c) + ".example"
		want = append(want, host)
		text.WriteString("[host.\"" + host + "\"]\n[host.\"" + host + "\".header]\nx = \"y\"\n")
	}
	c, err := parseHosts([]byte(text.String()), "", Limits{}.withDefaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range c.mirrors {
		got = append(got, m.url.Scheme+"://"+m.url.Host)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestShowURL(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("https://me:hunter2@reg.example:5000/v2/a/manifests/b?token=hunter2#x")
	if err != nil {
		t.Fatal(err)
	}
	if got := showURL(u); got != "https://reg.example:5000/v2/a/manifests/b" {
		t.Error(got)
	}
}

// Whatever the bytes, a document that is accepted is one of the two kinds and within the depth.
func FuzzParseDocument(f *testing.F) {
	for _, s := range []string{
		`{"schemaVersion":2,"config":{},"layers":[{"digest":"x","size":1}]}`, `{"manifests":null}`, `{"manifests":[],"layers":[]}`,
		`{"manifests":[{}],"manifests":[]}`, `{"\u006canifests":[]}`, `{"layer\u017f":[]}`, `[`, `{"a":"\\"}`, "{\"a\":\"\xff\"}", ``,
	} {
		f.Add([]byte(s), "application/vnd.oci.image.index.v1+json")
		f.Add([]byte(s), "")
	}
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		d, err := parseDocument(body, contentType, 64)
		if err != nil {
			return
		}
		if d.index && (d.Layers.list != nil || d.Config != nil) || !d.index && d.Manifests.list != nil {
			t.Errorf("both kinds: %q", body)
		}
	})
}

func FuzzParseChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://a",service="b"`, "https://a")
	f.Fuzz(func(t *testing.T, line, host string) {
		c, ok := parseChallenge(http.Header{"Www-Authenticate": {line}})
		registry, err := url.Parse(host)
		if !ok || err != nil {
			return
		}
		if u, credentials, ok := realmRule(registry, c.realm, nil); ok && credentials && !strings.EqualFold(u.Hostname(), registry.Hostname()) && !sameSite(u.Hostname(), registry.Hostname()) {
			t.Errorf("credentials of %q for %q", host, u)
		}
	})
}

// T-013: what panics in a goroutine of a call panics in the caller, where it is recovered.
func TestEachPanics(t *testing.T) {
	t.Parallel()
	var done atomic.Int32
	defer func() {
		if p := recover(); p != "broken" {
			t.Errorf("recovered %v", p)
		}
		if done.Load() != 3 {
			t.Errorf("%d of the others were done", done.Load())
		}
	}()
	each([]int{0, 1, 2, 3}, 2, func(i int) {
		if i == 1 {
			panic("broken")
		}
		done.Add(1)
	})
	t.Error("each returned")
}
