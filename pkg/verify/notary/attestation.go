package notary

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/untrusted"
	"github.com/signet-policy/signet/pkg/verify"
)

// attestation is an artifact that refers to the image, with the signatures that refer to it.
type attestation struct {
	kind      string
	predicate []byte
	// signatures are those that can be read; rejected says why the others cannot.
	signatures []*signed
	rejected   []error
}

func openAttestation(a *image.Artifact) *attestation {
	out := &attestation{kind: a.ArtifactType, predicate: a.Payload}
	for i := range a.Attached.Artifacts {
		one := &a.Attached.Artifacts[i]
		s, err := (*signed)(nil), one.Err
		switch {
		case err != nil:
		case one.ArtifactType != image.NotarySignature:
			continue
		case one.Subject.Digest != a.Manifest:
			err = reason.New(reason.DigestMismatch, "the signature refers to another manifest")
		default:
			s, err = open(one)
		}
		if err != nil {
			out.rejected = append(out.rejected, err)
			continue
		}
		out.signatures = append(out.signatures, s)
	}
	return out
}

// attestation verifies that one of the artifact's signatures holds. The error is that of the last one that does not, or
// of one that a limit keeps from being judged.
func (v *Verifier) attestation(ctx context.Context, a *attestation, store []*x509.Certificate) (*verify.Signature, error) {
	failed := error(reason.New(reason.BadSignature, "no signature is associated with the attestation"))
	note := func(err error) {
		if reason.Of(failed).Code != reason.LimitReached {
			failed = err
		}
	}
	for _, err := range a.rejected {
		note(err)
	}
	for _, s := range a.signatures {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		result, err := v.signature(ctx, s, store)
		if err == nil {
			result.Statement = a.statement
			return result, nil
		}
		note(err)
	}
	return nil, failed
}

// statement reads the artifact as a statement: its only layer is a JSON object, the predicate.
func (a *attestation) statement() (*verify.Statement, error) {
	if err := untrusted.CheckDepth(a.predicate, maxDepth); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(a.predicate, &fields) != nil || fields == nil {
		return nil, errors.New("the layer is not a JSON object")
	}
	return &verify.Statement{Type: a.kind, Predicate: a.predicate}, nil
}
