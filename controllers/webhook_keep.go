package controllers

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// keeper leaves webhooks registered that some replica may still answer by. A policy that changes its path is judged on the new
// one by replicas that hold the new generation, and on the old one by those that do not: until no replica is waited for, what
// is registered only grows. It needs no memory but what is stored, so that it does not matter who leads.
type keeper struct {
	// waiting are the policies that some replica does not hold; with none, nothing is kept.
	waiting  map[policy.Key]string
	endpoint *endpoint
}

// hook is what matters of a mutating or validating webhook.
type hook struct {
	name       *string
	client     *admissionregistrationv1.WebhookClientConfig
	rules      *[]admissionregistrationv1.RuleWithOperations
	timeout    **int32
	conditions []admissionregistrationv1.MatchCondition
}

func keepMutating(k *keeper, desired, stored []admissionregistrationv1.MutatingWebhook) []admissionregistrationv1.MutatingWebhook {
	return keep(k, MutatePath, desired, stored, func(w *admissionregistrationv1.MutatingWebhook) hook {
		return hook{&w.Name, &w.ClientConfig, &w.Rules, &w.TimeoutSeconds, w.MatchConditions}
	})
}

func keepValidating(k *keeper, desired, stored []admissionregistrationv1.ValidatingWebhook) []admissionregistrationv1.ValidatingWebhook {
	return keep(k, ValidatePath, desired, stored, func(w *admissionregistrationv1.ValidatingWebhook) hook {
		return hook{&w.Name, &w.ClientConfig, &w.Rules, &w.TimeoutSeconds, w.MatchConditions}
	})
}

// keep adds to the desired webhooks those that are stored and not to be taken away yet, sorted by name. A common one is asked
// for everything that it was asked for before. One of a single policy stays as it is beside a new one at another path; that of
// a policy that is gone does not, and neither does what nobody here wrote.
func keep[W any](k *keeper, base string, desired, stored []W, view func(*W) hook) []W {
	if len(k.waiting) == 0 {
		return desired
	}
	out, at, taken := slices.Clone(desired), map[string]int{}, map[string]bool{}
	for i := range out {
		h := view(&out[i])
		at[pathOf(h.client)], taken[*h.name] = i, true
	}
	kept, owners, sizes := []W{}, []string{}, map[string]int{}
	for i := range stored {
		w := stored[i]
		h := view(&w)
		path := pathOf(h.client)
		only, common, ok := readPath(base, path)
		if !ok {
			continue
		}
		if i, there := at[path]; there {
			if common && i >= 0 {
				d := view(&out[i])
				*d.rules = unite(*d.rules, *h.rules)
				*d.timeout = longer(*d.timeout, *h.timeout)
			}
			continue
		}
		if _, waits := k.waiting[only]; !common && !waits {
			continue
		}
		for taken[*h.name] { // another policy has the name now
			sum := sha256.Sum256([]byte(path))
			*h.name += "-" + hex.EncodeToString(sum[:8])
		}
		taken[*h.name], at[path] = true, -1
		*h.client = k.endpoint.at(path)
		kept, owners = append(kept, w), append(owners, only.Namespace)
		if only.Namespace != "" {
			sizes[only.Namespace] += h.size()
		}
	}
	for i, full := 0, crowded(sizes); i < len(kept); i++ {
		if !full[owners[i]] {
			out = append(out, kept[i])
		}
	}
	slices.SortStableFunc(out, func(a, b W) int { return strings.Compare(*view(&a).name, *view(&b).name) })
	return out
}

// maxKeptWebhooks bounds what webhooks of Policies of namespaces take that are only kept, in bytes of each configuration.
const maxKeptWebhooks = 256 << 10

// crowded are the namespaces whose Policies' own webhooks are not kept: those that have most of them, until the others fit. What
// the authors of one namespace do is not to fill the configuration of all.
func crowded(sizes map[string]int) map[string]bool {
	total, out := 0, map[string]bool{}
	for _, n := range sizes {
		total += n
	}
	namespaces := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), strings.Compare(a, b))
	})
	for _, ns := range namespaces {
		if total <= maxKeptWebhooks {
			break
		}
		out[ns] = true
		total -= sizes[ns]
	}
	return out
}

// readPath reads the path of a resource webhook: that of one policy, or a common one.
func readPath(base, path string) (only policy.Key, common, ok bool) {
	rest, ok := strings.CutPrefix(path, base+"/")
	if !ok {
		return policy.Key{}, false, false
	}
	group, name, fine := strings.Cut(rest, finePath)
	if !slices.ContainsFunc(suffixes[:], func(s suffix) bool { return s.name == group }) {
		return policy.Key{}, false, false
	}
	if !fine {
		return policy.Key{}, true, true
	}
	namespace, name, namespaced := strings.Cut(name, "/")
	if !namespaced {
		return policy.Key{Name: namespace}, false, true
	}
	return policy.Key{Namespace: namespace, Name: name}, false, true
}

// pathOf is the path that a webhook is asked at; empty for none.
func pathOf(c *admissionregistrationv1.WebhookClientConfig) string {
	switch {
	case c.Service != nil && c.Service.Path != nil:
		return *c.Service.Path
	case c.URL != nil:
		if u, err := url.Parse(*c.URL); err == nil {
			return u.Path
		}
	}
	return ""
}

// size is about what the webhook takes in a configuration, in bytes.
func (h hook) size() int {
	size := webhookOverhead
	for _, c := range h.conditions {
		size += len(c.Name) + 2*len(c.Expression)
	}
	for i := range *h.rules {
		size += 64 * len((*h.rules)[i].Resources)
	}
	return size
}

// unite are the rules that ask for everything that one of two lists asks for.
func unite(a, b []admissionregistrationv1.RuleWithOperations) []admissionregistrationv1.RuleWithOperations {
	var all registration
	for _, r := range slices.Concat(a, b) {
		var o match.Operations
		for _, t := range r.Operations {
			if t == admissionregistrationv1.OperationAll {
				o |= validatingOperations
			} else {
				o |= match.ParseOperation(string(t))
			}
		}
		if o == 0 {
			continue
		}
		scope := admissionregistrationv1.AllScopes
		if r.Scope != nil {
			scope = *r.Scope
		}
		for _, group := range r.APIGroups {
			for _, version := range r.APIVersions {
				for _, resource := range r.Resources {
					all.add(target{group: group, version: version, resource: resource, scope: scope}, o)
				}
			}
		}
	}
	return all.rules()
}

func longer(a, b *int32) *int32 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}
