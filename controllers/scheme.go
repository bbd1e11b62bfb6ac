package controllers

import (
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/signet-policy/signet/api/v1"
)

// AddToScheme registers the kinds that this package reads and writes, and no others: the whole of client-go's scheme
// costs memory that an idle process has better uses for.
func AddToScheme(s *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{
		v1.AddToScheme, corev1.AddToScheme, admissionregistrationv1.AddToScheme, coordinationv1.AddToScheme, rbacv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			return fmt.Errorf("registering kinds: %w", err)
		}
	}
	return nil
}

// NewClient returns a client that reads from the API server every time. The certificates need one before a manager runs.
func NewClient(config *rest.Config) (client.Client, error) {
	s := runtime.NewScheme()
	if err := AddToScheme(s); err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: s})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return c, nil
}

// CacheOptions say what the manager's cache may hold: policies everywhere, the labels of namespaces, what role
// bindings bind while somebody needs that, Signet's ConfigMap, and
// the metadata of its webhook configurations. Secrets, leases and roles themselves are always read from the API server, by NewClient's client.
func CacheOptions(systemNamespace string) cache.Options {
	managed := labels.SelectorFromSet(labels.Set{managedByLabel: managedBy})
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1.ClusterPolicy{}:          {},
			&v1.Policy{}:                 {},
			&corev1.Namespace{}:          {Transform: onlyLabels},
			&rbacv1.RoleBinding{}:        {Transform: onlyBinding},
			&rbacv1.ClusterRoleBinding{}: {Transform: onlyBinding},
			&corev1.ConfigMap{}: {Namespaces: map[string]cache.Config{
				systemNamespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", configMapName)},
			}},
			&admissionregistrationv1.MutatingWebhookConfiguration{}:   {Label: managed},
			&admissionregistrationv1.ValidatingWebhookConfiguration{}: {Label: managed},
		},
	}
}
