package verify

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

const (
	// maxCandidates bounds how many candidates of an image are verified for one attestor. Broken ones cost nothing and
	// are not counted.
	maxCandidates = 64
	// maxQuoted bounds how many candidates a message explains.
	maxQuoted = 16
)

// found is what one repository holds for the image.
type found struct {
	candidates []*Candidate
	statements []*Candidate
	broken     []*Candidate
	problems   []*reason.Error
	truncated  bool
}

// look fetches and opens what a repository holds, once.
func (e *evaluation) look(ctx context.Context, repository image.Ref) *found {
	if repository.Repository() == e.img.Repository() {
		repository = image.Ref{}
	}
	key := repository.Repository()
	if got, ok := e.found[key]; ok {
		return got
	}
	got := &found{}
	e.found[key] = got
	attached, err := e.fetcher.Attached(ctx, e.img, repository)
	if err != nil {
		got.problems = append(got.problems, asReason(err))
	}
	if attached == nil {
		if err == nil {
			got.problems = append(got.problems, reason.New(reason.InternalError, "the registry client gave no answer"))
		}
		return got
	}
	for _, p := range attached.Problems {
		got.problems = append(got.problems, asReason(p))
	}
	got.truncated = attached.Truncated
	opened := e.verifier.Candidates(e.img, attached.Artifacts)
	for i := range opened {
		c := &opened[i]
		switch {
		case c.Err != nil && unread(asReason(c.Err)):
			got.problems = append(got.problems, asReason(c.Err))
		case c.Err != nil:
			got.broken = append(got.broken, c)
		case c.Signature, c.Statement && e.req.AnyStatement:
			got.candidates = append(got.candidates, c)
		}
		if c.Err == nil && c.Predicate != "" {
			got.statements = append(got.statements, c)
		}
	}
	return got
}

// attestor looks for one candidate on which all of the attestor's constraints hold.
func (e *evaluation) attestor(ctx context.Context, a *Attestor) *reason.Error {
	if missing := a.missing(); missing != nil {
		return missing
	}
	got := e.look(ctx, a.Repository)
	var tried trials
	for i, c := range fittingFirst(got.candidates, a) {
		if i == maxCandidates {
			tried.stop(fmt.Sprintf("no more than %d candidates are verified", maxCandidates))
			break
		}
		if err := ctx.Err(); err != nil {
			return asReason(err)
		}
		signature, err := e.try(ctx, c, a)
		if err == nil {
			e.proved = append(e.proved, signature)
			return nil
		}
		tried.add(asReason(err), stage(asReason(err).Code))
	}
	for _, c := range got.broken {
		tried.add(asReason(c.Err), 0)
	}
	if got.truncated {
		tried.stop("more is attached to the image than is looked at")
	}
	return e.unsigned(&tried, got.problems)
}

// try verifies one candidate. A verifier that panics has rejected it.
func (e *evaluation) try(ctx context.Context, c *Candidate, a *Attestor) (s *Signature, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, reason.New(reason.BadSignature, "malformed signature")
		}
	}()
	s, err = e.verifier.Verify(ctx, e.img, c, a)
	if err == nil && s == nil {
		return nil, reason.New(reason.BadSignature, "the verifier proved nothing")
	}
	return s, err
}

// fittingFirst puts the candidates that name the attestor's key or identity before the others, each in their own order.
func fittingFirst(candidates []*Candidate, a *Attestor) []*Candidate {
	if len(candidates) < 2 {
		return candidates
	}
	fits := likely(a)
	if fits == nil {
		return candidates
	}
	ordered, others := make([]*Candidate, 0, len(candidates)), make([]*Candidate, 0, len(candidates))
	for _, c := range candidates {
		if fits(c) {
			ordered = append(ordered, c)
		} else {
			others = append(others, c)
		}
	}
	return append(ordered, others...)
}

// likely tells by what a candidate says of itself whether it may be the attestor's; nil when nothing tells.
func likely(a *Attestor) func(*Candidate) bool {
	key := a.Key
	switch {
	case a.Keyless != nil:
		return func(c *Candidate) bool { return c.Certified != nil && a.Keyless.Identity.Check(c.Certified) == nil }
	case a.Certificates != nil && a.Certificates.Leaf == nil:
		return func(c *Candidate) bool { return c.Certified != nil }
	case a.Certificates != nil:
		key = a.Certificates.Leaf.PublicKey
	}
	if key == nil {
		return nil
	}
	hint := KeyHint(key)
	if hint == "" {
		return nil
	}
	return func(c *Candidate) bool { return c.KeyHint == hint }
}

// KeyHint is the customary name of a public key in Sigstore bundles: base64 of the SHA-256 of its PKIX form. It is empty
// for a key that has no such form.
func KeyHint(key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// trials are the candidates of one attestor that did not fit.
type trials struct {
	texts    []string
	count    int
	furthest reason.Code
	rank     int
	limited  bool
	// unreachable is that of the furthest: what it needed could not be connected to, and decides the outcome.
	unreachable bool
}

// stop notes that a limit ended the search.
func (t *trials) stop(text string) { t.texts, t.limited = append(t.texts, text), true }

func (t *trials) add(err *reason.Error, rank int) {
	if t.count++; t.count <= maxQuoted {
		t.texts = append(t.texts, err.Text)
	}
	if err.Code == reason.LimitReached {
		// What was not read might have fitted, so the verdict depends on the limit.
		t.limited = true
		return
	}
	if t.furthest == "" || rank > t.rank {
		t.furthest, t.rank, t.unreachable = err.Code, rank, err.Unreachable
	}
}

// unsigned explains an attestor for which no candidate fits. A place that could not be read comes first: a fitting
// candidate may be there, so nothing else is certain.
func (e *evaluation) unsigned(t *trials, problems []*reason.Error) *reason.Error {
	if len(problems) > 0 {
		return placeProblem(problems)
	}
	err := &reason.Error{Code: t.furthest, Unreachable: t.unreachable, Text: "no matching signatures: " + t.quoted()}
	switch {
	case t.limited:
		err = reason.New(reason.LimitReached, err.Text)
	case t.count == 0 && e.req.Notary:
		err = reason.New(reason.Unsigned, fmt.Sprintf("no signature is associated with %q, make sure the image was signed successfully", e.img))
	case t.count == 0:
		err = reason.New(reason.Unsigned, "no signatures found")
	case e.req.AnyStatement:
		err.Text = "sigstore bundle verification failed: no matching signatures found"
	}
	if e.req.Notary {
		err.Text = "failed to verify " + e.img.String() + ": " + err.Text
	}
	return err
}

func (t *trials) quoted() string {
	text := strings.Join(t.texts, "\n ")
	if more := t.count - maxQuoted; more > 0 {
		text += fmt.Sprintf("\n and %d more", more)
	}
	return text
}

// placeProblem is the result of places that could not be read. It is unknown only if none of them answered: an answer
// that refuses is a violation, whatever happens next to it.
func placeProblem(problems []*reason.Error) *reason.Error {
	decides := slices.IndexFunc(problems, func(p *reason.Error) bool { return !undecided(p) })
	if decides < 0 {
		decides = 0
	}
	var texts []string
	for _, p := range problems {
		if undecided(p) == undecided(problems[decides]) && !slices.Contains(texts, p.Text) {
			texts = append(texts, p.Text)
		}
	}
	return &reason.Error{Code: problems[decides].Code, Unreachable: problems[decides].Unreachable, Text: strings.Join(texts, ", ")}
}

// unread tells the errors of bytes that did not arrive, about which nothing is known, from those of bytes that are bad.
func unread(err *reason.Error) bool {
	switch err.Code {
	case reason.RegistryUnauthorized, reason.RegistryRateLimited, reason.RegistryTimeout, reason.RegistryUnavailable:
		return true
	}
	return undecided(err)
}

// stage is how far a candidate got that was rejected for the code, in the order in which the constraints are checked.
func stage(code reason.Code) int {
	order := []reason.Code{
		reason.DigestMismatch, reason.BadSignature, reason.CertificateUntrusted, reason.SCTMissing,
		reason.TransparencyLogMissing, reason.TimestampMissing, reason.CertificateExpired, reason.IdentityMismatch,
		reason.AnnotationMismatch,
	}
	switch code {
	case reason.TrustMaterialUnavailable, reason.TrustMaterialInvalid:
		// Asked for only when everything before the log held.
		code = reason.TransparencyLogMissing
	}
	return slices.Index(order, code) + 1
}
