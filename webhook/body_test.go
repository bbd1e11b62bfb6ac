package webhook_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/signet-policy/signet/webhook"
)

func text(s string, size int) string {
	return body(`{"a":"` + strings.Repeat(s, size/len(s)) + `"}`)
}

func parts(s string, size int) string {
	return body("[" + strings.Repeat(s+",", size/(len(s)+1)) + s + "]")
}

// T-026, A-80: who makes a request decides how large and how deep it is. What is not read for that is refused, on the paths of
// failure policy Ignore too, and never admitted as what could not be judged.
func TestT026Beyond(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return body(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	for name, c := range map[string]struct {
		body string
		held int64 // of others
		want string
	}{
		"an object and its old version, each of 1.5 MiB of <": {text(`\u003c`, 18<<20), 0, ""},
		"too large":        {text("a", 21<<20), 0, "larger, or nested deeper, or of more parts"},
		"deep":             {deep(9990), 0, ""},
		"too deep":         {deep(20000), 0, "larger, or nested deeper, or of more parts"},
		"too many at once": {text("a", 2<<20), 1 << 20, "too many large requests"},
		"none too many":    {text("a", 2<<20), 8 << 20, ""},
		// A few bytes of JSON take forty times as many once they are decoded.
		"3 MiB of small objects":           {parts(`{"name":""}`, 3<<20), 0, ""},
		"12 MiB of small objects":          {parts(`{"name":""}`, 12<<20), 0, "of more parts"},
		"18 MiB of empty lists":            {parts(`[]`, 18<<20), 0, "of more parts"},
		"too many parts at once":           {parts(`{"name":""}`, 1<<20), 30 << 20, "too many large requests"},
		"not too many parts at once":       {parts(`{"name":""}`, 1<<20), 40 << 20, ""},
		"parts of a text are none":         {text(`{[,:\"`, 4<<20), 16 << 20, ""},
		"too many parts of a small review": {parts(`{"name":""}`, 1<<19), 10 << 20, "too many large requests"},
		"small ones as ever":               {text("a", 1<<19), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, counted := false, 0
			s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
			s.Handle("/x", true, func(context.Context, *admissionv1.AdmissionRequest, time.Duration) *admissionv1.AdmissionResponse {
				asked = true
				return &admissionv1.AdmissionResponse{Allowed: true}
			})
			s.Unjudged = func(kind string, allowed bool) {
				if counted++; kind != "" || allowed {
					t.Errorf("counted as %q, %t", kind, allowed)
				}
			}
			if c.held > 0 {
				webhook.Fill(s, c.held)
			}
			before := webhook.Held(s)
			resp := answer(t, post(s.Handler(), "/x", "application/json", c.body))
			switch {
			case c.want == "" && (!resp.Allowed || !asked):
				t.Errorf("%+v", resp)
			case c.want != "" && (resp.Allowed || asked || !strings.Contains(resp.Result.Message, c.want)):
				t.Errorf("%+v", resp)
			}
			if (counted == 1) == (c.want == "") {
				t.Errorf("counted %d times", counted)
			}
			if after := webhook.Held(s); after != before {
				t.Errorf("%d bytes are held, %d before", after, before)
			}
		})
	}
}

// A client that goes on sending what nobody reads gets the answer all the same.
func TestBeyondOverHTTP(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(serve(allow, true))
	defer s.Close()
	large := text("a", 21<<20)
	for name, reader := range map[string]io.Reader{"chunked": io.MultiReader(strings.NewReader(large)), "known": strings.NewReader(large)} {
		resp, err := http.Post(s.URL+"/x", "application/json", reader)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(b), `"uid":"u1","allowed":false`) {
			t.Errorf("%s: %d %s, %v", name, resp.StatusCode, b, err)
		}
	}
}
