package webhook

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

// ReviewPolicy judges a policy that somebody wants to store, by compiling it.
func ReviewPolicy(opts policy.Options) Review {
	return func(_ context.Context, req *admissionv1.AdmissionRequest, _ time.Duration) *admissionv1.AdmissionResponse {
		if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update || req.SubResource != "" {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		warnings, errs, err := admit(req, opts)
		if err != nil {
			return denied(err.Error())
		}
		if len(errs) > 0 {
			return denied(errs.ToAggregate().Error())
		}
		return &admissionv1.AdmissionResponse{Allowed: true, Warnings: warnings}
	}
}

func admit(req *admissionv1.AdmissionRequest, opts policy.Options) (warnings []string, errs field.ErrorList, err error) {
	switch req.Kind.Kind {
	case "ClusterPolicy":
		var p v1.ClusterPolicy
		if err := kjson.UnmarshalCaseSensitivePreserveInts(req.Object.Raw, &p); err != nil {
			return nil, nil, fmt.Errorf("cannot read the policy: %w", err)
		}
		warnings, errs = policy.AdmitCluster(&p, opts)
	case "Policy":
		var p v1.Policy
		if err := kjson.UnmarshalCaseSensitivePreserveInts(req.Object.Raw, &p); err != nil {
			return nil, nil, fmt.Errorf("cannot read the policy: %w", err)
		}
		warnings, errs = policy.AdmitNamespaced(&p, opts)
	default:
		return nil, nil, fmt.Errorf("%s is no policy", req.Kind.Kind)
	}
	return warnings, errs, nil
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
