package registry_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
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

// hosts writes a configuration directory from directory names and contents of hosts.toml.
func hosts(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name, "hosts.toml"), text)
	}
	return dir
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// paths are the paths and queries that a server was asked for.
func paths(s *registrytest.Server) []string {
	var list []string
	for _, e := range s.Log() {
		p := e.Path
		if e.Query != "" {
			p += "?" + e.Query
		}
		list = append(list, p)
	}
	return list
}

// The names of directories, the names of repositories on docker.io, and what a mirror is told about whose they are.
func TestMirrorNames(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ dir, ref, path string }{
		"registry":               {"ghcr.io", "ghcr.io/acme/app:v1", "/v2/acme/app/manifests/v1?ns=ghcr.io"},
		"upper case":             {"ghcr.io", "GHCR.io/acme/app:v1", "/v2/acme/app/manifests/v1?ns=ghcr.io"},
		"port":                   {"reg.example:5000", "reg.example:5000/acme/app:v1", "/v2/acme/app/manifests/v1?ns=reg.example%3A5000"},
		"port in directory form": {"reg.example_5000_", "reg.example:5000/acme/app:v1", "/v2/acme/app/manifests/v1?ns=reg.example%3A5000"},
		"default":                {"_default", "ghcr.io/acme/app:v1", "/v2/acme/app/manifests/v1?ns=ghcr.io"},
		"Docker Hub":             {"docker.io", "docker.io/acme/app:v1", "/v2/acme/app/manifests/v1?ns=docker.io"},
		"short":                  {"docker.io", "nginx:v1", "/v2/library/nginx/manifests/v1?ns=docker.io"},
		"one segment":            {"docker.io", "docker.io/nginx:v1", "/v2/library/nginx/manifests/v1?ns=docker.io"},
		"library":                {"docker.io", "docker.io/library/nginx:v1", "/v2/library/nginx/manifests/v1?ns=docker.io"},
		"index.docker.io":        {"docker.io", "index.docker.io/nginx:v1", "/v2/library/nginx/manifests/v1?ns=docker.io"},
		"no registry":            {"docker.io", "", "/v2/library/nginx/manifests/v1?ns=docker.io"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := registrytest.New(t)
			s.PushImage("acme/app", "v1", nil)
			s.PushImage("library/nginx", "v1", nil)
			dir := hosts(t, map[string]string{tc.dir: `[host."` + s.URL() + `"]`})
			text := tc.ref
			if text == "" {
				text = "nginx:v1"
			}
			ref, err := image.Parse(text, image.Options{KeepShort: tc.ref == ""})
			if err != nil {
				t.Fatal(err)
			}
			p, err := newClient(t, registry.Options{ConfigDir: dir}).Resolve(context.Background(), ref)
			if err != nil {
				t.Fatal(err)
			}
			if p.Ref() != ref {
				t.Errorf("pinned %s, want %s", p.Ref(), ref)
			}
			if diff := cmp.Diff([]string{tc.path}, paths(s)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWriteHostsToml(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *registrytest.Server{"http": registrytest.New, "https": registrytest.NewTLS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			digest := s.PushImage(repo, "v1", nil)
			dir := t.TempDir()
			s.WriteHostsToml(dir, "ghcr.io")
			s.WriteHostsToml(dir, "reg.example:5000")
			c := newClient(t, registry.Options{ConfigDir: dir})
			for _, host := range []string{"ghcr.io", "reg.example:5000"} {
				p, err := c.Resolve(context.Background(), parse(t, host+"/"+repo+":v1"))
				if err != nil || p.Digest().String() != digest {
					t.Errorf("%s: got %s, %v", host, p.Digest(), err)
				}
				// It is the upstream as well: what it does not have is nowhere, and it is asked once.
				s.ResetLog()
				_, err = c.Resolve(context.Background(), parse(t, host+"/"+repo+":nope"))
				wantReason(t, err, reason.ImageNotFound, false)
				if n := len(s.Log()); n != 1 {
					t.Errorf("%d requests", n)
				}
			}
		})
	}
}

// Hosts are asked in the order of the file, the server last, and "not found" needs all of them.
func TestMirrorOrder(t *testing.T) {
	t.Parallel()
	gone := func(status int, code string) func(*registrytest.Server) {
		return func(s *registrytest.Server) { s.Fault(registrytest.Match{}, registrytest.Status(status, code)) }
	}
	fine := func(*registrytest.Server) {}
	cases := map[string]struct {
		mirror, second, server func(*registrytest.Server) // nil: nobody listens
		code                   reason.Code                // empty: resolved
		unreachable            bool
		asked                  [3]bool
	}{
		"first has it":                {fine, fine, fine, "", false, [3]bool{true, false, false}},
		"first says 404":              {gone(404, ""), fine, fine, "", false, [3]bool{true, true, false}},
		"first says 500":              {gone(500, ""), fine, fine, "", false, [3]bool{true, true, false}},
		"first says 403":              {gone(403, ""), fine, fine, "", false, [3]bool{true, true, false}},
		"first is not there":          {nil, fine, fine, "", false, [3]bool{false, true, false}},
		"first lies about the digest": {func(s *registrytest.Server) { s.Fault(registrytest.Match{}, registrytest.FlipBit()) }, fine, fine, "", false, [3]bool{true, true, false}},
		"server has it":               {gone(404, ""), nil, fine, "", false, [3]bool{true, false, true}},
		"nobody has it":               {gone(404, ""), gone(404, ""), gone(404, "MANIFEST_UNKNOWN"), reason.ImageNotFound, false, [3]bool{true, true, true}},
		"one could not say, by 503":   {gone(503, ""), gone(404, ""), gone(404, ""), reason.RegistryUnavailable, false, [3]bool{true, true, true}},
		"one could not say, by 401":   {gone(404, ""), gone(401, ""), gone(404, ""), reason.RegistryUnauthorized, false, [3]bool{true, true, true}},
		"one is not there":            {nil, gone(404, ""), gone(404, ""), reason.RegistryUnavailable, false, [3]bool{false, true, true}},
		"server is not there":         {gone(404, ""), gone(404, ""), nil, reason.RegistryUnavailable, false, [3]bool{true, true, false}},
		"server is not there, 403":    {gone(403, ""), nil, nil, reason.RegistryUnauthorized, false, [3]bool{true, false, false}},
		"nobody is there":             {nil, nil, nil, reason.RegistryUnavailable, true, [3]bool{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var servers [3]*registrytest.Server
			var urls [3]string
			for i, arrange := range []func(*registrytest.Server){tc.mirror, tc.second, tc.server} {
				if arrange == nil {
					urls[i] = "http://" + refusing(t)
					continue
				}
				servers[i] = registrytest.New(t)
				servers[i].PushImage(repo, "v1", []byte("the same everywhere"))
				arrange(servers[i])
				urls[i] = servers[i].URL()
			}
			dir := hosts(t, map[string]string{"ghcr.io": `server = "` + urls[2] + `"
				[host."` + urls[0] + `"]
				capabilities = ["pull", "resolve"]
				[host."` + urls[1] + `"]`})
			c := newClient(t, registry.Options{ConfigDir: dir})
			_, err := c.Resolve(within(t, 2*time.Minute), parse(t, "ghcr.io/"+repo+":v1"))
			if tc.code == "" && err != nil {
				t.Error(err)
			}
			if tc.code != "" {
				wantReason(t, err, tc.code, tc.unreachable)
			}
			for i, s := range servers {
				if s != nil && (len(s.Log()) > 0) != tc.asked[i] {
					t.Errorf("host %d: asked %d times", i, len(s.Log()))
				}
			}
		})
	}
}

// A host that could not be asked any more has not said "not found".
func TestMirrorOutOfTime(t *testing.T) {
	t.Parallel()
	mirror, server := registrytest.New(t), registrytest.New(t)
	server.PushImage(repo, "v1", nil)
	dir := hosts(t, map[string]string{"ghcr.io": `server = "` + server.URL() + `"` + "\n" + `[host."` + mirror.URL() + `"]`})
	ctx, cancel := context.WithCancel(context.Background())
	c := newClient(t, registry.Options{ConfigDir: dir, Observe: func(registry.Request) { cancel() }})
	_, err := c.Resolve(ctx, parse(t, "ghcr.io/"+repo+":v1"))
	wantReason(t, err, reason.RegistryTimeout, false)
}

// A cluster whose mirror has everything does not try an upstream out of reach with every image; the outcome is the same.
func TestUnreachableUpstreamRests(t *testing.T) {
	t.Parallel()
	mirror := registrytest.New(t)
	digest := mirror.PushImage(repo, "v1", nil)
	mirror.AttachTag(repo, digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("good")})
	upstream := refusing(t)
	dir := hosts(t, map[string]string{"ghcr.io": `server = "http://` + upstream + `"` + "\n" + `[host."` + mirror.URL() + `"]`})
	var tried atomic.Int64
	c := newClient(t, registry.Options{ConfigDir: dir, Limits: registry.Limits{Rest: time.Hour}, Observe: func(r registry.Request) {
		if r.Host == upstream {
			tried.Add(1)
		}
	}})
	p := pin(t, "ghcr.io/"+repo, digest)
	var first int64
	for i := range 3 {
		a, err := c.Attached(within(t, 2*time.Minute), p, image.Ref{})
		if err != nil || len(payloads(a)) != 1 || len(a.Problems) != 3 {
			t.Fatalf("got %+v, %v", a, err)
		}
		for _, problem := range a.Problems {
			wantReason(t, problem, reason.RegistryUnavailable, false)
		}
		if i == 0 {
			first = tried.Load()
		}
	}
	if first == 0 || tried.Load() != first {
		t.Errorf("tried %d times at first, then %d times", first, tried.Load()-first)
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	mirror, server := registrytest.New(t), registrytest.New(t)
	for _, s := range []*registrytest.Server{mirror, server} {
		digest := s.PushImage(repo, "v1", []byte("one"))
		s.AttachTag(repo, digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: []byte("sig")})
		s.Attach(repo, digest, bundle, bundle, nil, []byte("bundle"))
	}
	dir := hosts(t, map[string]string{"ghcr.io": `server = "` + server.URL() + `"
		[host."` + mirror.URL() + `"]
		capabilities = ["pull"]`})
	c := newClient(t, registry.Options{ConfigDir: dir})
	p, err := c.Resolve(context.Background(), parse(t, "ghcr.io/"+repo+":v1"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Attached(context.Background(), p, image.Ref{})
	if err != nil || len(payloads(a)) != 2 {
		t.Fatalf("got %+v, %v", a, err)
	}
	for kind, want := range map[string][2]int{
		registrytest.Tag: {0, 4}, registrytest.Referrers: {0, 1}, registrytest.Manifest: {1, 0}, registrytest.Blob: {2, 0},
	} {
		m := registrytest.Match{Kind: kind}
		if got := [2]int{mirror.Count(m), server.Count(m)}; got != want {
			t.Errorf("%s: mirror and server asked %v times, want %v", kind, got, want)
		}
	}
}

// A mirror that knows no signatures does not hide those of the server.
func TestMirrorWithoutSignatures(t *testing.T) {
	t.Parallel()
	mirror, server := registrytest.New(t), registrytest.New(t)
	digest := mirror.PushImage(repo, "v1", []byte("one"))
	server.PushImage(repo, "v1", []byte("one"))
	server.Attach(repo, digest, bundle, bundle, nil, []byte("bundle"))
	dir := hosts(t, map[string]string{"ghcr.io": `server = "` + server.URL() + `"` + "\n" + `[host."` + mirror.URL() + `"]`})
	a, err := newClient(t, registry.Options{ConfigDir: dir}).Attached(context.Background(), pin(t, "ghcr.io/"+repo, digest), image.Ref{})
	if err != nil || len(payloads(a)) != 1 || len(a.Problems) > 0 {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestMirrorPathAndHeader(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	s.PushImage("acme/app", "v1", nil)
	for name, tc := range map[string]struct{ host, extra, path string }{
		"plain":           {"", "", "/v2/acme/app/manifests/v1"},
		"slash":           {"/", "", "/v2/acme/app/manifests/v1"},
		"with /v2":        {"/v2", "", "/v2/acme/app/manifests/v1"},
		"prefix":          {"/proxy", "", "/proxy/v2/acme/app/manifests/v1"},
		"override":        {"/v2/proxy", "override_path = true", "/v2/proxy/acme/app/manifests/v1"},
		"override to top": {"", "override_path = true", "/acme/app/manifests/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			s.ResetLog()
			dir := hosts(t, map[string]string{"ghcr.io": `server = "` + s.URL() + `"
				[host."` + s.URL() + tc.host + `"]
				` + tc.extra + `
				dial_timeout = "3s"
				[host."` + s.URL() + tc.host + `".header]
				x-one = "a"
				x-two = ["b", "c"]`})
			c := newClient(t, registry.Options{ConfigDir: dir})
			c.Resolve(context.Background(), parse(t, "ghcr.io/acme/app:v1"))
			e := s.Log()[0]
			if e.Path != tc.path || e.Header.Get("X-One") != "a" || len(e.Header.Values("X-Two")) != 2 {
				t.Errorf("got %s %v, want %s", e.Path, e.Header, tc.path)
			}
		})
	}
}

// Configured headers and a mirror's credentials stay with the mirror.
func TestHeadersStayWithTheirHost(t *testing.T) {
	t.Parallel()
	mirror, server, third := registrytest.New(t), registrytest.New(t), registrytest.New(t)
	third.PushImage(repo, "v1", nil)
	mirror.Fault(registrytest.Match{}, registrytest.InTurn(
		registrytest.Status(401, "", "WWW-Authenticate", `Basic realm="x"`), registrytest.Status(404, "")))
	server.Fault(registrytest.Match{}, registrytest.Redirect(307, third.URL()+"/v2/"+repo+"/manifests/v1"))
	dir := hosts(t, map[string]string{"ghcr.io": `server = "` + server.URL() + `"
		header = { X-Server = "server" }
		[host."` + mirror.URL() + `"]
		header = { X-Mirror = "mirror" }`})
	c := newClient(t, registry.Options{ConfigDir: dir, Keychain: keychain{
		mirror.Host(): {Username: "mirror", Password: "hunter2"},
		"ghcr.io":     {Username: "upstream", Password: "hunter2"},
	}})
	if _, err := c.Resolve(context.Background(), parse(t, "ghcr.io/"+repo+":v1")); err != nil {
		t.Fatal(err)
	}
	m, s, o := mirror.Log()[1], server.Log()[0], third.Log()[0]
	if want := "Basic " + basic("mirror", "hunter2"); m.Header.Get("Authorization") != want || m.Header.Get("X-Mirror") != "mirror" || m.Header.Get("X-Server") != "" {
		t.Errorf("mirror got %v", m.Header)
	}
	if s.Header.Get("Authorization") != "" || s.Header.Get("X-Mirror") != "" || s.Header.Get("X-Server") != "server" {
		t.Errorf("server got %v", s.Header)
	}
	if o.Header.Get("Authorization") != "" || o.Header.Get("X-Mirror") != "" || o.Header.Get("X-Server") != "" {
		t.Errorf("third host got %v", o.Header)
	}
}

func TestHostsErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"not TOML":            {`server = `, "toml"},
		"unknown key":         {`servers = "https://a"`, "servers"},
		"unknown host key":    {"[host.\"https://a\"]\nrewrite = \"x\"", "rewrite"},
		"unknown capability":  {"[host.\"https://a\"]\ncapabilities = [\"delete\"]", "delete"},
		"wrong type":          {"[host.\"https://a\"]\nskip_verify = \"yes\"", "bool"},
		"scheme":              {`server = "ftp://a"`, "scheme"},
		"user in URL":         {`server = "https://a:b@c"`, "URL"},
		"query in URL":        {`server = "https://a/?b"`, "URL"},
		"no host":             {`server = "https:///a"`, "URL"},
		"missing CA":          {"[host.\"https://a\"]\nca = \"nope.pem\"", "ca"},
		"CA of another type":  {"[host.\"https://a\"]\nca = 1", "ca"},
		"CA without any":      {"[host.\"https://a\"]\nca = \"hosts.toml\"", "no certificate"},
		"missing client":      {"[host.\"https://a\"]\nclient = [[\"c.pem\", \"k.pem\"]]", "client"},
		"client of another":   {"[host.\"https://a\"]\nclient = [[\"a\", \"b\", \"c\"]]", "client"},
		"dial timeout":        {"[host.\"https://a\"]\ndial_timeout = \"soon\"", "dial_timeout"},
		"negative timeout":    {"[host.\"https://a\"]\ndial_timeout = \"-1s\"", "dial_timeout"},
		"header type":         {"[host.\"https://a\".header]\nx = 1", "header"},
		"header name":         {"[host.\"https://a\".header]\n\"x y\" = \"1\"", "header"},
		"header value":        {"[host.\"https://a\".header]\nx = \"1\\n2\"", "header"},
		"header Host":         {"[host.\"https://a\".header]\nhost = \"b\"", "cannot be set"},
		"inline hosts":        {`host = { "https://a" = {} }`, "table of its own"},
		"path without server": {`override_path = true`, "server"},
		"empty address":       {"server = \"https://a\"\n[host.\"\"]\n", "no address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := registry.New(registry.Options{ConfigDir: hosts(t, map[string]string{"ghcr.io": tc.text})})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "ghcr.io") {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	t.Run("directory without a file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "ghcr.io"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := registry.New(registry.Options{ConfigDir: dir}); err == nil {
			t.Error("no error")
		}
		if _, err := registry.New(registry.Options{ConfigDir: filepath.Join(dir, "missing")}); err == nil {
			t.Error("no error for a missing directory")
		}
	})
}

// What is no host's directory is passed over: files, and the links that a mounted volume has.
func TestHostsIgnoresOtherEntries(t *testing.T) {
	t.Parallel()
	dir := hosts(t, map[string]string{"..data": "nonsense"})
	write(t, filepath.Join(dir, "README"), "nothing")
	if _, err := registry.New(registry.Options{ConfigDir: dir}); err != nil {
		t.Error(err)
	}
}

func basic(user, password string) string {
	c := authn.Basic{Username: user, Password: password}
	a, _ := c.Authorization()
	b, _ := a.MarshalJSON()
	_, rest, _ := strings.Cut(string(b), `"auth":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
