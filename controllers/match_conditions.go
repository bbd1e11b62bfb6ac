package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// conditionChecker asks the API server what it makes of matchConditions: by the dry run of a webhook configuration that holds
// them. Nobody else knows which CEL this API server compiles, and one condition that it does not would keep the webhooks of all
// policies from being written.
type conditionChecker struct {
	client client.Client

	mu    sync.Mutex
	known map[string]field.ErrorList // by the conditions; what the API server said does not change while it runs
}

// maxKnownConditions bounds what is remembered; policies with conditions are few.
const maxKnownConditions = 1024

// conditionsPath is where the policy has its conditions.
func conditionsPath() *field.Path {
	return field.NewPath("spec", "webhookConfiguration", "matchConditions")
}

// errOldCluster is said of API servers that know no matchConditions.
var errOldCluster = errors.New("this API server knows no matchConditions, which came with Kubernetes 1.27")

// check returns the objections of the API server, with the paths of the policy's fields. The error is that of asking it.
func (c *conditionChecker) check(ctx context.Context, conditions []admissionregistrationv1.MatchCondition) (field.ErrorList, error) {
	raw, err := json.Marshal(conditions)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if errs, ok := c.known[string(raw)]; ok {
		return errs, nil
	}
	errs, err := c.ask(ctx, conditions)
	if err != nil {
		return nil, err
	}
	if c.known == nil || len(c.known) >= maxKnownConditions {
		c.known = map[string]field.ErrorList{}
	}
	c.known[string(raw)] = errs
	return errs, nil
}

func (c *conditionChecker) ask(ctx context.Context, conditions []admissionregistrationv1.MatchCondition) (field.ErrorList, error) {
	probe := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "kyverno-match-conditions-"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "match-conditions.kyverno.svc", MatchConditions: conditions, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: pointer("https://127.0.0.1/never-asked")},
			SideEffects:  pointer(admissionregistrationv1.SideEffectClassNone), FailurePolicy: pointer(admissionregistrationv1.Ignore),
		}},
	}
	err := c.client.Create(ctx, probe, client.DryRunAll)
	switch {
	case apierrors.IsInvalid(err):
		return objections(err), nil
	case err != nil:
		return nil, fmt.Errorf("dry run of a webhook configuration: %w", err)
	case len(probe.Webhooks) != 1 || len(probe.Webhooks[0].MatchConditions) != len(conditions):
		return field.ErrorList{field.Forbidden(conditionsPath(), errOldCluster.Error())}, nil
	}
	return nil, nil
}

// objections are the API server's, about the policy.
func objections(err error) field.ErrorList {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return field.ErrorList{field.Invalid(conditionsPath(), "", cut(err.Error(), maxMessage))}
	}
	var out field.ErrorList
	for _, cause := range status.Status().Details.Causes {
		at := conditionsPath()
		if _, below, ok := strings.Cut(cause.Field, ".matchConditions"); ok {
			at = field.NewPath(at.String() + below)
		}
		// The API server's text is "Invalid value: <expression>: compilation failed: …".
		text := strings.TrimPrefix(cause.Message, "Invalid value: ")
		out = append(out, &field.Error{Type: field.ErrorTypeInvalid, Field: at.String(), BadValue: field.OmitValueType{}, Detail: cut(text, maxMessage)})
	}
	return out
}
