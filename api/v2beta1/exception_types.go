package v2beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/signet-policy/signet/api/v2"
)

// PolicyException takes rules of policies away from the requests that it matches. Deprecated: use version v2, which is
// the same.
//
// +kubebuilder:object:root=true
// +kubebuilder:deprecatedversion:warning="kyverno.io/v2beta1 PolicyException is deprecated, use kyverno.io/v2"
// +kubebuilder:resource:scope=Namespaced,path=policyexceptions,shortName=polex,categories=kyverno
type PolicyException struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which rules, for which requests.
	Spec v2.PolicyExceptionSpec `json:"spec"`
}

// PolicyExceptionList is a list of PolicyException objects.
//
// +kubebuilder:object:root=true
type PolicyExceptionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PolicyException `json:"items"`
}
