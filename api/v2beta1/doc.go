// Package v2beta1 holds the wire types of kyverno.io/v2beta1, the served but not stored version of ClusterPolicy and
// Policy: v1 without its deprecated shortcuts and without filters written outside any and all.
//
// The API server converts between the versions by changing the version name alone, so every field here means what it
// means in v1, and what both spell alike is one Go type.
//
// +kubebuilder:object:generate=true
// +groupName=kyverno.io
package v2beta1
