package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConditionReady is the type of the condition that tells whether a policy is in force.
const ConditionReady = "Ready"

// Conditions that are there, with status False, only while something that a policy needs cannot be had. Their reasons are reason
// codes. They never change a verdict.
const (
	ConditionTrustMaterial = "TrustMaterialAvailable"
	ConditionRegistry      = "RegistryAvailable"
)

// The reasons of the Ready condition.
const (
	ReasonSucceeded = "Succeeded"
	ReasonFailed    = "Failed"
)

// PolicyStatus is what became of a policy in this cluster. It never decides about an image.
type PolicyStatus struct {
	// Conditions; Ready tells whether the policy is in force.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Ready is deprecated, use the condition.
	// +optional
	Ready *bool `json:"ready,omitempty"`

	// Autogen are the rules made for the controllers of pods.
	// +optional
	Autogen AutogenStatus `json:"autogen,omitzero"`

	// RuleCount counts the rules as written, by kind.
	// +optional
	RuleCount *RuleCountStatus `json:"rulecount,omitempty"`

	// ValidatingAdmissionPolicy tells about an admission policy made from this one. Image rules never have one.
	// +optional
	ValidatingAdmissionPolicy *ValidatingAdmissionPolicyStatus `json:"validatingadmissionpolicy,omitempty"`
}

// AutogenStatus are the rules made for the controllers of pods.
type AutogenStatus struct {
	// Rules as they are applied, in order.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Rules []Rule `json:"rules,omitempty"`
}

// RuleCountStatus counts the rules as written, by kind.
type RuleCountStatus struct {
	// Validate rules.
	Validate int32 `json:"validate"`

	// Generate rules.
	Generate int32 `json:"generate"`

	// Mutate rules.
	Mutate int32 `json:"mutate"`

	// VerifyImages rules.
	VerifyImages int32 `json:"verifyimages"`
}

// ValidatingAdmissionPolicyStatus tells about an admission policy made from a policy.
type ValidatingAdmissionPolicyStatus struct {
	// Generated is whether there is one.
	Generated bool `json:"generated"`

	// Message says why there is none.
	Message string `json:"message"`
}
