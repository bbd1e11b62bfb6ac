package webhook_test

import (
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"github.com/signet-policy/signet/webhook"
)

// VI 1.4(2): what is stored and would be refused now can be deleted, also where somebody's finalizer has to be taken away first;
// and nothing else is let through by the way.
func TestReviewLeaving(t *testing.T) {
	t.Parallel()
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Handle(webhook.PolicyValidate, false, webhook.ReviewPolicy(policyOptions, nil, nil))
	s.Handle(webhook.ExceptionValidate, true, webhook.ReviewException(nil))
	s.Handle(webhook.GlobalContextValidate, true, webhook.ReviewGlobalContext)
	const leaving, staying = `{"name":"p","deletionTimestamp":"2026-11-23T10:00:00Z","finalizers":["x/y"]}`, `{"name":"p","finalizers":["x/y"]}`
	const gone = `{"name":"p","deletionTimestamp":"2026-11-23T10:00:00Z"}`
	for kind, at := range map[string]struct{ path, refused, other string }{
		"ClusterPolicy": {webhook.PolicyValidate, `{"rules":[{"name":"r","validate":{"message":"m"}}]}`, `{"rules":[{"name":"s","validate":{"message":"m"}}]}`},
		"Policy":        {webhook.PolicyValidate, `{"rules":[{"name":"r","mutate":{"targets":[]}}]}`, `{}`},
		"PolicyException": {webhook.ExceptionValidate, `{"match":{"any":[]},"exceptions":[]}`,
			`{"match":{"any":[{"resources":{"kinds":["Pod"]}}]},"exceptions":[]}`},
		"GlobalContextEntry": {webhook.GlobalContextValidate, `{}`, `{"other":1}`},
	} {
		for name, c := range map[string]struct {
			operation, before, after, old, spec string
			allowed                             bool
		}{
			"a finalizer is taken away":   {"UPDATE", leaving, gone, at.refused, at.refused, true},
			"not being deleted":           {"UPDATE", staying, staying, at.refused, at.refused, false},
			"deletion of the new one":     {"UPDATE", staying, leaving, at.refused, at.refused, false},
			"something else is asked for": {"UPDATE", leaving, leaving, at.refused, at.other, false},
			"a creation":                  {"CREATE", leaving, leaving, at.refused, at.refused, false},
			"no old object":               {"UPDATE", "", leaving, "", at.refused, false},
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				t.Parallel()
				old := "null"
				if c.before != "" {
					old = `{"metadata":` + c.before + `,"spec":` + c.old + `}`
				}
				text := strings.NewReplacer(`"kind":"Pod"`, `"kind":"`+kind+`"`, `"CREATE"`, `"`+c.operation+`"`, `"object":`, `"oldObject":`+old+`,"object":`).
					Replace(body(`{"metadata":` + c.after + `,"spec":` + c.spec + `}`))
				if resp := answer(t, post(s.Handler(), at.path, "application/json", text)); resp.Allowed != c.allowed {
					t.Errorf("%+v %+v", resp, resp.Result)
				}
			})
		}
	}
}
