package expr

import (
	"context"
	"fmt"
)

// Limits bounds what the evaluations on one Scope may cost together. A zero field stands for its default.
type Limits struct {
	Steps int64 // nodes and elements visited; 4,000,000
	Bytes int64 // bytes of text and lists made, and of values stored in the scope; 64 MiB
	Depth int   // nesting of values, expressions and variables; 64
	Regex int64 // bytes of a text that a regular expression looks at; 1 MiB
}

const (
	defaultSteps = 4_000_000
	defaultBytes = 64 << 20
	defaultDepth = 64
	defaultRegex = 1 << 20

	maxExpression = 32 << 10 // bytes of one expression, after its inner variables were filled in
	maxPattern    = 8 << 10  // bytes of one regular expression
	maxParse      = 4 << 20  // bytes of text that parse_json and parse_yaml accept
	maxNesting    = 16       // variables inside variables
	maxTemplate   = 1 << 20  // bytes of one string of a policy
)

func (l Limits) withDefaults() Limits {
	if l.Steps <= 0 {
		l.Steps = defaultSteps
	}
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	if l.Depth <= 0 {
		l.Depth = defaultDepth
	}
	if l.Regex <= 0 {
		l.Regex = defaultRegex
	}
	return l
}

// budget counts what a Scope has spent. It belongs to one goroutine, as the Scope does.
type budget struct {
	limits Limits
	steps  int64
	bytes  int64
	polled int64 // steps at which the context was last asked
}

// pollEvery is how many steps pass between two looks at the context; a step is far below a microsecond.
const pollEvery = 512

func (b *budget) step(ctx context.Context, n int) error {
	b.steps += int64(n)
	if b.steps > b.limits.Steps {
		return fmt.Errorf("%w: more than %d steps", ErrLimit, b.limits.Steps)
	}
	if b.steps-b.polled >= pollEvery {
		b.polled = b.steps
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("evaluation stopped: %w", err)
		}
	}
	return nil
}

// grow accounts for n bytes that are about to be made, so that what would be too large is never made.
func (b *budget) grow(n int) error {
	if n < 0 || int64(n) > b.limits.Bytes-b.bytes {
		b.bytes = b.limits.Bytes
		return fmt.Errorf("%w: more than %d bytes", ErrLimit, b.limits.Bytes)
	}
	b.bytes += int64(n)
	return nil
}
