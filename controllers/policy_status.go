package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/settings"
)

// maxMessage is the longest message of a condition that is worth writing, in bytes.
const maxMessage = 4096

// The messages of a Ready condition that needs no cause.
const (
	messageReady    = "Ready"
	messageNotReady = "Not Ready"
)

// statusWriter writes what became of policies into their status.
type statusWriter struct {
	reader   client.Reader
	writer   client.Client
	store    *policy.Store
	loader   *loader
	coverage *coverage
	settings *settings.Live // nil when nothing is settled
	system   string
	lacks    *fold // nil when nobody says what policies lack
	now      func() time.Time
}

// Reconcile brings the status of one policy up to date. It writes only when something differs.
func (w *statusWriter) Reconcile(ctx context.Context, k policy.Key) (reconcile.Result, error) {
	obj, err := getPolicy(ctx, w.reader, k)
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r, ok := w.loader.outcome(k)
	if !ok || r.uid != obj.GetUID() || r.generation != obj.GetGeneration() {
		return reconcile.Result{}, nil // the loader asks again once it has seen this generation
	}
	inForce := w.store.Get(k)
	ready, known := judge(r, inForce, w.coverage)
	if !known && (!w.coverage.tried() || meta.FindStatusCondition(obj.status.Conditions, v1.ConditionReady) == nil) {
		// A new leader does not unsay what it has not looked at, and no condition says the same without a write.
		return reconcile.Result{}, nil
	}
	if inForce != nil {
		ready.notes = slices.Concat(inForce.Moved, letThrough(w.settings, w.system, inForce))
		if ready.unshown = tooLarge(obj.spec, inForce.Generated); ready.unshown {
			ready.notes = append(ready.notes, noteUnshown)
		}
	}
	changed := obj.copy()
	*changed.status = desiredStatus(obj, inForce, ready, metav1.NewTime(w.now()))
	w.lacks.apply(k, obj.GetGeneration(), &changed.status.Conditions, metav1.NewTime(w.now()))
	if apiequality.Semantic.DeepEqual(obj.status, changed.status) {
		return reconcile.Result{}, nil
	}
	patch := client.MergeFromWithOptions(obj.Object, client.MergeFromWithOptimisticLock{})
	if err := w.writer.Status().Patch(ctx, changed.Object, patch); err != nil {
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return reconcile.Result{}, nil // gone, or changed meanwhile: the change is on its way here and asks again
		}
		return reconcile.Result{}, fmt.Errorf("writing the status of policy %s: %w", k, err)
	}
	return reconcile.Result{}, nil
}

// readiness is what the Ready condition says; an empty cause means that the policy is ready. Notes are what there is to say
// of a policy that is.
type readiness struct {
	cause string
	notes []string
	// unshown leaves the generated rules out of the status.
	unshown bool
}

// maxShown bounds what the rules of a policy take as written together with those generated from them, in bytes of JSON. The API
// server stores no object above 1.5 MiB, and a policy whose status is not stored would never be ready.
const (
	maxShown    = 1 << 20
	noteUnshown = "the generated rules are in force but too large for the status"
)

func tooLarge(spec *v1.Spec, generated []v1.Rule) bool {
	size := 0
	for _, part := range []any{spec, generated} {
		raw, err := json.Marshal(part)
		if err != nil {
			return true // what cannot be written cannot be stored either
		}
		size += len(raw)
	}
	return len(generated) > 0 && size > maxShown
}

// judge works out whether a policy is in force as written: compiled, evaluated in full, and with the API server asking
// for it and every replica to answer by it. It is not known while its webhooks have not been registered and nothing has gone
// wrong with that either.
func judge(r record, inForce *policy.Policy, c *coverage) (out readiness, known bool) {
	if r.refused != "" {
		return readiness{cause: r.refused}, true
	}
	if inForce == nil || inForce.UID != r.uid || inForce.Generation != r.generation {
		return readiness{cause: messageNotReady}, false
	}
	covered, problem := c.of(inForce)
	switch {
	case problem != "":
		return readiness{cause: problem}, true
	case !covered:
		return readiness{cause: messageNotReady}, false
	case len(inForce.NotEvaluated) > 0:
		return readiness{cause: messageNotEvaluated + strings.Join(inForce.NotEvaluated, messageDivider)}, true
	}
	return readiness{}, true
}

// desiredStatus is the whole status that a policy should have. What Signet says nothing about stays.
func desiredStatus(obj policyObject, inForce *policy.Policy, ready readiness, now metav1.Time) v1.PolicyStatus {
	out := *obj.status.DeepCopy()
	out.Ready = nil
	out.RuleCount = count(obj.spec)
	out.Autogen = v1.AutogenStatus{}
	if inForce != nil && !ready.unshown {
		out.Autogen.Rules = inForce.Generated
	}
	condition := metav1.Condition{
		Type: v1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1.ReasonSucceeded, Message: saying(messageReady, ready.notes),
		ObservedGeneration: obj.GetGeneration(), LastTransitionTime: now,
	}
	if ready.cause != "" {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, v1.ReasonFailed, cut(ready.cause, maxMessage)
		if strings.HasPrefix(ready.cause, messageNotEvaluated) { // the rest is in place, and where is said as it is of others
			condition.Message = saying(ready.cause, ready.notes)
		}
	}
	meta.SetStatusCondition(&out.Conditions, condition)
	return out
}

// saying is a message with notes. What is too long of the message is cut, and not the notes, unless there are very many.
func saying(message string, notes []string) string {
	rest := messageDivider + strings.Join(notes, messageDivider)
	if len(notes) == 0 {
		rest = ""
	}
	return cut(cut(message, max(maxMessage-len(rest), maxMessage/2))+rest, maxMessage)
}

// cut shortens s to n bytes at most, without breaking a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}
