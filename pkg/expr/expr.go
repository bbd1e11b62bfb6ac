// Package expr evaluates the variables and conditions of policies over JSON, without any input or output of its own.
//
// A policy holds JMESPath expressions between double braces, references to its own fields in $( ), and blocks of any and
// all conditions. [Compile] and [CompileTemplate] read them once and report every mistake that can be seen without data; what
// they return never changes and serves any number of goroutines. A [Scope] holds the data of one evaluation and counts what
// is spent on it, so that no expression and no data can cost more steps or memory than its [Limits].
//
// A field that is missing is an error, not null: a condition on a field that nobody wrote must never hold by accident. The
// operator || supplies a default. As in JMESPath, elements of a projection, of a filter and of a multi-select that lack a
// field read as null, since there the question is which elements have it.
package expr

import (
	"errors"
	"fmt"
	"strconv"
)

// MissingKeyError tells that an expression reads a field that the data does not have.
type MissingKeyError struct {
	Key string // the name of the field
}

func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("Unknown key %s in path", strconv.Quote(clip(e.Key)))
}

// ErrLimit is wrapped by the error of an evaluation that exceeds one of its Limits.
var ErrLimit = errors.New("evaluation limit exceeded")

// maxShown is how many bytes of an expression, a name or a value an error may quote.
const maxShown = 128

// clip shortens s for an error message, since s may come from an attestation of any size.
func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && s[cut]&0xc0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}
