package controllers

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	news "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

// messageNotEvaluated begins the message of a policy that holds more than is evaluated. It is said only once the rest is in force.
const messageNotEvaluated = "not evaluated: "

// messageDivider stands between the parts of a message.
const messageDivider = "; "

// inPlace is what the leader says of a generation once the API server asks about it and every replica holds it; empty as long
// as it does not.
func inPlace(obj policyObject) string {
	c := meta.FindStatusCondition(obj.status.Conditions, v1.ConditionReady)
	if c == nil || c.ObservedGeneration != obj.GetGeneration() ||
		c.Status != metav1.ConditionTrue && !strings.HasPrefix(c.Message, messageNotEvaluated) {
		return ""
	}
	return c.Message
}

// isSettled tells whether that is so of the generation as it was compiled here. Flags may bring a policy to another path than
// those of the leader that said it.
func isSettled(obj policyObject, compiled *policy.Policy) bool {
	said := inPlace(obj)
	if said == "" || compiled == nil {
		return false
	}
	parts := strings.Split(said, messageDivider)
	for _, why := range []string{policy.ForcedIgnore, policy.NoConditions} {
		if slices.Contains(parts, why) != slices.Contains(compiled.Moved, why) {
			return false
		}
	}
	return true
}

// settles lets through the news that a generation is settled, or is so no longer.
func settles() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(news.CreateEvent) bool { return false },
		DeleteFunc:  func(news.DeleteEvent) bool { return false },
		GenericFunc: func(news.GenericEvent) bool { return false },
		UpdateFunc: func(e news.UpdateEvent) bool {
			before, ok := asPolicy(e.ObjectOld)
			now, also := asPolicy(e.ObjectNew)
			return ok && also && inPlace(now) != inPlace(before)
		},
	}
}

func asPolicy(o client.Object) (policyObject, bool) {
	switch p := o.(type) {
	case *v1.ClusterPolicy:
		return ofCluster(p), true
	case *v1.Policy:
		return ofNamespaced(p), true
	}
	return policyObject{}, false
}
