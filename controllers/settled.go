package controllers

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	news "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	v1 "github.com/signet-policy/signet/api/v1"
)

// messageNotEvaluated begins the message of a policy that holds more than is evaluated. It is said only once the rest is in force.
const messageNotEvaluated = "not evaluated: "

// isSettled tells whether the leader said of this generation that the API server asks about it and that every replica holds it.
func isSettled(obj policyObject) bool {
	c := meta.FindStatusCondition(obj.status.Conditions, v1.ConditionReady)
	if c == nil || c.ObservedGeneration != obj.GetGeneration() {
		return false
	}
	return c.Status == metav1.ConditionTrue || strings.HasPrefix(c.Message, messageNotEvaluated)
}

// settles lets through the news that a generation is settled.
func settles() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(news.CreateEvent) bool { return false },
		DeleteFunc:  func(news.DeleteEvent) bool { return false },
		GenericFunc: func(news.GenericEvent) bool { return false },
		UpdateFunc: func(e news.UpdateEvent) bool {
			before, ok := asPolicy(e.ObjectOld)
			now, also := asPolicy(e.ObjectNew)
			return ok && also && isSettled(now) && !isSettled(before)
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
