package v1

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Rule is one demand of a policy: which objects, and what their images must satisfy.
type Rule struct {
	// Name is unique in the policy and at most 63 characters long.
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// Context are data sources, loaded when a variable first refers to them.
	// +optional
	Context []ContextEntry `json:"context,omitempty"`

	// Match says which requests the rule is about.
	Match MatchResources `json:"match"`

	// Exclude takes requests out again.
	// +optional
	Exclude *MatchResources `json:"exclude,omitempty"`

	// ImageExtractors say where objects of a kind keep their images. They replace the built-in places for that kind.
	// +optional
	ImageExtractors ImageExtractorConfigs `json:"imageExtractors,omitempty"`

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

// ImageExtractorConfigs gives the image extractors of a kind by its name.
type ImageExtractorConfigs map[string][]ImageExtractorConfig

// ImageExtractorConfig says where images stand in an object.
type ImageExtractorConfig struct {
	// Path leads to the image, or with value to the object that holds it: segments divided by slashes, an asterisk for
	// every element of a list or map.
	Path string `json:"path"`

	// Value is the field that holds the image. Absent means the last segment of path.
	// +optional
	Value string `json:"value,omitempty"`

	// Name is the category of the images in variables. Absent means custom.
	// +optional
	Name string `json:"name,omitempty"`

	// Key is the field that tells the images of a category apart in variables. Absent means the JSON pointer.
	// +optional
	Key string `json:"key,omitempty"`

	// Filter takes only objects whose key is this text, where others of the list hold no images. It needs key.
	// +optional
	Filter string `json:"filter,omitempty"`

	// JMESPath turns the text found into an image reference. It rules out adding digests.
	// +optional
	JMESPath string `json:"jmesPath,omitempty"`
}
