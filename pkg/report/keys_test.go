package report

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/events"

	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

func refersTo(refs ...verify.Reference) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Entries[0].Requirement = &verify.Requirement{References: refs} }
}

// VI 7.5: trouble with a key is told on each policy that refers to it, and counted while it lasts.
func TestKey(t *testing.T) {
	t.Parallel()
	const signer, other = verify.Reference("k8s://team/signer"), verify.Reference("awskms:///alias/signer")
	registry, sink := prometheus.NewPedanticRegistry(), events.NewFakeRecorder(10)
	r := New(Options{Registerer: registry, Events: sink, Policies: inForce(
		newRule(policy.Key{Name: "one"}, "sig", policy.Fail, refersTo(signer)),
		newRule(policy.Key{Namespace: "team", Name: "two"}, "sig", policy.Fail, refersTo(other, signer)),
		newRule(policy.Key{Name: "three"}, "sig", policy.Fail, refersTo(other)))})
	counts := func() map[string]float64 {
		t.Helper()
		out := map[string]float64{}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != keysMetric.Name {
				continue
			}
			for _, m := range f.GetMetric() {
				if v := m.GetGauge().GetValue(); v != 0 {
					out[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = v
				}
			}
		}
		return out
	}
	missing := reason.New(reason.TrustMaterialUnavailable, "there is no such Secret")
	for i, step := range []struct {
		ref    verify.Reference
		err    *reason.Error
		gone   bool
		counts map[string]float64
		events []string
	}{
		{signer, nil, false, map[string]float64{"k8s ready": 1}, nil},
		{signer, missing, false, map[string]float64{"k8s unavailable": 1}, []string{
			"Warning PolicyError there is no such Secret [TrustMaterialUnavailable]", "Warning PolicyError there is no such Secret [TrustMaterialUnavailable]"}},
		{other, reason.New(reason.TrustMaterialInvalid, "no key"), false, map[string]float64{"k8s unavailable": 1, "awskms invalid": 1}, []string{
			"Warning PolicyError no key [TrustMaterialInvalid]", "Warning PolicyError no key [TrustMaterialInvalid]"}},
		{"k8s://team/unused", missing, false, map[string]float64{"k8s unavailable": 2, "awskms invalid": 1}, nil},
		{"k8s://team/unused", nil, true, map[string]float64{"k8s unavailable": 1, "awskms invalid": 1}, nil},
		{signer, nil, false, map[string]float64{"k8s ready": 1, "awskms invalid": 1}, nil},
		{other, nil, true, map[string]float64{"k8s ready": 1}, nil},
	} {
		r.Key(step.ref, step.err, step.gone)
		if d := cmp.Diff(step.counts, counts()); d != "" {
			t.Errorf("step %d: %s", i, d)
		}
		var got []string
		for len(sink.Events) > 0 {
			got = append(got, <-sink.Events)
		}
		if d := cmp.Diff(step.events, got); d != "" {
			t.Errorf("step %d: %s", i, d)
		}
	}
}
