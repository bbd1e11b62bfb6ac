package controllers

import (
	"context"
	"fmt"
	"math"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

// policyObject is a ClusterPolicy or a Policy, whichever it is.
type policyObject struct {
	client.Object
	spec   *v1.Spec
	status *v1.PolicyStatus
}

func ofCluster(p *v1.ClusterPolicy) policyObject { return policyObject{p, &p.Spec, &p.Status} }
func ofNamespaced(p *v1.Policy) policyObject     { return policyObject{p, &p.Spec, &p.Status} }

func (o policyObject) key() policy.Key { return keyOf(o.Object) }

func keyOf(o client.Object) policy.Key {
	return policy.Key{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// copy returns a policy that may be changed.
func (o policyObject) copy() policyObject {
	if p, ok := o.Object.(*v1.ClusterPolicy); ok {
		return ofCluster(p.DeepCopy())
	}
	return ofNamespaced(o.Object.(*v1.Policy).DeepCopy())
}

// compile compiles the policy. A panic in the compiler is an error of this policy alone: the others have to load.
func (o policyObject) compile(opts policy.Options) (compiled *policy.Policy, errs field.ErrorList) {
	defer func() {
		if r := recover(); r != nil {
			compiled, errs = nil, field.ErrorList{field.InternalError(field.NewPath("spec"), fmt.Errorf("compiling the policy: %v", r))}
		}
	}()
	if p, ok := o.Object.(*v1.ClusterPolicy); ok {
		return policy.CompileCluster(p, opts)
	}
	return policy.CompileNamespaced(o.Object.(*v1.Policy), opts)
}

// getPolicy reads the policy of a key.
func getPolicy(ctx context.Context, r client.Reader, k policy.Key) (policyObject, error) {
	at := client.ObjectKey{Namespace: k.Namespace, Name: k.Name}
	if k.Namespace == "" {
		p := &v1.ClusterPolicy{}
		err := r.Get(ctx, at, p)
		return ofCluster(p), err
	}
	p := &v1.Policy{}
	err := r.Get(ctx, at, p)
	return ofNamespaced(p), err
}

// listPolicies reads all policies of both kinds.
func listPolicies(ctx context.Context, r client.Reader) ([]policyObject, error) {
	var cluster v1.ClusterPolicyList
	if err := r.List(ctx, &cluster); err != nil {
		return nil, fmt.Errorf("listing ClusterPolicies: %w", err)
	}
	var namespaced v1.PolicyList
	if err := r.List(ctx, &namespaced); err != nil {
		return nil, fmt.Errorf("listing Policies: %w", err)
	}
	all := make([]policyObject, 0, len(cluster.Items)+len(namespaced.Items))
	for i := range cluster.Items {
		all = append(all, ofCluster(&cluster.Items[i]))
	}
	for i := range namespaced.Items {
		all = append(all, ofNamespaced(&namespaced.Items[i]))
	}
	return all, nil
}

// count counts the rules as written, by kind.
func count(s *v1.Spec) *v1.RuleCountStatus {
	var c v1.RuleCountStatus
	for i := range s.Rules {
		r := &s.Rules[i]
		others := r.OtherOperations()
		for _, x := range []struct {
			n   *int32
			set bool
		}{
			{&c.Validate, slices.Contains(others, "validate")}, {&c.Mutate, slices.Contains(others, "mutate")},
			{&c.Generate, slices.Contains(others, "generate")},
			{&c.VerifyImages, len(r.VerifyImages) > 0},
		} {
			if x.set && *x.n < math.MaxInt32 {
				*x.n++
			}
		}
	}
	return &c
}
