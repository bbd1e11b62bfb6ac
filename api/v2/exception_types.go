package v2

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/signet-policy/signet/api/v1"
)

// PolicyException takes rules of policies away from the requests that it matches. It has an effect only where the
// cluster's operator has turned exceptions on, and only in the namespace that they chose for exceptions.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:resource:scope=Namespaced,path=policyexceptions,shortName=polex,categories=kyverno
type PolicyException struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says which rules, for which requests.
	Spec PolicyExceptionSpec `json:"spec"`
}

// PolicyExceptionList is a list of PolicyException objects.
//
// +kubebuilder:object:root=true
type PolicyExceptionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PolicyException `json:"items"`
}

// PolicyExceptionSpec says which rules are taken away from which requests. Fields that are not known are kept, so that
// an exception which its author meant to be narrower is refused instead of taken for a wider one.
//
// +kubebuilder:pruning:PreserveUnknownFields
type PolicyExceptionSpec struct {
	// Background applies the exception to background scans as well. Such an exception cannot ask who makes a request.
	// +optional
	Background *bool `json:"background,omitempty"`

	// Match says which requests the exception is for.
	Match MatchResources `json:"match"`

	// Conditions have to hold for the exception to apply.
	// +optional
	Conditions *v1.AnyAllConditions `json:"conditions,omitempty"`

	// Exceptions are the rules that do not apply.
	// +kubebuilder:validation:MinItems=1
	Exceptions []Exception `json:"exceptions"`

	// PodSecurity concerns other rule kinds and has no effect on image rules.
	// +optional
	PodSecurity []apiextensionsv1.JSON `json:"podSecurity,omitempty"`
}

// MatchResources selects requests by any or by all.
//
// +kubebuilder:pruning:PreserveUnknownFields
type MatchResources struct {
	// Any selects when one filter does. Not together with all.
	// +optional
	Any v1.ResourceFilters `json:"any,omitempty"`

	// All selects when every filter does. Not together with any.
	// +optional
	All v1.ResourceFilters `json:"all,omitempty"`
}

// Exception names rules of one policy.
//
// +kubebuilder:pruning:PreserveUnknownFields
type Exception struct {
	// PolicyName is the name of a ClusterPolicy, or namespace/name of a Policy.
	PolicyName string `json:"policyName"`

	// RuleNames are the names of rules, with wildcards. Generated rules have names of their own, such as autogen-check.
	// +kubebuilder:validation:MinItems=1
	RuleNames []string `json:"ruleNames"`
}
