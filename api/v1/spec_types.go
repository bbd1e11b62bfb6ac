package v1

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FailurePolicy says what becomes of a request whose images could not be checked.
// +kubebuilder:validation:Enum=Ignore;Fail
type FailurePolicy string

// The failure policies.
const (
	// Ignore lets the request through.
	Ignore FailurePolicy = "Ignore"
	// Fail denies the request.
	Fail FailurePolicy = "Fail"
)

// ValidationFailureAction says what becomes of a request that breaks a rule. The lower-case spellings are deprecated.
// +kubebuilder:validation:Enum=audit;enforce;Audit;Enforce
type ValidationFailureAction string

// The actions as they should be spelled; readers compare without regard to case.
const (
	// Audit admits the request and reports the violation.
	Audit ValidationFailureAction = "Audit"
	// Enforce denies the request.
	Enforce ValidationFailureAction = "Enforce"
)

// ApplyRulesType says how many rules of a policy are applied.
// +kubebuilder:validation:Enum=All;One
type ApplyRulesType string

// The values of applyRules.
const (
	// ApplyAll applies every rule.
	ApplyAll ApplyRulesType = "All"
	// ApplyOne stops after the first rule that passed or failed.
	ApplyOne ApplyRulesType = "One"
)

// Spec is the body of a ClusterPolicy or Policy.
type Spec struct {
	// Rules are applied in order. Each has its own match and verifyImages.
	// +optional
	Rules []Rule `json:"rules,omitempty"`

	// ApplyRules One stops after the first rule that passed or failed; errors and skips do not count. Absent means All.
	// +optional
	ApplyRules ApplyRulesType `json:"applyRules,omitempty"`

	// FailurePolicy is deprecated, use webhookConfiguration.failurePolicy.
	// +optional
	FailurePolicy FailurePolicy `json:"failurePolicy,omitempty"`

	// ValidationFailureAction is the action of verifyImages entries without a failureAction of their own. Deprecated: set
	// failureAction on the entry.
	// +optional
	// +kubebuilder:default=Audit
	ValidationFailureAction ValidationFailureAction `json:"validationFailureAction,omitempty"`

	// ValidationFailureActionOverrides replace validationFailureAction in some namespaces; the first that fits counts.
	// +optional
	ValidationFailureActionOverrides []ValidationFailureActionOverride `json:"validationFailureActionOverrides,omitempty"`

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
	WebhookConfiguration *WebhookConfiguration `json:"webhookConfiguration,omitempty"`
}

// ValidationFailureActionOverride is the action in the namespaces that it selects.
type ValidationFailureActionOverride struct {
	// Action replaces the policy's action.
	// +optional
	Action ValidationFailureAction `json:"action,omitempty"`

	// Namespaces are names with wildcards, one of which has to fit.
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`

	// NamespaceSelector has to select the labels of the namespace. Label keys and values may hold wildcards.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
}

// WebhookConfiguration is how the API server calls for one policy.
type WebhookConfiguration struct {
	// FailurePolicy decides when images could not be checked. Absent means Fail.
	// +optional
	FailurePolicy FailurePolicy `json:"failurePolicy,omitempty"`

	// TimeoutSeconds is the time for one request, 1 to 30 seconds. Absent means the process' default.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=30
	TimeoutSeconds *int32 `json:"timeoutSeconds,omitempty"`

	// MatchConditions are CEL expressions that all have to hold for a request to be sent. A policy that has some gets a
	// webhook of its own.
	// +optional
	MatchConditions []admissionregistrationv1.MatchCondition `json:"matchConditions,omitempty"`
}
