package controllers

import (
	"context"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// ownerRole names the ClusterRole that owns the webhook configurations: they go when it does, so that an uninstalled
// Signet leaves no webhook behind that nobody answers.
const ownerRole = "kyverno:webhook"

// writer writes webhook configurations when they differ in meaning from what is stored.
type writer struct {
	client client.Client
	// current tells, after something was read, whether this process may still replace it; nil when it always may.
	current func() bool
	owner   *metav1.OwnerReference // nil when there is none
	labels  map[string]string
	notes   map[string]string
	wrote   func() // told after each change
}

// findOwner returns the reference to the owner, nil when it does not exist or may not be seen.
func findOwner(ctx context.Context, c client.Client) (*metav1.OwnerReference, error) {
	var role rbacv1.ClusterRole
	err := c.Get(ctx, client.ObjectKey{Name: ownerRole}, &role)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading ClusterRole %s: %w", ownerRole, err)
	}
	return &metav1.OwnerReference{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole", Name: role.Name, UID: role.UID}, nil
}

func (w *writer) mutating(ctx context.Context, name string, webhooks []admissionregistrationv1.MutatingWebhook) error {
	return w.merging(ctx, name, func([]admissionregistrationv1.MutatingWebhook) []admissionregistrationv1.MutatingWebhook {
		return webhooks
	})
}

func (w *writer) validating(ctx context.Context, name string, webhooks []admissionregistrationv1.ValidatingWebhook) error {
	return w.mergingValidating(ctx, name, func([]admissionregistrationv1.ValidatingWebhook) []admissionregistrationv1.ValidatingWebhook {
		return webhooks
	})
}

// merging writes what merge makes of what is stored.
func (w *writer) merging(ctx context.Context, name string, merge func([]admissionregistrationv1.MutatingWebhook) []admissionregistrationv1.MutatingWebhook) error {
	c := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return w.write(ctx, c, func() { c.Webhooks = merge(c.Webhooks) })
}

func (w *writer) mergingValidating(ctx context.Context, name string, merge func([]admissionregistrationv1.ValidatingWebhook) []admissionregistrationv1.ValidatingWebhook) error {
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return w.write(ctx, c, func() { c.Webhooks = merge(c.Webhooks) })
}

// errLapsed is a write that was left to whoever leads now.
var errLapsed = errors.New("the lease of this replica is not valid, others may have changed what it read")

// write reads obj, lets set put the webhooks in, and writes it back only when that changed something.
func (w *writer) write(ctx context.Context, obj client.Object, set func()) error {
	name := obj.GetName()
	err := w.client.Get(ctx, client.ObjectKeyFromObject(obj), obj)
	if apierrors.IsNotFound(err) {
		obj.SetName(name)
		w.mark(obj)
		set()
		if err := w.client.Create(ctx, obj); err != nil {
			return fmt.Errorf("creating %s: %w", name, err)
		}
		w.wrote()
		log.FromContext(ctx).Info("webhook configuration created", "configuration", name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if w.current != nil && !w.current() {
		return fmt.Errorf("updating %s: %w", name, errLapsed)
	}
	stored := obj.DeepCopyObject()
	w.mark(obj)
	set()
	if apiequality.Semantic.DeepEqual(stored, obj) {
		return nil
	}
	if err := w.client.Update(ctx, obj); err != nil {
		return fmt.Errorf("updating %s: %w", name, err)
	}
	w.wrote()
	log.FromContext(ctx).Info("webhook configuration updated", "configuration", name)
	return nil
}

// mark puts labels, annotations and the owner on an object and leaves those of others alone.
func (w *writer) mark(obj client.Object) {
	labels := merge(obj.GetLabels(), w.labels)
	labels[managedByLabel] = managedBy
	obj.SetLabels(labels)
	if len(w.notes) > 0 {
		obj.SetAnnotations(merge(obj.GetAnnotations(), w.notes))
	}
	if w.owner != nil {
		var others []metav1.OwnerReference
		for _, o := range obj.GetOwnerReferences() {
			// Another UID under the same name is a role that is gone; with it as owner the object would go too.
			if o.Kind != w.owner.Kind || o.Name != w.owner.Name {
				others = append(others, o)
			}
		}
		obj.SetOwnerReferences(append(others, *w.owner))
	}
}

func merge(into, from map[string]string) map[string]string {
	out := make(map[string]string, len(into)+len(from)+1)
	for k, v := range into {
		out[k] = v
	}
	for k, v := range from {
		out[k] = v
	}
	return out
}
