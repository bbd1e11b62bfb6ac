package trust_test

import (
	"context"
	"encoding/json"
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/trust/trusttest"
)

// edit changes fields of a JSON document, given by their path.
func edit(t testing.TB, b []byte, at string, value any) []byte {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	m := doc
	for _, key := range strings.Split(path.Dir(at), "/") {
		m = m[key].(map[string]any)
	}
	m[path.Base(at)] = value
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newTUF is a client of the repository. Its pauses are so long that it makes no second attempt by itself.
func newTUF(t testing.TB, r *trusttest.Repository, change func(*trust.TUFOptions)) *trust.TUF {
	t.Helper()
	o := trust.TUFOptions{Mirror: r.Server.URL, Root: r.Initial, Retry: time.Hour}
	if change != nil {
		change(&o)
	}
	s, err := trust.NewTUF(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs a client until the test ends, and waits for its end.
func start(t testing.TB, s *trust.TUF) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// wantUnavailable checks the kind of an error, and that its text is not the mirror's.
func wantUnavailable(t testing.TB, err error, unreachable bool, text string) {
	t.Helper()
	var e *reason.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no reason", err)
	}
	if e.Code != reason.TrustMaterialUnavailable || e.Unreachable != unreachable || !strings.Contains(e.Text, text) {
		t.Errorf("%s unreachable=%t %q, want unreachable=%t and %q", e.Code, e.Unreachable, e.Text, unreachable, text)
	}
	if strings.Contains(e.Text, "evil") || len(e.Text) > 300 {
		t.Errorf("the text quotes the mirror: %q", e.Text)
	}
}

// wantInForce checks which content is in force.
func wantInForce(t testing.TB, s trust.Root, content []byte) string {
	t.Helper()
	if _, err := s.Material(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, err := trust.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	if g := s.Generation(); !strings.HasPrefix(g, want.Generation()) {
		t.Fatalf("generation %s is not that of %s", g, want.Generation())
	}
	return s.Generation()
}

// editKey replaces one file of a cache.
func editKey(t testing.TB, cache []byte, key string, value []byte) []byte {
	t.Helper()
	var files map[string][]byte
	if err := json.Unmarshal(cache, &files); err != nil {
		t.Fatal(err)
	}
	if files[key] == nil {
		t.Fatalf("%s was not kept", key)
	}
	files[key] = value
	b, err := json.Marshal(files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
