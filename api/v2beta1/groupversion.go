package v2beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is kyverno.io/v2beta1.
var GroupVersion = schema.GroupVersion{Group: "kyverno.io", Version: "v2beta1"}

// AddToScheme registers the kinds of this package and their lists with a scheme.
func AddToScheme(s *runtime.Scheme) error {
	builder := runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
		s.AddKnownTypes(GroupVersion, &ClusterPolicy{}, &ClusterPolicyList{}, &Policy{}, &PolicyList{}, &PolicyException{}, &PolicyExceptionList{},
			&GlobalContextEntry{}, &GlobalContextEntryList{})
		metav1.AddToGroupVersion(s, GroupVersion)
		return nil
	})
	return builder.AddToScheme(s)
}
