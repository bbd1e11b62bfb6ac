package webhook

import (
	"context"
	"encoding/json"
	"reflect"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
)

// unlessLeaving lets an update through unjudged which leaves what an object asks for as it is while the object is being
// deleted: somebody takes a finalizer away. An object that is stored and not accepted, since it was stored before Signet came,
// could not be deleted otherwise.
func unlessLeaving(review Review) Review {
	return func(ctx context.Context, req *admissionv1.AdmissionRequest, timeout time.Duration) *admissionv1.AdmissionResponse {
		if req.Operation == admissionv1.Update && leaving(req) {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		return review(ctx, req, timeout)
	}
}

// leaving is false for whatever cannot be read: the review has the words for that.
func leaving(req *admissionv1.AdmissionRequest) bool {
	type part struct {
		Metadata struct {
			DeletionTimestamp *time.Time `json:"deletionTimestamp"`
		} `json:"metadata"`
		Spec any `json:"spec"`
	}
	var before, after part
	if json.Unmarshal(req.OldObject.Raw, &before) != nil || before.Metadata.DeletionTimestamp == nil {
		return false
	}
	return json.Unmarshal(req.Object.Raw, &after) == nil && reflect.DeepEqual(before.Spec, after.Spec)
}
