package expr

import (
	"fmt"
	"strconv"
	"strings"
)

// text is a string of a policy, taken apart: what is written out and the variables between it. It never changes.
type text []part

// part is either literal text or a variable.
type part struct {
	literal  string
	variable *variable
	at       place // where the variable stands, when it stands inside another
}

// variable is one {{ expression }}.
type variable struct {
	source  string      // the expression as written, without the braces
	shallow bool        // {{- x }}: variables in its value are left alone
	inner   text        // the expression taken apart, when other variables are inside
	static  *expression // the expression, when those inside stand in '…' only: each is a hole in a text
	holes   []*variable // what fills the holes
}

// place is how the text around an inner variable reads it.
type place struct {
	quote  byte // the quotation it is in: ' " ` or 0 for none
	inJSON bool // inside a JSON string inside backticks
	before byte // the last character before it that is no blank, outside quotations
}

// mode is how strictly braces are read.
type mode int

const (
	policyText mode = iota + 1 // a variable that is not closed, or not an expression, is a mistake
	dataText                   // it is just text
)

const (
	opening = "{{"
	closing = "}}"
)

// parseText takes s apart. Variables end at the first braces that close them: those of an object, and those in a quotation,
// belong to the expression.
func parseText(s string, m mode) (text, error) {
	if !strings.Contains(s, opening) {
		if s == "" {
			return nil, nil
		}
		return text{{literal: s}}, nil
	}
	if len(s) > maxTemplate {
		return nil, fmt.Errorf("%w: text with variables of more than %d bytes", ErrLimit, maxTemplate)
	}
	p := textParser{source: s, mode: m}
	parsed, _, err := p.parse(0, 0)
	return parsed, err
}

type textParser struct {
	source string
	mode   mode
	work   int // bytes looked at, counting those read again
}

// parse reads from i to the end, or, inside a variable, to the braces that close it, and returns the place after them.
func (p *textParser) parse(i, level int) (text, int, error) {
	var (
		out   text
		from  strings.Builder
		state scanState
		s     = p.source
	)
	flush := func() {
		if from.Len() > 0 {
			out = append(out, part{literal: from.String()})
			from.Reset()
		}
	}
	if level > maxNesting {
		return nil, 0, fmt.Errorf("%w: variables nested deeper than %d", ErrLimit, maxNesting)
	}
	for i < len(s) {
		if p.work++; p.work > 8*maxTemplate {
			return nil, 0, fmt.Errorf("%w: too many variables that are not closed", ErrLimit)
		}
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, `\`+opening):
			from.WriteString(opening)
			state.skip()
			i += len(opening) + 1
		case strings.HasPrefix(rest, opening):
			v, end, err := p.variable(i+len(opening), level+1)
			if err != nil && p.mode == policyText || err != nil && level > 0 {
				return nil, 0, err
			}
			if err != nil {
				from.WriteString(opening)
				i += len(opening)
				continue
			}
			flush()
			out = append(out, part{variable: v, at: state.place()})
			state.skip()
			i = end
		case level > 0 && state.closes(rest):
			flush()
			return out, i + len(closing), nil
		default:
			if level > 0 {
				state.next(s[i])
			}
			from.WriteByte(s[i])
			i++
		}
	}
	if level > 0 {
		return nil, 0, fmt.Errorf("variable is not closed: %s", clip(opening+s))
	}
	flush()
	return out, i, nil
}

func (p *textParser) variable(i, level int) (*variable, int, error) {
	inner, end, err := p.parse(i, level)
	if err != nil {
		return nil, 0, err
	}
	v := &variable{source: strings.TrimSpace(p.source[i : end-len(closing)])}
	if strings.HasPrefix(v.source, "-") {
		v.shallow = true
		v.source = strings.TrimSpace(v.source[1:])
		inner = cutDash(inner)
	}
	switch {
	case v.source == "":
		return nil, 0, fmt.Errorf("variable is empty: %s", clip(p.source))
	case inner.constant():
		if v.static, err = parse(strings.TrimSpace(inner[0].literal)); err != nil {
			return nil, 0, fmt.Errorf("variable {{ %s }}: %w", clip(v.source), err)
		}
	default:
		v.inner = inner
		if source, holes, ok := inner.withHoles(); ok {
			v.holes = holes
			if v.static, err = parse(strings.TrimSpace(source)); err != nil {
				return nil, 0, fmt.Errorf("variable {{ %s }}: %w", clip(v.source), err)
			}
		}
	}
	return v, end, nil
}

// hole marks where the value of an inner variable belongs in a raw string: NUL, the number of the variable, NUL.
const hole = "\x00"

// withHoles writes the expression with a hole for every variable, which is possible when all of them stand in raw strings, where
// no value can change how the expression reads.
func (t text) withHoles() (source string, holes []*variable, ok bool) {
	var b strings.Builder
	for _, p := range t {
		switch {
		case p.variable == nil && strings.Contains(p.literal, hole), p.variable != nil && p.at.quote != '\'':
			return "", nil, false
		case p.variable == nil:
			b.WriteString(p.literal)
		default:
			b.WriteString(hole + strconv.Itoa(len(holes)) + hole)
			holes = append(holes, p.variable)
		}
	}
	return b.String(), holes, true
}

// fill puts the values into the holes of a raw string.
func fill(s string, values []string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, hole)
		b.WriteString(before)
		number, after, closed := strings.Cut(rest, hole)
		if !found || !closed {
			return b.String()
		}
		if i, err := strconv.Atoi(number); err == nil && i < len(values) {
			b.WriteString(values[i])
		}
		s = after
	}
}

// constant tells whether t is literal text alone.
func (t text) constant() bool { return len(t) == 1 && t[0].variable == nil }

// written returns the text when it holds no variable.
func (t text) written() (string, bool) {
	if len(t) == 0 {
		return "", true
	}
	return t[0].literal, t.constant()
}

// cutDash takes the dash of {{- x }} off.
func cutDash(t text) text {
	if len(t) > 0 && t[0].variable == nil {
		t[0].literal = strings.TrimPrefix(strings.TrimLeft(t[0].literal, " \t\r\n"), "-")
	}
	return t
}

// variables calls f on every variable of t, inner ones first.
func (t text) variables(f func(*variable)) {
	for _, p := range t {
		if p.variable != nil {
			p.variable.inner.variables(f)
			f(p.variable)
		}
	}
}

// scanState follows the quotations and braces of an expression.
type scanState struct {
	quote   byte
	inJSON  bool
	escaped bool
	depth   int
	before  byte
}

func (s *scanState) place() place {
	return place{quote: s.quote, inJSON: s.quote == '`' && s.inJSON, before: s.before}
}

// skip passes over an inner variable, which reads like a name.
func (s *scanState) skip() {
	s.escaped = false
	if s.quote == 0 {
		s.before = 'x'
	}
}

func (s *scanState) closes(rest string) bool {
	return s.quote == 0 && s.depth == 0 && strings.HasPrefix(rest, closing)
}

func (s *scanState) next(c byte) {
	if s.quote != 0 {
		switch {
		case s.escaped:
			s.escaped = false
		case c == '\\':
			s.escaped = true
		case c == s.quote:
			s.quote, s.before = 0, c
		case c == '"' && s.quote == '`':
			s.inJSON = !s.inJSON
		}
		return
	}
	switch c {
	case '\'', '"', '`':
		s.quote, s.inJSON, s.escaped = c, false, false
	case '{':
		s.depth++
	case '}':
		s.depth--
	}
	if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
		s.before = c
	}
}
