// Package wildcard compiles the patterns of policies, in which "*" is any run of characters and "?" exactly one.
//
// Nothing else is special: brackets, braces and backslashes stand for themselves.
package wildcard

import (
	"fmt"
	"strings"

	"github.com/gobwas/glob"
)

// Pattern is a compiled pattern. It compares the whole text and is case-sensitive.
type Pattern struct {
	text string
	glob *glob.Pattern // nil when the text holds no wildcard
}

// Compile compiles s.
func Compile(s string) (Pattern, error) {
	if !strings.ContainsAny(s, "*?") {
		return Pattern{text: s}, nil
	}
	var b strings.Builder
	rest := s
	for {
		i := strings.IndexAny(rest, "*?")
		if i < 0 {
			break
		}
		b.WriteString(glob.QuoteMeta(rest[:i]))
		// A second star adds nothing but backtracking.
		if rest[i] == '?' || i > 0 || !endsInStar(&b) {
			b.WriteByte(rest[i])
		}
		rest = rest[i+1:]
	}
	b.WriteString(glob.QuoteMeta(rest))
	g, err := glob.Compile(b.String())
	if err != nil {
		return Pattern{}, fmt.Errorf("not a usable pattern: %w", err)
	}
	return Pattern{text: s, glob: g}, nil
}

// endsInStar tells whether the pattern written so far ends in a star of its own.
func endsInStar(b *strings.Builder) bool {
	s := b.String()
	return strings.HasSuffix(s, "*") && !strings.HasSuffix(s, `\*`)
}

// Matches tells whether the pattern matches all of s.
func (p Pattern) Matches(s string) bool {
	if p.glob == nil {
		return p.text == s
	}
	return p.text == "*" || p.glob.Match(s)
}

// Literal returns the text that the pattern is when it holds no wildcard.
func (p Pattern) Literal() (string, bool) { return p.text, p.glob == nil }

// String is the pattern as written.
func (p Pattern) String() string { return p.text }

// Any tells whether one of the patterns matches s.
func Any(patterns []Pattern, s string) bool {
	for i := range patterns {
		if patterns[i].Matches(s) {
			return true
		}
	}
	return false
}
