package report

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/reason"
)

func TestT017Text(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", textLimit)
	tests := map[string]struct{ in, want string }{
		"plain text stays":                    {`subject "a@b.c" differs: ü`, `subject "a@b.c" differs: ü`},
		"markup goes":                         {"<script>alert(1)</script> &lt;b&gt; `x`", "scriptalert(1)/script lt;bgt; x"},
		"line breaks are blanks":              {"a\nb\r\tc\u2028d", "a b  c d"},
		"control characters go":               {"a\x00b\x1b[31mc\x7fd\u0085", "ab[31mcd"},
		"bidirectional and zero-width ones":   {"a\u202eb\u2066c\u200bd\ufeff", "abcd"},
		"bytes that are no UTF-8 go":          {"a\xff\xc3b", "ab"},
		"at the limit nothing is cut":         {long, long},
		"one above it is cut":                 {long + "ä", strings.Repeat("ä", textLimit-1) + "…"},
		"the cut counts what is left":         {strings.Repeat("<", 5000) + "a", "a"},
		"a hostile length is cut to the same": {strings.Repeat("ä", 1<<20), strings.Repeat("ä", textLimit-1) + "…"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, text(tc.in)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

// VI 7.5(2): the cut leaves the reason code alone.
func TestNote(t *testing.T) {
	t.Parallel()
	suffix := " [Unsigned]"
	room := noteLimit - len(suffix)
	tests := map[string]struct {
		in   string
		code reason.Code
		want string
	}{
		"short":           {"Pod a/b: pass", reason.Unsigned, "Pod a/b: pass [Unsigned]"},
		"no code":         {"text", "", "text"},
		"at the limit":    {strings.Repeat("a", room), reason.Unsigned, strings.Repeat("a", room) + suffix},
		"one above":       {strings.Repeat("a", room+1), reason.Unsigned, strings.Repeat("a", room-3) + "…" + suffix},
		"between letters": {strings.Repeat("ä", room), reason.Unsigned, strings.Repeat("ä", (room-3)/2) + "…" + suffix},
		"forged code":     {"a\n[Verified]", reason.Unsigned, "a [Verified] [Unsigned]"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := note(tc.in, tc.code)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("note (-want +got):\n%s", diff)
			}
			if len(got) > noteLimit || !utf8.ValidString(got) {
				t.Errorf("%d bytes, valid UTF-8: %t", len(got), utf8.ValidString(got))
			}
		})
	}
}

func FuzzText(f *testing.F) {
	f.Add("a<b>\x00\u202e", "Unsigned")
	f.Fuzz(func(t *testing.T, s, code string) {
		got := text(s)
		if n := utf8.RuneCountInString(got); n > textLimit || !utf8.ValidString(got) || strings.ContainsAny(got, "<>&`\x00\n\r\x1b") {
			t.Errorf("%d characters of %q", n, got)
		}
		if n := note(s, reason.Unsigned); len(n) > noteLimit || !strings.HasSuffix(n, " [Unsigned]") {
			t.Errorf("note %q", n)
		}
	})
}
