package image_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
)

func pattern(t *testing.T, s string) image.Pattern {
	t.Helper()
	p, err := image.CompilePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// VI 5(2), 4.4(6), A-01 to.
func TestA10PatternMatches(t *testing.T) {
	t.Parallel()
	for pat, c := range map[string]struct{ yes, not []string }{
		"nginx:*":                   {nil, []string{"nginx", "docker.io/nginx:1"}},
		"nginx*":                    {nil, []string{"nginx"}},
		"docker.io/nginx:*":         {[]string{"nginx", "docker.io/nginx", "docker.io/library/nginx:1", "library/nginx", "index.docker.io/nginx", "index.docker.io/library/nginx", "registry-1.docker.io/library/nginx:1"}, []string{"docker.io/a/nginx", "nginx@" + digestA}},
		"docker.io/library/nginx:*": {[]string{"nginx", "docker.io/nginx", "library/nginx", "INDEX.docker.io/nginx:2", "docker.io:443/nginx"}, []string{"docker.io/library/a/nginx"}},
		"docker.io/library/nginx*":  {[]string{"nginx", "nginx@" + digestA, "nginx-evil"}, []string{"xnginx"}},
		"index.docker.io/nginx:*":   {[]string{"index.docker.io/nginx:1", "index.docker.io/library/nginx"}, []string{"nginx"}},
		"ghcr.io/a/b:*":             {[]string{"ghcr.io/a/b:v1", "GHCR.IO/a/b:1", "ghcr.io:443/a/b:1", "ghcr.io:80/a/b:1", "ghcr.io:0443/a/b:1", "GHCR.io:00080/a/b:1", "ghcr.io/a/b:v1@" + digestA, "ghcr.io/a/b"}, []string{"ghcr.io:04430/a/b:1", "ghcr.io/a/b@" + digestA, "ghcr.io:8443/a/b:1", "ghcr.io/a/b-evil:1", "xghcr.io/a/b:1"}},
		"ghcr.io/a/b@*":             {[]string{"ghcr.io/a/b@" + digestA, "ghcr.io/a/b:v1@" + digestA}, []string{"ghcr.io/a/b:v1"}},
		"ghcr.io/a/b*":              {[]string{"ghcr.io/a/b@" + digestA, "ghcr.io/a/b:1", "ghcr.io/a/b-evil:1", "ghcr.io/a/b/c:1"}, []string{"ghcr.io/a/c:1"}},
		"ghcr.io/a/b":               {nil, []string{"ghcr.io/a/b", "ghcr.io/a/b:1"}},
		"ghcr.io/a/b:prod-*":        {[]string{"ghcr.io/a/b:prod-1", "ghcr.io/a/b:prod-1@" + digestA}, []string{"ghcr.io/a/b:dev@" + digestA}},
		"GHCR.IO:443/a/*":           {[]string{"ghcr.io/a/b:1", "GhCr.Io/a/b"}, []string{"ghcr.io/A"[:7] + "/x"}},
		"ghcr.io:80/a/*":            {[]string{"ghcr.io:80/a/b"}, []string{"ghcr.io/a/b"}},
		"ghcr.io/org*":              {[]string{"ghcr.io/org-evil/x", "ghcr.io/org/x"}, []string{"ghcr.io/other/x"}},
		"*":                         {[]string{"nginx", "ghcr.io/a/b@" + digestA, "localhost:5000/x"}, nil},
		"*/x:?":                     {[]string{"ghcr.io/a/x:1", "x:1"}, []string{"ghcr.io/a/x:10"}},
		"[::1]:5000/x:*":            {[]string{"[::1]:5000/x", "[::1]:05000/x"}, []string{"[::2]:5000/x"}},
		"ghcr.io/{a,b}/*":           {nil, []string{"ghcr.io/a/x"}},
		"foo/bar:*":                 {nil, []string{"foo/bar:1"}},
		"Foo/bar:*":                 {[]string{"Foo/bar:1"}, []string{"docker.io/foo/bar:1"}},
		"ghcr.io/a/b:V*":            {nil, []string{"ghcr.io/a/b:v1"}},
	} {
		t.Run(pat, func(t *testing.T) {
			t.Parallel()
			p := pattern(t, pat)
			for _, s := range c.yes {
				if !p.Matches(parse(t, s).Forms()) {
					t.Errorf("does not match %s", s)
				}
			}
			for _, s := range c.not {
				if p.Matches(parse(t, s).Forms()) {
					t.Errorf("matches %s", s)
				}
			}
			if p.String() != pat {
				t.Errorf("shown as %s", p)
			}
		})
	}
}

// VI 5(3), 4.4(7): one form, the shown one.
func TestA10PatternSkips(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pattern, image string
		want           bool
	}{
		"tag":                     {"ghcr.io/a/b:v1", "ghcr.io/a/b:v1", true},
		"host case":               {"ghcr.io/a/*", "GHCR.IO/a/b:v1", true},
		"port 443":                {"ghcr.io/a/*", "ghcr.io:443/a/b:v1", true},
		"port 443 with a zero":    {"ghcr.io/a/*", "ghcr.io:0443/a/b:v1", false},
		"port 80":                 {"ghcr.io/a/*", "ghcr.io:80/a/b:v1", false},
		"tag of a digest":         {"ghcr.io/a/b:v1", "ghcr.io/a/b:v1@" + digestA, false},
		"any tag of a digest":     {"ghcr.io/a/b:*", "ghcr.io/a/b:1@" + digestA, false},
		"digest":                  {"ghcr.io/a/b@*", "ghcr.io/a/b:1@" + digestA, true},
		"no library":              {"docker.io/library/nginx:*", "nginx", false},
		"short":                   {"docker.io/nginx:*", "nginx", true},
		"index.docker.io":         {"docker.io/nginx:*", "index.docker.io/nginx", false},
		"library not taken away":  {"docker.io/nginx:*", "docker.io/library/nginx", false},
		"pattern with the port":   {"ghcr.io:443/a/*", "ghcr.io/a/b:1", true},
		"pattern with upper case": {"GHCR.IO/a/*", "ghcr.io/a/b:1", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := pattern(t, c.pattern).Skips(parse(t, c.image).Forms()); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}

// every spelling of one image is one image for a pattern in any of its full spellings.
func TestA01A84Spellings(t *testing.T) {
	t.Parallel()
	spellings := []string{"nginx", "library/nginx", "docker.io/nginx", "docker.io/library/nginx", "index.docker.io/library/nginx", "registry-1.docker.io/library/nginx", "DOCKER.IO/nginx", "docker.io:443/library/nginx", "registry-1.docker.io:443/nginx", "docker.io:0443/nginx"}
	for _, pat := range []string{"docker.io/nginx:*", "docker.io/library/nginx:*", "docker.io/nginx:latest", "DOCKER.IO:443/library/nginx:*"} {
		for _, s := range spellings {
			if !pattern(t, pat).Matches(parse(t, s).Forms()) {
				t.Errorf("%s does not match %s", pat, s)
			}
		}
	}
}

func TestCompilePatternErrors(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "a\nb", "a\x00", "\t", "a\u0085"} {
		if _, err := image.CompilePattern(s); err == nil {
			t.Errorf("%q compiles", s)
		}
	}
}

// Patterns are pure texts: neither compiling nor matching panics, and a star matches every image.
func FuzzPattern(f *testing.F) {
	f.Add("ghcr.io:443/a*?/[b]:*", "ghcr.io/a/b:1")
	f.Fuzz(func(t *testing.T, pat, ref string) {
		p, err := image.CompilePattern(pat)
		if err != nil {
			return
		}
		r, err := image.Parse(ref, image.Options{})
		if err != nil {
			return
		}
		forms := r.Forms()
		got := p.Matches(forms)
		if strings.Trim(pat, "*") == "" && !got {
			t.Errorf("%q does not match %q", pat, ref)
		}
		if !strings.ContainsAny(pat, "*?") && got && !slices.Contains([]string{strings.ToLower(pat)}, strings.ToLower(p.String())) {
			t.Errorf("%q matches %q", pat, ref)
		}
	})
}
