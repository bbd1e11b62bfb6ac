package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// The lease by which the leader watches whether the API server reaches Signet. The leader renews it; the API server asks
// the monitor webhook about that; the webhook leaves the time in an annotation.
const (
	HealthLease           = "kyverno-health"
	lastRequestAnnotation = "kyverno.io/last-request-time"

	nameLabel      = "app.kubernetes.io/name"
	nameLabelValue = "kyverno"
)

// The interval at which the lease is renewed, and the age of the annotation at which the round trip counts as broken.
const (
	healthInterval = 20 * time.Second
	healthLimit    = 100 * time.Second
)

// HealthPatch is the monitor webhook's answer to an update of a lease in a namespace: the JSON patch (RFC 6902) that
// leaves the time on the health lease, nil for every other object. The error is that of an object that is not JSON.
func HealthPatch(systemNamespace string, lease []byte, now time.Time) ([]byte, error) {
	var o metav1.PartialObjectMetadata
	if err := json.Unmarshal(lease, &o); err != nil {
		return nil, fmt.Errorf("reading the lease: %w", err)
	}
	if o.Name != HealthLease || o.Namespace != systemNamespace {
		return nil, nil
	}
	type patch struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	at := now.UTC().Format(time.RFC3339)
	if len(o.Annotations) == 0 {
		return json.Marshal([]patch{{"add", "/metadata/annotations", map[string]string{lastRequestAnnotation: at}}})
	}
	return json.Marshal([]patch{{"add", "/metadata/annotations/kyverno.io~1last-request-time", at}})
}

// health is the leader's side of the watch.
type health struct {
	client    client.Client
	namespace string
	now       func() time.Time

	mu   sync.Mutex
	last time.Time // zero when the API server has never got through
}

// Start renews the lease until the process ends or loses the lead.
func (h *health) Start(ctx context.Context) error {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		if err := h.beat(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Info("cannot renew the health lease", "cause", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// NeedLeaderElection says that only the leader watches.
func (h *health) NeedLeaderElection() bool { return true }

// beat renews the lease once and reads the mark that the webhook left on it meanwhile.
func (h *health) beat(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lease coordinationv1.Lease
	err := h.client.Get(ctx, client.ObjectKey{Namespace: h.namespace, Name: HealthLease}, &lease)
	if apierrors.IsNotFound(err) {
		lease = coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: HealthLease}}
		h.renew(&lease)
		if err := h.client.Create(ctx, &lease); err != nil {
			return fmt.Errorf("creating lease %s: %w", HealthLease, err)
		}
		h.last = time.Time{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading lease %s: %w", HealthLease, err)
	}
	h.renew(&lease)
	if err := h.client.Update(ctx, &lease); err != nil {
		return fmt.Errorf("renewing lease %s: %w", HealthLease, err)
	}
	h.last = lastRequest(&lease)
	return nil
}

func (h *health) renew(lease *coordinationv1.Lease) {
	lease.Labels = merge(lease.Labels, map[string]string{nameLabel: nameLabelValue})
	now := metav1.NewMicroTime(h.now())
	lease.Spec.RenewTime = &now
}

// lastRequest reads the mark. One that cannot be read is as old as can be, and the next round trip replaces it.
func lastRequest(lease *coordinationv1.Lease) time.Time {
	text, ok := lease.Annotations[lastRequestAnnotation]
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Unix(0, 0)
	}
	return t
}

// broken tells whether the API server got through once and no longer does, and how long ago it last did.
func (h *health) broken() (age time.Duration, broken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last.IsZero() {
		return 0, false
	}
	age = h.now().Sub(h.last)
	return age, age > healthLimit
}

// check is broken after another look, so that a process that has just started to lead knows what it says.
func (h *health) check(ctx context.Context) (age time.Duration, broken bool, err error) {
	h.mu.Lock()
	fresh := !h.last.IsZero() && h.now().Sub(h.last) <= healthLimit
	h.mu.Unlock()
	if !fresh {
		if err := h.beat(ctx); err != nil {
			return 0, false, err
		}
	}
	age, broken = h.broken()
	return age, broken, nil
}
