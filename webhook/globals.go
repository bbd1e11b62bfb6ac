package webhook

import (
	"context"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/signet-policy/signet/pkg/policy"
)

// ReviewGlobalContext judges a GlobalContextEntry that somebody wants to store, by compiling it. It is a Review.
func ReviewGlobalContext(ctx context.Context, req *admissionv1.AdmissionRequest, timeout time.Duration) *admissionv1.AdmissionResponse {
	return unlessLeaving(reviewGlobalContext)(ctx, req, timeout)
}

func reviewGlobalContext(_ context.Context, req *admissionv1.AdmissionRequest, _ time.Duration) *admissionv1.AdmissionResponse {
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update || req.SubResource != "" {
		return &admissionv1.AdmissionResponse{Allowed: true}
	}
	g, err := policy.ReadGlobal(req.Object.Raw)
	if err != nil {
		return denied(err.Error())
	}
	if _, errs := policy.CompileGlobal(g); len(errs) > 0 {
		return denied(errs.ToAggregate().Error())
	}
	return &admissionv1.AdmissionResponse{Allowed: true}
}
