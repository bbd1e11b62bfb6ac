// Package v2 holds the wire types of kyverno.io/v2: PolicyException, which takes single rules of policies away from
// chosen requests, and GlobalContextEntry, which keeps data for all policies.
//
// +kubebuilder:object:generate=true
// +groupName=kyverno.io
package v2
