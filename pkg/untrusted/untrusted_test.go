package untrusted_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/untrusted"
)

func TestText(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ in, want string }{
		"printable":         {"signed by ünïcode", "signed by ünïcode"},
		"short of the end":  {strings.Repeat("a", 19), strings.Repeat("a", 19)},
		"longer":            {strings.Repeat("ä", 40), strings.Repeat("ä", 19) + "…"},
		"escape sequences":  {"a\x1b[2Jb", "a?[2Jb"},
		"direction and nul": {"a\u202eb\x00c", "a?b?c"},
		"line breaks":       {"a\nb\r\nc", "a?b??c"},
		"no UTF-8":          {"a\xffb", "a\ufffdb"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := untrusted.Text(tt.in, 20, '?'); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheckDepth(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in   string
		deep bool
	}{
		"at the limit":           {`[[{"a":[1]}],[[[]]]]`, false},
		"one above":              {`[[{"a":[[1]]}]]`, true},
		"brackets in texts":      {`"[[[[[[[["`, false},
		"an escaped quote":       {`"\"[[[[[[[["`, false},
		"an escaped backslash":   {`["\\",[[[[1]]]]]`, true},
		"wide, and never deep":   {strings.Repeat("[],", 1000), false},
		"no JSON":                {`}}]]{{`, false},
		"ends within an escape":  {`"\`, false},
		"nothing":                {``, false},
		"never closed, hostile":  {strings.Repeat("[", 1<<20), true},
		"closed before it opens": {`]]]][[[[`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := untrusted.CheckDepth([]byte(tt.in), 4); errors.Is(err, untrusted.ErrTooDeep) != tt.deep {
				t.Errorf("got %v", err)
			}
		})
	}
}
