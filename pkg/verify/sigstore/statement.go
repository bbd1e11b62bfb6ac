package sigstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/signet-policy/signet/pkg/verify"
)

// customPredicates are the types of statements in which cosign wraps what it knows no type for, as text.
var customPredicates = []string{"https://cosign.sigstore.dev/attestation/v1", "cosign.sigstore.dev/attestation/v1"}

// statement reads the candidate's statement, from the very bytes that were verified.
func (s *signed) statement() (*verify.Statement, error) {
	top, err := object(trim(s.payload), "_type", "subject", "predicateType", "predicate")
	if err != nil {
		return nil, err
	}
	out := &verify.Statement{Predicate: bytes.Clone(top["predicate"])} // who remembers it does not remember the whole payload
	out.Type, _ = text(top["predicateType"])
	fields, err := object(top["predicate"])
	if err != nil {
		return nil, fmt.Errorf("predicate: %w", err)
	}
	for _, custom := range customPredicates {
		if out.Type != custom {
			continue
		}
		inner, ok := text(fields["Data"])
		if !ok || checkJSON([]byte(inner), 0) != nil {
			break
		}
		fields["Data"] = json.RawMessage(inner)
		if out.Predicate, err = json.Marshal(fields); err != nil {
			return nil, errors.New("predicate: the data cannot be read")
		}
	}
	return out, nil
}
