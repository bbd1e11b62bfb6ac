package trust_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/trust"
)

func TestPublic(t *testing.T) {
	t.Parallel()
	s := trust.Public()
	if diff := cmp.Diff("6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66", s.Generation()); diff != "" {
		t.Errorf("the shipped root is not the published one (-want +got):\n%s", diff)
	}
	m, err := s.Material(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for id, l := range m.RekorLogs() {
		if id != hex.EncodeToString(l.ID) {
			t.Errorf("log %s is filed under %s", l.BaseURL, id)
		}
		urls = append(urls, l.BaseURL)
	}
	for _, want := range []string{"https://rekor.sigstore.dev", "https://log2025-1.rekor.sigstore.dev"} {
		if !strings.Contains(strings.Join(urls, " "), want) {
			t.Errorf("no transparency log %s in %v", want, urls)
		}
	}
	if len(m.TimestampingAuthorities()) != 1 || len(m.FulcioCertificateAuthorities()) != 2 || len(m.CTLogs()) != 2 {
		t.Error("an authority or certificate log is missing")
	}
	again, _ := s.Material(t.Context())
	if again != m {
		t.Error("the root was parsed twice")
	}
}

func TestFromFile(t *testing.T) {
	t.Parallel()
	const empty = `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`
	tests := map[string]struct {
		content string
		missing bool
		wantErr string
	}{
		"good":             {content: empty},
		"missing":          {missing: true, wantErr: "no such file"},
		"no content":       {content: "", wantErr: "empty"},
		"no JSON":          {content: "-----BEGIN", wantErr: "not a Sigstore trusted root"},
		"trailing data":    {content: empty + "{}", wantErr: "not a Sigstore trusted root"},
		"another document": {content: `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`, wantErr: "media type"},
		"hash algorithm":   {content: strings.TrimSuffix(empty, "}") + `,"tlogs":[{}]}`, wantErr: "hash algorithm"},
		"null in a list":   {content: strings.TrimSuffix(empty, "}") + `,"certificateAuthorities":[null]}`, wantErr: "not a Sigstore trusted root"},
		"too large":        {content: empty + strings.Repeat(" ", 4<<20), wantErr: "larger than"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "trusted_root.json")
			if !tc.missing {
				if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := trust.FromFile(path)
			if tc.wantErr == "" {
				if err != nil {
					t.Fatal(err)
				}
				if s.Generation() == "" {
					t.Error("no generation")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v does not name the file and %q", err, tc.wantErr)
			}
		})
	}
}

func TestNone(t *testing.T) {
	t.Parallel()
	var s *trust.Source
	if m, err := s.Material(t.Context()); err == nil || m != nil {
		t.Error("material without a root")
	}
	if s.Generation() == "" || s.Generation() == trust.Public().Generation() {
		t.Error("no generation of its own")
	}
}
