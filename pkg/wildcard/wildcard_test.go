package wildcard_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/signet-policy/signet/pkg/wildcard"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pattern  string
		yes, not []string
	}{
		"literal":             {"nginx", []string{"nginx"}, []string{"", "Nginx", "nginx2", "xnginx"}},
		"empty":               {"", []string{""}, []string{"a"}},
		"star":                {"*", []string{"", "a", "a/b:c@d", "a\nb"}, nil},
		"stars":               {"**a***b**", []string{"ab", "xaybz"}, []string{"ba", "a"}},
		"star crosses all":    {"ghcr.io/*", []string{"ghcr.io/a/b:1", "ghcr.io/"}, []string{"ghcr.io", "xghcr.io/a"}},
		"question is one":     {"a?c", []string{"abc", "a/c", "aéc"}, []string{"ac", "abbc"}},
		"question then star":  {"?*", []string{"a", "ab"}, []string{""}},
		"star then question":  {"*?", []string{"a", "ab"}, []string{""}},
		"brackets":            {"[ab]*", []string{"[ab]", "[ab]x"}, []string{"a", "b", "ax"}},
		"braces":              {"{a,b}*", []string{"{a,b}"}, []string{"a", "b"}},
		"backslash":           {`a\*`, []string{`a\`, `a\x`}, []string{"a*", "a"}},
		"backslash and stars": {`\**`, []string{`\`, `\x`}, []string{"*", ""}},
		"caret and bang":      {"[!a]?^", []string{"[!a]x^"}, []string{"bx^"}},
		"repeated middle":     {"*a*b*a*", []string{"aba", "xaxbxax", "aabbaa"}, []string{"ab", "bba"}},
		"suffix overlap":      {"ab*ba", []string{"abba", "abxba"}, []string{"aba", "ab"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := wildcard.Compile(c.pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.yes {
				if !p.Matches(s) {
					t.Errorf("%q does not match %q", c.pattern, s)
				}
			}
			for _, s := range c.not {
				if p.Matches(s) {
					t.Errorf("%q matches %q", c.pattern, s)
				}
			}
			if p.String() != c.pattern {
				t.Errorf("String: %q", p.String())
			}
			_, literal := p.Literal()
			if literal == strings.ContainsAny(c.pattern, "*?") {
				t.Errorf("literal: %v", literal)
			}
			if !wildcard.Any([]wildcard.Pattern{{}, p}, c.yes[0]) {
				t.Error("Any does not find the second one")
			}
		})
	}
	if wildcard.Any(nil, "a") {
		t.Error("no pattern matches something")
	}
}

// A pattern of many stars ends soon on a text that it almost matches.
func TestManyStars(t *testing.T) {
	t.Parallel()
	p, err := wildcard.Compile(strings.Repeat("*a", 100) + "b")
	if err != nil {
		t.Fatal(err)
	}
	if p.Matches(strings.Repeat("a", 4096)) {
		t.Error("matches without b")
	}
}

// plain is the meaning of a pattern, written as simply as possible: which prefixes of the text the pattern so far
// matches.
func plain(pattern, text string) bool {
	runes := []rune(text)
	at := make([]bool, len(runes)+1)
	at[0] = true
	for _, c := range pattern {
		next := make([]bool, len(runes)+1)
		for i := range at {
			switch {
			case c == '*':
				next[i] = at[i] || i > 0 && next[i-1]
			case i > 0 && at[i-1]:
				next[i] = c == '?' || c == runes[i-1]
			}
		}
		at = next
	}
	return at[len(runes)]
}

func FuzzMatches(f *testing.F) {
	for _, s := range [][2]string{{"*a?b*", "xaybz"}, {`[*]\?`, `[x]\y`}, {"a**b", "ab"}, {"{a,?}", "{a,x}"}, {"é?*", "éa"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 64 || len(text) > 256 || !utf8.ValidString(pattern) || !utf8.ValidString(text) {
			return
		}
		p, err := wildcard.Compile(pattern)
		if err != nil {
			t.Fatalf("%q: %v", pattern, err)
		}
		if got, want := p.Matches(text), plain(pattern, text); got != want {
			t.Errorf("%q on %q: %v, want %v", pattern, text, got, want)
		}
	})
}

// Every pattern and text over a small alphabet, against the plain meaning.
func TestExhaustive(t *testing.T) {
	t.Parallel()
	words := func(alphabet string, most int) []string {
		all := []string{""}
		for i := 0; len([]rune(all[i])) < most; i++ {
			for _, c := range alphabet {
				all = append(all, all[i]+string(c))
			}
		}
		return all
	}
	texts := words("ab[", 5)
	for _, pattern := range words("ab*?[", 5) {
		p, err := wildcard.Compile(pattern)
		if err != nil {
			t.Fatalf("%q: %v", pattern, err)
		}
		for _, text := range texts {
			if got, want := p.Matches(text), plain(pattern, text); got != want {
				t.Fatalf("%q on %q: %v, want %v", pattern, text, got, want)
			}
		}
	}
}
