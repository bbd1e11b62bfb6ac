package cli

import (
	"context"
	"time"

	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/keyring/kms"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// bindKeys puts the keys that the policies refer to in place, each asked for once. A key in a Secret could not be checked,
// which decides only where the outcome depends on it.
func bindKeys(ctx context.Context, timeout time.Duration, policies []*policy.Policy) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	services := &keyring.Services{Open: kms.Open}
	type answer struct {
		key *verify.Key
		err error
	}
	known := map[verify.Reference]answer{}
	lookup := func(ref verify.Reference) (*verify.Key, error) {
		a, ok := known[ref]
		if !ok {
			if ref.Scheme() == verify.SecretScheme {
				a.err = &reason.Error{Code: reason.TrustMaterialUnavailable, Unreachable: true,
					Text: "the key " + string(ref) + " is in a cluster, and none is asked here; write it to a file and use --key"}
			} else {
				a.key, a.err = services.Ask(ctx, ref)
			}
			known[ref] = a
		}
		return a.key, a.err
	}
	for _, p := range policies {
		for _, r := range p.Rules {
			for _, e := range r.Entries {
				if e.Requirement != nil {
					e.Requirement = verify.Bind(e.Requirement, lookup)
				}
			}
		}
	}
}
