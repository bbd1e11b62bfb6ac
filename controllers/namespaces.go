package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// namespaceLook bounds the question to the API server about one namespace: most of a request's time belongs to its images.
const namespaceLook = 2 * time.Second

// Namespaces knows the labels of all namespaces, and nothing else of them. It watches them through the manager's cache; one
// that the cache does not hold, because it has just been created or because the cache is not filled yet, is asked for.
type Namespaces struct {
	cached, live client.Reader
	filled       func() bool
}

// NewNamespaces adds the namespaces to what the manager's cache, which has to be made with CacheOptions, holds and fills
// before anything else starts.
func NewNamespaces(ctx context.Context, mgr ctrl.Manager) (*Namespaces, error) {
	informer, err := mgr.GetCache().GetInformer(ctx, namespaceMetadata(), cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watching namespaces: %w", err)
	}
	return &Namespaces{cached: mgr.GetCache(), live: mgr.GetAPIReader(), filled: informer.HasSynced}, nil
}

// Labels are the labels of a namespace.
func (n *Namespaces) Labels(ctx context.Context, name string) (map[string]string, error) {
	found := namespaceMetadata()
	if n.filled() {
		err := n.cached.Get(ctx, client.ObjectKey{Name: name}, found, &client.GetOptions{UnsafeDisableDeepCopy: new(true)})
		if err == nil {
			return found.Labels, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, namespaceLook)
	defer cancel()
	if err := n.live.Get(ctx, client.ObjectKey{Name: name}, found); err != nil {
		return nil, err
	}
	return found.Labels, nil
}

// synced tells whether all namespaces have been read once.
func (n *Namespaces) synced() bool { return n == nil || n.filled() }

func namespaceMetadata() *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return o
}

// onlyLabels leaves the cache what Labels needs.
func onlyLabels(in any) (any, error) {
	o, ok := in.(*metav1.PartialObjectMetadata)
	if !ok {
		return in, nil
	}
	o.ObjectMeta = metav1.ObjectMeta{Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, Labels: o.Labels}
	return o, nil
}
