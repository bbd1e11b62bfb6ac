package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/signet-policy/signet/pkg/reason"
)

// ErrNothingFound is in the chain of an error of the code AttestationMissing when every place answered and nothing at all
// is attached to the image; whether the image itself exists is then still to be asked. ErrNotVerified is in its chain.
var ErrNothingFound = fmt.Errorf("%w: nothing is attached", ErrNotVerified)

// attested is a candidate whose statement verified, and what it states.
type attested struct {
	candidate *Candidate
	statement *Statement
}

// attestation evaluates one attestation of the requirement.
func (e *evaluation) attestation(ctx context.Context, index int) *reason.Error {
	a := &e.req.Attestations[index]
	switch {
	case a.Type == "":
		return reason.New(reason.AttestationMissing, a.Path+": missing type")
	case len(a.Sets) == 0:
		return reason.New(reason.InternalError, a.Path+": an attestation without attestors proves nothing")
	}
	e.wanted, e.attested = a, nil
	before := len(e.proved)
	var failed []*reason.Error
	for i := range a.Sets {
		if err := e.set(ctx, &a.Sets[i], 0); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		e.proved = e.proved[:before]
		return worst(failed)
	}
	if !a.Read {
		return nil
	}
	seen := map[*Candidate]bool{}
	for _, one := range e.attested {
		if !seen[one.candidate] {
			seen[one.candidate] = true
			e.stated = append(e.stated, Statement{Attestation: index, Name: a.Name, Type: a.Type, Predicate: one.statement.Predicate})
		}
	}
	return nil
}

// tooFewAttested is the result of an attestation's set that is not met.
func tooFewAttested(failed []*reason.Error, succeeded, required int) *reason.Error {
	result := tooFew(failed, succeeded, required)
	result.Text = fmt.Sprintf("image attestations verification failed, verifiedCount: %d, requiredCount: %d, error: %s",
		succeeded, required, result.Text)
	return result
}

// attester looks for all statements of the wanted type that verify for the attestor. The others are set aside. Unlike
// with signatures one that holds is not enough when the predicates are read: what was not looked at might be the one
// that breaks a condition.
func (e *evaluation) attester(ctx context.Context, a *Attestor) (failed *reason.Error) {
	if missing := a.missing(); missing != nil {
		return missing
	}
	proved, before := len(e.proved), len(e.attested)
	defer func() {
		if failed != nil {
			e.proved, e.attested = e.proved[:proved], e.attested[:before]
		}
	}()
	got := e.look(ctx, a.Repository)
	wanted := slices.DeleteFunc(slices.Clone(got.statements), func(c *Candidate) bool { return c.Predicate != e.wanted.Type })
	var tried trials
	remaining := 0
	for i, c := range fittingFirst(wanted, a) {
		if i == maxCandidates {
			tried.stop(fmt.Sprintf("no more than %d statements are verified", maxCandidates))
			break
		}
		statement, err := e.attest(ctx, c, a, &tried)
		switch {
		case err != nil:
			return err
		case statement == nil:
			continue
		}
		if remaining++; !e.wanted.Read {
			return nil
		}
		e.attested = append(e.attested, attested{c, statement})
	}
	if got.truncated {
		tried.stop("more is attached to the image than is looked at")
	}
	switch {
	case remaining > 0 && tried.limited && e.wanted.Read && (got.truncated || len(wanted) > maxCandidates):
		return reason.New(reason.LimitReached, "not every statement of predicate type "+e.wanted.Type+" is looked at")
	case remaining > 0:
		e.partial = e.partial || e.wanted.Read && len(got.problems) > 0
		return nil
	}
	for _, c := range got.broken {
		tried.add(asReason(c.Err), 0)
	}
	return e.absent(ctx, a, got, &tried)
}

// attest verifies one candidate of the wanted type. It returns no statement and no error for one that is set aside, and
// an error when nothing else counts any more.
func (e *evaluation) attest(ctx context.Context, c *Candidate, a *Attestor, tried *trials) (*Statement, *reason.Error) {
	if err := ctx.Err(); err != nil {
		return nil, asReason(err)
	}
	signature, err := e.try(ctx, c, a)
	if err != nil {
		tried.add(asReason(err), stage(asReason(err).Code))
		return nil, nil
	}
	if signature.Statement == nil {
		tried.add(reason.New(reason.BadSignature, "what was verified is no statement"), 0)
		return nil, nil
	}
	statement, err := signature.Statement()
	if err == nil && statement == nil {
		err = fmt.Errorf("there is none")
	}
	if err != nil {
		return nil, reason.New(reason.AttestationConditionFailed, "failed to extract predicate from statement: "+err.Error())
	}
	if statement.Type != e.wanted.Type {
		tried.add(reason.New(reason.AttestationMissing, "the verified statement is of another type"), 0)
		return nil, nil
	}
	e.proved = append(e.proved, signature)
	return statement, nil
}

// absent explains why no statement of the wanted type remains. Statements of other types are verified only now, to tell
// somebody who looks for the wrong type from somebody who trusts the wrong signer.
func (e *evaluation) absent(ctx context.Context, a *Attestor, got *found, tried *trials) *reason.Error {
	if len(got.problems) > 0 {
		return placeProblem(got.problems)
	}
	if tried.limited {
		return reason.New(reason.LimitReached, "no matching attestations: "+tried.quoted())
	}
	switch tried.furthest {
	case reason.TrustMaterialUnavailable, reason.TrustMaterialInvalid:
		// Statements of the type are there, and what they have to be verified with is not.
		return &reason.Error{Code: tried.furthest, Unreachable: tried.unreachable, Text: "no matching attestations: " + tried.quoted()}
	}
	n := tried.count
	for _, c := range fittingFirst(got.statements, a) {
		if c.Predicate == e.wanted.Type || e.req.Notary {
			continue
		}
		if n++; n > maxCandidates {
			break
		}
		if err := ctx.Err(); err != nil {
			return asReason(err)
		}
		_, err := e.try(ctx, c, a)
		if err == nil {
			return reason.New(reason.AttestationMissing, "attestations not found for predicate type "+e.wanted.Type)
		}
		tried.add(asReason(err), stage(asReason(err).Code))
	}
	switch {
	case tried.count == 0 && e.req.Notary:
		return reason.New(reason.AttestationMissing, fmt.Sprintf("no matching attestations found for image %s with type %s", e.img, e.wanted.Type))
	case tried.count == 0:
		return reason.New(reason.AttestationMissing, "no matching attestations: no attestations found")
	}
	return reason.New(reason.AttestationMissing, "no matching attestations: "+tried.quoted())
}

// nothing tells whether places were looked at, and every one of them answered and holds nothing that is or pretends to be a signature.
func (e *evaluation) nothing() bool {
	for _, f := range e.found {
		if len(f.candidates)+len(f.statements)+len(f.broken)+len(f.problems) > 0 || f.truncated {
			return false
		}
	}
	return len(e.found) > 0
}
