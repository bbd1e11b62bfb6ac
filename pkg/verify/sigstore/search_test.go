package sigstore_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/rekor"
	"github.com/signet-policy/signet/pkg/verify"
)

// logBook is a log that holds some entries, and the searches it saw.
type logBook struct {
	entries []rekor.Entry
	err     error
	asked   []string
	kinds   []string
}

func (b *logBook) Search(_ context.Context, log string, proposed []json.RawMessage) ([]rekor.Entry, error) {
	b.asked = append(b.asked, log)
	for _, p := range proposed {
		var kind struct {
			Kind       string
			APIVersion string
		}
		if err := json.Unmarshal(p, &kind); err != nil {
			return nil, err
		}
		b.kinds = append(b.kinds, kind.Kind+"/"+kind.APIVersion)
	}
	return b.entries, b.err
}

// entryOf is the log entry that a signature of the corpus carries, as the log itself would give it.
func entryOf(t *testing.T, s sample) rekor.Entry {
	t.Helper()
	var carried struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body                     []byte
			IntegratedTime, LogIndex int64
			LogID                    string
		}
	}
	if err := json.Unmarshal([]byte(s.artifact.Annotations["dev.sigstore.cosign/bundle"]), &carried); err != nil {
		t.Fatal(err)
	}
	p := carried.Payload
	return rekor.Entry{Body: p.Body, LogID: p.LogID, LogIndex: p.LogIndex, IntegratedTime: p.IntegratedTime, SignedEntryTimestamp: carried.SignedEntryTimestamp}
}

// VI 6.5(3), (4): the log is searched only for a signature in the older format that carries no entry, and what it gives
// is verified like what a signature carries.
func TestSearch(t *testing.T) {
	t.Parallel()
	const log = "https://rekor.test"
	get := samples(t)
	legacy, other, keyless := get("key-rekor1/v3-legacy"), get("key-rekor1-tsa/v3-legacy"), get("keyless/rekor1-v2-legacy")
	stripped := func(s sample) sample { return s.annotation("dev.sigstore.cosign/bundle", "") }
	own := entryOf(t, legacy)
	changed := func(change func(e *rekor.Entry)) []rekor.Entry { e := own; change(&e); return []rekor.Entry{e} }
	down := &reason.Error{Code: reason.TrustMaterialUnavailable, Unreachable: true, Text: "no connection"}
	identity, bad := verify.CompileIdentity(verify.IdentityText{Subject: "mallory@example.test"})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	for name, c := range map[string]struct {
		sample  sample
		change  func(a *verify.Attestor)
		log     logBook
		asked   int
		code    reason.Code
		unknown bool
	}{
		"found":              {sample: stripped(legacy), log: logBook{entries: []rekor.Entry{own}}, asked: 1},
		"found among others": {sample: stripped(legacy), log: logBook{entries: []rekor.Entry{entryOf(t, other), own}}, asked: 1},
		"found, keyless":     {sample: stripped(keyless), log: logBook{entries: []rekor.Entry{entryOf(t, keyless)}}, asked: 1},
		"carried":            {sample: legacy, log: logBook{err: down}},
		"not found":          {sample: stripped(legacy), asked: 1, code: reason.TransparencyLogMissing},
		"T-040 another signature's entry": {sample: stripped(legacy), log: logBook{entries: []rekor.Entry{entryOf(t, other)}}, asked: 1,
			code: reason.TransparencyLogMissing},
		"another time": {sample: stripped(legacy), log: logBook{entries: changed(func(e *rekor.Entry) { e.IntegratedTime++ })}, asked: 1,
			code: reason.TransparencyLogMissing},
		"another log": {sample: stripped(legacy), log: logBook{entries: changed(func(e *rekor.Entry) { e.LogID = hex.EncodeToString(make([]byte, 32)) })}, asked: 1,
			code: reason.TransparencyLogMissing},
		"malformed": {sample: stripped(legacy), log: logBook{entries: slices.Concat(
			changed(func(e *rekor.Entry) { e.LogID = "x" }), changed(func(e *rekor.Entry) { e.Body = []byte("{") }),
			changed(func(e *rekor.Entry) { e.Body = nil }), changed(func(e *rekor.Entry) { e.SignedEntryTimestamp = nil }))}, asked: 1,
			code: reason.TransparencyLogMissing},
		"not connected": {sample: stripped(legacy), log: logBook{err: down}, asked: 1, code: reason.TrustMaterialUnavailable, unknown: true},
		"no address": {sample: stripped(legacy), change: func(a *verify.Attestor) { a.LogURL = "" }, log: logBook{entries: []rekor.Entry{own}},
			code: reason.TransparencyLogMissing},
		"log ignored":       {sample: stripped(legacy), change: func(a *verify.Attestor) { a.IgnoreLog = true }},
		"bundle":            {sample: get("key-rekor1/v3-bundle").bundle(t, func(b map[string]any) { delete(at(b, "verificationMaterial"), "tlogEntries") }), code: reason.TransparencyLogMissing},
		"a stranger's key":  {sample: stripped(legacy), change: func(a *verify.Attestor) { a.Key = newKey(t).Public() }, code: reason.BadSignature},
		"a stranger's name": {sample: stripped(keyless), change: func(a *verify.Attestor) { a.Keyless = &verify.Keyless{Identity: identity} }, code: reason.TransparencyLogMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := c.sample.attestor
			a.LogURL = log
			if c.change != nil {
				c.change(&a)
			}
			book := c.log
			v := verifierFor(t, "trust/trusted_root.json").Searching(&book)
			candidates := v.Candidates(c.sample.image, []image.Artifact{c.sample.artifact})
			if len(candidates) != 1 {
				t.Fatalf("%d candidates", len(candidates))
			}
			_, err := v.Verify(t.Context(), c.sample.image, &candidates[0], &a)
			var why *reason.Error
			switch {
			case c.code == "" && err != nil:
				t.Error(err)
			case c.code != "" && (!errors.As(err, &why) || why.Code != c.code || why.Unreachable != c.unknown):
				t.Errorf("%#v", err)
			}
			if len(book.asked) != c.asked || c.asked > 0 && book.asked[0] != log {
				t.Errorf("asked %v", book.asked)
			}
		})
	}
}

// An attestation in the older format may have been logged as an entry of three kinds.
func TestSearchAttestation(t *testing.T) {
	t.Parallel()
	key, img, book := newSigner(t), testImage(t), logBook{}
	artifact := key.envelope(t, "application/vnd.in-toto+json", statement(`[{"digest":{"sha256":"`+img.Digest().Hex()+`"}}]`, "https://slsa.dev/provenance/v1", `,"predicate":{}`))
	attestor := verify.Attestor{Key: key.key.Public(), LogURL: "https://rekor.test"}
	v := verifierFor(t, "trust/trusted_root.json").Searching(&book)
	candidates := v.Candidates(img, []image.Artifact{artifact})
	_, err := v.Verify(t.Context(), img, &candidates[0], &attestor)
	if reason.Of(err).Code != reason.TransparencyLogMissing || !strings.HasSuffix(err.Error(), "its log has none") {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"dsse/0.0.1", "intoto/0.0.1", "intoto/0.0.2"}, book.kinds); diff != "" {
		t.Error(diff)
	}
}
