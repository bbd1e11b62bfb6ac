package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// Evaluate decides whether what is attached to the image satisfies the requirement: its signatures (VI 6.4), then its
// attestations (VI 6.6). Everything attached is asked for once per repository, and opened once, however many attestors
// look at it.
//
// The error is a *reason.Error. Its chain holds ErrNotVerified when the image was judged and does not satisfy the
// requirement; otherwise the outcome is not known: Unreachable is set when no connection could be made and the outcome
// depends on it, and the code is InternalError for a requirement that asks nothing. The code Unsigned says that every
// place answered and holds no candidate, and ErrNothingFound in the chain the same of a missing attestation; whether the
// image itself exists is then still to be asked.
func Evaluate(ctx context.Context, v Verifier, f Fetcher, img image.Pinned, req *Requirement) (*Proof, error) {
	if req == nil || len(req.Sets)+len(req.Attestations) == 0 {
		return nil, reason.New(reason.InternalError, "a requirement without attestors proves nothing")
	}
	e := evaluation{verifier: v, fetcher: f, img: img, req: req, found: map[string]*found{}}
	var failed []*reason.Error
	for i := range req.Sets {
		if err := e.set(ctx, &req.Sets[i], 0); err != nil {
			failed = append(failed, err)
		}
	}
	// A violation that is certain decides. An outcome that is not known must not hide one of an attestation.
	if len(failed) == 0 || undecided(worst(failed)) {
		for i := range req.Attestations {
			if err := e.attestation(ctx, i); err != nil {
				failed = append(failed, err)
			}
		}
	}
	if len(failed) == 0 {
		return &Proof{Image: img, Signatures: e.proved, Statements: e.stated, Partial: e.partial, Until: first(e.proved)}, nil
	}
	result := worst(failed)
	if result.Code == reason.AttestationMissing && e.nothing() {
		result.Err = ErrNothingFound
		return nil, result
	}
	return nil, seal(result)
}

// first is when the first of the signatures ends that end at all.
func first(signatures []*Signature) (until time.Time) {
	for _, s := range signatures {
		if !s.Until.IsZero() && (until.IsZero() || s.Until.Before(until)) {
			until = s.Until
		}
	}
	return until
}

// maxNesting bounds attestor sets within attestor sets.
const maxNesting = 32

// evaluation is the state of one call of Evaluate.
type evaluation struct {
	verifier Verifier
	fetcher  Fetcher
	img      image.Pinned
	req      *Requirement
	found    map[string]*found
	proved   []*Signature
	stated   []Statement
	partial  bool // some of the places that were asked for statements could not be read
	// wanted is the attestation that is evaluated; nil while it is image signatures. attested are its statements.
	wanted   *Attestation
	attested []attested
}

// set evaluates the entries of a set in order until enough of them succeeded. What the entries of a set that is not met
// proved is forgotten.
func (e *evaluation) set(ctx context.Context, s *Set, depth int) *reason.Error {
	required := s.Count
	if required <= 0 {
		required = len(s.Entries)
	}
	if required == 0 || depth > maxNesting {
		return reason.New(reason.InternalError, "an attestor set without entries proves nothing")
	}
	var failed []*reason.Error
	before, attestedBefore, succeeded := len(e.proved), len(e.attested), 0
	for i := range s.Entries {
		err := e.entry(ctx, &s.Entries[i], depth)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if succeeded++; succeeded == required {
			return nil
		}
	}
	e.proved, e.attested = e.proved[:before], e.attested[:attestedBefore]
	if e.wanted != nil && depth == 0 {
		return tooFewAttested(failed, succeeded, required)
	}
	return tooFew(failed, succeeded, required)
}

// tooFew is the result of a set that is not met. It is unknown only if the set could still be met once its unknown
// entries were known, and takes its reason from the first entry of its own status.
func tooFew(failed []*reason.Error, succeeded, required int) *reason.Error {
	unknown := 0
	texts := make([]string, len(failed))
	for i, err := range failed {
		texts[i] = err.Text
		if undecided(err) {
			unknown++
		}
	}
	open := unknown > 0 && succeeded+unknown >= required
	result := reason.New(reason.InternalError, strings.Join(texts, "; "))
	for _, err := range failed {
		if undecided(err) == open {
			result.Code, result.Unreachable = err.Code, err.Unreachable
			return result
		}
	}
	// Every entry is unknown and even so the set cannot be met: more is asked for than there are entries.
	result.Code = reason.NotVerified
	return result
}

// worst combines the sets that are not met: a certain violation is never hidden by an unknown outcome next to it, and
// the texts of that level are joined.
func worst(failed []*reason.Error) *reason.Error {
	open := true
	for _, err := range failed {
		open = open && undecided(err)
	}
	var result *reason.Error
	for _, err := range failed {
		switch {
		case undecided(err) != open:
		case result == nil:
			result = &reason.Error{Code: err.Code, Unreachable: err.Unreachable, Text: err.Text}
		default:
			result.Text += "; " + err.Text
		}
	}
	return result
}

// entry evaluates one attestor or nested set. Texts of a nested set carry the paths of their own entries.
func (e *evaluation) entry(ctx context.Context, entry *Entry, depth int) *reason.Error {
	var err *reason.Error
	switch {
	case entry.Nested != nil && entry.Attestor == nil:
		return e.set(ctx, entry.Nested, depth+1)
	case entry.Attestor != nil && entry.Nested == nil && e.wanted != nil:
		err = e.attester(ctx, entry.Attestor)
	case entry.Attestor != nil && entry.Nested == nil:
		err = e.attestor(ctx, entry.Attestor)
	default:
		err = reason.New(reason.InternalError, "an entry is either an attestor or a set")
	}
	if err == nil {
		return nil
	}
	return &reason.Error{Code: err.Code, Unreachable: err.Unreachable, Text: entry.Path + ": " + err.Text}
}

// undecided tells an outcome that could not be known from a violation.
func undecided(err *reason.Error) bool {
	return err.Unreachable || err.Code == reason.InternalError
}

// seal marks violations as such.
func seal(err *reason.Error) error {
	if !undecided(err) {
		err.Err = ErrNotVerified
	}
	return err
}

// asReason reads an error of a Fetcher or Verifier. A canceled request is an expired budget, whoever noticed first.
func asReason(err error) *reason.Error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		var own *reason.Error
		if !errors.As(err, &own) {
			return reason.New(reason.RegistryTimeout, fmt.Sprintf("the time to verify the image is over: %v", err))
		}
	}
	return reason.Of(err)
}
