package report

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// docs/metrics.md says what the recorder exports; -update writes it.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# Metrics\n\nWritten by `go test ./pkg/report -run TestDocumentation -update`; do not edit.\n\n" +
		"No label holds text that the owner of an image controls. The registry host, which the author of an object chooses, is\nbounded in number, and so are pairs of kind and namespace: from the 4097th on, both are other.\n")
	for _, m := range Metrics() {
		fmt.Fprintf(&b, "\n## `%s` (%s)\n\n%s\n", m.Name, m.Type, m.Help)
		if len(m.Labels) > 0 {
			fmt.Fprintf(&b, "\nLabels: `%s`.\n", strings.Join(m.Labels, "`, `"))
		}
	}
	file := filepath.Join("..", "..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/metrics.md is out of date, run with -update (-want +got):\n%s", diff)
	}
}

// VI 7.4.
func TestObserve(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	r := New(Options{Registerer: registry, Version: "v1"})
	img := newImage(t, 0, "nginx:1", "/x")
	rule := newRule(policy.Key{Name: "check"}, "sig", policy.Fail)
	local := newRule(policy.Key{Namespace: "team", Name: "own"}, "sig", policy.Ignore, background)
	request := &engine.Request{Phase: engine.Validating, Attributes: match.Attributes{Kind: "Pod", Namespace: "team"}}
	r.Record(&Review{Request: request, Operation: "CREATE", Duration: 300 * time.Millisecond,
		Decision: &engine.Decision{Results: []engine.Result{passed(rule, img), failed(rule, img), passed(local, img)}}})
	r.Unjudged("Pod", false)
	r.Unjudged("", false)
	r.Record(&Review{Request: request, Operation: "UPDATE", DryRun: true, Decision: &engine.Decision{Allowed: true, Results: []engine.Result{passed(rule, img)}}})

	rules := func(dry, background, name, namespace, kind, code, operation, result string) string {
		return "kyverno_policy_results_total dry_run=" + dry + " policy_background_mode=" + background + " policy_name=" + name +
			" policy_namespace=" + namespace + " policy_type=" + kind + " policy_validation_mode=enforce reason=" + code +
			" resource_kind=Pod resource_namespace=team resource_request_operation=" + operation +
			" rule_execution_cause=admission_request rule_name=sig rule_result=" + result + " rule_type=imageVerify: 1"
	}
	want := []string{
		"kyverno_admission_requests_total request_allowed=false resource_kind=Pod resource_namespace=team resource_request_operation=create: 1",
		"kyverno_admission_requests_total request_allowed=true resource_kind=Pod resource_namespace=team resource_request_operation=update: 1",
		"kyverno_admission_requests_unjudged_total request_allowed=false resource_kind=Pod: 1",
		"kyverno_admission_requests_unjudged_total request_allowed=false resource_kind=other: 1",
		"kyverno_config_unread_keys: 0",
		"kyverno_events_dropped_total: 0",
		"kyverno_info version=v1: 1",
		rules("false", "false", "check", "-", "cluster", "Unsigned", "create", "fail"),
		rules("false", "true", "own", "team", "namespaced", "Verified", "create", "pass"),
		rules("true", "false", "check", "-", "cluster", "Verified", "update", "pass"),
	}
	var got []string
	series := map[string]int{}
	for _, s := range gather(t, registry) {
		name, _, _ := strings.Cut(s, " ")
		if series[name]++; !strings.HasSuffix(name, "_seconds") {
			got = append(got, s)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
	if series["kyverno_policy_execution_duration_seconds"] != 3 || series["kyverno_admission_review_duration_seconds"] != 2 {
		t.Errorf("histograms: %v", series)
	}
}

// gather gives all series as lines, sorted: name, labels, and the value of counters and gauges.
func gather(t *testing.T, from prometheus.Gatherer) []string {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			line := f.GetName()
			for _, l := range m.GetLabel() {
				line += " " + l.GetName() + "=" + l.GetValue()
			}
			out = append(out, fmt.Sprintf("%s: %v", line, m.GetCounter().GetValue()+m.GetGauge().GetValue()))
		}
	}
	slices.Sort(out)
	return out
}

// T-057: what an image owner writes never grows the number of series without bound.
func TestT057RegistryRequestsAreBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	r := New(Options{Registerer: registry})
	for i := range 10000 {
		r.RegistryRequests(fmt.Sprintf("host-%d.example:5000", i), "manifest", "200")
	}
	for _, host := range []string{"\xff", "a b", "<script>", strings.Repeat("a", 300), "ä.example"} {
		r.RegistryRequests(host, "manifest", "200")
	}
	var requests []string
	for _, s := range gather(t, registry) {
		if strings.HasPrefix(s, "kyverno_registry_requests_total") {
			requests = append(requests, s)
		}
	}
	if len(requests) != 65 {
		t.Errorf("%d series, want 64 hosts and other", len(requests))
	}
	if want := fmt.Sprintf("kyverno_registry_requests_total host=other kind=manifest status=200: %d", 10000-64+5); !slices.Contains(requests, want) {
		t.Errorf("no %q in %q", want, requests)
	}
	kinds := bounded{limit: 16}
	seen := map[string]bool{}
	for i := range 1000 {
		seen[kinds.value(fmt.Sprint("kind-", i))] = true
	}
	if len(seen) != 17 {
		t.Errorf("%d kinds, want 16 and other", len(seen))
	}
}

// T-057, A-59: somebody who calls the webhook's port with kinds and namespaces of his own invention does not grow the number of
// series without bound either.
func TestT057PlacesAreBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	r := New(Options{Registerer: registry})
	rule := newRule(policy.Key{Name: "check"}, "sig", policy.Fail)
	decision := &engine.Decision{Allowed: true, Results: []engine.Result{passed(rule, newImage(t, 0, "nginx:1", "/x"))}}
	const calls = 2 * placesLimit
	for i := range calls {
		a := match.Attributes{Kind: fmt.Sprint("Kind", i%7), Namespace: fmt.Sprint("ns-", i)}
		if i%100 == 0 {
			a.Namespace = "\xff<script>"
		}
		r.Record(&Review{Request: &engine.Request{Phase: engine.Validating, Attributes: a}, Operation: "CREATE", Decision: decision})
	}
	series := map[string]int{}
	for _, s := range gather(t, registry) {
		name, _, _ := strings.Cut(s, " ")
		series[name]++
	}
	for _, name := range []string{requestsMetric.Name, reviewMetric.Name, resultsMetric.Name, executionMetric.Name} {
		if series[name] != placesLimit+1 {
			t.Errorf("%s: %d series, want %d places and other", name, series[name], placesLimit)
		}
	}
}

func TestMetricNamesAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	New(Options{Registerer: registry})
	New(Options{Registerer: registry}) // a second one goes on without exporting
	descriptions := map[string]bool{}
	for _, m := range Metrics() {
		if descriptions[m.Name] {
			t.Errorf("%s is listed twice", m.Name)
		}
		descriptions[m.Name] = true
	}
}
