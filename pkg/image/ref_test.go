package image_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/image"
)

const (
	hexA    = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestA = "sha256:" + hexA
)

func parse(t *testing.T, s string) image.Ref {
	t.Helper()
	r, err := image.Parse(s, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// VI 4.4: the table of normalisation, and what stands around it.
func TestParse(t *testing.T) {
	t.Parallel()
	type parts struct{ Shown, Registry, Path, Name, Tag, Digest, WithTag string }
	for name, c := range map[string]struct {
		in   string
		opts image.Options
		want parts
	}{
		"short":                {"nginx", image.Options{}, parts{"docker.io/nginx:latest", "docker.io", "nginx", "nginx", "latest", "", "docker.io/nginx:latest"}},
		"library":              {"docker.io/library/nginx", image.Options{}, parts{"docker.io/library/nginx:latest", "docker.io", "library/nginx", "nginx", "latest", "", "docker.io/library/nginx:latest"}},
		"two segments":         {"foo/bar:1", image.Options{}, parts{"docker.io/foo/bar:1", "docker.io", "foo/bar", "bar", "1", "", "docker.io/foo/bar:1"}},
		"port":                 {"localhost:5000/a/b", image.Options{}, parts{"localhost:5000/a/b:latest", "localhost:5000", "a/b", "b", "latest", "", "localhost:5000/a/b:latest"}},
		"tag and digest":       {"ghcr.io/k/z:v1@" + digestA, image.Options{}, parts{"ghcr.io/k/z@" + digestA, "ghcr.io", "k/z", "z", "v1", digestA, "ghcr.io/k/z:v1"}},
		"digest":               {"ghcr.io/k/z@" + digestA, image.Options{}, parts{"ghcr.io/k/z@" + digestA, "ghcr.io", "k/z", "z", "", digestA, "ghcr.io/k/z:"}},
		"upper case host":      {"Foo/bar", image.Options{}, parts{"Foo/bar:latest", "Foo", "bar", "bar", "latest", "", "Foo/bar:latest"}},
		"host as written":      {"GHCR.IO/a/b:1", image.Options{}, parts{"GHCR.IO/a/b:1", "GHCR.IO", "a/b", "b", "1", "", "GHCR.IO/a/b:1"}},
		"A-07 localhost":       {"localhost/x", image.Options{}, parts{"localhost/x:latest", "localhost", "x", "x", "latest", "", "localhost/x:latest"}},
		"A-07 like a host":     {"foo.bar/baz", image.Options{}, parts{"foo.bar/baz:latest", "foo.bar", "baz", "baz", "latest", "", "foo.bar/baz:latest"}},
		"A-07 no host":         {"foo/baz", image.Options{}, parts{"docker.io/foo/baz:latest", "docker.io", "foo/baz", "baz", "latest", "", "docker.io/foo/baz:latest"}},
		"A-07 hex name":        {hexA, image.Options{}, parts{"docker.io/" + hexA + ":latest", "docker.io", hexA, hexA, "latest", "", "docker.io/" + hexA + ":latest"}},
		"A-07 digest-like tag": {digestA, image.Options{}, parts{"docker.io/" + digestA, "docker.io", "sha256", "sha256", hexA, "", "docker.io/" + digestA}},
		"ipv6":                 {"[::1]:5000/x:1", image.Options{}, parts{"[::1]:5000/x:1", "[::1]:5000", "x", "x", "1", "", "[::1]:5000/x:1"}},
		"punycode":             {"xn--ghr-x5d.io/x:1", image.Options{}, parts{"xn--ghr-x5d.io/x:1", "xn--ghr-x5d.io", "x", "x", "1", "", "xn--ghr-x5d.io/x:1"}},
		"longest tag":          {"a/b:" + strings.Repeat("t", 128), image.Options{}, parts{"docker.io/a/b:" + strings.Repeat("t", 128), "docker.io", "a/b", "b", strings.Repeat("t", 128), "", "docker.io/a/b:" + strings.Repeat("t", 128)}},

		"other default":           {"a/b", image.Options{DefaultRegistry: "r.test"}, parts{"r.test/a/b:latest", "r.test", "a/b", "b", "latest", "", "r.test/a/b:latest"}},
		"keep short":              {"nginx", image.Options{KeepShort: true}, parts{"nginx:latest", "", "nginx", "nginx", "latest", "", "nginx:latest"}},
		"keep short, host":        {"r.test/nginx", image.Options{KeepShort: true}, parts{"r.test/nginx:latest", "r.test", "nginx", "nginx", "latest", "", "r.test/nginx:latest"}},
		"keep short, two":         {"a/b:1", image.Options{KeepShort: true}, parts{"a/b:1", "", "a/b", "b", "1", "", "a/b:1"}},
		"A-07 underscore host":    {"my_host/a/b:1", image.Options{KeepShort: true}, parts{"my_host/a/b:1", "my_host", "a/b", "b", "1", "", "my_host/a/b:1"}},
		"A-07 underscore and hub": {"my_host/a:1", image.Options{}, parts{"docker.io/my_host/a:1", "docker.io", "my_host/a", "a", "1", "", "docker.io/my_host/a:1"}},
		"another algorithm":       {"a/b:1@sha512:" + hexA + hexA, image.Options{}, parts{"docker.io/a/b@sha512:" + hexA + hexA, "docker.io", "a/b", "b", "1", "sha512:" + hexA + hexA, "docker.io/a/b:1"}},
		"unknown algorithm":       {"a/b@md5:" + hexA[:32], image.Options{}, parts{"docker.io/a/b@md5:" + hexA[:32], "docker.io", "a/b", "b", "", "md5:" + hexA[:32], "docker.io/a/b:"}},
		"63 digits":               {"a/b:1@" + digestA[:len(digestA)-1], image.Options{}, parts{"docker.io/a/b@" + digestA[:len(digestA)-1], "docker.io", "a/b", "b", "1", digestA[:len(digestA)-1], "docker.io/a/b:1"}},
		"upper-case hex":          {"a/b:1@sha256:" + strings.ToUpper(hexA), image.Options{}, parts{"docker.io/a/b@sha256:" + strings.ToUpper(hexA), "docker.io", "a/b", "b", "1", "sha256:" + strings.ToUpper(hexA), "docker.io/a/b:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := image.Parse(c.in, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			got := parts{r.String(), r.Registry(), r.Path(), r.Name(), r.Tag(), r.RawDigest(), r.WithTag()}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if r.IsZero() {
				t.Error("zero")
			}
		})
	}
}

// what the grammar does not know is an error, never an image that nobody judges.
func TestA05A06A08ParseErrors(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"empty": "", "upper case": "UPPER", "blank": " ", "blank inside": "a b", "leading blank": " nginx", "newline": "nginx\n",
		"tab": "nginx\t", "nul": "nginx\x00", "user": "user@host/img", "scheme": "https://host/img", "percent": "a/b%2fc",
		"dots": "a/../b", "two slashes": "a//b", "backslash": `a\b`, "trailing dot host": "ghcr.io./a/b", "host alone": "ghcr.io/",
		"cyrillic": "ghсr.io/a/b", "full width": "ｇhcr.io/a/b", "no tag": "a/b:", "no digest": "a/b@", "digest alone": "@" + digestA,
		"two digests": "a@" + digestA + "@" + digestA, "long tag": "a/b:" + strings.Repeat("t", 129), "long name": strings.Repeat("n", 256),
		"4 KiB": strings.Repeat("a/", 2049), "upper case path": "ghcr.io/A/b", "short digest": "a@sha256:abc", "dash": "a/-b", "bad port": "h.io:x/y",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := image.Parse(in, image.Options{})
			if err == nil {
				t.Fatalf("%q is read as %s", in, r)
			}
			if !strings.HasPrefix(err.Error(), "bad image: ") || len(err.Error()) > 512 {
				t.Errorf("error: %v", err)
			}
		})
	}
}

// A-12, VI 6.3(2): only sha256 pins an image.
func TestA12Pinned(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in      string
		ok, bad bool
	}{
		"tag": {"a/b:1", false, false}, "digest": {"a/b@" + digestA, true, false}, "tag and digest": {"a/b:1@" + digestA, true, false},
		"sha512":     {"a/b@sha512:" + hexA + hexA, true, true},
		"upper case": {"a/b@sha256:" + strings.ToUpper(hexA), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, ok, err := parse(t, c.in).Pinned()
			if ok != c.ok || (err != nil) != c.bad {
				t.Fatalf("%v, %v", ok, err)
			}
			if ok && err == nil && (p.Digest() != digestA || p.String() != "docker.io/a/b@"+digestA) {
				t.Errorf("%s", p)
			}
		})
	}
}

// VI 6.3(6): what is written into objects.
func TestPatched(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nginx":                     "docker.io/nginx:latest@" + digestA,
		"ghcr.io/k/z:v1":            "ghcr.io/k/z:v1@" + digestA,
		"ghcr.io/k/z@" + digestA:    "ghcr.io/k/z@" + digestA,
		"GHCR.IO:443/k/z:v1":        "GHCR.IO:443/k/z:v1@" + digestA,
		"ghcr.io/k/z:v1@" + digestA: "ghcr.io/k/z@" + digestA,
	} {
		p := parse(t, in).Pin(digestA)
		if got := p.Patched(); got != want {
			t.Errorf("%s: %s", in, got)
		}
		if p.Ref() != parse(t, in) || p.Repository() != p.Ref().Repository() {
			t.Errorf("%s: %v", in, p.Ref())
		}
	}
}

func TestDigests(t *testing.T) {
	t.Parallel()
	d := image.DigestOf([]byte("x"))
	again, err := image.ParseDigest(d.String())
	if err != nil || again != d || len(d.Hex()) != 64 {
		t.Errorf("%s, %v", again, err)
	}
	for _, s := range []string{"", hexA, "sha256:", "sha256:" + hexA[1:], "sha256:" + hexA + "a", "SHA256:" + hexA, "sha256:" + strings.ToUpper(hexA), "sha512:" + hexA, " " + digestA} {
		if d, err := image.ParseDigest(s); err == nil {
			t.Errorf("%q is read as %s", s, d)
		}
	}
}

// No reference panics, and what parses parses again in its shown form, to the same forms for patterns.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"nginx", "a/b:1@" + digestA, "[::1]:5000/x", "my_host/a", "a@md5:" + hexA, "Foo/bar"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, opts := range []image.Options{{}, {KeepShort: true}} {
			r, err := image.Parse(s, opts)
			if err != nil {
				continue
			}
			r.Forms()
			if opts.KeepShort || r.Registry() == "" {
				continue
			}
			again, err := image.Parse(r.String(), opts)
			if err != nil || again.String() != r.String() {
				t.Errorf("%q is shown as %q, which is read as %q, %v", s, r, again, err)
			}
		}
	})
}

// A parser remembers references and not errors, and knows its own options.
func TestParser(t *testing.T) {
	t.Parallel()
	p, short := image.NewParser(image.Options{}), image.NewParser(image.Options{KeepShort: true})
	for range 2 {
		n, err := p.Parse("nginx")
		if err != nil || n.Ref != parse(t, "nginx") || !pattern(t, "docker.io/library/nginx:*").Matches(n.Forms) {
			t.Errorf("%+v, %v", n, err)
		}
		if n, err := short.Parse("nginx"); err != nil || n.Ref.String() != "nginx:latest" {
			t.Errorf("%+v, %v", n, err)
		}
		if n, err := p.Parse("UPPER"); err == nil {
			t.Errorf("%+v", n)
		}
	}
}
