package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// timestampBundle reads the annotation with an RFC 3161 response. An empty text holds none.
func timestampBundle(encoded string) ([][]byte, error) {
	if encoded == "" {
		return nil, nil
	}
	if len(encoded) > maxAnnotation {
		return nil, tooLarge("the timestamp", maxAnnotation)
	}
	if err := checkJSON([]byte(encoded), maxBundleList); err != nil {
		return nil, err
	}
	top, err := object(trim([]byte(encoded)), "SignedRFC3161Timestamp")
	if err != nil {
		return nil, err
	}
	inner, _ := text(top["SignedRFC3161Timestamp"])
	response, err := base64.StdEncoding.DecodeString(inner)
	if err != nil || len(response) == 0 {
		return nil, errors.New("the timestamp is malformed")
	}
	return [][]byte{response}, nil
}

// times returns the times of the candidate's timestamps that verify. With a chain at the attestor they are verified at
// once, and one at least must hold, by that authority (VI 6.5(6)): the error, a *reason.Error, says that none does.
// Without one the trust root's authorities are asked, and only when somebody needs a time.
func (v *Verifier) times(s *signed, a *verify.Attestor) (func() []time.Time, error) {
	if len(a.TSAChain) == 0 {
		return sync.OnceValue(func() []time.Time {
			if a.Key != nil && len(a.LogKeys) > 0 || !s.stampCarried() {
				return nil
			}
			trusted, err := v.material()
			if err != nil {
				return nil
			}
			stamps, _ := stampedAt(s, trusted.TimestampingAuthorities())
			return stamps
		}), nil
	}
	var stamps []time.Time
	authorities, err := chainAuthorities(a.TSAChain)
	if err != nil {
		err = reason.New(reason.TrustMaterialInvalid, "timestamp authority: "+err.Error())
	} else if stamps, err = stampedAt(s, authorities); err != nil {
		err = reason.New(reason.TimestampMissing, err.Error())
	}
	return func() []time.Time { return stamps }, err
}

// stampCarried tells whether a timestamp came along, good or bad: without any, nobody needs to be asked for authorities.
func (s *signed) stampCarried() bool {
	responses, err := s.timestamps()
	return err == nil && len(responses) > 0
}

// stampedAt returns the times of the timestamps that verify, and why there is none.
func stampedAt(s *signed, authorities []root.TimestampingAuthority) ([]time.Time, error) {
	responses, err := s.timestamps()
	if err != nil {
		return nil, err
	}
	if len(responses) == 0 {
		return nil, errors.New("the signature carries no timestamp")
	}
	var stamps []time.Time
	for _, r := range responses {
		token, err := parseStamp(r)
		if err != nil {
			continue
		}
		for _, authority := range authorities {
			// One of another type could not be looked into.
			a, ok := authority.(*root.SigstoreTimestampingAuthority)
			if !ok || a.Root == nil {
				continue
			}
			response := token.by(a)
			if response == nil {
				continue
			}
			if t, err := a.Verify(response, s.stamped); err == nil {
				stamps = append(stamps, t.Time)
				break
			}
		}
	}
	if len(stamps) == 0 {
		return nil, errors.New("no timestamp verifies by the authority")
	}
	return stamps, nil
}

// chainAuthorities splits a chain into the one end certificate, if it has one, intermediates and self-issued roots.
func chainAuthorities(chain []*x509.Certificate) ([]root.TimestampingAuthority, error) {
	var leaf *x509.Certificate
	var intermediates, roots []*x509.Certificate
	for _, c := range chain {
		switch {
		case c.IsCA && bytes.Equal(c.RawIssuer, c.RawSubject):
			roots = append(roots, c)
		case c.IsCA:
			intermediates = append(intermediates, c)
		case leaf != nil:
			return nil, errors.New("the chain has more than one end certificate")
		default:
			leaf = c
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("the chain has no self-issued root")
	}
	authorities := make([]root.TimestampingAuthority, len(roots))
	for i, r := range roots {
		authorities[i] = &root.SigstoreTimestampingAuthority{Root: r, Intermediates: intermediates, Leaf: leaf}
	}
	return authorities, nil
}
