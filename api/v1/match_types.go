package v1

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AdmissionOperation is an operation of an admission request.
// +kubebuilder:validation:Enum=CREATE;CONNECT;UPDATE;DELETE
type AdmissionOperation string

// The operations.
const (
	Create  AdmissionOperation = "CREATE"
	Update  AdmissionOperation = "UPDATE"
	Delete  AdmissionOperation = "DELETE"
	Connect AdmissionOperation = "CONNECT"
)

// MatchResources selects requests: by any, by all, or by one filter written directly in its place (deprecated).
type MatchResources struct {
	// Any selects when one filter does. Not together with all.
	// +optional
	Any ResourceFilters `json:"any,omitempty"`

	// All selects when every filter does. Not together with any.
	// +optional
	All ResourceFilters `json:"all,omitempty"`

	// UserInfo of the single filter.
	UserInfo `json:",inline"`

	// Resources is the single filter's resources. Deprecated: use any or all.
	// +optional
	Resources ResourceDescription `json:"resources,omitzero"`
}

// ResourceFilters is a list of filters.
type ResourceFilters []ResourceFilter

// ResourceFilter selects a request when everything given in it holds.
type ResourceFilter struct {
	// UserInfo is who makes the request.
	UserInfo `json:",inline"`

	// Resources is what the request is about.
	// +optional
	Resources ResourceDescription `json:"resources,omitzero"`
}

// UserInfo selects requests by who makes them. Each field that is given has to hold, by one of its elements.
type UserInfo struct {
	// Roles are bound roles, as namespace:name.
	// +optional
	Roles []string `json:"roles,omitempty"`

	// ClusterRoles are bound cluster roles.
	// +optional
	ClusterRoles []string `json:"clusterRoles,omitempty"`

	// Subjects are users, groups and service accounts.
	// +optional
	Subjects []rbacv1.Subject `json:"subjects,omitempty"`
}

// ResourceDescription selects requests by their object. Each field that is given has to hold; in a list one element
// suffices.
type ResourceDescription struct {
	// Kinds are Kind, version/Kind, group/version/Kind or one of these with /subresource. Each part may hold wildcards.
	// +optional
	Kinds []string `json:"kinds,omitempty"`

	// Name is deprecated, use names.
	// +optional
	Name string `json:"name,omitempty"`

	// Names of objects, with wildcards.
	// +optional
	Names []string `json:"names,omitempty"`

	// Namespaces of objects, with wildcards. A Namespace object counts as being in itself.
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`

	// Annotations the object must have. Keys and values may hold wildcards.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// Selector has to select the object's labels. Keys and values of matchLabels may hold wildcards.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`

	// NamespaceSelector has to select the labels of the object's namespace. Keys and values of matchLabels may hold
	// wildcards.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// Operations of the request. Absent means the operations of the rule's webhooks.
	// +optional
	Operations []AdmissionOperation `json:"operations,omitempty"`
}
