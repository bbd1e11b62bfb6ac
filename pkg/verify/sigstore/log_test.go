package sigstore_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
	"github.com/signet-policy/signet/testdata/corpus"
)

// sample is what the corpus holds for a case: one artifact, its image and its attestor.
type sample struct {
	artifact image.Artifact
	image    image.Pinned
	attestor verify.Attestor
}

func samples(t testing.TB) func(name string) sample {
	t.Helper()
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	registry := newLayout(t, true)
	return func(name string) sample {
		i := slices.IndexFunc(cases, func(c corpus.Case) bool { return c.Name == name })
		if i < 0 {
			t.Fatalf("no case %s", name)
		}
		img := pinned(t, &cases[i])
		attached, err := registry.Attached(t.Context(), img, image.Ref{})
		if err != nil || len(attached.Artifacts) != 1 {
			t.Fatalf("%s: %d artifacts, %v", name, len(attached.Artifacts), err)
		}
		req, err := compile(&cases[i])
		if err != nil {
			t.Fatal(err)
		}
		a := *req.Sets[0].Entries[0].Attestor
		return sample{attached.Artifacts[0], img, a}
	}
}

// at walks into decoded JSON.
func at(m map[string]any, path ...string) map[string]any {
	for _, p := range path {
		switch next := m[p].(type) {
		case map[string]any:
			m = next
		case []any:
			m = next[0].(map[string]any)
		}
	}
	return m
}

func (s sample) bundle(t testing.TB, change func(b map[string]any)) sample {
	b := decode(t, s.artifact.Payload)
	change(b)
	s.artifact.Payload = encode(t, b)
	return s
}

// entry changes the first log entry of a bundle.
func (s sample) entry(t testing.TB, change func(e map[string]any)) sample {
	return s.bundle(t, func(b map[string]any) { change(at(b, "verificationMaterial", "tlogEntries")) })
}

// annotation changes an annotation of a layer.
func (s sample) annotation(name, value string) sample {
	annotations := map[string]string{}
	for k, v := range s.artifact.Annotations {
		annotations[k] = v
	}
	annotations[name] = value
	s.artifact.Annotations = annotations
	return s
}

func flipped(t testing.TB, encoded any) string {
	b, err := base64.StdEncoding.DecodeString(encoded.(string))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	return b64(b)
}

func TestProofs(t *testing.T) {
	t.Parallel()
	get := samples(t)
	const (
		sigAnnotation  = "dev.cosignproject.cosign/signature"
		logAnnotation  = "dev.sigstore.cosign/bundle"
		timeAnnotation = "dev.sigstore.cosign/rfc3161timestamp"
	)
	legacy, bundled := get("key-rekor1-tsa/v3-legacy"), get("key-rekor1-tsa/v3-bundle")
	legacyLog, bundleLog, bundleLog2 := get("key-rekor1/v3-legacy"), get("key-rekor1/v3-bundle"), get("key-rekor2/v3-bundle")
	legacyTime, bundleTime := get("key-tsa/v3-legacy"), get("key-tsa/v3-bundle")
	plain := get("key-notlog/v3-bundle")
	p384 := get("alg-p384/v3-bundle/rekor2")
	from := func(other sample, path ...string) map[string]any {
		return at(decode(t, other.artifact.Payload), path...)
	}
	material := "verificationMaterial"

	tests := map[string]struct {
		sample sample
		code   reason.Code
	}{
		"legacy":        {legacy, ""},
		"bundle":        {bundled, ""},
		"Rekor v2":      {bundleLog2, ""},
		"Rekor v2 P384": {p384, ""},

		"T-042 legacy, other payload": {func() sample {
			s := legacy
			s.artifact.Payload = legacyLog.artifact.Payload
			return s
		}(), reason.DigestMismatch},
		"T-042 legacy, other image": {func() sample {
			s := legacy
			s.image = legacyLog.image
			return s
		}(), reason.DigestMismatch},
		"T-042 legacy, other signature": {legacy.annotation(sigAnnotation, legacyLog.artifact.Annotations[sigAnnotation]), reason.BadSignature},
		"T-040 legacy, other log entry": {legacy.annotation(logAnnotation, legacyLog.artifact.Annotations[logAnnotation]), reason.TransparencyLogMissing},
		"T-042 legacy, other timestamp": {legacy.annotation(timeAnnotation, legacyTime.artifact.Annotations[timeAnnotation]), reason.TimestampMissing},
		"legacy, no log entry":          {legacy.annotation(logAnnotation, ""), reason.TransparencyLogMissing},
		"legacy, no timestamp":          {legacy.annotation(timeAnnotation, ""), reason.TimestampMissing},
		"legacy, junk log entry":        {legacy.annotation(logAnnotation, "{"), reason.TransparencyLogMissing},
		"legacy, huge log entry":        {legacy.annotation(logAnnotation, strings.Repeat(" ", 2<<20)), reason.TransparencyLogMissing},
		"legacy, null log entry":        {legacy.annotation(logAnnotation, "null"), reason.TransparencyLogMissing},
		"legacy, entry without payload": {legacy.annotation(logAnnotation, `{"SignedEntryTimestamp":"AAAA"}`), reason.TransparencyLogMissing},
		"T-048 body is no string":       {legacy.annotation(logAnnotation, strings.Replace(legacy.artifact.Annotations[logAnnotation], `"body":"`, `"body":1,"b":"`, 1)), reason.TransparencyLogMissing},
		"legacy, other integrated time": {legacy.annotation(logAnnotation, strings.Replace(legacy.artifact.Annotations[logAnnotation], `"integratedTime":`, `"integratedTime":1`, 1)), reason.TransparencyLogMissing},
		"legacy, other log index":       {legacy.annotation(logAnnotation, strings.Replace(legacy.artifact.Annotations[logAnnotation], `"logIndex":`, `"logIndex":1`, 1)), reason.TransparencyLogMissing},
		"legacy, junk timestamp":        {legacy.annotation(timeAnnotation, `{"SignedRFC3161Timestamp":"AAAA"}`), reason.TimestampMissing},
		"legacy, huge timestamp":        {legacy.annotation(timeAnnotation, strings.Repeat(" ", 2<<20)), reason.TimestampMissing},

		"T-042 bundle, other envelope": {bundled.bundle(t, func(b map[string]any) { b["dsseEnvelope"] = from(bundleLog, "dsseEnvelope") }), reason.DigestMismatch},
		"T-042 bundle, other signature": {bundled.bundle(t, func(b map[string]any) {
			at(b, "dsseEnvelope")["signatures"] = from(bundleLog, "dsseEnvelope")["signatures"]
		}), reason.BadSignature},
		"T-045 bundle, other log entry": {bundled.bundle(t, func(b map[string]any) { at(b, material)["tlogEntries"] = from(bundleLog, material)["tlogEntries"] }), reason.TransparencyLogMissing},
		"T-045 bundle, other log's entry": {bundled.bundle(t, func(b map[string]any) {
			at(b, material)["tlogEntries"] = from(bundleLog2, material)["tlogEntries"]
		}), reason.TransparencyLogMissing},
		"T-045 Rekor v2, other entry": {bundleLog2.bundle(t, func(b map[string]any) { at(b, material)["tlogEntries"] = from(p384, material)["tlogEntries"] }), reason.TransparencyLogMissing},
		"T-042 bundle, other timestamp": {bundled.bundle(t, func(b map[string]any) {
			at(b, material)["timestampVerificationData"] = from(bundleTime, material)["timestampVerificationData"]
		}), reason.TimestampMissing},
		"proofs of another where none is asked for": {plain.bundle(t, func(b map[string]any) { b[material] = from(bundled, material) }), ""},

		"T-055 entry without proof": {bundleLog.entry(t, func(e map[string]any) { delete(e, "inclusionPromise"); delete(e, "inclusionProof") }), reason.BadSignature},
		"inclusion proof alone":     {bundleLog.entry(t, func(e map[string]any) { delete(e, "inclusionPromise") }), ""},
		"promise alone in v0.1": {bundleLog.bundle(t, func(b map[string]any) {
			b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
			delete(at(b, material, "tlogEntries"), "inclusionProof")
		}), ""},
		"proof alone in v0.1": {bundleLog.bundle(t, func(b map[string]any) {
			b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
			delete(at(b, material, "tlogEntries"), "inclusionPromise")
		}), reason.BadSignature},
		"A-32 wrong promise, right proof": {bundleLog.entry(t, func(e map[string]any) {
			p := at(e, "inclusionPromise")
			p["signedEntryTimestamp"] = flipped(t, p["signedEntryTimestamp"])
		}), reason.TransparencyLogMissing},
		"A-32 right promise, wrong root": {bundleLog.entry(t, func(e map[string]any) {
			p := at(e, "inclusionProof")
			p["rootHash"] = flipped(t, p["rootHash"])
		}), reason.TransparencyLogMissing},
		"A-32 tree size 0":     {bundleLog.entry(t, func(e map[string]any) { at(e, "inclusionProof")["treeSize"] = "0" }), reason.TransparencyLogMissing},
		"A-32 negative index":  {bundleLog.entry(t, func(e map[string]any) { at(e, "inclusionProof")["logIndex"] = "-1" }), reason.TransparencyLogMissing},
		"A-32 wrong index":     {bundleLog.entry(t, func(e map[string]any) { at(e, "inclusionProof")["logIndex"] = "7777" }), reason.TransparencyLogMissing},
		"A-32 no checkpoint":   {bundleLog.entry(t, func(e map[string]any) { delete(at(e, "inclusionProof"), "checkpoint") }), reason.BadSignature},
		"A-32 junk checkpoint": {bundleLog.entry(t, func(e map[string]any) { at(e, "inclusionProof", "checkpoint")["envelope"] = "x" }), reason.TransparencyLogMissing},
		"A-32 other log's checkpoint": {bundleLog.entry(t, func(e map[string]any) {
			at(e, "inclusionProof")["checkpoint"] = from(bundleLog2, material, "tlogEntries", "inclusionProof")["checkpoint"]
		}), reason.TransparencyLogMissing},
		"A-32 other origin": {bundleLog2.entry(t, func(e map[string]any) {
			c := at(e, "inclusionProof", "checkpoint")
			c["envelope"] = strings.Replace(c["envelope"].(string), "rekor2.example.test", "rekor3.example.test", 1)
		}), reason.TransparencyLogMissing},
		"A-32 Rekor v2 wrong index": {bundleLog2.entry(t, func(e map[string]any) { e["logIndex"] = "7777" }), reason.TransparencyLogMissing},
		"A-32 log named wrongly": {bundleLog.entry(t, func(e map[string]any) {
			e["logId"] = from(bundleLog2, material, "tlogEntries")["logId"]
		}), reason.TransparencyLogMissing},
		"T-054 unknown version": {bundleLog.entry(t, func(e map[string]any) { at(e, "kindVersion")["version"] = "0.0.9" }), reason.BadSignature},
		"T-054 unknown kind": {bundleLog.entry(t, func(e map[string]any) {
			body, _ := base64.StdEncoding.DecodeString(e["canonicalizedBody"].(string))
			e["canonicalizedBody"] = b64(bytes.Replace(body, []byte(`"kind":"dsse"`), []byte(`"kind":"helm"`), 1))
			at(e, "kindVersion")["kind"] = "helm"
		}), reason.BadSignature},
		"T-048 body null": {bundleLog.entry(t, func(e map[string]any) { e["canonicalizedBody"] = b64([]byte("null")) }), reason.BadSignature},
		"T-048 body without spec": {bundleLog.entry(t, func(e map[string]any) {
			e["canonicalizedBody"] = b64([]byte(`{"apiVersion":"0.0.1","kind":"dsse"}`))
		}), reason.BadSignature},
		"entry of a foreign log beside the right one": {bundleLog.bundle(t, func(b map[string]any) {
			m := at(b, material)
			m["tlogEntries"] = append([]any{from(bundleLog2, material, "tlogEntries")}, m["tlogEntries"].([]any)...)
		}), ""},
		"junk timestamp beside the right one": {bundled.bundle(t, func(b map[string]any) {
			d := at(b, material, "timestampVerificationData")
			d["rfc3161Timestamps"] = append([]any{map[string]any{"signedTimestamp": "AAAA"}}, d["rfc3161Timestamps"].([]any)...)
		}), ""},
		"log wanted where there is a timestamp only": {func() sample {
			s := bundleTime
			s.attestor.IgnoreLog = false
			return s
		}(), reason.TransparencyLogMissing},
	}
	v := verifierFor(t, "trust/trusted_root.json")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := verdict(t, v, tc.sample.image, &tc.sample.attestor, false, tc.sample.artifact); got != tc.code {
				t.Errorf("%q, want %q: %v", got, tc.code, err)
			}
		})
	}
}

// TestLogTrust varies who is trusted with the log.
func TestLogTrust(t *testing.T) {
	t.Parallel()
	get := samples(t)
	keys := func(file string) []crypto.PublicKey {
		text, err := corpus.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		list, err := verify.ParseKeys(text)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	// The Rekor v2 key is in the trust root only.
	source, err := trust.FromFile(corpus.Dir() + "/trust/trusted_root.json")
	if err != nil {
		t.Fatal(err)
	}
	root, err := source.Material(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var rekor2 crypto.PublicKey
	for _, l := range root.RekorLogs() {
		if strings.Contains(l.BaseURL, "rekor2.") {
			rekor2 = l.PublicKey
		}
	}
	edited := func(change func(m map[string]any)) *sigstore.Verifier {
		text, err := corpus.Read("trust/trusted_root.json")
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		for _, l := range m["tlogs"].([]any) {
			change(l.(map[string]any)["publicKey"].(map[string]any)["validFor"].(map[string]any))
		}
		s, err := trust.Parse(encode(t, m))
		if err != nil {
			t.Fatal(err)
		}
		return sigstore.New(s)
	}
	ended := edited(func(m map[string]any) { m["end"] = "2025-01-01T00:00:00Z" })
	future := edited(func(m map[string]any) { m["start"] = "2100-01-01T00:00:00Z" })
	none, main, foreign := sigstore.New(nil), sigstore.New(source), verifierFor(t, "trust/foreign/trusted_root.json")
	const rekor1Case, rekor2Case = "key-rekor1/v3-bundle", "key-rekor2/v3-bundle"
	tests := map[string]struct {
		verifier *sigstore.Verifier
		name     string
		keys     []crypto.PublicKey
		code     reason.Code
	}{
		"no root":                       {none, rekor1Case, nil, reason.TrustMaterialUnavailable},
		"no root, key of Rekor v1":      {none, rekor1Case, keys("trust/rekor1.pub"), ""},
		"no root, key of Rekor v2":      {none, rekor2Case, []crypto.PublicKey{rekor2}, ""},
		"no root, both keys":            {none, rekor2Case, append(keys("trust/rekor1.pub"), rekor2), ""},
		"no root, other key":            {none, rekor2Case, keys("trust/rekor1.pub"), reason.TransparencyLogMissing},
		"legacy, key of Rekor v1":       {none, "key-rekor1/v3-legacy", keys("trust/rekor1.pub"), ""},
		"the key replaces the root":     {main, rekor1Case, keys("trust/foreign/rekor1.pub"), reason.TransparencyLogMissing},
		"the signer's key is no log's":  {main, rekor1Case, keys("trust/cosign.pub"), reason.TransparencyLogMissing},
		"foreign root":                  {foreign, rekor2Case, nil, reason.TransparencyLogMissing},
		"A-32 log ended before, v1":     {ended, rekor1Case, nil, reason.TransparencyLogMissing},
		"T-051 log not yet begun, v1":   {future, rekor1Case, nil, reason.TransparencyLogMissing},
		"T-051 log not yet begun, v2":   {future, rekor2Case, nil, reason.TransparencyLogMissing},
		"A-32 log ended, legacy":        {ended, "key-rekor1/v3-legacy", nil, reason.TransparencyLogMissing},
		"log ended, no time in the log": {ended, rekor2Case, nil, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := get(tc.name)
			s.attestor.LogKeys, s.attestor.TSAChain = tc.keys, nil
			if got, err := verdict(t, tc.verifier, s.image, &s.attestor, false, s.artifact); got != tc.code {
				t.Errorf("%q, want %q: %v", got, tc.code, err)
			}
		})
	}
	if none.Generation() == main.Generation() || main.Generation() == foreign.Generation() || main.Generation() != source.Generation() {
		t.Error("the generation does not name the root")
	}
}
