package controllers

import (
	"cmp"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// The operations that rules are registered for unless they name some.
const (
	mutatingOperations   = match.Create | match.Update
	validatingOperations = match.Create | match.Update | match.Delete | match.Connect
	// Webhooks with conditions are not asked about deletions that no policy names. They are allowed at once, but not by the API
	// server when a condition reads the object: a deletion has none, and a condition that fails refuses it.
	conditionedOperations = mutatingOperations
)

// operationTypes are the operations of a set in the usual order.
func operationTypes(o match.Operations) []admissionregistrationv1.OperationType {
	var out []admissionregistrationv1.OperationType
	for _, x := range []struct {
		bit  match.Operations
		name admissionregistrationv1.OperationType
	}{
		{match.Create, admissionregistrationv1.Create}, {match.Update, admissionregistrationv1.Update},
		{match.Delete, admissionregistrationv1.Delete}, {match.Connect, admissionregistrationv1.Connect},
	} {
		if o.Has(x.bit) {
			out = append(out, x.name)
		}
	}
	return out
}

// registration is what one webhook is asked for: its targets with their operations, and its timeout in seconds.
type registration struct {
	targets map[target]match.Operations
	timeout int32
}

func (r *registration) add(t target, o match.Operations) {
	if r.targets == nil {
		r.targets = map[target]match.Operations{}
	}
	r.targets[t] |= o
}

// registrations are those of the four common webhooks, and of policies with webhooks of their own.
type registrations struct {
	mutating, validating map[policy.FailurePolicy]*registration
	fine                 []fineRegistration
	// problems say by policy why its registration is not complete.
	problems map[policy.Key]string
	// unknown are the kinds that the API server does not serve, each with its policy; they are left out.
	unknown []string
	// moving is set when the answer may change without any policy changing: a kind is unknown, or stands for several.
	moving bool
}

// register works out what the webhooks have to be asked for so that every rule sees its requests. The common validating ones are
// asked for the given operations where a rule names none.
func register(policies []*policy.Policy, k *kinds, defaultTimeout int32, common match.Operations) registrations {
	out := registrations{problems: map[policy.Key]string{}}
	out.mutating, out.validating = empty(defaultTimeout), empty(defaultTimeout)
	for _, p := range policies {
		timeout := cmp.Or(p.TimeoutSeconds, defaultTimeout)
		mutating, validating, usual := out.mutating[p.FailurePolicy], out.validating[p.FailurePolicy], common
		if p.FineGrained() {
			usual = conditionedOperations
			mutating, validating = &registration{timeout: min(timeout, maxTimeout)}, &registration{timeout: min(timeout, maxTimeout)}
			out.fine = append(out.fine, fineRegistration{policy: p, mutating: mutating, validating: validating})
		}
		for _, rule := range p.Rules {
			less := excluded(rule, k)
			for _, filters := range [][]match.Resource{rule.Filter.Match.Any, rule.Filter.Match.All} {
				for i := range filters {
					for j := range filters[i].Kinds {
						for _, t := range out.resolve(p, &filters[i].Kinds[j], k) {
							add(mutating, validating, usual, rule, t, &filters[i], less, timeout)
						}
					}
				}
			}
		}
	}
	return out
}

// resolve gives the targets of a kind that a policy matches, and notes what is to be said about it.
func (r *registrations) resolve(p *policy.Policy, kind *match.Kind, k *kinds) []target {
	targets, err := k.resolve(kind)
	if err != nil && r.problems[p.Key] == "" {
		r.problems[p.Key] = cut(err.Error(), maxMessage)
	}
	if err == nil && len(targets) == 0 {
		r.unknown = append(r.unknown, p.String()+": "+kind.String())
	}
	r.moving = r.moving || err != nil || len(targets) == 0 || strings.ContainsAny(kind.String(), "*?")
	if p.Namespace == "" {
		return targets
	}
	// Nothing without a namespace is in the namespace of a Policy.
	return slices.DeleteFunc(targets, func(t target) bool { return t.scope == admissionregistrationv1.ClusterScope })
}

// add registers a target of one of a rule's filters, for the filter's operations or else the usual ones, which are given for
// the validating webhook.
func add(mutating, validating *registration, validatingUsual match.Operations, rule *policy.Rule, t target, filter *match.Resource, less []exclusion, timeout int32) {
	own := func(usual match.Operations) match.Operations {
		o := cmp.Or(filter.Operations, usual)
		for i := range less {
			if less[i].targets == nil || slices.Contains(less[i].targets, t) {
				o &^= less[i].operations
			}
		}
		return o
	}
	enter := func(to *registration, o match.Operations) {
		if o != 0 {
			to.add(t, o)
			to.timeout = min(max(to.timeout, timeout), maxTimeout)
		}
	}
	enter(mutating, own(mutatingOperations))
	if rule.Validates() {
		enter(validating, own(validatingUsual))
	}
}

// exclusion is what a rule never wants to see: operations on targets, which are all when nil.
type exclusion struct {
	targets    []target
	operations match.Operations
}

// excluded are the exclusions of a rule that need no look at the request: filters of kinds and operations alone. A kind
// that cannot be resolved takes nothing away.
func excluded(rule *policy.Rule, k *kinds) []exclusion {
	var out []exclusion
	for i := range rule.Filter.Exclude.Any {
		f := &rule.Filter.Exclude.Any[i]
		if f.Selector != nil || f.NamespaceSelector != nil || len(f.Names)+len(f.Namespaces)+len(f.Annotations)+len(f.Subjects)+len(f.Roles)+len(f.ClusterRoles) > 0 {
			continue
		}
		x := exclusion{operations: cmp.Or(f.Operations, validatingOperations)}
		for j := range f.Kinds {
			targets, err := k.resolve(&f.Kinds[j])
			if err == nil {
				x.targets = append(x.targets, targets...)
			}
		}
		if len(f.Kinds) == 0 || len(x.targets) > 0 {
			out = append(out, x)
		}
	}
	return out
}

// maxTimeout is the longest timeout of a webhook that the API server accepts, in seconds.
const maxTimeout = 30

func empty(timeout int32) map[policy.FailurePolicy]*registration {
	return map[policy.FailurePolicy]*registration{
		policy.Fail: {timeout: min(timeout, maxTimeout)}, policy.Ignore: {timeout: min(timeout, maxTimeout)},
	}
}

// everything are the registrations that do not follow the policies.
func everything(timeout int32, common match.Operations) registrations {
	out := registrations{mutating: empty(timeout), validating: empty(timeout)}
	all := target{group: "*", version: "*", resource: "*/*", scope: admissionregistrationv1.AllScopes}
	for _, f := range []policy.FailurePolicy{policy.Fail, policy.Ignore} {
		out.mutating[f].add(all, mutatingOperations)
		out.validating[f].add(all, common)
	}
	return out
}

// rules are the rules of a webhook, sorted, with all resources that differ in nothing else in one rule.
func (r *registration) rules() []admissionregistrationv1.RuleWithOperations {
	type head struct {
		group, version string
		scope          admissionregistrationv1.ScopeType
		operations     match.Operations
		// alone is a wildcard, which the API server does not accept beside resources that it includes.
		alone string
	}
	merged := map[head][]string{}
	for t, o := range r.targets {
		h := head{group: t.group, version: t.version, scope: t.scope, operations: o}
		if strings.Contains(t.resource, "*") {
			h.alone = t.resource
		}
		merged[h] = append(merged[h], t.resource)
	}
	out := make([]admissionregistrationv1.RuleWithOperations, 0, len(merged))
	for h, resources := range merged {
		slices.Sort(resources)
		scope := h.scope
		out = append(out, admissionregistrationv1.RuleWithOperations{
			Operations: operationTypes(h.operations),
			Rule: admissionregistrationv1.Rule{
				APIGroups: []string{h.group}, APIVersions: []string{h.version}, Resources: resources, Scope: &scope,
			},
		})
	}
	slices.SortFunc(out, func(a, b admissionregistrationv1.RuleWithOperations) int {
		return cmp.Or(slices.Compare(a.APIGroups, b.APIGroups), slices.Compare(a.APIVersions, b.APIVersions),
			slices.Compare(a.Resources, b.Resources), cmp.Compare(*a.Scope, *b.Scope), slices.Compare(a.Operations, b.Operations))
	})
	return out
}
