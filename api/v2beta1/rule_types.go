package v2beta1

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1 "github.com/signet-policy/signet/api/v1"
)

// Rule is one demand of a policy: which objects, and what their images must satisfy.
type Rule struct {
	// Name is unique in the policy and at most 63 characters long.
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// Context are data sources, loaded when a variable first refers to them.
	// +optional
	Context []v1.ContextEntry `json:"context,omitempty"`

	// Match says which requests the rule is about.
	Match MatchResources `json:"match"`

	// Exclude takes requests out again.
	// +optional
	Exclude *MatchResources `json:"exclude,omitempty"`

	// ImageExtractors say where objects of a kind keep their images. They replace the built-in places for that kind.
	// +optional
	ImageExtractors v1.ImageExtractorConfigs `json:"imageExtractors,omitempty"`

	// Preconditions, an object with any and all or a plain list, skip the rule when they do not hold.
	// +optional
	Preconditions *apiextensionsv1.JSON `json:"preconditions,omitempty"`

	// CELPreconditions are accepted and have no effect on image rules.
	// +optional
	CELPreconditions []admissionregistrationv1.MatchCondition `json:"celPreconditions,omitempty"`

	// Mutate is kept whole so that nothing written is lost. Policies that use it are refused.
	// +optional
	// +kubebuilder:validation:Type=object
	Mutate *apiextensionsv1.JSON `json:"mutate,omitempty"`

	// Validate is kept whole so that nothing written is lost. Policies that use it are refused.
	// +optional
	// +kubebuilder:validation:Type=object
	Validate *apiextensionsv1.JSON `json:"validate,omitempty"`

	// Generate is kept whole so that nothing written is lost. Policies that use it are refused.
	// +optional
	// +kubebuilder:validation:Type=object
	Generate *apiextensionsv1.JSON `json:"generate,omitempty"`

	// VerifyImages are what images must satisfy. Every entry that matches an image judges it.
	// +optional
	VerifyImages []ImageVerification `json:"verifyImages,omitempty"`

	// SkipBackgroundRequests is accepted and has no effect on image rules.
	// +optional
	// +kubebuilder:default=true
	SkipBackgroundRequests *bool `json:"skipBackgroundRequests,omitempty"`

	// ReportProperties are added to the rule's results in policy reports. Values may hold variables.
	// +optional
	ReportProperties map[string]string `json:"reportProperties,omitempty"`
}

// MatchResources selects requests by any or by all.
type MatchResources struct {
	// Any selects when one filter does. Not together with all.
	// +optional
	Any v1.ResourceFilters `json:"any,omitempty"`

	// All selects when every filter does. Not together with any.
	// +optional
	All v1.ResourceFilters `json:"all,omitempty"`
}
