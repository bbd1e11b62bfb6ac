package webhook

import (
	"context"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/signet-policy/signet/pkg/policy"
)

// ReviewException judges a PolicyException that somebody wants to store, by compiling it. With warnings, which says what
// keeps exceptions of a namespace from having an effect, the author is told.
func ReviewException(warnings func(namespace string) []string) Review {
	return unlessLeaving(func(_ context.Context, req *admissionv1.AdmissionRequest, _ time.Duration) *admissionv1.AdmissionResponse {
		if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update || req.SubResource != "" {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		x, err := policy.ReadException(req.Object.Raw)
		if err != nil {
			return denied(err.Error())
		}
		if _, errs := policy.CompileException(x); len(errs) > 0 {
			return denied(errs.ToAggregate().Error())
		}
		resp := &admissionv1.AdmissionResponse{Allowed: true}
		if warnings != nil {
			resp.Warnings = warnings(req.Namespace)
		}
		return resp
	})
}
