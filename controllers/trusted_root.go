package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// trustedRootKey is the key of a ConfigMap that holds a trusted root.
	trustedRootKey = "trusted_root.json"
	// firstLook bounds the reading at the start, which must not keep the process from serving.
	firstLook = 10 * time.Second
)

// TrustedRoot follows one ConfigMap and hands over the trusted root in it whenever that changes. What is unusable, or
// gone, is logged and leaves everything as it was. It watches on its own, not through the manager's cache: a ConfigMap
// that may not be read would otherwise keep the controllers from starting.
type TrustedRoot struct {
	client          corev1client.CoreV1Interface
	namespace, name string
	set             func([]byte) (changed bool, err error)
}

// NewTrustedRoot returns a Runnable for every replica. It calls set with the content, one call at a time.
func NewTrustedRoot(config *rest.Config, namespace, name string, set func([]byte) (changed bool, err error)) (*TrustedRoot, error) {
	c, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	return &TrustedRoot{client: c, namespace: namespace, name: name, set: set}, nil
}

// Load reads the ConfigMap once, so that the first requests already find the root. That it cannot be read is no more than
// logged: it may come later.
func (r *TrustedRoot) Load(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	m, err := r.client.ConfigMaps(r.namespace).Get(ctx, r.name, metav1.GetOptions{})
	if err != nil {
		r.log(ctx).Error(err, "the ConfigMap with the trusted root cannot be read; what needs the root is refused until it can")
		return
	}
	r.apply(ctx, m)
}

// NeedLeaderElection is false: every replica needs the root.
func (r *TrustedRoot) NeedLeaderElection() bool { return false }

// Start follows the ConfigMap until ctx ends.
func (r *TrustedRoot) Start(ctx context.Context) error {
	apply := func(o any) {
		if m, ok := o.(*corev1.ConfigMap); ok {
			r.apply(ctx, m)
		}
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(r.client.RESTClient(), "configmaps", r.namespace, fields.OneTermEqualSelector("metadata.name", r.name)),
		ObjectType:    &corev1.ConfigMap{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    apply,
			UpdateFunc: func(_, o any) { apply(o) },
			DeleteFunc: func(any) {
				r.log(ctx).Info("the ConfigMap with the trusted root is gone; the last root stays in force")
			},
		},
	})
	informer.RunWithContext(ctx)
	return nil
}

func (r *TrustedRoot) apply(ctx context.Context, m *corev1.ConfigMap) {
	content, ok := m.BinaryData[trustedRootKey]
	if text, is := m.Data[trustedRootKey]; is {
		content, ok = []byte(text), true
	}
	err := fmt.Errorf("it has no key %s", trustedRootKey)
	changed := false
	if ok {
		changed, err = r.set(content)
	}
	switch {
	case err != nil:
		r.log(ctx).Error(err, "the ConfigMap holds no usable trusted root; the last one stays in force", "resourceVersion", m.ResourceVersion)
	case changed:
		r.log(ctx).Info("the trusted root is in force", "resourceVersion", m.ResourceVersion)
	}
}

func (r *TrustedRoot) log(ctx context.Context) logr.Logger {
	return log.FromContext(ctx).WithName("trusted-root").WithValues("configMap", r.namespace+"/"+r.name)
}
