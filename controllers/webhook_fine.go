package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/settings"
)

// finePath stands between the path of a failure policy and the name of a policy.
const finePath = "/finegrained/"

// fineRegistration is what the webhooks of one policy are asked for.
type fineRegistration struct {
	policy               *policy.Policy
	mutating, validating *registration
	// refused is set when the API server does not accept the conditions: the webhooks then ask about everything.
	refused bool
}

// checkConditions asks the API server about the conditions of every policy that has some. A policy whose conditions it refuses
// is asked about without them, which judges more and not less, and is not ready.
func (r *registrations) checkConditions(ctx context.Context, c *conditionChecker) error {
	for i := range r.fine {
		f := &r.fine[i]
		errs, err := c.check(ctx, f.policy.MatchConditions)
		if err != nil {
			return fmt.Errorf("checking the matchConditions of policy %s: %w", f.policy.Key, err)
		}
		if len(errs) > 0 {
			f.refused = true
			r.problems[f.policy.Key] = cut("webhooks are registered without conditions: "+errs.ToAggregate().Error(), maxMessage)
		}
	}
	return nil
}

// maxNamespacedWebhooks bounds what the webhooks of all Policies of namespaces take in each configuration, in bytes, and
// webhookOverhead is about what one takes besides its conditions and rules: the API server stores no object above 1.5 MiB, and a
// configuration that it does not store keeps the webhooks of everybody as they are.
const (
	maxNamespacedWebhooks = 512 << 10
	webhookOverhead       = 4 << 10
)

// size is about what a webhook of the policy takes in a configuration, in bytes.
func (f *fineRegistration) size() int {
	size := webhookOverhead + 64*max(len(f.mutating.targets), len(f.validating.targets))
	for _, c := range f.policy.MatchConditions {
		size += len(c.Name) + 2*len(c.Expression) // escaped, as JSON is
	}
	return size
}

// bounded leaves webhooks of Policies away until they fit, always the last one of the namespace that has the most. That takes
// from nobody else: a Policy only adds checks in its namespace, and ClusterPolicies always have their webhooks.
func (r *registrations) bounded() {
	total, used := 0, map[string]int{}
	for i := range r.fine {
		if f := &r.fine[i]; f.policy.Namespace != "" {
			used[f.policy.Namespace] += f.size()
			total += f.size()
		}
	}
	for total > maxNamespacedWebhooks {
		most := ""
		for namespace, n := range used {
			if n > used[most] || n == used[most] && namespace > most {
				most = namespace
			}
		}
		for i := len(r.fine) - 1; i >= 0; i-- {
			f := r.fine[i]
			if f.policy.Namespace != most {
				continue
			}
			used[most] -= f.size()
			total -= f.size()
			r.problems[f.policy.Key] = fmt.Sprintf("no webhooks are registered: those of Policies with matchConditions take more than %d bytes, and most of them those of namespace %s", maxNamespacedWebhooks, most)
			r.fine = slices.Delete(r.fine, i, i+1)
			break
		}
	}
}

// maxFineName is the longest end of a webhook's name, in bytes: of the 253 that the API server accepts, beginnings and marks
// take less than the rest. A policy that may be applied stays far below it, one that was stored before may not.
const maxFineName = 150

// fineNames are the ends of the webhooks' names by policy. "a-b" in namespace "c" and "b" in "c-a" would share one, and the API
// server refuses a configuration with two webhooks of one name, or with a name that is too long: those get a mark.
func fineNames(fine []fineRegistration) map[policy.Key]string {
	taken, out := map[string]bool{}, map[policy.Key]string{}
	for i := range fine {
		k := fine[i].policy.Key
		sum := sha256.Sum256([]byte(k.String()))
		mark := "-" + hex.EncodeToString(sum[:8])
		name := k.Webhook("-")
		if len(name) > maxFineName {
			name = strings.TrimRight(name[:maxFineName], "-.") + mark
		}
		for taken[name] { // more than once for a policy whose name is made to look like such a mark
			name += mark
		}
		taken[name], out[k] = true, name
	}
	return out
}

// selector chooses the namespaces that the webhooks of a policy are asked about. Those of a Policy see its own namespace alone:
// what its author wrote into conditions is nothing to the requests of others, not even when it fails.
func (b *builder) selector(p *policy.Policy) *metav1.LabelSelector {
	if p.Namespace == "" {
		return b.settings.namespaceSelector
	}
	out := b.settings.namespaceSelector.DeepCopy()
	out.MatchExpressions = append(out.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: settings.NamespaceLabel, Operator: metav1.LabelSelectorOpIn, Values: []string{p.Namespace}})
	return out
}

// conditions are the policy's own, in place of the common ones.
func (f *fineRegistration) conditions() []admissionregistrationv1.MatchCondition {
	if f.refused {
		return nil
	}
	return f.policy.MatchConditions
}

// failure is the spelling of a policy's failure policy in names, paths and the API.
func failure(p *policy.Policy) (name string, api admissionregistrationv1.FailurePolicyType) {
	for _, s := range suffixes {
		if s.policy == p.FailurePolicy {
			return s.name, s.api
		}
	}
	return suffixes[0].name, suffixes[0].api
}

// allMutating are the common webhooks and those of single policies, sorted by name.
func (b *builder) allMutating(r *registrations) []admissionregistrationv1.MutatingWebhook {
	out := b.resourceMutating(r.mutating)
	names := fineNames(r.fine)
	for i := range r.fine {
		f := &r.fine[i]
		rules := f.mutating.rules()
		if len(rules) == 0 {
			continue
		}
		name, api := failure(f.policy)
		w := b.mutating("mutate.kyverno.svc-"+name+"-finegrained-"+names[f.policy.Key], MutatePath+"/"+name+finePath+f.policy.Webhook("/"), api, rules)
		w.TimeoutSeconds = pointer(f.mutating.timeout)
		w.NamespaceSelector, w.ObjectSelector = b.selector(f.policy), b.settings.objectSelector
		w.MatchConditions = f.conditions()
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b admissionregistrationv1.MutatingWebhook) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// allValidating are the common webhooks and those of single policies, sorted by name.
func (b *builder) allValidating(r *registrations) []admissionregistrationv1.ValidatingWebhook {
	out := b.resourceValidating(r.validating)
	names := fineNames(r.fine)
	for i := range r.fine {
		f := &r.fine[i]
		rules := f.validating.rules()
		if len(rules) == 0 {
			continue
		}
		name, api := failure(f.policy)
		w := b.validating("validate.kyverno.svc-"+name+"-finegrained-"+names[f.policy.Key], ValidatePath+"/"+name+finePath+f.policy.Webhook("/"), api, rules)
		w.SideEffects = pointer(b.validatingEffects)
		w.TimeoutSeconds = pointer(f.validating.timeout)
		w.NamespaceSelector, w.ObjectSelector = b.selector(f.policy), b.settings.objectSelector
		w.MatchConditions = f.conditions()
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b admissionregistrationv1.ValidatingWebhook) int { return strings.Compare(a.Name, b.Name) })
	return out
}
