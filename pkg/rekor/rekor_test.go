package rekor_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/rekor"
)

const found = `[{"108e": {"body": "Ym9keQ==", "integratedTime": 1700000000, "logID": "c0d2", "logIndex": 7,
	"verification": {"signedEntryTimestamp": "c2V0", "inclusionProof": {"hashes": []}}}}]`

// The proposed entries are posted to the path of the API below whatever path the log's address has.
func TestSearch(t *testing.T) {
	t.Parallel()
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.String()+" "+r.Header.Get("Content-Type")+" "+string(body))
		_, _ = io.WriteString(w, found)
	}))
	t.Cleanup(s.Close)
	for _, log := range []string{s.URL, strings.Replace(s.URL, "://", "://user:secret@", 1) + "/below/?query#fragment"} {
		entries, err := rekor.New().Search(t.Context(), log, []json.RawMessage{json.RawMessage(`{"kind":"k"}`)})
		if err != nil {
			t.Fatal(err)
		}
		want := []rekor.Entry{{Body: []byte("body"), LogID: "c0d2", LogIndex: 7, IntegratedTime: 1700000000, SignedEntryTimestamp: []byte("set")}}
		if diff := cmp.Diff(want, entries); diff != "" {
			t.Error(diff)
		}
	}
	const rest = ` application/json {"entries":[{"kind":"k"}]}`
	if diff := cmp.Diff([]string{"POST /api/v1/log/entries/retrieve" + rest, "POST /below/api/v1/log/entries/retrieve" + rest}, got); diff != "" {
		t.Error(diff)
	}
}

// A log that gives no usable answer was asked in vain, which is not "no entry"; it is unreachable only where no answer
// came at all (VI 6.14). Nothing of its answer, and no secret of its address, is in the text.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	moved := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(moved.Close)
	many := "[" + strings.Repeat(strings.Trim(found, "[]")+",", 40) + strings.Trim(found, "[]") + "]"
	for name, c := range map[string]struct {
		url         string
		handle      http.HandlerFunc
		code        reason.Code
		unreachable bool
		entries     int
	}{
		"none":           {handle: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") }},
		"many":           {handle: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, many) }, entries: 32},
		"error":          {handle: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", 500) }, code: reason.TrustMaterialUnavailable},
		"not found":      {handle: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", 404) }, code: reason.TrustMaterialUnavailable},
		"no JSON":        {handle: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }, code: reason.TrustMaterialUnavailable},
		"another type":   {handle: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"secret":1}`) }, code: reason.TrustMaterialUnavailable},
		"A-46 too large": {handle: endless, code: reason.TrustMaterialUnavailable},
		"A-43 redirect": {handle: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, moved.URL, http.StatusTemporaryRedirect)
		},
			code: reason.TrustMaterialUnavailable},
		"closed before an answer": {handle: hangUp, code: reason.TrustMaterialUnavailable, unreachable: true},
		"refused":                 {url: "http://user:secret@127.0.0.1:1", code: reason.TrustMaterialUnavailable, unreachable: true},
		"unknown name":            {url: "https://secret@rekor.invalid", code: reason.TrustMaterialUnavailable, unreachable: true},
		"A-44 link-local":         {url: "http://169.254.169.254/secret", code: reason.TrustMaterialUnavailable},
		"not an address":          {url: "secret", code: reason.TrustMaterialInvalid},
		"another scheme":          {url: "file:///secret", code: reason.TrustMaterialInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := c.url
			if c.handle != nil {
				s := httptest.NewServer(c.handle)
				t.Cleanup(s.Close)
				url = s.URL
			}
			entries, err := rekor.New().Search(t.Context(), url, nil)
			if len(entries) != c.entries {
				t.Errorf("%d entries", len(entries))
			}
			if c.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var why *reason.Error
			if !errors.As(err, &why) || why.Code != c.code || why.Unreachable != c.unreachable || strings.Contains(why.Text, "secret") {
				t.Errorf("%#v", err)
			}
		})
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `[{"a":{"body":"`)
	for chunk := strings.Repeat("A", 1<<16); ; {
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
	}
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}
