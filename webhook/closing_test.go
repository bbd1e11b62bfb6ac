package webhook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"github.com/signet-policy/signet/webhook"
)

// A server that is about to end answers, and says with the answer that the connection ends: a client that kept it could
// lose its next request, and under failurePolicy Ignore the verdict with it.
func TestConnectionsClosed(t *testing.T) {
	t.Parallel()
	leaving := make(chan struct{})
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Leaving = leaving
	s.Handle("/x", false, allow)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	ask := func() (closed bool) {
		t.Helper()
		res, err := server.Client().Post(server.URL+"/x", "application/json", strings.NewReader(body("{}")))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(raw), `"allowed":true`) {
			t.Errorf("%d %s, %v", res.StatusCode, raw, err)
		}
		return res.Close
	}
	if ask() {
		t.Error("closes the connection all the time")
	}
	close(leaving)
	if !ask() {
		t.Error("keeps the connection")
	}
}
