package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
)

// namespaces is a cluster's namespaces, which counts how often it is asked.
type namespaces struct {
	labels func(ctx context.Context, name string) (map[string]string, error)
	asked  atomic.Int32
}

func (n *namespaces) Labels(ctx context.Context, name string) (map[string]string, error) {
	n.asked.Add(1)
	return n.labels(ctx, name)
}

func inProduction(name string) string {
	return strings.Replace(clusterPolicy(name, "", by("ghcr.io/*", "Enforce", ", verifyDigest: false", "$cosign")),
		"kinds: [Pod]", "kinds: [Pod], namespaceSelector: {matchLabels: {env: prod}}", 1)
}

func labelled(labels map[string]string, err error) *namespaces {
	return &namespaces{labels: func(context.Context, string) (map[string]string, error) { return labels, err }}
}

// VI 4.6(6), T-007: what the labels of the namespace decide, and what happens without them.
func TestNamespaceLabels(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	prod := map[string]string{"env": "prod"}
	overrides := "  validationFailureActionOverrides: [{action: Enforce, namespaceSelector: {matchLabels: {env: prod}}}]\n"
	byAction := clusterPolicy("o", overrides, strings.Replace(by("ghcr.io/*", "Audit", ", mutateDigest: false", "$cosign"), "failureAction: Audit, ", "", 1))
	excluded := clusterPolicy("e", "", by("ghcr.io/*", "Enforce", ", verifyDigest: false", "$cosign")) +
		"    exclude: {any: [{resources: {namespaceSelector: {matchLabels: {env: prod}}}}]}\n"
	for name, c := range map[string]struct {
		n        *namespaces
		policies []string
		request  *engine.Request
		allowed  bool
		results  []string
		asked    int32
	}{
		"selected":     {labelled(prod, nil), []string{inProduction("a")}, pod(engine.Mutating, "ghcr.io/unsigned:1"), false, []string{"a/r ghcr.io/unsigned:1 fail Unsigned"}, 1},
		"not selected": {labelled(nil, nil), []string{inProduction("a")}, pod(engine.Mutating, "ghcr.io/unsigned:1"), true, nil, 1},
		"once for all": {labelled(prod, nil), []string{inProduction("a"), inProduction("b"), byAction}, pod(engine.Mutating, "ghcr.io/signed:1"), true,
			[]string{"a/r ghcr.io/signed:1 pass Verified", "b/r ghcr.io/signed:1 pass Verified", "o/r ghcr.io/signed:1 pass Verified"}, 1},
		"unknown": {labelled(nil, down), []string{inProduction("a"), inProduction("b")}, pod(engine.Mutating, "ghcr.io/signed:1"), false,
			[]string{"a/r - error ContextError", "b/r - error ContextError"}, 1},
		"unknown, validating":           {labelled(nil, down), []string{inProduction("a")}, pod(engine.Validating, "ghcr.io/signed:1"), false, []string{"a/r - error ContextError"}, 1},
		"unknown, no image of the rule": {labelled(nil, down), []string{inProduction("a")}, pod(engine.Mutating, "quay.io/x:1"), true, nil, 0},
		"unknown, no rule asks":         {labelled(nil, down), []string{clusterPolicy("a", "", by("ghcr.io/*", "Enforce", "", "$cosign"))}, pod(engine.Mutating, "ghcr.io/signed:1"), true, []string{"a/r ghcr.io/signed:1 pass Verified"}, 0},
		"nobody to ask":                 {nil, []string{inProduction("a")}, pod(engine.Mutating, "ghcr.io/signed:1"), false, []string{"a/r - error ContextError"}, 0},
		"unknown before the update":     {labelled(nil, down), []string{inProduction("a")}, updated(pod(engine.Mutating, "ghcr.io/unsigned:1"), "ghcr.io/unsigned:1"), false, []string{"a/r - error ContextError"}, 1},
		"unknown action":                {labelled(nil, down), []string{byAction}, pod(engine.Mutating, "ghcr.io/signed:1"), false, []string{"o/r - error ContextError"}, 1},
		// The rule matched the old object for certain, and an image that stays as it was never blocks.
		"unknown action, unchanged": {labelled(nil, down), []string{byAction}, updated(pod(engine.Mutating, "ghcr.io/unsigned:1"), "ghcr.io/unsigned:1"), true, []string{"o/r - error ContextError unchanged"}, 1},
		"unknown action, changed":   {labelled(nil, down), []string{byAction}, updated(pod(engine.Mutating, "ghcr.io/unsigned:1", "ghcr.io/signed:1"), "ghcr.io/unsigned:1"), false, []string{"o/r - error ContextError"}, 1},
		"excluded":                  {labelled(prod, nil), []string{excluded}, pod(engine.Mutating, "ghcr.io/unsigned:1"), true, nil, 1},
		"exclude is unknown":        {labelled(nil, down), []string{excluded}, pod(engine.Mutating, "ghcr.io/signed:1"), false, []string{"e/r - error ContextError"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := engine.Options{}
			if c.n != nil {
				o.Namespaces = c.n
			}
			f := newFixture(t, o, c.policies...)
			f.push("ghcr.io/signed:1", "cosign.pub")
			f.push("ghcr.io/unsigned:1")
			d := f.review(t, c.request)
			if diff := cmp.Diff(c.results, outcomes(d.Results)); diff != "" || d.Allowed != c.allowed {
				t.Errorf("allowed %v: %s %s", d.Allowed, d.Message, diff)
			}
			if c.n != nil && c.n.asked.Load() != c.asked {
				t.Errorf("asked %d times", c.n.asked.Load())
			}
		})
	}
}

// A lookup that hangs ends in time for an answer, and the registry is not asked after that.
func TestNamespaceLabelsHang(t *testing.T) {
	t.Parallel()
	n := &namespaces{labels: func(ctx context.Context, _ string) (map[string]string, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	f := newFixture(t, engine.Options{Namespaces: n}, inProduction("a"))
	f.push("ghcr.io/signed:1", "cosign.pub")
	r := pod(engine.Mutating, "ghcr.io/signed:1")
	r.Timeout = 600 * time.Millisecond
	d := f.review(t, r)
	if d.Allowed || !strings.Contains(d.Message, "failed to look up labels of namespace default: context deadline exceeded") || f.called("resolve") > 0 {
		t.Errorf("%v %s", d.Allowed, d.Message)
	}
}

// VI 6.15(1): the labels and annotations of the object before the update are its own.
func TestOldLabels(t *testing.T) {
	t.Parallel()
	selected := strings.Replace(clusterPolicy("a", "", by("ghcr.io/*", "Enforce", ", verifyDigest: false", "$cosign")),
		"kinds: [Pod]", "kinds: [Pod], selector: {matchLabels: {app: web}}", 1)
	for name, c := range map[string]struct {
		old     any
		results string
	}{
		"the same":        {map[string]any{"labels": map[string]any{"app": "web"}}, "a/r ghcr.io/unsigned:1 fail Unsigned unchanged"},
		"another":         {map[string]any{"labels": map[string]any{"app": "db"}}, "a/r ghcr.io/unsigned:1 fail Unsigned"},
		"none":            {map[string]any{}, "a/r ghcr.io/unsigned:1 fail Unsigned"},
		"cannot be read":  {map[string]any{"labels": "app=web"}, "a/r ghcr.io/unsigned:1 fail Unsigned"},
		"no metadata":     {nil, "a/r ghcr.io/unsigned:1 fail Unsigned"},
		"metadata a list": {[]any{}, "a/r ghcr.io/unsigned:1 fail Unsigned"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{}, selected)
			f.push("ghcr.io/unsigned:1")
			r := updated(pod(engine.Mutating, "ghcr.io/unsigned:1"), "ghcr.io/unsigned:1")
			r.Old["metadata"] = c.old
			r.Attributes.Labels = map[string]any{"app": "web"}
			d := f.review(t, r)
			if diff := cmp.Diff([]string{c.results}, outcomes(d.Results)); diff != "" || d.Allowed != strings.HasSuffix(c.results, "unchanged") {
				t.Errorf("allowed %v: %s", d.Allowed, diff)
			}
		})
	}
}
