package webhook_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/webhook"
)

// VI 3.6(1), A-80: a request that could not be judged is refused or admitted by the path's failure policy, and the log says
// which and why: no report and no event tell of it.
func TestNotJudged(t *testing.T) {
	t.Parallel()
	unsynced, synced := policy.NewStore(), policy.NewStore()
	synced.Sync()
	lapsed := engine.Options{Store: synced, Current: func() bool { return false }}
	const object = `{"apiVersion":"v1","kind":"Pod"}`
	cases := map[string]struct {
		options engine.Options
		object  string
		failure policy.FailurePolicy
		cause   string
	}{
		"policies not read":         {engine.Options{Store: unsynced}, object, policy.Fail, engine.ErrNotReady.Error()},
		"policies not read, Ignore": {engine.Options{Store: unsynced}, object, policy.Ignore, engine.ErrNotReady.Error()},
		"lease lapsed":              {lapsed, object, policy.Fail, engine.ErrLapsed.Error()},
		"lease lapsed, Ignore":      {lapsed, object, policy.Ignore, engine.ErrLapsed.Error()},
		"no object":                 {lapsed, "", policy.Fail, "the request has no object"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var lines []string
			log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
			var counted []string
			h := &webhook.Resources{Engine: engine.New(tc.options), Unjudged: func(kind string, allowed bool) {
				counted = append(counted, fmt.Sprintf("%s %t", kind, allowed))
			}}
			req := &admissionv1.AdmissionRequest{UID: "u1", Operation: admissionv1.Create, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
				Namespace: "team", Name: "app", Object: runtime.RawExtension{Raw: []byte(tc.object)}}
			resp := h.Review(engine.Mutating, tc.failure)(logr.NewContext(t.Context(), log), req, 0)
			ignore, text := tc.failure == policy.Ignore, strings.Join(resp.Warnings, "\n")
			if !ignore {
				text = resp.Result.Message
			}
			if resp.Allowed != ignore || !strings.Contains(text, tc.cause) {
				t.Errorf("allowed %t: %s", resp.Allowed, text)
			}
			blocked := `"blocked"=true`
			if ignore {
				blocked = `"blocked"=false`
			}
			if want := fmt.Sprintf("Pod %t", ignore); len(counted) != 1 || counted[0] != want {
				t.Errorf("counted %q, want %q", counted, want)
			}
			if len(lines) != 1 || !strings.Contains(lines[0], tc.cause) || !strings.Contains(lines[0], `"namespace"="team" "name"="app"`) || !strings.Contains(lines[0], blocked) {
				t.Errorf("logged %q", lines)
			}
		})
	}
}
