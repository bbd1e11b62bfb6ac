package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/settings"
)

// VI 3.5(2): whoever writes a rule that no request reaches is told so, and nobody else is.
func TestLetThrough(t *testing.T) {
	t.Parallel()
	const filters = "[ReplicaSet,*,*][*/*,kube-public,*][Pod,shop,*][Pod,b,one]"
	const unasked = "is judged: the API server does not ask about it, by the key webhooks of the ConfigMap kyverno"
	const filtered = "is judged: resourceFilters in the ConfigMap kyverno let them through"
	for name, c := range map[string]struct {
		own        string
		kinds      []string
		namespaces []string
		webhooks   string
		want       []string
	}{
		"everything":                   {"", []string{"Pod"}, nil, "", nil},
		"a kind":                       {"", []string{"Pod", "ReplicaSet"}, nil, "", []string{"no request about ReplicaSet " + filtered}},
		"a kind, also by namespace":    {"", []string{"ReplicaSet"}, []string{"kube-public"}, "", []string{"no request about ReplicaSet " + filtered}},
		"a namespace of several":       {"", []string{"Pod"}, []string{"a", "kube-system"}, "", []string{"no request in namespace kube-system " + unasked}},
		"a pattern":                    {"", []string{"Pod"}, []string{"kube-*"}, "", nil},
		"a namespace, filtered":        {"", []string{"Pod"}, []string{"kube-public", "a"}, "", []string{"no request about Pod in namespace kube-public " + filtered}},
		"one name":                     {"", []string{"Pod"}, []string{"b"}, "", nil},
		"Policy":                       {"a", []string{"Pod"}, nil, "", nil},
		"Policy where nobody asks":     {"signet", []string{"Pod", "ReplicaSet"}, nil, "", []string{"no request about ReplicaSet " + filtered, "no request in namespace signet " + unasked}},
		"Policy, a kind in it":         {"shop", []string{"Pod", "Job"}, nil, "", []string{"no request about Pod in namespace shop " + filtered}},
		"Policy, by the own key":       {"a", []string{"Pod"}, nil, `{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["a"]}]}}`, []string{"no request in namespace a " + unasked}},
		"Policy, asked by the own key": {"signet", []string{"Pod"}, nil, `{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"signet","other":"x"}}}`, nil},
		"Policy, by another label":     {"a", []string{"Pod"}, nil, `{"namespaceSelector":{"matchExpressions":[{"key":"other","operator":"Exists"}]}}`, nil},
		"Policy, not selected":         {"a", []string{"Pod"}, nil, `{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"b"}}}`, []string{"no request in namespace a " + unasked}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := clusterPolicy("p", c.kinds...).Spec
			spec.Rules[0].Match.Any[0].Resources.Namespaces = c.namespaces
			var p *policy.Policy
			meta := metav1.ObjectMeta{Name: "p", Namespace: c.own}
			if c.own == "" {
				p = compile(t, &v1.ClusterPolicy{ObjectMeta: meta, Spec: spec})
			} else {
				p, _ = policy.CompileNamespaced(&v1.Policy{ObjectMeta: meta, Spec: spec}, policy.Options{})
			}
			s, errs := settings.Read(map[string]string{"resourceFilters": filters, "webhooks": c.webhooks}, nil)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			live := settings.NewLive()
			live.Set(s)
			if diff := cmp.Diff(c.want, letThrough(live, "signet", p)); diff != "" {
				t.Error(diff)
			}
			// A key that cannot be read says nothing new.
			s, _ = settings.Read(map[string]string{"resourceFilters": filters, "webhooks": "["}, s)
			live.Set(s)
			if diff := cmp.Diff(c.want, letThrough(live, "signet", p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
