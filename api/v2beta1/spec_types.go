package v2beta1

import (
	v1 "github.com/signet-policy/signet/api/v1"
)

// Spec is the body of a ClusterPolicy or Policy.
type Spec struct {
	// Rules are applied in order. Each has its own match and verifyImages.
	// +optional
	Rules []Rule `json:"rules,omitempty"`

	// ApplyRules One stops after the first rule that passed or failed; errors and skips do not count. Absent means All.
	// +optional
	ApplyRules v1.ApplyRulesType `json:"applyRules,omitempty"`

	// FailurePolicy is deprecated, use webhookConfiguration.failurePolicy.
	// +optional
	FailurePolicy v1.FailurePolicy `json:"failurePolicy,omitempty"`

	// ValidationFailureAction is the action of verifyImages entries without a failureAction of their own. Deprecated: set
	// failureAction on the entry.
	// +optional
	// +kubebuilder:default=Audit
	ValidationFailureAction v1.ValidationFailureAction `json:"validationFailureAction,omitempty"`

	// ValidationFailureActionOverrides replace validationFailureAction in some namespaces; the first that fits counts.
	// +optional
	ValidationFailureActionOverrides []v1.ValidationFailureActionOverride `json:"validationFailureActionOverrides,omitempty"`

	// EmitWarning is accepted and has no influence on image rules, which always warn.
	// +optional
	// +kubebuilder:default=false
	EmitWarning *bool `json:"emitWarning,omitempty"`

	// Admission is whether requests are judged. Image rules need it: false is refused.
	// +optional
	// +kubebuilder:default=true
	Admission *bool `json:"admission,omitempty"`

	// Background is whether existing objects are scanned too, with results in policy reports.
	// +optional
	// +kubebuilder:default=true
	Background *bool `json:"background,omitempty"`

	// SchemaValidation is accepted and has no effect.
	// +optional
	SchemaValidation *bool `json:"schemaValidation,omitempty"`

	// WebhookTimeoutSeconds is deprecated, use webhookConfiguration.timeoutSeconds.
	// +optional
	WebhookTimeoutSeconds *int32 `json:"webhookTimeoutSeconds,omitempty"`

	// MutateExistingOnPolicyUpdate is accepted and has no effect.
	// +optional
	MutateExistingOnPolicyUpdate bool `json:"mutateExistingOnPolicyUpdate,omitempty"`

	// GenerateExistingOnPolicyUpdate is accepted and has no effect.
	// +optional
	GenerateExistingOnPolicyUpdate *bool `json:"generateExistingOnPolicyUpdate,omitempty"`

	// GenerateExisting is accepted and has no effect.
	// +optional
	GenerateExisting bool `json:"generateExisting,omitempty"`

	// UseServerSideApply is accepted and has no effect.
	// +optional
	UseServerSideApply bool `json:"useServerSideApply,omitempty"`

	// WebhookConfiguration is how the API server calls for this policy.
	// +optional
	WebhookConfiguration *v1.WebhookConfiguration `json:"webhookConfiguration,omitempty"`
}
