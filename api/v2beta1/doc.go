// Package v2beta1 holds the wire types of kyverno.io/v2beta1, a served but not stored version: ClusterPolicy and Policy
// of v1 without its deprecated shortcuts and without filters written outside any and all, and PolicyException of v2.
//
// The API server converts between the versions by changing the version name alone, so every field here means what it
// means in the stored version, and what both spell alike is one Go type.
//
// +kubebuilder:object:generate=true
// +groupName=kyverno.io
package v2beta1
