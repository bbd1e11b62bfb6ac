package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/policy"
)

// sources are the values of context entries by their name, and what was loaded.
type sources struct {
	values map[string]any
	mu     sync.Mutex
	loaded []string
}

func (s *sources) Load(_ context.Context, e *policy.ContextEntry, _ *expr.Scope, _ func(context.Context, *policy.ContextEntry, string) (*image.Description, error)) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded = append(s.loaded, e.Name)
	switch v := s.values[e.Name].(type) {
	case nil:
		return nil, &expr.MissingKeyError{Key: e.Name}
	case error:
		return nil, v
	case func():
		v()
		return nil, nil
	default:
		return v, nil
	}
}

// withContext puts lines before the verifyImages of a policy's rule.
func withContext(text, lines string) string {
	return strings.Replace(text, "    verifyImages:", "    "+strings.ReplaceAll(lines, "\n", "\n    ")+"\n    verifyImages:", 1)
}

// VI 1.4(7), 6.1, 6.2(2): what is loaded, when, and what comes of it.
func TestContext(t *testing.T) {
	t.Parallel()
	key := strings.ReplaceAll(strings.Trim(expand(t, "$cosign"), `"`), `\n`, "\n")
	const entries = "context: [{name: unread, configMap: {name: a}}, {name: keys, configMap: {name: b}}]"
	byKeys := by("ghcr.io/*", "Enforce", "", `"{{ keys.pub }}"`)
	plain := withContext(clusterPolicy("a", "", byKeys), entries)
	conditioned := withContext(clusterPolicy("a", "", byKeys), entries+`
preconditions: {all: [{key: "{{ keys.on || 'yes' }}", operator: Equals, value: "yes"}]}`)
	good := map[string]any{"keys": map[string]any{"pub": key}}
	for name, c := range map[string]struct {
		policy, image string
		values        map[string]any
		eager         bool
		results       []string
		loaded        []string
		says          string
	}{
		"read":              {plain, "ghcr.io/signed:1", good, false, []string{"a/r ghcr.io/signed:1 pass Verified"}, []string{"keys"}, ""},
		"read twice":        {conditioned, "ghcr.io/signed:1", good, false, []string{"a/r ghcr.io/signed:1 pass Verified"}, []string{"keys"}, ""},
		"no image":          {conditioned, "quay.io/x:1", nil, false, nil, nil, ""},
		"eager":             {plain, "ghcr.io/signed:1", map[string]any{"keys": good["keys"], "unread": "x"}, true, []string{"a/r ghcr.io/signed:1 pass Verified"}, []string{"unread", "keys"}, ""},
		"eager, one fails":  {plain, "ghcr.io/signed:1", good, true, []string{"a/r - error ContextError"}, []string{"unread"}, "failed to load context: context entry unread"},
		"missing inside":    {conditioned, "ghcr.io/signed:1", nil, false, []string{"a/r - error ContextError"}, []string{"keys"}, "failed to load context: context entry keys"},
		"fails":             {plain, "ghcr.io/signed:1", map[string]any{"keys": errors.New("down")}, false, []string{"a/r - error ContextError"}, []string{"keys"}, "failed to load context: context entry keys: down"},
		"panics":            {plain, "ghcr.io/signed:1", map[string]any{"keys": func() { panic("x") }}, false, []string{"a/r - error ContextError"}, []string{"keys"}, "failed to substitute variables"},
		"no JSON":           {plain, "ghcr.io/signed:1", map[string]any{"keys": make(chan int)}, false, []string{"a/r - error ContextError"}, []string{"keys"}, "failed to substitute variables"},
		"not held":          {conditioned, "ghcr.io/unsigned:1", map[string]any{"keys": map[string]any{"on": "no"}}, false, []string{"a/r - skip PreconditionsNotMet"}, []string{"keys"}, ""},
		"another's key":     {plain, "ghcr.io/signed:1", map[string]any{"keys": map[string]any{"pub": strings.Replace(key, "MFkw", "MFkx", 1)}}, false, []string{"a/r ghcr.io/signed:1 fail TrustMaterialInvalid"}, []string{"keys"}, "publicKeys"},
		"number for a text": {plain, "ghcr.io/signed:1", map[string]any{"keys": map[string]any{"pub": 1}}, false, []string{"a/r ghcr.io/signed:1 fail TrustMaterialInvalid"}, []string{"keys"}, "has no text after substitution"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sources{values: c.values}
			f := newFixture(t, engine.Options{Loader: s, EagerContext: c.eager}, c.policy)
			f.push("ghcr.io/signed:1", "cosign.pub")
			f.push("ghcr.io/unsigned:1")
			d, err := f.Review(t.Context(), pod(engine.Mutating, c.image))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.results, outcomes(d.Results)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.loaded, s.loaded); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(d.Message, c.says) {
				t.Errorf("message %q, want %s", d.Message, c.says)
			}
		})
	}
}

// Without a loader a rule that needs one is an error, and the others are judged.
func TestNoLoader(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, withContext(clusterPolicy("a", "", by("ghcr.io/*", "Enforce", "", `"{{ keys.pub }}"`)), "context: [{name: keys, configMap: {name: b}}]"),
		clusterPolicy("b", "", by("ghcr.io/*", "Enforce", "", "$cosign")))
	f.push("ghcr.io/signed:1", "cosign.pub")
	d, err := f.Review(t.Context(), pod(engine.Mutating, "ghcr.io/signed:1"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/r - error ContextError", "b/r ghcr.io/signed:1 pass Verified"}, outcomes(d.Results)); diff != "" || d.Allowed {
		t.Error(diff)
	}
}

// Requests with the same values share what was compiled, and the verdict; other values are judged by themselves (VI 7.1(2)).
func TestContextWarm(t *testing.T) {
	t.Parallel()
	key := func(name string) map[string]any {
		return map[string]any{"pub": strings.ReplaceAll(strings.Trim(expand(t, name), `"`), `\n`, "\n")}
	}
	s := &sources{values: map[string]any{"keys": key("$cosign")}}
	f := newFixture(t, engine.Options{Loader: s}, withContext(clusterPolicy("a", "", by("ghcr.io/*", "Enforce", "", `"{{ keys.pub }}"`)), "context: [{name: keys, configMap: {name: b}}]"))
	f.push("ghcr.io/signed:1", "cosign.pub")
	verdict := func() bool {
		d, err := f.Review(t.Context(), pod(engine.Mutating, "ghcr.io/signed:1"))
		if err != nil {
			t.Fatal(err)
		}
		return d.Allowed
	}
	if !verdict() || !verdict() {
		t.Error("a signed image is refused")
	}
	if n := f.called("verify"); n != 1 {
		t.Errorf("%d verifications, want 1", n)
	}
	s.values = map[string]any{"keys": key("$other")}
	if verdict() {
		t.Error("the key of before still counts")
	}
	s.values = map[string]any{"keys": key("$cosign")}
	if !verdict() || f.called("verify") != 2 {
		t.Errorf("after the key came back: %d verifications, want 2", f.called("verify"))
	}
}
