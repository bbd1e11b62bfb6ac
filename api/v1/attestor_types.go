package v1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// AttestorSet is met when enough of its entries have signed.
type AttestorSet struct {
	// Count is how many entries must have signed. Absent means all.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=1
	Count *int32 `json:"count,omitempty"`

	// Entries are the attestors. A value of several public keys counts as that many entries.
	// +optional
	Entries []Attestor `json:"entries,omitempty"`
}

// Attestor is a signer. Exactly one of keys, certificates, keyless and attestor is given.
type Attestor struct {
	// Keys is a signer with a public key.
	// +optional
	Keys *StaticKeyAttestor `json:"keys,omitempty"`

	// Certificates is a signer with a certificate.
	// +optional
	Certificates *CertificateAttestor `json:"certificates,omitempty"`

	// Keyless is a signer with an identity that a certificate authority vouched for.
	// +optional
	Keyless *KeylessAttestor `json:"keyless,omitempty"`

	// Attestor is a nested attestor set, which counts as one entry.
	// +optional
	// +kubebuilder:validation:Type=object
	Attestor *apiextensionsv1.JSON `json:"attestor,omitempty"`

	// Annotations are pairs that must be in what was signed. Present and empty demands none, whatever the entry of
	// verifyImages says.
	// +optional
	Annotations map[string]string `json:"annotations,omitzero"`

	// Repository holds this attestor's signatures.
	// +optional
	Repository string `json:"repository,omitempty"`

	// SignatureAlgorithm is the hash algorithm where keys does not say it.
	// +optional
	// +kubebuilder:default=sha256
	SignatureAlgorithm string `json:"signatureAlgorithm,omitempty"`
}

// StaticKeyAttestor is a signer with a public key: publicKeys, else secret, else kms.
type StaticKeyAttestor struct {
	// PublicKeys are PEM blocks, k8s://namespace/name, or a KMS URI. Files and web addresses are refused.
	// +optional
	PublicKeys string `json:"publicKeys,omitempty"`

	// SignatureAlgorithm is the hash algorithm: sha224, sha256, sha384 or sha512.
	// +optional
	// +kubebuilder:default=sha256
	SignatureAlgorithm string `json:"signatureAlgorithm,omitempty"`

	// KMS is the URI of a key in a key management service: awskms, azurekms, gcpkms or hashivault.
	// +optional
	KMS string `json:"kms,omitempty"`

	// Secret holds the key under cosign.pub.
	// +optional
	Secret *SecretReference `json:"secret,omitempty"`

	// Rekor is the transparency log. Absent means the public one, with a log entry required.
	// +optional
	Rekor *Rekor `json:"rekor,omitempty"`

	// CTLog are the certificate log and the timestamp authority.
	// +optional
	CTLog *CTLog `json:"ctlog,omitempty"`
}

// SecretReference names a secret.
type SecretReference struct {
	// Name of the secret.
	Name string `json:"name"`

	// Namespace of the secret.
	Namespace string `json:"namespace"`
}

// CertificateAttestor is a signer with a certificate.
type CertificateAttestor struct {
	// Certificate is PEM, as is or in base64. Without certChain only its public key counts.
	// +optional
	Certificate string `json:"cert,omitempty"`

	// CertificateChain is PEM, the root last. Without cert the signature has to carry its certificate.
	// +optional
	CertificateChain string `json:"certChain,omitempty"`

	// Rekor is the transparency log. Absent means the public one, with a log entry required.
	// +optional
	Rekor *Rekor `json:"rekor,omitempty"`

	// CTLog are the certificate log and the timestamp authority.
	// +optional
	CTLog *CTLog `json:"ctlog,omitempty"`
}

// KeylessAttestor is a signer with a certified identity. Every field that is given has to hold.
type KeylessAttestor struct {
	// Issuer of the identity, with wildcards.
	// +optional
	Issuer string `json:"issuer,omitempty"`

	// IssuerRegExp is a regular expression (RE2) for the issuer. It is not anchored.
	// +optional
	IssuerRegExp string `json:"issuerRegExp,omitempty"`

	// Subject is the identity, such as an email address, with wildcards.
	// +optional
	Subject string `json:"subject,omitempty"`

	// SubjectRegExp is a regular expression (RE2) for the identity. It is not anchored.
	// +optional
	SubjectRegExp string `json:"subjectRegExp,omitempty"`

	// Roots are PEM certificate authorities that replace those of the trust root.
	// +optional
	Roots string `json:"roots,omitempty"`

	// AdditionalExtensions of the certificate by name or object identifier, with wildcards in the values.
	// +optional
	AdditionalExtensions map[string]string `json:"additionalExtensions,omitempty"`

	// Rekor is the transparency log. It is needed unless roots are given.
	// +optional
	Rekor *Rekor `json:"rekor,omitempty"`

	// CTLog are the certificate log and the timestamp authority.
	// +optional
	CTLog *CTLog `json:"ctlog,omitempty"`
}

// Rekor is the transparency log in which signatures must be found.
type Rekor struct {
	// URL of the log, asked only for signatures that carry no log entry. Empty means that it is not asked.
	// +optional
	URL string `json:"url,omitempty"`

	// PubKey is the log's PEM public key. Absent means the logs of the trust root.
	// +optional
	PubKey string `json:"pubkey,omitempty"`

	// IgnoreTlog drops the need for a log entry.
	// +optional
	// +kubebuilder:default=false
	IgnoreTlog bool `json:"ignoreTlog,omitempty"`
}

// CTLog are the log of issued certificates and the timestamp authority.
type CTLog struct {
	// IgnoreSCT drops the need for a proof that the certificate was logged.
	// +optional
	// +kubebuilder:default=false
	IgnoreSCT bool `json:"ignoreSCT,omitempty"`

	// PubKey is the certificate log's PEM public key. Absent means the logs of the trust root.
	// +optional
	PubKey string `json:"pubkey,omitempty"`

	// TSACertChain is the PEM chain of a timestamp authority, whose timestamp is then demanded.
	// +optional
	TSACertChain string `json:"tsaCertChain,omitempty"`
}
