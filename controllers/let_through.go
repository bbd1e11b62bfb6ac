package controllers

import (
	"fmt"
	"slices"

	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/settings"
)

// letThrough says which requests that the rules of a policy are about no policy is asked about: those of kinds and of namespaces
// that the ConfigMap leaves out. Its author could not tell such a rule from one that nobody breaks.
func letThrough(live *settings.Live, system string, p *policy.Policy) []string {
	if live == nil || p == nil {
		return nil
	}
	var out []string
	say := func(format string, args ...any) {
		if s := fmt.Sprintf(format, args...); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	s := live.Current()
	for _, r := range p.AuthoredRules() {
		everywhere := s.LetThrough(r.Kinds, "")
		for _, kind := range everywhere {
			say("no request about %s is judged: resourceFilters in the ConfigMap %s let them through", kind, settings.ConfigMap)
		}
		for _, namespace := range r.Namespaces() {
			if !s.AsksIn(namespace, system) {
				say("no request in namespace %s is judged: the API server does not ask about it, by the key webhooks of the ConfigMap %s", namespace, settings.ConfigMap)
				continue
			}
			for _, kind := range s.LetThrough(r.Kinds, namespace) {
				if !slices.Contains(everywhere, kind) {
					say("no request about %s in namespace %s is judged: resourceFilters in the ConfigMap %s let them through", kind, namespace, settings.ConfigMap)
				}
			}
		}
	}
	return out
}
