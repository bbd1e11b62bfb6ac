package v2beta1

import (
	v1 "github.com/signet-policy/signet/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterPolicy says which images the objects of all namespaces may use.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=clusterpolicies,shortName=cpol,categories=kyverno
// +kubebuilder:printcolumn:name="ADMISSION",type=boolean,JSONPath=".spec.admission"
// +kubebuilder:printcolumn:name="BACKGROUND",type=boolean,JSONPath=".spec.background"
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type == "Ready")].status`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="FAILURE POLICY",type=string,JSONPath=".spec.failurePolicy",priority=1
// +kubebuilder:printcolumn:name="VALIDATE",type=integer,JSONPath=".status.rulecount.validate",priority=1
// +kubebuilder:printcolumn:name="MUTATE",type=integer,JSONPath=".status.rulecount.mutate",priority=1
// +kubebuilder:printcolumn:name="GENERATE",type=integer,JSONPath=".status.rulecount.generate",priority=1
// +kubebuilder:printcolumn:name="VERIFY IMAGES",type=integer,JSONPath=".status.rulecount.verifyimages",priority=1
// +kubebuilder:printcolumn:name="MESSAGE",type=string,JSONPath=`.status.conditions[?(@.type == "Ready")].message`
type ClusterPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the policy demands.
	Spec Spec `json:"spec"`

	// Status is what became of the policy in this cluster.
	// +optional
	Status v1.PolicyStatus `json:"status,omitzero"`
}

// ClusterPolicyList is a list of ClusterPolicy objects.
//
// +kubebuilder:object:root=true
type ClusterPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterPolicy `json:"items"`
}

// Policy says which images the objects of its own namespace may use. It adds to the ClusterPolicies and weakens none.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,path=policies,shortName=pol,categories=kyverno
// +kubebuilder:printcolumn:name="ADMISSION",type=boolean,JSONPath=".spec.admission"
// +kubebuilder:printcolumn:name="BACKGROUND",type=boolean,JSONPath=".spec.background"
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type == "Ready")].status`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="FAILURE POLICY",type=string,JSONPath=".spec.failurePolicy",priority=1
// +kubebuilder:printcolumn:name="VALIDATE",type=integer,JSONPath=".status.rulecount.validate",priority=1
// +kubebuilder:printcolumn:name="MUTATE",type=integer,JSONPath=".status.rulecount.mutate",priority=1
// +kubebuilder:printcolumn:name="GENERATE",type=integer,JSONPath=".status.rulecount.generate",priority=1
// +kubebuilder:printcolumn:name="VERIFY IMAGES",type=integer,JSONPath=".status.rulecount.verifyimages",priority=1
// +kubebuilder:printcolumn:name="MESSAGE",type=string,JSONPath=`.status.conditions[?(@.type == "Ready")].message`
type Policy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the policy demands.
	Spec Spec `json:"spec"`

	// Status is what became of the policy in this cluster.
	// +optional
	Status v1.PolicyStatus `json:"status,omitzero"`
}

// PolicyList is a list of Policy objects.
//
// +kubebuilder:object:root=true
type PolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Policy `json:"items"`
}
