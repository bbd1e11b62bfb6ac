// Package v1 holds the wire types of kyverno.io/v1: ClusterPolicy and Policy, as users write them and as the API server
// stores them.
//
// There is no behaviour here. Defaults marked on the fields are filled in by the API server from the generated resource
// definitions; where "absent" can still reach a reader and differs from the zero value, the field is a pointer.
//
// +kubebuilder:object:generate=true
// +groupName=kyverno.io
package v1
