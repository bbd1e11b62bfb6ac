package controllers

import (
	"cmp"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/signet-policy/signet/pkg/policy"
)

// operation is a set of operations of admission requests.
type operation uint8

const (
	create operation = 1 << iota
	update
	remove
	connect
)

// The operations that rules are registered for.
const (
	mutatingOperations   = create | update
	validatingOperations = create | update | remove | connect
)

// list is the set in the usual order.
func (o operation) list() []admissionregistrationv1.OperationType {
	var out []admissionregistrationv1.OperationType
	for _, x := range []struct {
		bit  operation
		name admissionregistrationv1.OperationType
	}{
		{create, admissionregistrationv1.Create}, {update, admissionregistrationv1.Update},
		{remove, admissionregistrationv1.Delete}, {connect, admissionregistrationv1.Connect},
	} {
		if o&x.bit != 0 {
			out = append(out, x.name)
		}
	}
	return out
}

// registration is what one webhook is asked for: its targets with their operations, and its timeout in seconds.
type registration struct {
	targets map[target]operation
	timeout int32
}

func (r *registration) add(t target, o operation) {
	if r.targets == nil {
		r.targets = map[target]operation{}
	}
	r.targets[t] |= o
}

// registrations are those of the four common webhooks.
type registrations struct {
	mutating, validating map[policy.FailurePolicy]*registration
	// problems say by policy why its registration is not complete.
	problems map[policy.Key]string
	// unknown are the kinds that the API server does not serve, each with its policy; they are left out.
	unknown []string
	// moving is set when the answer may change without any policy changing: a kind is unknown, or stands for several.
	moving bool
}

// register works out what the webhooks have to be asked for so that every rule sees its requests.
func register(policies []*policy.Policy, k *kinds, defaultTimeout int32) registrations {
	out := registrations{problems: map[policy.Key]string{}}
	out.mutating, out.validating = empty(defaultTimeout), empty(defaultTimeout)
	for _, p := range policies {
		timeout := cmp.Or(p.TimeoutSeconds, defaultTimeout)
		for _, rule := range p.Rules {
			for i := range rule.Kinds {
				targets, err := k.resolve(&rule.Kinds[i])
				if err != nil && out.problems[p.Key] == "" {
					out.problems[p.Key] = cut(err.Error(), maxMessage)
				}
				if err == nil && len(targets) == 0 {
					out.unknown = append(out.unknown, p.String()+": "+rule.Kinds[i].String())
				}
				out.moving = out.moving || err != nil || len(targets) == 0 || strings.ContainsAny(rule.Kinds[i].String(), "*?")
				for _, t := range targets {
					if p.Namespace != "" && t.scope == admissionregistrationv1.ClusterScope {
						continue // nothing without a namespace is in the namespace of a Policy
					}
					m := out.mutating[p.FailurePolicy]
					m.add(t, mutatingOperations)
					m.timeout = min(max(m.timeout, timeout), maxTimeout)
					if rule.Validates() {
						v := out.validating[p.FailurePolicy]
						v.add(t, validatingOperations)
						v.timeout = min(max(v.timeout, timeout), maxTimeout)
					}
				}
			}
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
func everything(timeout int32) registrations {
	out := registrations{mutating: empty(timeout), validating: empty(timeout)}
	all := target{group: "*", version: "*", resource: "*/*", scope: admissionregistrationv1.AllScopes}
	for _, f := range []policy.FailurePolicy{policy.Fail, policy.Ignore} {
		out.mutating[f].add(all, mutatingOperations)
		out.validating[f].add(all, validatingOperations)
	}
	return out
}

// rules are the rules of a webhook, sorted, with all resources that differ in nothing else in one rule.
func (r *registration) rules() []admissionregistrationv1.RuleWithOperations {
	type head struct {
		group, version string
		scope          admissionregistrationv1.ScopeType
		operations     operation
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
			Operations: h.operations.list(),
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
