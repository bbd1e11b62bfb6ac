package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

// sent is an event in one line: whom it is about, and what it says.
func sent(e event) string {
	on := e.regarding.Kind + " " + strings.TrimPrefix(e.regarding.Namespace+"/"+e.regarding.Name, "/")
	return strings.Join([]string{on, e.kind, e.reason, e.action, e.note}, "|")
}

// VI 7.5.
func TestReviewEvents(t *testing.T) {
	t.Parallel()
	a, b := newImage(t, 0, "a:1", "/spec/containers/0/image"), newImage(t, 1, "b:1", "/spec/containers/1/image")
	rule := newRule(policy.Key{Name: "check"}, "sig", policy.Fail)
	local := newRule(policy.Key{Namespace: "team", Name: "own"}, "sig", policy.Fail)
	early := newRule(policy.Key{Name: "early"}, "pin", policy.Fail, onlyMutates)
	pod := objectKey{kind: "Pod", namespace: "team", name: "web"}
	unnamed := objectKey{kind: "Pod", namespace: "team"}
	refused := engine.Result{Rule: rule, Image: b, Status: engine.Error, Reason: reason.RegistryUnavailable, Message: "no connection"}
	const onPolicy, onPod = "ClusterPolicy check|Warning|PolicyViolation|", "Pod team/web|Warning|PolicyViolation|"
	tests := map[string]struct {
		item      item
		successes bool
		want      []string
	}{
		"a blocked failure is on the policy alone": {
			item: item{key: pod, slot: mutFail, results: []engine.Result{failed(rule, a)}},
			want: []string{onPolicy + "Resource Blocked|Pod team/web: [sig] fail (blocked); no signatures found [Unsigned]"},
		},
		"an admitted failure is on both": {
			item: item{key: pod, slot: valFail, allowed: true, results: []engine.Result{failed(rule, a)}},
			want: []string{
				onPolicy + "Resource Passed|Pod team/web: [sig] fail; no signatures found [Unsigned]",
				onPod + "Resource Passed|policy check/sig fail: no signatures found [Unsigned]",
			},
		},
		"an error is a violation here": {
			item: item{key: pod, slot: valIgnore, allowed: true, results: []engine.Result{refused}},
			want: []string{
				onPolicy + "Resource Passed|Pod team/web: [sig] error; no connection [RegistryUnavailable]",
				onPod + "Resource Passed|policy check/sig error: no connection [RegistryUnavailable]",
			},
		},
		"a rule speaks once, with its worst reason": {
			item: item{key: pod, slot: valFail, results: []engine.Result{passed(rule, a), refused, failed(rule, a)}},
			want: []string{onPolicy + "Resource Blocked|Pod team/web: [sig] fail (blocked); no connection; no signatures found [Unsigned]"},
		},
		"every rule speaks": {
			item: item{key: pod, slot: valFail, results: []engine.Result{failed(rule, a), passed(early, a), failed(local, a)}},
			want: []string{
				onPolicy + "Resource Blocked|Pod team/web: [sig] fail (blocked); no signatures found [Unsigned]",
				"Policy team/own|Warning|PolicyViolation|Resource Blocked|Pod team/web: [sig] fail (blocked); no signatures found [Unsigned]",
			},
		},
		"without a name there is nothing to attach to": {
			item: item{key: unnamed, slot: mutFail, allowed: true, results: []engine.Result{failed(early, a)}},
			want: []string{"ClusterPolicy early|Warning|PolicyViolation|Resource Passed|Pod team/: [pin] fail; no signatures found [Unsigned]"},
		},
		"what is judged again waits for that": {
			item: item{key: pod, slot: mutFail, allowed: true, results: []engine.Result{failed(rule, a)}},
		},
		"what is judged only once does not": {
			item: item{key: pod, slot: mutFail, allowed: true, results: []engine.Result{failed(early, a)}},
			want: []string{
				"ClusterPolicy early|Warning|PolicyViolation|Resource Passed|Pod team/web: [pin] fail; no signatures found [Unsigned]",
				onPod + "Resource Passed|policy early/pin fail: no signatures found [Unsigned]",
			},
		},
		"objects without a namespace": {
			item: item{key: objectKey{kind: "Thing", name: "web"}, slot: valFail, results: []engine.Result{failed(rule, a)}},
			want: []string{onPolicy + "Resource Blocked|Thing web: [sig] fail (blocked); no signatures found [Unsigned]"},
		},
		"passes are silent": {
			item: item{key: pod, slot: valFail, allowed: true, results: []engine.Result{passed(rule, a), passed(rule, b)}},
		},
		"passes on demand": {
			item:      item{key: pod, slot: valFail, allowed: true, results: []engine.Result{passed(rule, a), passed(rule, b), passed(local, a), failed(local, b)}},
			successes: true,
			want: []string{
				"Policy team/own|Warning|PolicyViolation|Resource Passed|Pod team/web: [sig] fail; no signatures found [Unsigned]",
				onPod + "Resource Passed|policy own/sig fail: no signatures found [Unsigned]",
				"ClusterPolicy check|Normal|PolicyApplied|Resource Passed|Pod team/web: pass [Verified]",
			},
		},
		"a rule that an exception takes away is told of on both": {
			item: item{key: pod, slot: valFail, allowed: true, results: []engine.Result{{Rule: rule, Status: engine.Skip, Reason: reason.SkippedByException,
				Message: "rule is skipped", Exceptions: []policy.Key{{Namespace: "ops", Name: "x"}}}}},
			want: []string{
				"ClusterPolicy check|Normal|PolicySkipped|Resource Passed|Pod team/web: [sig] skip; rule is skipped [SkippedByException]",
				"PolicyException ops/x|Normal|PolicySkipped|Resource Passed|Pod team/web: policy check/sig skip [SkippedByException]",
			},
		},
		"a skip by the policy is no event": {
			item:      item{key: pod, slot: valFail, allowed: true, results: []engine.Result{{Rule: rule, Image: a, Status: engine.Skip, Reason: reason.SkippedByPolicy}}},
			successes: true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, e := range reviewEvents(&tc.item, tc.successes) {
				got = append(got, sent(e))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// whoever tries to create very many objects causes a bounded number of events, and passes do not use up those of violations.
func TestA62EventsAreBounded(t *testing.T) {
	t.Parallel()
	registry, now, sink := prometheus.NewPedanticRegistry(), clocktesting.NewFakeClock(time.Unix(0, 0)), events.NewFakeRecorder(10000)
	r := New(Options{Registerer: registry, MaxQueued: 50, Clock: now, Events: sink, GenerateSuccessEvents: true})
	rule, img := newRule(policy.Key{Name: "check"}, "sig", policy.Fail), newImage(t, 0, "a:1", "/x")
	send := func(results ...engine.Result) (sent int) {
		for i := range 200 {
			r.sendEvents(&item{key: objectKey{kind: "Pod", namespace: "n", name: fmt.Sprint("web-", i)}, slot: valFail, results: results})
		}
		for sent = 0; len(sink.Events) > 0; sent++ {
			<-sink.Events
		}
		return sent
	}
	var got []int
	for _, wait := range []time.Duration{0, 0, time.Second, time.Hour} {
		now.Step(wait)
		got = append(got, send(passed(rule, img)), send(failed(rule, img)))
	}
	if diff := cmp.Diff([]int{50, 50, 0, 0, 20, 20, 50, 50}, got); diff != "" {
		t.Errorf("events sent (-want +got):\n%s", diff)
	}
	if want := droppedMetric.Name + ": 1360"; !slices.Contains(gather(t, registry), want) {
		t.Errorf("no %q", want)
	}
}

// Events of two rules about one object are told apart by the sink, which goes by everything but the note.
func TestEventsOfRulesDiffer(t *testing.T) {
	t.Parallel()
	img := newImage(t, 0, "a:1", "/x")
	one := newRule(policy.Key{Name: "check"}, "one", policy.Fail)
	two := &policy.Rule{Policy: one.Policy, Name: "two", Entries: one.Entries}
	list := reviewEvents(&item{key: objectKey{kind: "Pod", namespace: "n", name: "web"}, slot: valFail, allowed: true,
		results: []engine.Result{failed(one, img), failed(two, img)}}, false)
	type identity struct{ regarding, related corev1.ObjectReference }
	seen := map[identity]bool{}
	for _, e := range list {
		seen[identity{*e.regarding, *e.related}] = true
	}
	if len(list) != 4 || len(seen) != 4 {
		t.Errorf("%d events, %d different", len(list), len(seen))
	}
}
