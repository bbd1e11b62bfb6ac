package webhook_test

import (
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"github.com/signet-policy/signet/webhook"
)

// VI 9(4): global context entries are judged by compiling; what is no write of one is none of our business.
func TestReviewGlobalContext(t *testing.T) {
	t.Parallel()
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Handle(webhook.GlobalContextValidate, true, webhook.ReviewGlobalContext)
	const good = `{"metadata":{"name":"g"},"spec":{"apiCall":{"urlPath":"/api/v1/nodes"}}}`
	bad := strings.Replace(good, "apiCall", "call", 1)
	review := func(operation, sub, object string) string {
		return strings.NewReplacer(`"kind":"Pod"`, `"kind":"GlobalContextEntry"`, `"CREATE"`, `"`+operation+`","subResource":"`+sub+`"`).Replace(body(object))
	}
	for name, c := range map[string]struct{ body, denial string }{
		"good":        {review("CREATE", "", good), ""},
		"good update": {review("UPDATE", "", good), ""},
		"unknown":     {review("CREATE", "", bad), `cannot read the global context entry: unknown field "spec.call"`},
		"bad update":  {review("UPDATE", "", bad), `cannot read the global context entry: unknown field "spec.call"`},
		"no source":   {review("CREATE", "", `{"spec":{}}`), "spec.kubernetesResource: Forbidden: a global context entry has either kubernetesResource or apiCall"},
		"no entry":    {review("CREATE", "", `{"spec":5}`), "cannot read the global context entry: json: cannot unmarshal number"},
		"delete":      {review("DELETE", "", bad), ""},
		"status":      {review("UPDATE", "status", bad), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := answer(t, post(s.Handler(), webhook.GlobalContextValidate, "application/json", c.body))
			if resp.Allowed != (c.denial == "") || !resp.Allowed && !strings.HasPrefix(resp.Result.Message, c.denial) {
				t.Errorf("%+v %+v", resp, resp.Result)
			}
		})
	}
}
