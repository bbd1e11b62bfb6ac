package webhook_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	kjson "sigs.k8s.io/json"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/fuzztest"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/webhook"
)

// unsigned is signed without a signature.
type unsigned struct{ signed }

func (unsigned) Verify(context.Context, image.Pinned, *verify.Candidate, *verify.Attestor) (*verify.Signature, error) {
	return nil, reason.New(reason.BadSignature, "nobody's")
}

// FuzzReview sends anything to the webhooks of a policy that nothing satisfies. What is a review is answered with its uid,
// what is none is no success, and a Pod with an image is denied.
func FuzzReview(f *testing.F) {
	for _, object := range []string{
		pod(`{"name":"p"}`, "r.io/a:1"), pod(`{"name":"p","annotations":{"kyverno.io/verify-images":"x"},"ownerReferences":[{}]}`, "nginx"), pod("null", "UPPER"),
		`null`, `{}`, `[]`, `{"spec":null}`, `{"spec":{"containers":[null,{"image":1},{"name":"c","image":"a"}],"volumes":[{"image":{"reference":"x"}}]}}`,
	} {
		f.Add([]byte(body(object)))
		f.Add([]byte(strings.Replace(body(object), `"operation":"CREATE"`, `"operation":"UPDATE","oldObject":`+object, 1)))
	}
	f.Add([]byte(`{"kind":"AdmissionReview"}`))
	f.Add([]byte(strings.Repeat("[", 100000)))
	store := policy.NewStore()
	store.Put(compiled(f, "p", "Pod"))
	store.Sync()
	h := &webhook.Resources{Engine: engine.New(engine.Options{Registry: unsigned{}, Verifier: unsigned{}, Store: store})}
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Handle(webhook.MutateFail, false, h.Review(engine.Mutating, policy.Fail))
	s.Handle(webhook.ValidateFail, false, h.Review(engine.Validating, policy.Fail))
	s.Handle(webhook.PolicyValidate, false, webhook.ReviewPolicy(policyOptions, nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, path := range []string{webhook.MutateFail, webhook.ValidateFail, webhook.PolicyValidate} {
			fuzztest.Bounded(t, 64<<20, 4000, len(b), func() {
				w := post(s.Handler(), path, "application/json", string(b))
				if w.Code != http.StatusOK {
					return
				}
				var in struct {
					Request struct {
						UID  string `json:"uid"`
						Kind struct {
							Group   string `json:"group"`
							Version string `json:"version"`
							Kind    string `json:"kind"`
						} `json:"kind"`
						Operation   string `json:"operation"`
						SubResource string `json:"subResource"`
						Object      struct {
							Spec struct {
								Containers []struct {
									Image string `json:"image"`
								} `json:"containers"`
							} `json:"spec"`
						} `json:"object"`
					} `json:"request"`
				}
				var out admissionv1.AdmissionReview
				if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Response == nil {
					t.Fatalf("%s: %v", w.Body, err)
				}
				if kjson.UnmarshalCaseSensitivePreserveInts(b, &in) != nil || path == webhook.PolicyValidate {
					return
				}
				r := &in.Request
				if string(out.Response.UID) != r.UID {
					t.Errorf("the answer is for %q", out.Response.UID)
				}
				if out.Response.Allowed && r.Operation == "CREATE" && r.Kind.Kind == "Pod" && r.Kind.Version == "v1" && r.Kind.Group == "" && r.SubResource == "" &&
					len(r.Object.Spec.Containers) > 0 && strings.TrimSpace(r.Object.Spec.Containers[0].Image) != "" {
					t.Errorf("%s: %s is allowed", path, b)
				}
			})
		}
	})
}
