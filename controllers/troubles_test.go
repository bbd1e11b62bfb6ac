package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// referring is a policy whose key is in a Secret.
func referring(t *testing.T, name string) *policy.Policy {
	t.Helper()
	p := clusterPolicy(name, "Pod")
	p.Spec.Rules[0].VerifyImages[0].Attestors[0].Entries[0].Keys.PublicKeys = "k8s://team/cosign"
	return compile(t, p)
}

func judged(t *testing.T, p *policy.Policy, ref string, code reason.Code) engine.Result {
	t.Helper()
	r, err := image.Parse(ref, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return engine.Result{Rule: p.Rules[0], Image: &plan.Image{Ref: r}, Reason: code}
}

// What is told of the troubles of policies, after what was noted.
func TestTroubles(t *testing.T) {
	t.Parallel()
	static, kept := compile(t, clusterPolicy("static", "Pod")), referring(t, "kept")
	snapshot := policy.NewSnapshot([]*policy.Policy{static, kept})
	ref := snapshot.References()[0]
	missing := reason.New(reason.TrustMaterialUnavailable, "no such Secret")
	results := func(of ...engine.Result) func(*Troubles, *clock) { return func(t *Troubles, _ *clock) { t.Judged(of) } }
	later := func(d time.Duration) func(*Troubles, *clock) { return func(_ *Troubles, c *clock) { c.advance(d) } }
	key := func(ref verify.Reference, err *reason.Error, gone bool) func(*Troubles, *clock) {
		return func(t *Troubles, _ *clock) { t.Key(ref, err, gone) }
	}
	slow := judged(t, static, "ghcr.io/a:1", reason.RegistryTimeout)
	const slowText = `[{"policy":"static","conditions":{"RegistryAvailable":["RegistryTimeout ghcr.io"]}}]`
	const keyText = `[{"policy":"kept","conditions":{"TrustMaterialAvailable":["TrustMaterialUnavailable k8s://team/cosign"]}}]`
	tests := map[string]struct {
		steps []func(*Troubles, *clock)
		want  string
	}{
		"nothing":                          {},
		"violations":                       {steps: []func(*Troubles, *clock){results(judged(t, static, "ghcr.io/a:1", reason.Unsigned))}},
		"a slow registry":                  {steps: []func(*Troubles, *clock){results(slow)}, want: slowText},
		"for a while":                      {steps: []func(*Troubles, *clock){results(slow), later(troubleMemory + time.Second)}},
		"met again meanwhile":              {steps: []func(*Troubles, *clock){results(slow), later(troubleMemory - time.Minute), results(slow), later(troubleMemory - time.Minute)}, want: slowText},
		"until something is verified":      {steps: []func(*Troubles, *clock){results(slow, judged(t, static, "ghcr.io/b:1", reason.Verified))}},
		"not from another registry":        {steps: []func(*Troubles, *clock){results(slow, judged(t, static, "quay.io/b:1", reason.Verified))}, want: slowText},
		"nor by another policy":            {steps: []func(*Troubles, *clock){results(slow, judged(t, kept, "ghcr.io/b:1", reason.Verified))}, want: slowText},
		"a key that cannot be used":        {steps: []func(*Troubles, *clock){key(ref, missing, false), later(time.Hour)}, want: keyText},
		"and what follows from it":         {steps: []func(*Troubles, *clock){key(ref, missing, false), results(judged(t, kept, "ghcr.io/a:1", reason.TrustMaterialUnavailable))}, want: keyText},
		"a key that can be used again":     {steps: []func(*Troubles, *clock){key(ref, missing, false), key(ref, nil, false)}},
		"a key that nobody asks for":       {steps: []func(*Troubles, *clock){key(ref, missing, false), key(ref, missing, true)}},
		"a key that no policy refers to":   {steps: []func(*Troubles, *clock){key("k8s://other/key", missing, false)}},
		"trust material that is not a key": {steps: []func(*Troubles, *clock){results(judged(t, static, "ghcr.io/a:1", reason.TrustMaterialUnavailable))}, want: `[{"policy":"static","conditions":{"TrustMaterialAvailable":["TrustMaterialUnavailable the trusted root, a transparency log or a revocation service"]}}]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, troubles := newClock(), NewTroubles()
			troubles.now = c.now
			for _, step := range tt.steps {
				step(troubles, c)
			}
			if diff := cmp.Diff(tt.want, troubles.tell(snapshot)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// Users choose the names of registries: however many they invent, what is told stays small.
func TestTroublesBounds(t *testing.T) {
	t.Parallel()
	troubles := NewTroubles()
	var policies []*policy.Policy
	for i := range 100 {
		p := compile(t, clusterPolicy(fmt.Sprint("p", i), "Pod"))
		policies = append(policies, p)
		for j := range 100 {
			troubles.Judged([]engine.Result{judged(t, p, "r"+strings.Repeat("y", j)+".example.com/a:1", reason.RegistryTimeout)})
		}
	}
	text := troubles.tell(policy.NewSnapshot(policies))
	all := reported(text)
	if len(all) != maxTroubled || len(text) > 64<<10 {
		t.Errorf("%d policies in %d bytes", len(all), len(text))
	}
	// Authors of Policies choose how keys are named, too. A lease takes 256 KiB of annotations, and is not renewed beyond that.
	policies = nil
	for i := range maxTroubled {
		p := clusterPolicy(fmt.Sprint("p", i), "Pod")
		p.Spec.Rules[0].VerifyImages = nil
		for j := range maxTroubleNote {
			ref := verify.Reference("gcpkms://projects/" + strings.Repeat("<", 180) + fmt.Sprint(j) + "/locations/l/keyRings/r/cryptoKeys/k")
			p.Spec.Rules[0].VerifyImages = append(p.Spec.Rules[0].VerifyImages, v1.ImageVerification{ImageReferences: []string{"ghcr.io/*"},
				Attestors: []v1.AttestorSet{{Entries: []v1.Attestor{{Keys: &v1.StaticKeyAttestor{KMS: string(ref)}}}}}})
			troubles.Key(ref, &reason.Error{Code: reason.TrustMaterialUnavailable}, false)
		}
		policies = append(policies, compile(t, p))
	}
	if text := troubles.tell(policy.NewSnapshot(policies)); len(text) > maxTroubleText || len(reported(text)) == 0 {
		t.Errorf("%d bytes of %d policies", len(text), len(reported(text)))
	}
	// However many Policies lack something, what a ClusterPolicy lacks is told.
	crowded := NewTroubles()
	for i := range 2 * maxTroubled {
		p := *compile(t, clusterPolicy(fmt.Sprint("p", i), "Pod"))
		p.Namespace = "team"
		rule := *p.Rules[0]
		rule.Policy = &p
		r := judged(t, &p, "a.example.com/a:1", reason.RegistryTimeout)
		r.Rule = &rule
		crowded.Judged([]engine.Result{r})
	}
	cluster := compile(t, clusterPolicy("cluster", "Pod"))
	crowded.Judged([]engine.Result{judged(t, cluster, "b.example.com/a:1", reason.RegistryTimeout)})
	if text := crowded.tell(policy.NewSnapshot([]*policy.Policy{cluster})); len(reported(text)) != 1 || len(crowded.recent) != maxTroubled+1 {
		t.Errorf("told: %q", text)
	}
	for _, of := range all {
		if len(of.Conditions[v1.ConditionRegistry]) > maxTroubleNote {
			t.Errorf("%d registries of %s", len(of.Conditions[v1.ConditionRegistry]), of.Policy)
		}
	}
}

// What replicas say becomes conditions, which are there only while somebody says it. They decide nothing.
func TestTroubleConditions(t *testing.T) {
	t.Parallel()
	api, c := newAPI(t), newClock()
	one, two := newMember(t, api, c, "one"), newMember(t, api, c, "two")
	p := compile(t, clusterPolicy("a", "Pod"))
	store := policy.NewStore()
	store.Put(p)
	store.Sync()
	asked := 0
	f := &fold{client: api, namespace: "kyverno", now: c.now, store: store, changed: func(policy.Key) { asked++ }}
	now := metav1.NewTime(c.now())
	ready := metav1.Condition{Type: v1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1.ReasonSucceeded, Message: "Ready", ObservedGeneration: 1, LastTransitionTime: now}
	left := metav1.Condition{Type: v1.ConditionRegistry, Status: metav1.ConditionFalse, Reason: "RegistryTimeout", Message: "quay.io: RegistryTimeout", ObservedGeneration: 1, LastTransitionTime: now}
	conditions := []metav1.Condition{ready, left}
	expect := func(what string, times int, want ...metav1.Condition) {
		t.Helper()
		f.apply(p.Key, 1, &conditions, now)
		if diff := cmp.Diff(want, conditions); diff != "" || asked != times {
			t.Errorf("%s, asked %d times, want %d: -want +got\n%s", what, asked, times, diff)
		}
	}
	look := func() {
		t.Helper()
		one.mustRenew(t)
		two.mustRenew(t)
		if err := f.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	expect("before anybody looked", 0, ready, left)
	look()
	expect("nobody says anything", 1, ready)
	one.Replica.troubles = func() string {
		return `[{"policy":"a","conditions":{"RegistryAvailable":["RegistryTimeout ghcr.io","RegistryUnavailable b.example"],"Ready":["x y"]}}]`
	}
	two.Replica.troubles = func() string {
		return `[{"policy":"a","conditions":{"RegistryAvailable":["RegistryTimeout ghcr.io","RegistryTimeout a.example","RegistryUnauthorized z.example"],"TrustMaterialAvailable":["<b>x</b> k8s://a/b"]}}]`
	}
	look()
	trust := metav1.Condition{Type: v1.ConditionTrustMaterial, Status: metav1.ConditionFalse, Reason: v1.ReasonFailed, Message: "k8s://a/b: <b>x</b>", ObservedGeneration: 1, LastTransitionTime: now}
	registry := metav1.Condition{Type: v1.ConditionRegistry, Status: metav1.ConditionFalse, Reason: "RegistryTimeout",
		Message: "a.example: RegistryTimeout; ghcr.io: RegistryTimeout; z.example: RegistryUnauthorized; and 1 more", ObservedGeneration: 1, LastTransitionTime: now}
	expect("two replicas", 2, ready, trust, registry)
	look()
	expect("the same again", 2, ready, trust, registry)
	one.Replica.troubles = func() string { return "" }
	two.Replica.troubles = func() string { return "{" }
	look()
	expect("over", 3, ready)
}
