package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/signet-policy/signet/pkg/untrusted"
)

// longest is how much of one text is printed, in characters.
const longest = 2000

// clean makes one line that is safe for a terminal of a text that a stranger may have chosen: control characters, line
// breaks and what changes the direction of writing become U+FFFD.
func clean(s string) string { return untrusted.Text(s, longest, unicode.ReplacementChar) }

// oneLine makes one line of a text that has several of our own.
func oneLine(s string) string { return clean(strings.ReplaceAll(s, "\n", " ")) }

// cleanLines keeps line breaks, for texts whose lines are our own.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// page collects lines of a label and a value. Everything that comes in is cleaned.
type page struct{ strings.Builder }

const labelWidth = 14

// row writes a label and a value.
func (p *page) row(indent int, label, value string) {
	text := fmt.Sprintf("%*s%-*s%s", indent, "", labelWidth-indent, label, clean(value))
	p.WriteString(strings.TrimRight(text, " ") + "\n")
}

// lines writes a label and a value whose line breaks are our own: its further lines stand below its first.
func (p *page) lines(indent int, label, value string) {
	for _, line := range strings.Split(value, "\n") {
		p.row(indent, label, strings.TrimSpace(line))
		label = ""
	}
}

// optional writes a row unless the value is empty.
func (p *page) optional(indent int, label, value string) {
	if value != "" {
		p.row(indent, label, value)
	}
}

func (p *page) title(format string, args ...any) {
	p.WriteString("\n" + clean(fmt.Sprintf(format, args...)) + "\n")
}

func (r *Report) text() string {
	p := &page{}
	p.row(0, "image", r.Image)
	p.optional(0, "digest", r.Digest)
	p.optional(0, "verdict", r.Verdict)
	p.optional(0, "problem", r.Problem)
	for i := range r.Rules {
		r.Rules[i].text(p)
	}
	if r.explain {
		r.explanation(p)
	}
	return p.String()
}

func (r *Rule) text(p *page) {
	p.title("%s/%s", r.Policy, r.Rule)
	p.row(2, "status", r.Status+" ("+r.Action+")")
	p.row(2, "reason", r.Reason)
	p.lines(2, "message", r.Message)
	for _, s := range r.Signers {
		p.row(2, "signer", who(s.KeyHint, s.Identities, s.Issuer))
		p.row(2, "accepted by", s.Attestor)
		p.row(2, "found at", s.Place)
		if s.LoggedAt != nil {
			p.row(2, "logged", fmt.Sprintf("%s, index %d", stamp(*s.LoggedAt), *s.LogIndex))
		}
	}
}

func who(hint string, identities []string, issuer string) string {
	text := strings.Join(identities, ", ")
	switch {
	case text == "" && hint != "":
		return "key " + hint
	case text == "":
		text = "without a name"
	}
	if issuer != "" {
		text += ", issuer " + issuer
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (r *Report) explanation(p *page) {
	p.title("requests")
	for _, q := range r.Requests {
		status := "---"
		if q.Status != 0 {
			status = fmt.Sprint(q.Status)
		}
		p.WriteString(clean(fmt.Sprintf("  %s  %-16s %s", status, q.For, q.URL)) + "\n")
	}
	if len(r.Credentials) > 0 {
		p.title("credentials")
	}
	for _, c := range r.Credentials {
		c.text(p)
	}
	for i := range r.Places {
		r.Places[i].text(p)
	}
}

func (l *Place) text(p *page) {
	p.title("%s: %s", l.Repository, count(len(l.Candidates)))
	for _, problem := range l.Problems {
		p.row(2, "not read", problem.Reason+": "+problem.Message)
	}
	if l.Truncated {
		p.row(2, "limit", "more is attached to the image than is looked at")
	}
	for i := range l.Candidates {
		l.Candidates[i].text(p, i+1)
	}
}

func count(candidates int) string {
	switch candidates {
	case 0:
		return "no candidates"
	case 1:
		return "1 candidate; what it says of itself is proven only where it was accepted"
	default:
		return fmt.Sprintf("%d candidates; what they say of themselves is proven only where they were accepted", candidates)
	}
}

func (c *Candidate) text(p *page, n int) {
	p.WriteString("\n")
	p.row(0, fmt.Sprintf("candidate %d", n), strings.TrimSuffix(c.Format+" ("+c.MediaType+")", " ()"))
	p.row(2, "found at", c.Place)
	p.optional(2, "manifest", c.Manifest)
	if c.ArtifactType != c.MediaType {
		p.optional(2, "artifact", c.ArtifactType)
	}
	p.optional(2, "predicate", c.Predicate)
	p.optional(2, "key", c.KeyHint)
	if x := c.Certificate; x != nil {
		for _, name := range x.Misleading {
			p.row(2, "misleading", name)
		}
		p.row(2, "certificate", who("", x.Subjects, x.Issuer)+", valid "+stamp(x.NotBefore)+" to "+stamp(x.NotAfter))
	}
	for _, k := range slices.Sorted(maps.Keys(c.Annotations)) {
		p.row(2, "annotation", k+"="+c.Annotations[k])
	}
	for _, e := range c.LogEntries {
		text := fmt.Sprintf("index %d, %s", e.Index, e.Kind)
		if e.Time != nil {
			text = stamp(*e.Time) + ", " + text
		}
		p.row(2, "log entry", text)
	}
	for _, t := range c.Timestamps {
		p.row(2, "timestamp", stamp(t))
	}
	for _, problem := range c.Problems {
		p.row(2, "unreadable", problem)
	}
	if c.Broken != nil {
		p.row(2, "broken", c.Broken.Reason+": "+c.Broken.Message)
	}
	p.optional(2, "not judged", c.NotJudged)
	for _, j := range c.Judgements {
		verdict := "accepted"
		if !j.Accepted {
			verdict = "refused"
		}
		p.row(2, verdict, "by "+j.Attestor)
		if !j.Accepted {
			p.row(2, "", j.Reason+": "+j.Message)
		}
	}
}

// json renders the report so that nothing in it can act on a terminal and nothing is lost.
func (r *Report) json() (string, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	for len(b) > 0 {
		c, size := utf8.DecodeRune(b)
		switch {
		case c == '\n' || unicode.IsPrint(c):
			out.Write(b[:size])
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, c)
		}
		b = b[size:]
	}
	return out.String() + "\n", nil
}
