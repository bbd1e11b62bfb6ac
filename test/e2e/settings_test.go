package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-policy/signet/test/env"
)

// Whoever writes a policy about what the ConfigMap lets through is told so, when it is stored and in its status (VI 3.5(2)).
func TestFilteredKind(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns := newUser(t), namespace(t)
	p := u.apply(t, rule{kinds: []any{"ReplicaSet"}}.in(ns))
	const want = "no request about ReplicaSet is judged: resourceFilters in the ConfigMap kyverno let them through"
	if w := u.warned(); !slices.Contains(w, want) {
		t.Errorf("warnings %q", w)
	}
	if c := readyCondition(p); c["message"] != "Ready; "+want {
		t.Errorf("condition %v", c)
	}
}

// matchConditions that the API server refuses do not stand in the way of policies (VI 3.2(2)).
func TestConfigMapConditions(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	set := func(value any) {
		t.Helper()
		patch, err := json.Marshal(map[string]any{"data": map[string]any{"matchConditions": value}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.CoreV1().ConfigMaps(env.SystemNamespace).Patch(contextOf(t), "kyverno", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { set(nil) })
	// It does not say "object": a condition on objects, in force or not, leaves it open whether an object of before an update was
	// judged, and other tests are about that at the same time.
	set(`[{"name": "broken", "expression": "request.name ==="}]`)
	u.apply(t, rule{}.in(ns))
	_, err := u.create(t, ns, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "bad", said("signed", "check", images.objection())))
}

// The ConfigMap is followed while Signet runs, what cannot be read keeps what it was, and what is let through is counted
// (VI 3.5). The filter that the test adds is about its own namespace.
func TestConfigMap(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{}.in(ns))
	maps := u.CoreV1().ConfigMaps(env.SystemNamespace)
	before, err := maps.Get(t.Context(), "kyverno", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	shipped := before.Data["resourceFilters"]
	if !strings.Contains(shipped, "[ReplicaSet,*,*]") {
		t.Errorf("shipped filters: %q", shipped)
	}
	set := func(filters string) {
		t.Helper()
		patch, err := json.Marshal(map[string]any{"data": map[string]any{"resourceFilters": filters}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := maps.Patch(contextOf(t), "kyverno", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { set(shipped) })
	metric := func() string {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", shared.signet.MetricsPort))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	_, err = u.create(t, ns, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "bad", said("signed", "check", images.objection())))
	set(shipped + "[Pod," + ns + ",let-*]")
	eventually(t, "the filter to be followed", func() error {
		_, err := u.CoreV1().Pods(ns).Create(t.Context(), pod("let-through", images.bad), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
	_, err = u.create(t, ns, pod("bad", images.bad))
	wantRefused(t, err, "signed")
	if m := metric(); !strings.Contains(m, `kyverno_admission_requests_filtered_total{reason="resource_filter",resource_kind="Pod"}`) {
		t.Error("what is let through is not counted")
	}
	set("[Pod,*,*][Pod")
	eventually(t, "the unreadable key to be counted", func() error {
		if !strings.Contains(metric(), "kyverno_config_unread_keys 1") {
			return errors.New("not counted")
		}
		return nil
	})
	u.mustCreate(t, ns, pod("let-through", images.bad))
	_, err = u.create(t, ns, pod("bad", images.bad))
	wantRefused(t, err, "signed")
	set(shipped)
	eventually(t, "the filter to be gone", func() error {
		if _, err := u.CoreV1().Pods(ns).Create(t.Context(), pod("let-too", images.bad), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err == nil {
			return errors.New("admitted")
		}
		return nil
	})
}
