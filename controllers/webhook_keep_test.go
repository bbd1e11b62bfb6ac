package controllers

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

// webhooksFor are the mutating webhooks of policies.
func webhooksFor(t *testing.T, b *builder, policies ...*policy.Policy) []admissionregistrationv1.MutatingWebhook {
	t.Helper()
	r := register(policies, newKinds(t, &apis{lists: standardAPIs()}), b.timeout, validatingOperations)
	return b.allMutating(&r)
}

// asked are webhooks as "path timeout resources operations", one for each rule.
func asked(webhooks []admissionregistrationv1.MutatingWebhook) []string {
	var out []string
	for i := range webhooks {
		w := &webhooks[i]
		for _, r := range w.Rules {
			out = append(out, fmt.Sprintf("%s %d %s %v", pathOf(&w.ClientConfig), *w.TimeoutSeconds, strings.Join(r.Resources, ","), r.Operations))
		}
	}
	return out
}

// VI 1.6, A-55: while a replica is waited for, nothing that is registered is taken away.
func TestKeep(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, Options{})
	a := func(kind string, f v1.FailurePolicy, timeout int32) *policy.Policy {
		return compile(t, with(clusterPolicy("a", kind), f, timeout))
	}
	own := func(name string, f v1.FailurePolicy) *policy.Policy { return conditioned(t, "", name, f, 5) }
	foreign := webhooksFor(t, b, a("v1/Pod", v1.Fail, 5))
	foreign[0].ClientConfig.Service.Path = pointer("/elsewhere")
	tests := map[string]struct {
		stored  []admissionregistrationv1.MutatingWebhook
		desired []*policy.Policy
		waiting string // names of policies
		want    []string
	}{
		"nobody is waited for": {
			stored: webhooksFor(t, b, a("v1/Pod", v1.Fail, 5)), desired: []*policy.Policy{a("v1/Pod", v1.Ignore, 5)},
			want: []string{"/mutate/ignore 10 pods,pods/ephemeralcontainers [CREATE UPDATE]"},
		},
		"another failure policy": {
			stored: webhooksFor(t, b, a("v1/Pod", v1.Fail, 5)), desired: []*policy.Policy{a("v1/Pod", v1.Ignore, 5)}, waiting: "a",
			want: []string{"/mutate/fail 10 pods,pods/ephemeralcontainers [CREATE UPDATE]", "/mutate/ignore 10 pods,pods/ephemeralcontainers [CREATE UPDATE]"},
		},
		"conditions gained": {
			stored: webhooksFor(t, b, a("v1/Pod", v1.Fail, 5)), desired: []*policy.Policy{own("a", v1.Fail)}, waiting: "a",
			want: []string{"/mutate/fail 10 pods,pods/ephemeralcontainers [CREATE UPDATE]", "/mutate/fail/finegrained/a 5 pods,pods/ephemeralcontainers [CREATE UPDATE]"},
		},
		"conditions lost": {
			stored: webhooksFor(t, b, own("a", v1.Ignore)), desired: []*policy.Policy{a("v1/Pod", v1.Fail, 5)}, waiting: "a",
			want: []string{"/mutate/fail 10 pods,pods/ephemeralcontainers [CREATE UPDATE]", "/mutate/ignore/finegrained/a 5 pods,pods/ephemeralcontainers [CREATE UPDATE]"},
		},
		"conditions lost by a policy that nobody waits for": {
			stored: webhooksFor(t, b, own("a", v1.Ignore)), desired: []*policy.Policy{a("v1/Pod", v1.Fail, 5)}, waiting: "other",
			want: []string{"/mutate/fail 10 pods,pods/ephemeralcontainers [CREATE UPDATE]"},
		},
		"rules and timeouts of a common webhook": {
			stored: webhooksFor(t, b, a("apps/v1/StatefulSet", v1.Fail, 25)), desired: []*policy.Policy{a("batch/v1/Job", v1.Fail, 5)}, waiting: "a",
			want: []string{"/mutate/fail 25 statefulsets [CREATE UPDATE]", "/mutate/fail 25 jobs [CREATE UPDATE]"},
		},
		"no policies at all": {stored: webhooksFor(t, b, a("v1/Pod", v1.Fail, 5), own("b", v1.Fail))},
		"what nobody here wrote": {
			stored: foreign, desired: []*policy.Policy{a("v1/Pod", v1.Ignore, 5)}, waiting: "a",
			want: []string{"/mutate/ignore 10 pods,pods/ephemeralcontainers [CREATE UPDATE]"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &keeper{waiting: map[policy.Key]string{}, endpoint: &b.endpoint}
			if tt.waiting != "" {
				k.waiting[policy.Key{Name: tt.waiting}] = ""
			}
			got := keepMutating(k, webhooksFor(t, b, tt.desired...), tt.stored)
			if diff := cmp.Diff(tt.want, asked(got)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(got, keepMutating(k, webhooksFor(t, b, tt.desired...), got)); diff != "" {
				t.Errorf("another round changes it:\n%s", diff)
			}
		})
	}
}

// What is kept is asked at the present address, whatever it was before.
func TestKeptEndpoint(t *testing.T) {
	t.Parallel()
	before := newBuilder(t, Options{ServerIP: "127.0.0.1:1"})
	now := newBuilder(t, Options{ServerIP: "127.0.0.1:2"})
	p := compile(t, with(clusterPolicy("a", "v1/Pod"), v1.Ignore, 5))
	k := &keeper{waiting: map[policy.Key]string{p.Key: ""}, endpoint: &now.endpoint}
	got := keepMutating(k, webhooksFor(t, now, p), webhooksFor(t, before, conditioned(t, "", "a", v1.Fail, 5)))
	var urls []string
	for i := range got {
		urls = append(urls, *got[i].ClientConfig.URL)
	}
	want := []string{"https://127.0.0.1:2/mutate/fail/finegrained/a", "https://127.0.0.1:2/mutate/ignore"}
	if diff := cmp.Diff(want, urls); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// what the author of one namespace's Policies has registered and changed does not fill the configuration of all.
func TestKeptBounds(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, Options{})
	var before, after []*policy.Policy
	k := &keeper{waiting: map[policy.Key]string{}, endpoint: &b.endpoint}
	for i := range 100 {
		name := fmt.Sprintf("p%d", i)
		before, after = append(before, conditioned(t, "crowd", name, v1.Fail, 5)), append(after, conditioned(t, "crowd", name, v1.Ignore, 5))
	}
	before, after = append(before, conditioned(t, "small", "p", v1.Fail, 5)), append(after, conditioned(t, "small", "p", v1.Ignore, 5))
	for _, p := range after {
		k.waiting[p.Key] = ""
	}
	got := keepMutating(k, webhooksFor(t, b, after...), webhooksFor(t, b, before...))
	if len(got) != len(after)+1 {
		t.Errorf("%d webhooks, want %d", len(got), len(after)+1)
	}
	if text := strings.Join(asked(got), "\n"); !strings.Contains(text, "/mutate/fail/finegrained/small/p ") {
		t.Error("that of the other namespace is not kept")
	}
}
