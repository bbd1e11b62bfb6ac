package engine

import (
	"context"
	"slices"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// evaluate judges a requirement with the verifier of its format.
func (e *Engine) evaluate(ctx context.Context, f verify.Fetcher, img image.Pinned, req *verify.Requirement) (*verify.Proof, error) {
	switch {
	case !req.Notary:
		return verify.Evaluate(ctx, e.opts.Verifier, f, img, req)
	case e.opts.Notary == nil:
		return nil, reason.New(reason.InternalError, "there is no verifier of Notary signatures")
	}
	return verify.Evaluate(ctx, e.opts.Notary, f, img, req)
}

// referrers asks the registry of a Notary requirement.
func referrers(ctx context.Context, registry Registry, img image.Pinned, types []string) (*image.Attached, error) {
	r, ok := registry.(Referrers)
	if !ok {
		return nil, reason.New(reason.InternalError, "what refers to an image cannot be asked for")
	}
	return r.Referrers(ctx, img, types)
}

// notaryTypes are the artifact types that a Notary requirement looks at, in one order; nil for other requirements.
func notaryTypes(req *verify.Requirement) []string {
	if !req.Notary {
		return nil
	}
	types := []string{}
	if len(req.Sets) > 0 {
		types = append(types, image.NotarySignature)
	}
	for i := range req.Attestations {
		if t := req.Attestations[i].Type; t != "" {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}
