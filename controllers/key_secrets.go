package controllers

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// publicKeyEntry is where cosign puts the public key in a Secret. The private key may stand beside it.
const publicKeyEntry = "cosign.pub"

// KeySecrets follows public keys in Secrets, each Secret by a watch of its own, so that the permission to read exactly
// the Secrets in question is enough. Of a Secret nothing is kept but the public key.
type KeySecrets struct {
	client corev1client.CoreV1Interface
}

// NewKeySecrets returns a source of keys that reads with the configuration's rights.
func NewKeySecrets(config *rest.Config) (*KeySecrets, error) {
	c, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("keys in Secrets: %w", err)
	}
	return &KeySecrets{client: c}, nil
}

// Follow reports the key in the Secret that the reference names, and every change of it, until ctx ends. Without the
// Secret, the permission to read it, or a single usable key in it there is an error (*reason.Error).
func (k *KeySecrets) Follow(ctx context.Context, ref verify.Reference, report func(crypto.PublicKey, error)) {
	namespace, name := ref.Secret()
	only := fields.OneTermEqualSelector("metadata.name", name).String()
	s := &keySecret{ref: ref, report: report}
	secrets := k.client.Secrets(namespace)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = only
			list, err := secrets.List(ctx, o)
			s.failed(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = only
			w, err := secrets.Watch(ctx, o)
			s.failed(ctx, err)
			return w, err
		},
	}
	// Its own complaints, one for every try, say no more than what is reported here.
	silent := klog.NewContext(ctx, logr.Discard())
	cache.NewReflectorWithOptions(lw, &corev1.Secret{}, s, cache.ReflectorOptions{Name: "key " + string(ref)}).RunWithContext(silent)
}

// keySecret is the store of a reflector of one Secret. It keeps whether there was a key.
type keySecret struct {
	ref    verify.Reference
	report func(crypto.PublicKey, error)
	held   bool
}

var _ cache.ReflectorStore = (*keySecret)(nil)

// Add takes a Secret that has appeared.
func (s *keySecret) Add(o any) error { return s.take(o) }

// Update takes a Secret that has changed.
func (s *keySecret) Update(o any) error { return s.take(o) }

// Delete takes the key out of force.
func (s *keySecret) Delete(any) error { return s.Replace(nil, "") }

// Replace takes what there is: the Secret or nothing.
func (s *keySecret) Replace(list []any, _ string) error {
	for _, o := range list {
		return s.take(o)
	}
	s.held = false
	s.report(nil, s.unavailable("there is no such Secret"))
	return nil
}

// Resync has nothing to do.
func (s *keySecret) Resync() error { return nil }

func (s *keySecret) take(o any) error {
	secret, ok := o.(*corev1.Secret)
	if !ok {
		return fmt.Errorf("a Secret is expected, not %T", o)
	}
	key, err := publicKeyOf(secret)
	if s.held = err == nil; !s.held {
		s.report(nil, reason.New(reason.TrustMaterialInvalid, "the key "+string(s.ref)+": "+err.Error()))
		return nil
	}
	s.report(key, nil)
	return nil
}

// publicKeyOf reads the one public key of a Secret. Several are refused: a reference is one attestor, and which of them
// would count is nothing to be guessed at.
func publicKeyOf(secret *corev1.Secret) (crypto.PublicKey, error) {
	data, ok := secret.Data[publicKeyEntry]
	if !ok {
		return nil, errors.New("the Secret has no entry " + publicKeyEntry)
	}
	keys, err := verify.ParseKeys(string(data))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", publicKeyEntry, err)
	case len(keys) != 1:
		return nil, fmt.Errorf("%s holds %d public keys, and a Secret stands for exactly one; use a Secret for each", publicKeyEntry, len(keys))
	}
	return keys[0], nil
}

// failed reports that the API server refuses to tell. That it cannot be asked leaves a key in force that was there: the
// watch goes on where it stopped, and tells what has changed meanwhile.
func (s *keySecret) failed(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		s.held = false
		s.report(nil, s.unavailable("Signet may not get, list and watch this Secret"))
	case s.held, apierrors.IsInvalid(err), apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		// The others are how an API server says that it is to be asked in another way, which comes next.
	default:
		cause := s.unavailable("the API server does not tell")
		var network *net.OpError
		cause.Unreachable = errors.As(err, &network) && network.Op == "dial"
		s.report(nil, cause)
	}
}

func (s *keySecret) unavailable(text string) *reason.Error {
	return reason.New(reason.TrustMaterialUnavailable, "the key "+string(s.ref)+" is not available: "+text)
}
