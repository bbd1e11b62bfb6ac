package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// PullSecrets reads Secrets and service accounts from the API server, one by one and by their names: listing or watching
// them would take permissions that a cluster does not have to grant. Who asks remembers the answers.
type PullSecrets struct{ live client.Reader }

// NewPullSecrets reads by a client that does not cache.
func NewPullSecrets(live client.Reader) *PullSecrets { return &PullSecrets{live: live} }

// Secret returns the type and the data of a Secret; an empty type when there is none of that name, or none that may be
// read, which the log says.
func (p *PullSecrets) Secret(ctx context.Context, namespace, name string) (kind string, data map[string][]byte, err error) {
	var s corev1.Secret
	if found, err := p.get(ctx, "Secret", namespace, name, &s); !found {
		return "", nil, err
	}
	return string(s.Type), s.Data, nil
}

// PullSecrets returns the names of a service account's pull secrets; none when there is no such account, or none that may
// be read, which the log says.
func (p *PullSecrets) PullSecrets(ctx context.Context, namespace, serviceAccount string) ([]string, error) {
	var a corev1.ServiceAccount
	if found, err := p.get(ctx, "ServiceAccount", namespace, serviceAccount, &a); !found {
		return nil, err
	}
	var names []string
	for _, s := range a.ImagePullSecrets {
		names = append(names, s.Name)
	}
	return names, nil
}

func (p *PullSecrets) get(ctx context.Context, kind, namespace, name string, into client.Object) (found bool, err error) {
	err = p.live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case apierrors.IsForbidden(err):
		log.FromContext(ctx).Info("counts as not there, because it may not be read", "kind", kind, "namespace", namespace, "name", name)
		return false, nil
	}
	return err == nil, err
}
