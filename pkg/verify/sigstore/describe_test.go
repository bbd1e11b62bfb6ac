package sigstore_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
	"github.com/signet-policy/signet/testdata/corpus"
)

// TestDescribe reads what real candidates say of themselves. Times of certificates are left to the certificates.
func TestDescribe(t *testing.T) {
	t.Parallel()
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	const key, predicate = "6W4th12RnNV2/52+GfN4XZM+cOqhd3ZKuBN+n6V+wV4=", "https://sigstore.dev/cosign/sign/v1"
	want := map[string]sigstore.Description{
		"acme/key-notlog-v2-legacy": {Format: "cosign simple signing"},
		"acme/key-notlog-v3-bundle": {Format: "Sigstore bundle", Predicate: predicate, KeyHint: key},
		"acme/key-rekor1-v2-legacy": {
			Format:     "cosign simple signing",
			LogEntries: []sigstore.LogEntry{{Kind: "hashedrekord 0.0.1", Promised: true}},
		},
		"acme/key-rekor2-v3-bundle": {
			Format: "Sigstore bundle", Predicate: predicate, KeyHint: key,
			LogEntries: []sigstore.LogEntry{{Kind: "hashedrekord 0.0.2"}},
		},
		"acme/key-tsa-v2-legacy": {Format: "cosign simple signing", Timestamps: []time.Time{{}}},
		"acme/keyless-rekor1-v3-bundle": {
			Format: "Sigstore bundle", Predicate: predicate,
			Certificate: &sigstore.Certificate{Subjects: []string{"dev@example.test"}, Issuer: "https://oidc.example.test"},
			LogEntries:  []sigstore.LogEntry{{Kind: "dsse 0.0.1", Promised: true}},
		},
	}
	registry, seen := newLayout(t, true), map[string]bool{}
	for _, c := range cases {
		if _, ok := want[c.Repository()]; !ok || seen[c.Repository()] {
			continue
		}
		seen[c.Repository()] = true
		img := pinned(t, &c)
		attached, err := registry.Attached(t.Context(), img, image.Ref{})
		if err != nil {
			t.Fatal(err)
		}
		candidates := sigstore.New(nil).Candidates(img, attached.Artifacts)
		if len(candidates) != 1 {
			t.Fatalf("%s: %d candidates", c.Repository(), len(candidates))
		}
		got := sigstore.Describe(&candidates[0])
		if got.Certificate != nil {
			if got.KeyHint == "" || !got.Certificate.NotBefore.Before(got.Certificate.NotAfter) {
				t.Errorf("%s: %+v", c.Repository(), got.Certificate)
			}
			got.KeyHint, got.Certificate.NotBefore, got.Certificate.NotAfter = "", time.Time{}, time.Time{}
		}
		for i := range got.LogEntries {
			e := &got.LogEntries[i]
			if e.Promised == e.Time.IsZero() {
				t.Errorf("%s: time %s", c.Repository(), e.Time)
			}
			e.Time, e.Index = time.Time{}, 0
		}
		for i, stamp := range got.Timestamps {
			if stamp.Year() != 2026 {
				t.Errorf("%s: timestamp %s", c.Repository(), stamp)
			}
			got.Timestamps[i] = time.Time{}
		}
		if d := cmp.Diff(want[c.Repository()], got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s", c.Repository(), d)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("looked at %d images of %d", len(seen), len(want))
	}
}

// TestDescribeBroken describes what cannot be opened, or opened by others.
func TestDescribeBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]verify.Candidate{
		"nothing":   {},
		"other's":   {Parsed: 1},
		"broken":    {Artifact: image.Artifact{MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json"}, Err: verify.ErrNotVerified},
		"not known": {Artifact: image.Artifact{ArtifactType: "text/plain"}},
	} {
		d := sigstore.Describe(&c)
		if d.Certificate != nil || d.KeyHint != "" || d.LogEntries != nil || (name == "broken") != (d.Format == "Sigstore bundle") {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
