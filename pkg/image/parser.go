package image

import lru "github.com/hashicorp/golang-lru/v2"

// parsed is the number of references that a Parser remembers.
const parsed = 1024

// Parser reads references and remembers those that it has read, for the same few come again and again. It is safe for
// concurrent use.
type Parser struct {
	opts Options
	seen *lru.Cache[string, *Named]
}

// Named is a reference with the spellings that patterns are compared with. It is immutable.
type Named struct {
	Ref   Ref
	Forms *Forms
}

// NewParser returns a parser.
func NewParser(opts Options) *Parser {
	seen, err := lru.New[string, *Named](parsed)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &Parser{opts: opts, seen: seen}
}

// Parse is the function Parse, with the forms.
func (p *Parser) Parse(s string) (*Named, error) {
	if n, ok := p.seen.Get(s); ok {
		return n, nil
	}
	ref, err := Parse(s, p.opts)
	if err != nil {
		return nil, err
	}
	n := &Named{Ref: ref, Forms: ref.Forms()}
	p.seen.Add(s, n)
	return n, nil
}
