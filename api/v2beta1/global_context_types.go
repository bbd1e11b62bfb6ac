package v2beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/signet-policy/signet/api/v2"
)

// GlobalContextEntry keeps data that the rules of all policies may read by globalReference. It is the same as in version v2.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:resource:scope=Cluster,path=globalcontextentries,shortName=gctxentry,categories=kyverno
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="REFRESH INTERVAL",type=string,JSONPath=".spec.apiCall.refreshInterval"
// +kubebuilder:printcolumn:name="LAST REFRESH",type=date,JSONPath=".status.lastRefreshTime"
type GlobalContextEntry struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says where the data comes from.
	Spec v2.GlobalContextEntrySpec `json:"spec"`

	// Status tells whether there is data.
	// +optional
	Status v2.GlobalContextEntryStatus `json:"status,omitzero"`
}

// GlobalContextEntryList is a list of GlobalContextEntry objects.
//
// +kubebuilder:object:root=true
type GlobalContextEntryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GlobalContextEntry `json:"items"`
}
