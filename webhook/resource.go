package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/settings"
)

// Reviewed is one request with its decision, for those who report on it.
type Reviewed struct {
	Admission *admissionv1.AdmissionRequest
	Request   *engine.Request
	Decision  *engine.Decision
	// UID is the object's; empty while it has none, as in the mutating phase of a creation.
	UID      types.UID
	Duration time.Duration
}

// Resources reviews the objects that policies are about.
type Resources struct {
	Engine *engine.Engine
	// Record is told of every review. It must not block.
	Record func(*Reviewed)
	// Settings say whose requests are let through, and about what; nil for none. Roles are asked where that is by roles.
	Settings *settings.Live
	Roles    engine.Roles
	// LetThrough is told of every request that is. It must not block.
	LetThrough func(reason settings.Reason, kind string)
	// Unjudged is told of every request that could not be judged, and whether it was admitted. It must not block.
	Unjudged func(kind string, allowed bool)
	// Dump logs every request before it is judged.
	Dump bool
}

// Review returns the review of one common path.
func (h *Resources) Review(phase engine.Phase, failure policy.FailurePolicy) Review {
	return h.ReviewOf(phase, failure, policy.Key{})
}

// ReviewOf returns the review of the fine-grained path of one policy.
func (h *Resources) ReviewOf(phase engine.Phase, failure policy.FailurePolicy, only policy.Key) Review {
	ignore := failure == policy.Ignore
	return func(ctx context.Context, req *admissionv1.AdmissionRequest, timeout time.Duration) *admissionv1.AdmissionResponse {
		start := time.Now()
		if h.Dump {
			dump(logr.FromContextOrDiscard(ctx), req)
		}
		if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update || isReport(req) {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		if h.letThrough(ctx, req) {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		in, err := request(req, phase, failure, timeout)
		if err != nil {
			return h.notJudged(ctx, req, ignore, err)
		}
		in.Policy = only
		in.OldUnasked = h.Settings != nil && in.Old != nil && !h.Settings.Current().Asks(in.Old)
		decision, err := h.Engine.Review(ctx, in)
		if err != nil {
			return h.notJudged(ctx, req, ignore, err)
		}
		reviewed := &Reviewed{Admission: req, Request: in, Decision: decision, UID: uid(in.Object), Duration: time.Since(start)}
		logDecision(logr.FromContextOrDiscard(ctx), reviewed)
		if h.Record != nil {
			h.Record(reviewed)
		}
		return respond(decision)
	}
}

// isReport tells whether a request is about a report, which says what came of reviews and is not the subject of one: a policy
// about every kind must not keep its own violations from being reported (VI 3.5(3)).
func isReport(req *admissionv1.AdmissionRequest) bool {
	return req.Kind.Group == "wgpolicyk8s.io" && (req.Kind.Kind == "PolicyReport" || req.Kind.Kind == "ClusterPolicyReport")
}

// letThrough tells whether no policy is asked about a request.
func (h *Resources) letThrough(ctx context.Context, req *admissionv1.AdmissionRequest) bool {
	if h.Settings == nil {
		return false
	}
	a := attributes(req)
	if h.Roles != nil {
		a.Roles = rolesOf{h.Roles, ctx, a.User}
	}
	reason := h.Settings.Current().Through(&a, req.Name)
	if reason != "" && h.LetThrough != nil {
		h.LetThrough(reason, a.Kind)
	}
	return reason != ""
}

// rolesOf are the roles of the user of one request.
type rolesOf struct {
	source engine.Roles
	ctx    context.Context //nolint:containedctx // it lives no longer than the request
	user   match.User
}

func (r rolesOf) Roles() (match.Bound, error) { return r.source.Of(r.ctx, r.user) }

// attributes are those that a request states, without its object.
func attributes(req *admissionv1.AdmissionRequest) match.Attributes {
	a := match.Attributes{
		Group: req.Kind.Group, Version: req.Kind.Version, Kind: req.Kind.Kind,
		Subresource: req.SubResource, Namespace: req.Namespace, Name: req.Name,
		Operation: match.ParseOperation(string(req.Operation)),
		User:      match.User{Name: req.UserInfo.Username, Groups: req.UserInfo.Groups},
	}
	if kind, ok := match.Owner(req.Resource.Group, req.Resource.Resource, req.SubResource); ok {
		a.Group, a.Version, a.Kind = req.Resource.Group, req.Resource.Version, kind
	}
	return a
}

func respond(d *engine.Decision) *admissionv1.AdmissionResponse {
	if !d.Allowed {
		return denied(d.Message)
	}
	resp := &admissionv1.AdmissionResponse{Allowed: true, Warnings: d.Warnings}
	if len(d.Patches) > 0 {
		patch, err := json.Marshal(d.Patches)
		if err != nil {
			return denied("Signet could not write its patch: " + err.Error())
		}
		kind := admissionv1.PatchTypeJSONPatch
		resp.Patch, resp.PatchType = patch, &kind
	}
	return resp
}

// notJudged answers a request that could not be judged, logs and counts it: nothing else tells of one that is admitted.
func (h *Resources) notJudged(ctx context.Context, req *admissionv1.AdmissionRequest, ignore bool, cause error) *admissionv1.AdmissionResponse {
	logr.FromContextOrDiscard(ctx).Info("request not judged", "uid", req.UID, "operation", req.Operation, "kind", req.Kind.Kind,
		"namespace", req.Namespace, "name", req.Name, "cause", cause.Error(), "blocked", !ignore)
	if h.Unjudged != nil {
		h.Unjudged(req.Kind.Kind, ignore)
	}
	return undecided(ignore, cause.Error())
}

// request reads an admission request into the engine's form.
func request(req *admissionv1.AdmissionRequest, phase engine.Phase, failure policy.FailurePolicy, timeout time.Duration) (*engine.Request, error) {
	object, err := decodeObject(req.Object.Raw)
	if err != nil {
		return nil, fmt.Errorf("cannot read the object: %w", err)
	}
	if object == nil {
		return nil, fmt.Errorf("the request has no object")
	}
	out := &engine.Request{
		Phase: phase, FailurePolicy: failure, Object: object, Name: req.Name, Timeout: timeout,
		Attributes: attributes(req),
	}
	out.Admission = func() map[string]any { return admissionFields(req) }
	if err := out.Attributes.Describe(object); err != nil {
		return nil, fmt.Errorf("cannot read the object: %w", err)
	}
	metadata, _ := object["metadata"].(map[string]any)
	if out.Name == "" {
		out.Name, _ = metadata["name"].(string)
	}
	if out.Attributes.Name = out.Name; out.Name == "" {
		out.Attributes.Name, _ = metadata["generateName"].(string)
	}
	if req.Operation == admissionv1.Update {
		if out.Old, err = decodeObject(req.OldObject.Raw); err != nil {
			return nil, fmt.Errorf("cannot read the old object: %w", err)
		}
	}
	return out, nil
}

// admissionFields are the fields of a request that variables read besides the objects.
func admissionFields(req *admissionv1.AdmissionRequest) map[string]any {
	small := *req
	small.Object, small.OldObject = runtime.RawExtension{}, runtime.RawExtension{}
	raw, err := json.Marshal(&small)
	var out map[string]any
	if err != nil || json.Unmarshal(raw, &out) != nil {
		return nil // cannot happen for what was read from JSON; the fields are missing then
	}
	for _, name := range []string{"object", "oldObject", "operation", "name"} {
		delete(out, name)
	}
	return out
}

func uid(object map[string]any) types.UID {
	metadata, _ := object["metadata"].(map[string]any)
	s, _ := metadata["uid"].(string)
	return types.UID(s)
}

// decodeObject reads an object; nil for none.
func decodeObject(raw []byte) (map[string]any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var object map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object); err != nil {
		return nil, err
	}
	return object, nil
}

// logDecision writes one line for what a person may have to look into.
func logDecision(log logr.Logger, r *Reviewed) {
	for i := range r.Decision.Responses {
		resp := &r.Decision.Responses[i]
		if resp.Status == engine.Pass || resp.Status == engine.Skip {
			continue
		}
		image, digest := "", string(resp.Digest)
		if resp.Image != nil {
			image = resp.Image.Ref.String()
		}
		log.Info("image check failed", "uid", r.Admission.UID, "operation", r.Admission.Operation,
			"kind", r.Request.Attributes.Kind, "namespace", r.Request.Attributes.Namespace, "name", r.Request.Name,
			"policy", resp.Rule.Policy.Key.String(), "rule", resp.Rule.Name, "image", image, "digest", digest,
			"status", resp.Status.String(), "reason", string(resp.Reason), "message", resp.Message,
			"blocked", !r.Decision.Allowed, "duration", r.Duration.String())
	}
}
