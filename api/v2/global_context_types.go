package v2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/signet-policy/signet/api/v1"
)

// GlobalContextEntry keeps data that the rules of all policies may read by globalReference.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=globalcontextentries,shortName=gctxentry,categories=kyverno
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="REFRESH INTERVAL",type=string,JSONPath=".spec.apiCall.refreshInterval"
// +kubebuilder:printcolumn:name="LAST REFRESH",type=date,JSONPath=".status.lastRefreshTime"
type GlobalContextEntry struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says where the data comes from.
	Spec GlobalContextEntrySpec `json:"spec"`

	// Status tells whether there is data.
	// +optional
	Status GlobalContextEntryStatus `json:"status,omitzero"`
}

// GlobalContextEntryList is a list of GlobalContextEntry objects.
//
// +kubebuilder:object:root=true
type GlobalContextEntryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GlobalContextEntry `json:"items"`
}

// GlobalContextEntrySpec says where the data comes from: exactly one of kubernetesResource and apiCall. Fields that are not
// known are kept, so that an entry which its author meant to hold less is refused instead of holding more.
//
// +kubebuilder:pruning:PreserveUnknownFields
type GlobalContextEntrySpec struct {
	// KubernetesResource follows the objects of one resource.
	// +optional
	KubernetesResource *KubernetesResource `json:"kubernetesResource,omitempty"`

	// APICall asks the API server or another service from time to time.
	// +optional
	APICall *ExternalAPICall `json:"apiCall,omitempty"`

	// Projections are parts of the data that are worked out whenever it changes.
	// +optional
	Projections []GlobalContextEntryProjection `json:"projections,omitempty"`
}

// KubernetesResource names a resource of the API server. The data is the list of its objects.
//
// +kubebuilder:pruning:PreserveUnknownFields
type KubernetesResource struct {
	// Group of the resource; empty for the core group.
	// +optional
	Group string `json:"group,omitempty"`

	// Version of the resource, such as v1.
	Version string `json:"version"`

	// Resource is its plural name in lower case, such as deployments.
	Resource string `json:"resource"`

	// Namespace whose objects are followed. Absent for those of all namespaces, and for resources without namespaces.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// ExternalAPICall is a request to the API server (urlPath) or to another service (service) that is made again and again.
//
// +kubebuilder:pruning:PreserveUnknownFields
type ExternalAPICall struct {
	// URLPath is a path at the API server, such as /api/v1/namespaces.
	// +optional
	URLPath string `json:"urlPath,omitempty"`

	// Method of the request.
	// +optional
	// +kubebuilder:default=GET
	Method v1.HTTPMethod `json:"method,omitempty"`

	// Data is the body of a POST request: a JSON object of these keys and values.
	// +optional
	Data []v1.RequestData `json:"data,omitempty"`

	// Service is asked instead of the API server.
	// +optional
	Service *v1.ServiceCall `json:"service,omitempty"`

	// RefreshInterval is the time between two requests.
	// +optional
	// +kubebuilder:validation:Format=duration
	// +kubebuilder:default="10m"
	RefreshInterval *metav1.Duration `json:"refreshInterval,omitempty"`

	// RetryLimit is how often a request is made that fails, before the entry is not ready.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=3
	RetryLimit int `json:"retryLimit,omitempty"`
}

// GlobalContextEntryProjection is a part of the data, which is read as name.projection.
//
// +kubebuilder:pruning:PreserveUnknownFields
type GlobalContextEntryProjection struct {
	// Name of the projection.
	Name string `json:"name"`

	// JMESPath gives it from the data.
	JMESPath string `json:"jmesPath"`
}

// GlobalContextEntryStatus tells whether there is data. It never decides about an image.
type GlobalContextEntryStatus struct {
	// Ready is deprecated, use the condition.
	// +optional
	Ready *bool `json:"ready,omitempty"`

	// Conditions; Ready tells whether policies can read the entry.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// LastRefreshTime is when an apiCall last succeeded.
	// +optional
	LastRefreshTime *metav1.Time `json:"lastRefreshTime,omitempty"`
}
