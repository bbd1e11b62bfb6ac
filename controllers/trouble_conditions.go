package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

// foldInterval is how often the leader looks at what replicas lack, and so how often a policy's status is written for that.
const foldInterval = 30 * time.Second

// troubleConditions are the conditions that are there only while something is missing.
var troubleConditions = [...]string{v1.ConditionTrustMaterial, v1.ConditionRegistry}

// fold puts together what the replicas say that policies lack. It is a Runnable of the leader.
type fold struct {
	client    client.Client // live
	namespace string
	now       func() time.Time
	store     *policy.Store
	changed   func(policy.Key)

	mu     sync.Mutex
	looked bool
	all    map[policy.Key]map[string][]string // "code name" texts by policy and type of condition
}

// NeedLeaderElection says that only the leader writes conditions.
func (f *fold) NeedLeaderElection() bool { return true }

// Start looks from time to time.
func (f *fold) Start(ctx context.Context) error {
	for {
		if err := f.look(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Info("cannot read what replicas lack", "cause", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(foldInterval):
		}
	}
}

// look reads the leases of replicas, and asks for the status of those policies of which there is something else to say.
func (f *fold) look(ctx context.Context) error {
	var list coordinationv1.LeaseList
	if err := f.client.List(ctx, &list, client.InNamespace(f.namespace), client.MatchingLabels{ReplicaLabel: ReplicaLabelValue}); err != nil {
		return fmt.Errorf("reading the leases of replicas: %w", err)
	}
	all := map[policy.Key]map[string][]string{}
	for i := range list.Items {
		lease := &list.Items[i]
		if renewed := lease.Spec.RenewTime; renewed == nil || f.now().Sub(renewed.Time) > foldInterval+replicaExpiry {
			continue
		}
		for _, of := range reported(lease.Annotations[TroublesAnnotation]) {
			k := keyNamed(of.Policy)
			if all[k] == nil {
				all[k] = map[string][]string{}
			}
			for _, c := range troubleConditions {
				all[k][c] = append(all[k][c], of.Conditions[c][:min(len(of.Conditions[c]), maxTroubleNote)]...)
			}
		}
	}
	for _, conditions := range all {
		for c, texts := range conditions {
			slices.Sort(texts)
			conditions[c] = slices.Compact(texts)
		}
	}
	f.mu.Lock()
	before, first := f.all, !f.looked
	f.all, f.looked = all, true
	f.mu.Unlock()
	if s := f.store.Snapshot(); first && s != nil {
		for _, p := range s.Policies() { // somebody else led before, and may have left conditions
			f.changed(p.Key)
		}
		return nil
	}
	for _, m := range []map[policy.Key]map[string][]string{before, all} {
		for k := range m {
			if !maps.EqualFunc(before[k], all[k], slices.Equal) {
				f.changed(k)
			}
		}
	}
	return nil
}

// reported reads the annotation; nothing where it cannot be read.
func reported(annotation string) []told {
	var out []told
	if len(annotation) > 1<<18 || json.Unmarshal([]byte(annotation), &out) != nil {
		return nil
	}
	return out[:min(len(out), maxTroubled)]
}

// keyNamed reads what Key.String writes.
func keyNamed(s string) policy.Key {
	if namespace, name, ok := strings.Cut(s, "/"); ok {
		return policy.Key{Namespace: namespace, Name: name}
	}
	return policy.Key{Name: s}
}

// apply sets the conditions of a policy that lacks something, and takes them away from one that does not. Before the leader has
// looked, they stay as they are.
func (f *fold) apply(k policy.Key, generation int64, conditions *[]metav1.Condition, now metav1.Time) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.looked {
		return
	}
	for _, c := range troubleConditions {
		texts := f.all[k][c]
		if len(texts) == 0 {
			meta.RemoveStatusCondition(conditions, c)
			continue
		}
		code, _, _ := strings.Cut(texts[0], " ")
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: c, Status: metav1.ConditionFalse, Reason: reasonOf(code), Message: cut(lacking(texts), maxMessage),
			ObservedGeneration: generation, LastTransitionTime: now,
		})
	}
}

// reasonOf is a code as the reason of a condition, of which the API server asks that it is a word.
func reasonOf(code string) string {
	if code == "" || len(code) > 64 || strings.ContainsFunc(code, func(c rune) bool { return c < 'A' || c > 'z' || c > 'Z' && c < 'a' }) {
		return v1.ReasonFailed
	}
	return code
}

// lacking is the message: each thing with its code, those that are too many as a number.
func lacking(texts []string) string {
	more := ""
	if n := len(texts) - maxTroubleNote; n > 0 {
		texts, more = texts[:maxTroubleNote], fmt.Sprintf("; and %d more", n)
	}
	out := make([]string, len(texts))
	for i, t := range texts {
		code, name, _ := strings.Cut(t, " ")
		out[i] = cut(name, maxTroubleName) + ": " + cut(code, maxTroubleName)
	}
	return strings.Join(out, "; ") + more
}
