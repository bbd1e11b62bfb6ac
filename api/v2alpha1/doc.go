// Package v2alpha1 holds the wire types of kyverno.io/v2alpha1, a deprecated version that is served and not stored:
// GlobalContextEntry of v2.
//
// +kubebuilder:object:generate=true
// +groupName=kyverno.io
package v2alpha1
