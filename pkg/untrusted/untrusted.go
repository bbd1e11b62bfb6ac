// Package untrusted handles bytes that a stranger chose: what a registry, a signature or a certificate says.
package untrusted

import (
	"errors"
	"strings"
	"unicode"
)

// Text is s for people: no more than limit characters of it, and each that is not printable replaced by instead, so that
// whoever chose it cannot act on a terminal or a log, nor write a page.
func Text(s string, limit int, instead rune) string {
	n := 0
	return strings.Map(func(r rune) rune {
		n++
		switch {
		case n > limit:
			return -1
		case n == limit:
			return '…'
		case !unicode.IsPrint(r):
			return instead
		}
		return r
	}, s)
}

// ErrTooDeep is what CheckDepth returns.
var ErrTooDeep = errors.New("nested too deeply")

// CheckDepth counts the brackets of a JSON document outside of its texts, before a parser sees it. It returns ErrTooDeep for
// more than limit open at a time, and nothing for what is no JSON.
func CheckDepth(body []byte, limit int) error {
	depth, text := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{', c == '[':
			if depth++; depth > limit {
				return ErrTooDeep
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return nil
}
