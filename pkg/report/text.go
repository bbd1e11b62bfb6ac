package report

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/signet-policy/signet/pkg/reason"
)

const (
	// textLimit is the largest number of characters of one text in a report.
	textLimit = 1024
	// noteLimit is the API server's limit on an event's note, in bytes.
	noteLimit = 1024
	// ellipsis ends a text that was cut.
	ellipsis = "…"
)

// clean makes text from outside fit for dashboards and terminals: blanks for line breaks and tabs, and no control,
// formatting (bidirectional overrides, zero-width characters), unprintable or markup characters.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n', c == '\r', c == '\t', c == '\v', c == '\f', c == '\u2028', c == '\u2029':
			return ' '
		case c == '<', c == '>', c == '&', c == '`', c == utf8.RuneError, !unicode.IsPrint(c) && c != '\u00a0':
			return -1
		default:
			return c
		}
	}, s)
}

// text is a cleaned text of at most textLimit characters.
func text(s string) string {
	s = clean(s)
	if len(s) <= textLimit || utf8.RuneCountInString(s) <= textLimit {
		return s
	}
	n := 0
	for i := range s {
		if n == textLimit-1 {
			return s[:i] + ellipsis
		}
		n++
	}
	return s
}

// note is an event's note: the text, cut, with the reason code behind it, which the cut does not touch.
func note(s string, code reason.Code) string {
	suffix := ""
	if code != "" {
		suffix = " [" + string(code) + "]"
	}
	s = clean(s)
	if room := noteLimit - len(suffix); len(s) > room {
		end := room - len(ellipsis)
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + ellipsis
	}
	return s + suffix
}
