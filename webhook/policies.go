package webhook

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// MatchConditions asks the API server what it makes of the matchConditions of a policy.
type MatchConditions func(context.Context, []admissionregistrationv1.MatchCondition) (field.ErrorList, error)

// ReviewPolicy judges a policy that somebody wants to store, by compiling it. With unserved, which tells the kinds that
// the API server does not know, the author is warned of them: most often they are misspelled. With conditions, which asks
// the API server what it makes of matchConditions, those that it refuses are errors; the other error is that it cannot be
// asked. What more has to say are further warnings.
func ReviewPolicy(opts policy.Options, unserved func(context.Context, []match.Kind) []string, conditions MatchConditions,
	more ...func(*policy.Policy) []string) Review {
	return unlessLeaving(func(ctx context.Context, req *admissionv1.AdmissionRequest, _ time.Duration) *admissionv1.AdmissionResponse {
		if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update || req.SubResource != "" {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		compiled, warnings, errs, err := admit(req, opts)
		if err != nil {
			return denied(err.Error())
		}
		if len(errs) > 0 {
			return denied(errs.ToAggregate().Error())
		}
		if conditions != nil && compiled != nil && compiled.FineGrained() {
			errs, err := conditions(ctx, compiled.MatchConditions)
			if err != nil {
				return denied("the matchConditions cannot be checked: " + err.Error())
			}
			if len(errs) > 0 {
				return denied(errs.ToAggregate().Error())
			}
		}
		if unserved != nil {
			for _, kind := range unserved(ctx, kindsOf(compiled)) {
				warnings = append(warnings, fmt.Sprintf("the API server does not serve the kind %s: the policy has no effect on it until it does", kind))
			}
		}
		for _, f := range more {
			if compiled != nil {
				warnings = append(warnings, f(compiled)...)
			}
		}
		return &admissionv1.AdmissionResponse{Allowed: true, Warnings: warnings}
	})
}

func kindsOf(p *policy.Policy) []match.Kind {
	var kinds []match.Kind
	if p != nil {
		for _, r := range p.Rules {
			kinds = append(kinds, r.Kinds...)
		}
	}
	return kinds
}

// admit compiles a policy twice: to judge it as one to be stored, and as it will be in force.
func admit(req *admissionv1.AdmissionRequest, opts policy.Options) (compiled *policy.Policy, warnings []string, errs field.ErrorList, err error) {
	switch req.Kind.Kind {
	case "ClusterPolicy":
		var p v1.ClusterPolicy
		if err := kjson.UnmarshalCaseSensitivePreserveInts(req.Object.Raw, &p); err != nil {
			return nil, nil, nil, fmt.Errorf("cannot read the policy: %w", err)
		}
		warnings, errs = policy.AdmitCluster(&p, opts)
		compiled, _ = policy.CompileCluster(&p, opts)
	case "Policy":
		var p v1.Policy
		if err := kjson.UnmarshalCaseSensitivePreserveInts(req.Object.Raw, &p); err != nil {
			return nil, nil, nil, fmt.Errorf("cannot read the policy: %w", err)
		}
		warnings, errs = policy.AdmitNamespaced(&p, opts)
		compiled, _ = policy.CompileNamespaced(&p, opts)
	default:
		return nil, nil, nil, fmt.Errorf("%s is no policy", req.Kind.Kind)
	}
	return compiled, warnings, errs, nil
}

// Unchanged answers a mutating webhook that changes nothing.
func Unchanged(context.Context, *admissionv1.AdmissionRequest, time.Duration) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Allowed: true}
}

// Patch answers a mutating webhook with what a function makes of the object: a JSON patch, or nothing.
func Patch(patch func(object []byte) ([]byte, error)) Review {
	return func(_ context.Context, req *admissionv1.AdmissionRequest, _ time.Duration) *admissionv1.AdmissionResponse {
		resp := &admissionv1.AdmissionResponse{Allowed: true}
		out, err := patch(req.Object.Raw)
		switch {
		case err != nil:
			resp.Warnings = []string{err.Error()}
		case len(out) > 0:
			kind := admissionv1.PatchTypeJSONPatch
			resp.Patch, resp.PatchType = out, &kind
		}
		return resp
	}
}
