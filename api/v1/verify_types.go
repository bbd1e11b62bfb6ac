package v1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// EntryFailureAction is the action of one verifyImages entry. It has no lower-case spellings.
// +kubebuilder:validation:Enum=Audit;Enforce
type EntryFailureAction string

// The actions of an entry.
const (
	// EntryAudit admits the request and reports the violation.
	EntryAudit EntryFailureAction = "Audit"
	// EntryEnforce denies the request.
	EntryEnforce EntryFailureAction = "Enforce"
)

// ImageVerificationType is the family of signatures that an entry is about.
// +kubebuilder:validation:Enum=Cosign;SigstoreBundle;Notary
type ImageVerificationType string

// The types. Cosign and SigstoreBundle are hints: signatures of either format are found under both.
const (
	Cosign         ImageVerificationType = "Cosign"
	SigstoreBundle ImageVerificationType = "SigstoreBundle"
	Notary         ImageVerificationType = "Notary"
)

// ImageVerification is an entry of verifyImages: which images, who must have signed them, and what must be attested.
type ImageVerification struct {
	// FailureAction decides when an image breaks the entry. Absent means the policy's action.
	// +optional
	FailureAction EntryFailureAction `json:"failureAction,omitempty"`

	// Type is Notary for Notary Project signatures. Cosign, SigstoreBundle or none accept cosign's in every format;
	// SigstoreBundle also counts a signed statement of any type as a signature.
	// +optional
	Type ImageVerificationType `json:"type,omitempty"`

	// Image is deprecated, use imageReferences.
	// +optional
	Image string `json:"image,omitempty"`

	// ImageReferences are the images that the entry judges. An asterisk is any text, a question mark one character.
	// +optional
	ImageReferences []string `json:"imageReferences,omitempty"`

	// SkipImageReferences takes images out of the entry again, by the form shown in messages.
	// +optional
	SkipImageReferences []string `json:"skipImageReferences,omitempty"`

	// Key is deprecated, use attestors with keys.publicKeys.
	// +optional
	Key string `json:"key,omitempty"`

	// Roots are PEM certificate authorities for attestors that name none. Deprecated: use keyless.roots.
	// +optional
	Roots string `json:"roots,omitempty"`

	// Subject is deprecated, use keyless.subject. Without issuer it has no effect.
	// +optional
	Subject string `json:"subject,omitempty"`

	// Issuer is deprecated, use keyless.issuer.
	// +optional
	Issuer string `json:"issuer,omitempty"`

	// AdditionalExtensions is deprecated, use keyless.additionalExtensions.
	// +optional
	AdditionalExtensions map[string]string `json:"additionalExtensions,omitempty"`

	// Annotations are signed pairs demanded of attestors that name none. Deprecated: set them on the attestor.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// Attestors are sets, all of which must have signed the image.
	// +optional
	Attestors []AttestorSet `json:"attestors,omitempty"`

	// Attestations must all be present, signed, and meet their conditions.
	// +optional
	Attestations []Attestation `json:"attestations,omitempty"`

	// Repository holds the signatures when they are not next to the image. Not for Notary.
	// +optional
	Repository string `json:"repository,omitempty"`

	// CosignOCI11 is accepted; signatures are looked for everywhere in any case.
	// +optional
	// +kubebuilder:default=false
	CosignOCI11 bool `json:"cosignOCI11,omitempty"`

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
	Validate *ImageValidation `json:"validate,omitempty"`

	// ImageRegistryCredentials are used to read the image's repository.
	// +optional
	ImageRegistryCredentials *ImageRegistryCredentials `json:"imageRegistryCredentials,omitempty"`
}

// ImageValidation is a check across all attestations of an image.
type ImageValidation struct {
	// Message is shown when the image is denied. It may hold variables.
	// +optional
	Message string `json:"message,omitempty"`

	// Deny refuses the image when its conditions hold. Absent refuses nothing.
	// +optional
	Deny *Deny `json:"deny,omitempty"`
}

// Deny refuses when its conditions hold.
type Deny struct {
	// Conditions are an object with any and all, or a plain list.
	// +optional
	Conditions *apiextensionsv1.JSON `json:"conditions,omitempty"`
}

// CredentialProvider is a source of registry credentials.
// +kubebuilder:validation:Enum=default;amazon;azure;google;github
type CredentialProvider string

// The credential providers.
const (
	// DefaultProvider reads the process' own container configuration.
	DefaultProvider CredentialProvider = "default"
	AmazonProvider  CredentialProvider = "amazon"
	AzureProvider   CredentialProvider = "azure"
	GoogleProvider  CredentialProvider = "google"
	GitHubProvider  CredentialProvider = "github"
)

// ImageRegistryCredentials say how to reach a registry.
type ImageRegistryCredentials struct {
	// AllowInsecureRegistry permits plain HTTP for this entry. It does not relax the verification of certificates.
	// +optional
	AllowInsecureRegistry bool `json:"allowInsecureRegistry,omitempty"`

	// Providers are asked in order.
	// +optional
	Providers []CredentialProvider `json:"providers,omitempty"`

	// Secrets are pull secrets: a name in the system namespace, or namespace/name.
	// +optional
	Secrets []string `json:"secrets,omitempty"`
}

// Attestation demands a signed statement about the image.
type Attestation struct {
	// Name makes the statement's predicate available to conditions and to validate.
	// +optional
	Name string `json:"name,omitempty"`

	// Type is the predicate type of the statement, or for Notary the artifact type. The comparison is exact.
	// +optional
	Type string `json:"type,omitempty"`

	// PredicateType is deprecated, use type.
	// +optional
	PredicateType string `json:"predicateType,omitempty"`

	// Attestors are sets, all of which must have signed the statement. Absent accepts every identity that the trust root
	// certifies.
	// +optional
	Attestors []AttestorSet `json:"attestors,omitempty"`

	// Conditions must all hold for every verified statement of the type. The predicate's fields are variables.
	// +optional
	Conditions []AnyAllConditions `json:"conditions,omitempty"`
}
