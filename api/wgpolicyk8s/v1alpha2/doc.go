// Package v1alpha2 holds the wire types of wgpolicyk8s.io/v1alpha2: PolicyReport and ClusterPolicyReport, the reports
// that dashboards read from every policy engine.
//
// +kubebuilder:object:generate=true
// +groupName=wgpolicyk8s.io
package v1alpha2
