package v2beta1

import (
	v1 "github.com/signet-policy/signet/api/v1"
)

// ImageVerification is an entry of verifyImages: which images, who must have signed them, and what must be attested.
type ImageVerification struct {
	// FailureAction decides when an image breaks the entry. Absent means the policy's action.
	// +optional
	FailureAction v1.EntryFailureAction `json:"failureAction,omitempty"`

	// Type is Notary for Notary Project signatures. Cosign, SigstoreBundle or none accept cosign's in every format;
	// SigstoreBundle also counts a signed statement of any type as a signature.
	// +optional
	Type v1.ImageVerificationType `json:"type,omitempty"`

	// ImageReferences are the images that the entry judges. An asterisk is any text, a question mark one character.
	// +optional
	ImageReferences []string `json:"imageReferences,omitempty"`

	// SkipImageReferences takes images out of the entry again, by the form shown in messages.
	// +optional
	SkipImageReferences []string `json:"skipImageReferences,omitempty"`

	// Attestors are sets, all of which must have signed the image.
	// +optional
	Attestors []v1.AttestorSet `json:"attestors,omitempty"`

	// Attestations must all be present, signed, and meet their conditions.
	// +optional
	Attestations []v1.Attestation `json:"attestations,omitempty"`

	// Repository holds the signatures when they are not next to the image. Not for Notary.
	// +optional
	Repository string `json:"repository,omitempty"`

	// MutateDigest adds the verified digest to references that have none. It has no effect under Audit.
	// +optional
	// +kubebuilder:default=true
	MutateDigest *bool `json:"mutateDigest,omitempty"`

	// VerifyDigest demands that the reference has a digest in the end.
	// +optional
	// +kubebuilder:default=true
	VerifyDigest *bool `json:"verifyDigest,omitempty"`

	// Required demands that the image was verified under this rule.
	// +optional
	// +kubebuilder:default=true
	Required *bool `json:"required,omitempty"`

	// UseCache allows earlier verdicts on the same digest and demands to be used again.
	// +optional
	// +kubebuilder:default=true
	UseCache *bool `json:"useCache,omitempty"`

	// Validate is a check across all attestations of the image.
	// +optional
	Validate *v1.ImageValidation `json:"validate,omitempty"`

	// ImageRegistryCredentials are used to read the image's repository.
	// +optional
	ImageRegistryCredentials *v1.ImageRegistryCredentials `json:"imageRegistryCredentials,omitempty"`
}
