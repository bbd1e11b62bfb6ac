// Package reason names why an image was not admitted, so that every layer says it with the same word.
//
// A reason is made where the cause is known (the registry client, a verifier) and is carried as an Error up to the
// engine, the only place that decides what it means for admission.
package reason

import (
	"context"
	"errors"
)

// Code is one of the reason codes that events, log lines, metrics and reports carry.
type Code string

// The codes, in the order of the contract's table.
const (
	Unsigned                   Code = "Unsigned"
	BadSignature               Code = "BadSignature"
	CertificateUntrusted       Code = "CertificateUntrusted"
	CertificateExpired         Code = "CertificateExpired"
	SCTMissing                 Code = "SCTMissing"
	TransparencyLogMissing     Code = "TransparencyLogMissing"
	TimestampMissing           Code = "TimestampMissing"
	IdentityMismatch           Code = "IdentityMismatch"
	AnnotationMismatch         Code = "AnnotationMismatch"
	DigestMismatch             Code = "DigestMismatch"
	AttestationMissing         Code = "AttestationMissing"
	AttestationConditionFailed Code = "AttestationConditionFailed"
	MissingDigest              Code = "MissingDigest"
	NotVerified                Code = "NotVerified"
	ImageNotFound              Code = "ImageNotFound"
	LimitReached               Code = "LimitReached"
	TrustMaterialInvalid       Code = "TrustMaterialInvalid"
	TrustMaterialUnavailable   Code = "TrustMaterialUnavailable"
	RegistryUnauthorized       Code = "RegistryUnauthorized"
	RegistryRateLimited        Code = "RegistryRateLimited"
	RegistryTimeout            Code = "RegistryTimeout"
	RegistryUnavailable        Code = "RegistryUnavailable"
	InvalidImageReference      Code = "InvalidImageReference"
	ContextError               Code = "ContextError"
	InternalError              Code = "InternalError"
	Verified                   Code = "Verified"
	SkippedByPolicy            Code = "SkippedByPolicy"
	SkippedByException         Code = "SkippedByException"
	PreconditionsNotMet        Code = "PreconditionsNotMet"
)

// Error is a cause with its code. The text is for people: it holds no credentials and no bytes of a registry's answer.
type Error struct {
	Code Code
	// Unreachable is set when no network connection could be made at all (name not resolved, refused, dial timeout,
	// closed before any answer). Zero is the strict reading: somebody answered, so the outcome is a violation.
	Unreachable bool
	Text        string
	Err         error
}

// New returns an Error of the code with the text.
func New(code Code, text string) *Error { return &Error{Code: code, Text: text} }

// Wrap returns an Error of the code around err, whose text it keeps.
func Wrap(code Code, err error) *Error { return &Error{Code: code, Text: err.Error(), Err: err} }

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error { return e.Err }

// Of returns the Error in err's chain. An error without one is an expired deadline, read as RegistryTimeout, or else an
// InternalError. Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Wrap(RegistryTimeout, err)
	default:
		return Wrap(InternalError, err)
	}
}
