package image

import (
	"errors"
	"strings"
	"unicode"

	"github.com/signet-policy/signet/pkg/wildcard"
)

// Pattern is a compiled imageReferences or skipImageReferences pattern: "*" is any run of characters, "/" and ":"
// included, "?" is exactly one; nothing else is special.
type Pattern struct {
	text string
	host string // the registry that the pattern is about; empty when it may be any
	glob wildcard.Pattern
}

// CompilePattern compiles a pattern. An empty one and one with control characters are errors.
func CompilePattern(s string) (Pattern, error) {
	if s == "" {
		return Pattern{}, errors.New("must not be empty")
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return Pattern{}, errors.New("must not hold control characters")
	}
	text, only := s, ""
	if host, rest, ok := strings.Cut(s, "/"); ok {
		host = strings.TrimSuffix(strings.ToLower(host), ":443")
		text = host + "/" + rest
		if !strings.ContainsAny(host, "*?") {
			only = host
		}
	}
	g, err := wildcard.Compile(text)
	if err != nil {
		return Pattern{}, err
	}
	return Pattern{text: s, host: only, glob: g}, nil
}

// String is the pattern as written.
func (p Pattern) String() string { return p.text }

// Host is the one registry whose images the pattern can match, ok is false when there are several. It serves to leave
// out early what cannot match; Matches decides.
func (p Pattern) Host() (host string, ok bool) { return p.host, p.host != "" }

// Matches tells whether the pattern matches one of the reference's match forms.
func (p Pattern) Matches(f *Forms) bool {
	for _, m := range f.match {
		if p.glob.Matches(m) {
			return true
		}
	}
	return false
}

// Skips tells whether the pattern, read as a skipImageReferences one, matches the reference's skip form.
func (p Pattern) Skips(f *Forms) bool { return p.glob.Matches(f.skip) }

// Forms are the spellings of one reference that patterns are compared with.
type Forms struct {
	match []string
	skip  string
	hosts []string
}

// Hosts are the spellings of the reference's registry; nil when it has none, so that the path may be taken for one.
func (f *Forms) Hosts() []string { return f.hosts }

// Forms works out the spellings of r: every combination of its host (lower-case, with and without a default port, the
// names of Docker Hub), its path (with and without "library/" there) and its suffix.
func (r Ref) Forms() *Forms {
	host := strings.ToLower(r.registry)
	f := &Forms{}
	hosts := hostForms(host)
	if host != "" {
		f.hosts = hosts
	}
	paths := pathForms(host, r.path)
	suffixes := suffixForms(r)
	f.match = make([]string, 0, len(hosts)*len(paths)*len(suffixes))
	for _, h := range hosts {
		for _, p := range paths {
			for _, s := range suffixes {
				f.match = append(f.match, join(h, p)+s)
			}
		}
	}
	skip := r
	skip.registry = strings.TrimSuffix(host, ":443")
	f.skip = skip.String()
	return f
}

// dockerHub tells whether a lower-case host without port is one of Docker Hub's names.
func dockerHub(host string) bool {
	return host == DefaultRegistry || host == "index.docker.io" || host == "registry-1.docker.io"
}

func hostForms(host string) []string {
	bare := plainPort(host)
	for _, port := range []string{":443", ":80"} {
		bare = strings.TrimSuffix(bare, port)
	}
	forms := []string{host}
	if bare != host {
		forms = append(forms, bare)
	}
	if dockerHub(bare) && bare != DefaultRegistry {
		forms = append(forms, DefaultRegistry)
	}
	return forms
}

// plainPort is a host without the zeros before the number of its port, which lead to the same place.
func plainPort(host string) string {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || !strings.HasPrefix(host[i:], ":0") || strings.Trim(host[i+1:], "0123456789") != "" {
		return host
	}
	return host[:i+1] + strings.TrimLeft(host[i+1:], "0")
}

func pathForms(host, path string) []string {
	bare := strings.TrimSuffix(strings.TrimSuffix(plainPort(host), ":443"), ":80")
	if !dockerHub(bare) {
		return []string{path}
	}
	if rest, ok := strings.CutPrefix(path, "library/"); ok && !strings.Contains(rest, "/") {
		return []string{path, rest}
	}
	if !strings.Contains(path, "/") {
		return []string{path, "library/" + path}
	}
	return []string{path}
}

func suffixForms(r Ref) []string {
	switch {
	case r.digest == "":
		return []string{":" + r.tag}
	case r.tag == "":
		return []string{"@" + r.digest}
	default:
		return []string{":" + r.tag, "@" + r.digest, ":" + r.tag + "@" + r.digest}
	}
}
