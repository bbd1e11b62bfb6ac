// Package v2beta1 holds the wire types of kyverno.io/v2beta1, a served version, in which little is stored: ClusterPolicy and Policy
// of v1 without its deprecated shortcuts and without filters written outside any and all, PolicyException of v2, and
// GlobalContextEntry of v2, which is stored in this version.
//
// The API server converts between the versions by changing the version name alone, so every field here means what it
// means in the stored version, and what both spell alike is one Go type.
//
// +kubebuilder:object:generate=true
// +groupName=kyverno.io
package v2beta1
