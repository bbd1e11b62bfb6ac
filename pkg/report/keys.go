package report

import (
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// The event of trouble with the keys of a policy, when no object is concerned yet.
const (
	policyError = "PolicyError"
	noAction    = "None"
)

// keyStates is what became of the keys that policies refer to.
type keyStates struct {
	mu     sync.Mutex
	status map[verify.Reference]string
}

// Key notes what became of a key that is kept elsewhere: whether it can be used (no err), or is not followed any more
// (gone). Trouble becomes a log line, a metric and an event on each policy that refers to the key.
func (r *Recorder) Key(ref verify.Reference, err *reason.Error, gone bool) {
	status := "ready"
	switch {
	case gone:
		status = ""
	case err != nil && err.Code == reason.TrustMaterialInvalid:
		status = "invalid"
	case err != nil:
		status = "unavailable"
	}
	r.countKey(ref, status)
	switch {
	case gone:
		return
	case err == nil:
		r.o.Logger.Info("a key that policies refer to is in force", "key", string(ref))
		return
	}
	r.o.Logger.Info("a key that policies refer to cannot be used; what needs it is refused", "key", string(ref),
		"reason", string(err.Code), "cause", err.Text)
	r.sendKeyEvents(ref, err)
}

func (r *Recorder) countKey(ref verify.Reference, status string) {
	source := strings.TrimSuffix(ref.Scheme(), "://")
	k := &r.keyStates
	k.mu.Lock()
	defer k.mu.Unlock()
	if before := k.status[ref]; before != "" {
		r.metrics.keys.WithLabelValues(source, before).Dec()
	}
	if status == "" {
		delete(k.status, ref)
		return
	}
	if k.status == nil {
		k.status = map[verify.Reference]string{}
	}
	k.status[ref] = status
	r.metrics.keys.WithLabelValues(source, status).Inc()
}

func (r *Recorder) sendKeyEvents(ref verify.Reference, err *reason.Error) {
	if r.o.Events == nil || r.o.Policies == nil {
		return
	}
	snapshot := r.o.Policies.Snapshot()
	if snapshot == nil {
		return
	}
	for _, e := range keyEvents(snapshot.Policies(), ref, err) {
		r.send(&e)
	}
}

// keyEvents is one event for each policy that refers to the key.
func keyEvents(policies []*policy.Policy, ref verify.Reference, err *reason.Error) []event {
	var out []event
	for _, p := range policies {
		if p.RefersTo(ref) {
			out = append(out, event{regarding: policyReference(p, ""), kind: corev1.EventTypeWarning,
				reason: policyError, action: noAction, note: note(err.Text, err.Code)})
		}
	}
	return out
}
