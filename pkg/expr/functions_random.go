package expr

import (
	"errors"
	"fmt"
	"io"
	"regexp/syntax"
)

const (
	maxRandom = 1 << 10 // characters of a random text
	maxRepeat = 10      // how often an unlimited repetition is repeated at most
)

// random makes a text that matches a regular expression.
func random(ev *evaluation, args []any) (any, error) {
	pattern := args[0].(string)
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("%w: pattern of more than %d bytes", ErrLimit, maxPattern)
	}
	if err := ev.step(len(pattern)); err != nil {
		return nil, err
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("not a regular expression: %w", err)
	}
	g := generator{source: ev.scope.env.Rand, step: ev.step}
	if err := g.write(re); err != nil {
		return nil, err
	}
	return string(g.out), nil
}

type generator struct {
	source io.Reader
	step   func(int) error
	out    []rune
}

// below returns a number from 0 to n-1, each as likely as the others.
func (g *generator) below(n int) (int, error) {
	if n <= 1 {
		return 0, nil
	}
	limit := (1<<32 - 1) - (1<<32)%uint64(n) // above it, some numbers would be likelier
	for {
		var b [4]byte
		if _, err := io.ReadFull(g.source, b[:]); err != nil {
			return 0, fmt.Errorf("no random bytes: %w", err)
		}
		v := uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
		if v <= limit || (1<<32)%uint64(n) == 0 {
			return int(v % uint64(n)), nil
		}
		if err := g.step(1); err != nil {
			return 0, err
		}
	}
}

func (g *generator) write(re *syntax.Regexp) error {
	if err := g.step(1); err != nil {
		return err
	}
	if len(g.out) > maxRandom {
		return fmt.Errorf("%w: more than %d random characters", ErrLimit, maxRandom)
	}
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText:
		return nil
	case syntax.OpLiteral:
		g.out = append(g.out, re.Rune...)
		return nil
	case syntax.OpCharClass:
		return g.class(re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return g.class([]rune{' ', '~'})
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			if err := g.write(sub); err != nil {
				return err
			}
		}
		return nil
	case syntax.OpAlternate:
		i, err := g.below(len(re.Sub))
		if err != nil {
			return err
		}
		return g.write(re.Sub[i])
	case syntax.OpStar:
		return g.repeat(re.Sub[0], 0, maxRepeat)
	case syntax.OpPlus:
		return g.repeat(re.Sub[0], 1, maxRepeat)
	case syntax.OpQuest:
		return g.repeat(re.Sub[0], 0, 1)
	case syntax.OpRepeat:
		most := re.Max
		if most < 0 {
			most = re.Min + maxRepeat
		}
		return g.repeat(re.Sub[0], re.Min, most)
	}
	return errors.New("the pattern holds something that no text can be made for")
}

func (g *generator) repeat(re *syntax.Regexp, least, most int) error {
	n, err := g.below(most - least + 1)
	if err != nil {
		return err
	}
	for range least + n {
		if err := g.write(re); err != nil {
			return err
		}
	}
	return nil
}

// class picks from ranges of characters, from the printable ASCII ones among them if there are any.
func (g *generator) class(ranges []rune) error {
	printable := []rune{}
	for i := 0; i+1 < len(ranges); i += 2 {
		if lo, hi := max(ranges[i], ' '), min(ranges[i+1], '~'); lo <= hi {
			printable = append(printable, lo, hi)
		}
	}
	if len(printable) > 0 {
		ranges = printable
	}
	total := 0
	for i := 0; i+1 < len(ranges); i += 2 {
		total += int(ranges[i+1]-ranges[i]) + 1
	}
	if total == 0 {
		return errors.New("the pattern holds an empty class of characters")
	}
	n, err := g.below(total)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(ranges); i += 2 {
		size := int(ranges[i+1]-ranges[i]) + 1
		if n < size {
			g.out = append(g.out, ranges[i]+rune(n))
			return nil
		}
		n -= size
	}
	return nil
}
