package sigstore_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// spki is a public key in PKIX form.
func spki(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// promisedEntry is an entry of the log's first version as bundles hold it, with the log's promise alone.
func (p *pki) promisedEntry(t testing.TB, log *ecdsa.PrivateKey, kind, version, body string, at time.Time) map[string]any {
	t.Helper()
	by := *p
	by.rekor = log
	id, _ := hex.DecodeString(logID(t, log))
	encoded := b64([]byte(body))
	return map[string]any{
		"logIndex": "1", "logId": map[string]any{"keyId": b64(id)}, "kindVersion": map[string]any{"kind": kind, "version": version},
		"integratedTime": fmt.Sprint(at.Unix()), "inclusionPromise": map[string]any{"signedEntryTimestamp": b64(by.set(t, encoded, at))},
		"canonicalizedBody": encoded,
	}
}

// includedEntry is an entry that is the only one of its log, by a checkpoint of the origin.
func (p *pki) includedEntry(t testing.TB, origin, name, kind, version, body string) map[string]any {
	t.Helper()
	leaf := sha256.Sum256(append([]byte{0}, body...))
	id, _ := hex.DecodeString(logID(t, p.rekor))
	note := fmt.Sprintf("%s\n1\n%s\n", origin, b64(leaf[:]))
	sig := signer{p.rekor, crypto.SHA256}.sign(t, []byte(note))
	signed := append(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(id)), sig...)
	return map[string]any{
		"logIndex": "0", "logId": map[string]any{"keyId": b64(id)}, "kindVersion": map[string]any{"kind": kind, "version": version},
		"inclusionProof": map[string]any{
			"logIndex": "0", "rootHash": b64(leaf[:]), "treeSize": "1", "hashes": []any{},
			"checkpoint": map[string]any{"envelope": note + "\n— " + name + " " + b64(signed) + "\n"},
		},
		"canonicalizedBody": b64([]byte(body)),
	}
}

// logged makes a bundle with a static key and the entries.
func logged(t testing.TB, s signer, statement string, sig []byte, entries ...any) image.Artifact {
	t.Helper()
	return image.Artifact{MediaType: bundleV3, Place: "referrers API", Payload: encode(t, map[string]any{
		"mediaType":            bundleV3,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": "x"}, "tlogEntries": entries},
		"dsseEnvelope": map[string]any{
			"payload": b64([]byte(statement)), "payloadType": inToto, "signatures": []any{map[string]any{"sig": b64(sig)}},
		},
	})}
}

// old takes a bundle for one of the first version, whose entries need no inclusion proof.
func old(t testing.TB, a image.Artifact) image.Artifact {
	t.Helper()
	b := decode(t, a.Payload)
	b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
	a.Payload = encode(t, b)
	return a
}

// Bodies of log entries, as the logs write them.
func dsseBody(payloadHash [32]byte, sig []byte, by string) string {
	return fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"%x"},"payloadHash":{"algorithm":"sha256","value":"%x"},"signatures":[{"signature":%q,"verifier":%q}]}}`,
		payloadHash, payloadHash, b64(sig), b64([]byte(by)))
}

func hashedBody(algorithm string, digest, sig []byte, by string) string {
	return fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":%q,"value":"%x"}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`,
		algorithm, digest, b64(sig), b64([]byte(by)))
}

func hashed2Body(digest, sig, spki []byte) string {
	return fmt.Sprintf(`{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":%q},"signature":{"content":%q,"verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","publicKey":{"rawBytes":%q}}}}}}`,
		b64(digest), b64(sig), b64(spki))
}

// TestLogEntries makes entries that a log would not, or not for this signature, and has the log vouch for them.
func TestLogEntries(t *testing.T) {
	t.Parallel()
	img, p, s, stranger := testImage(t), newPKI(t, nil), newSigner(t), newSigner(t)
	key := s.key.(*ecdsa.PrivateKey)
	text := statement(fmt.Sprintf(`[{"digest":{"sha256":%q}}]`, img.Digest().Hex()), signType, "")
	message := pae(inToto, text)
	sig, again := s.sign(t, message), s.sign(t, message)
	payloadHash, messageHash, wrong := sha256.Sum256([]byte(text)), sha256.Sum256(message), sha256.Sum256([]byte("wrong"))
	pub, strangers := string(publicPEM(t, key)), string(publicPEM(t, stranger.key.(*ecdsa.PrivateKey)))
	promised := func(kind, version, body string) image.Artifact {
		return old(t, logged(t, s, text, sig, p.promisedEntry(t, p.rekor, kind, version, body, p.now)))
	}
	included := func(origin, name, kind, version, body string) image.Artifact {
		return logged(t, s, text, sig, p.includedEntry(t, origin, name, kind, version, body))
	}
	const host, tree = "log.example.test", "log.example.test - 1234567890"
	good2 := hashed2Body(messageHash[:], sig, spki(t, key))
	goodDSSE := dsseBody(payloadHash, sig, pub)
	legacyText := payload(img.Digest().String(), "cosign container image signature", "")
	legacy := func(algorithm string, digest []byte) image.Artifact {
		a := s.simple(t, legacyText)
		raw := b64([]byte(hashedBody(algorithm, digest, unbase64(t, a.Annotations["dev.cosignproject.cosign/signature"]), pub)))
		a.Annotations["dev.sigstore.cosign/bundle"] = fmt.Sprintf(`{"SignedEntryTimestamp":%q,"Payload":{"body":%q,"integratedTime":%d,"logIndex":1,"logID":%q}}`,
			b64(p.set(t, raw, p.now)), raw, p.now.Unix(), logID(t, p.rekor))
		return a
	}
	legacyHash := sha256.Sum256([]byte(legacyText))
	const missing, bad = reason.TransparencyLogMissing, reason.BadSignature
	for name, tc := range map[string]struct {
		artifact image.Artifact
		code     reason.Code
	}{
		"dsse":                               {promised("dsse", "0.0.1", goodDSSE), ""},
		"dsse, included":                     {included(tree, host, "dsse", "0.0.1", goodDSSE), ""},
		"hashedrekord of the second form":    {included(host, host, "hashedrekord", "0.0.2", good2), ""},
		"legacy":                             {legacy("sha256", legacyHash[:]), ""},
		"T-052 legacy, other digest":         {legacy("sha256", wrong[:]), missing},
		"T-052 legacy, empty digest":         {legacy("sha256", nil), missing},
		"T-052 legacy, other algorithm":      {legacy("sha512", legacyHash[:]), missing},
		"T-052 dsse, other payload hash":     {promised("dsse", "0.0.1", dsseBody(wrong, sig, pub)), missing},
		"T-052 second form, other digest":    {included(host, host, "hashedrekord", "0.0.2", hashed2Body(wrong[:], sig, spki(t, key))), missing},
		"T-052 payload's hash for message's": {included(host, host, "hashedrekord", "0.0.2", hashed2Body(payloadHash[:], sig, spki(t, key))), missing},
		"T-052 hashedrekord of an envelope":  {promised("hashedrekord", "0.0.1", hashedBody("sha256", messageHash[:], sig, pub)), missing},
		"T-045 second form under a checkpoint of the first": {
			included(tree, host, "hashedrekord", "0.0.2", hashed2Body(wrong[:], again, spki(t, key))), missing},
		"T-045 the same, and its own":                 {included(tree, host, "hashedrekord", "0.0.2", good2), missing},
		"T-045 another signature of the same message": {promised("dsse", "0.0.1", dsseBody(payloadHash, again, pub)), missing},
		"T-045 second form, another signature":        {included(host, host, "hashedrekord", "0.0.2", hashed2Body(messageHash[:], again, spki(t, key))), missing},
		"T-060 another signer":                        {promised("dsse", "0.0.1", dsseBody(payloadHash, sig, strangers)), missing},
		"T-060 second form, another signer":           {included(host, host, "hashedrekord", "0.0.2", hashed2Body(messageHash[:], sig, spki(t, stranger.key.(*ecdsa.PrivateKey)))), missing},
		"T-060 no signer":                             {promised("dsse", "0.0.1", dsseBody(payloadHash, sig, "")), missing},
		"T-060 a log that only the entry knows": {
			old(t, logged(t, s, text, sig, p.promisedEntry(t, key, "dsse", "0.0.1", goodDSSE, p.now))), missing},
		"T-054 kind of the first form, body of the second": {included(host, host, "hashedrekord", "0.0.1", good2), bad},
		"T-054 unknown second form":                        {included(host, host, "dsse", "0.0.2", `{"apiVersion":"0.0.2","kind":"dsse","spec":{"dsseV002":{}}}`), bad},
		"T-054 leaf of another body": {logged(t, s, text, sig, func() map[string]any {
			e := p.includedEntry(t, tree, host, "dsse", "0.0.1", goodDSSE)
			other := p.includedEntry(t, tree, host, "dsse", "0.0.1", dsseBody(wrong, again, pub))
			e["inclusionProof"] = other["inclusionProof"]
			return e
		}()), missing},
		"A-32 second form, other origin": {included("other.example.test", "other.example.test", "hashedrekord", "0.0.2", good2), missing},
		"A-32 second form with a promise besides": {logged(t, s, text, sig, func() map[string]any {
			e := p.includedEntry(t, host, host, "hashedrekord", "0.0.2", good2)
			e["inclusionPromise"], e["integratedTime"] = map[string]any{"signedEntryTimestamp": b64(p.set(t, b64([]byte(good2)), p.now))}, fmt.Sprint(p.now.Unix())
			return e
		}()), missing},
		"T-059 kind alpine":  {promised("alpine", "0.0.1", `{"apiVersion":"0.0.1","kind":"alpine","spec":{"package":{"url":"http://127.0.0.1:1/"}}}`), bad},
		"T-059 kind rekord":  {promised("rekord", "0.0.1", `{"apiVersion":"0.0.1","kind":"rekord","spec":{"data":{"url":"http://127.0.0.1:1/"}}}`), bad},
		"T-059 kind tuf":     {promised("tuf", "0.0.1", `{"apiVersion":"0.0.1","kind":"tuf","spec":{"metadata":{"content":""}}}`), bad},
		"T-059 kind rfc3161": {promised("rfc3161", "0.0.1", `{"apiVersion":"0.0.1","kind":"rfc3161","spec":{"tsr":{"content":""}}}`), bad},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &verify.Attestor{Key: s.key.Public()}
			if got, err := verdict(t, sigstore.NewAt(p.trust(t), p.now), img, a, false, tc.artifact); got != tc.code {
				t.Errorf("%q, want %q: %v", got, tc.code, err)
			}
		})
	}
}

// TestT050TwoLogs asks for two logs, by two entries with a log key each: one log does not count for the other, however
// often it vouches.
func TestT050TwoLogs(t *testing.T) {
	t.Parallel()
	img, p, s, second := testImage(t), newPKI(t, nil), newSigner(t), newKey(t)
	text := statement(fmt.Sprintf(`[{"digest":{"sha256":%q}}]`, img.Digest().Hex()), signType, "")
	sig := s.sign(t, pae(inToto, text))
	body := dsseBody(sha256.Sum256([]byte(text)), sig, string(publicPEM(t, s.key.(*ecdsa.PrivateKey))))
	by := func(log *ecdsa.PrivateKey) map[string]any {
		return p.promisedEntry(t, log, "dsse", "0.0.1", body, p.now)
	}
	var entries []verify.Entry
	for _, log := range []*ecdsa.PrivateKey{p.rekor, second} {
		entries = append(entries, verify.Entry{Path: "keys", Attestor: &verify.Attestor{Key: s.key.Public(), LogKeys: keyList(log)}})
	}
	req := &verify.Requirement{Sets: []verify.Set{{Count: 2, Entries: entries}}}
	for name, tc := range map[string]struct {
		entries []any
		code    reason.Code
	}{
		"both":      {[]any{by(p.rekor), by(second)}, ""},
		"one":       {[]any{by(p.rekor)}, reason.TransparencyLogMissing},
		"one twice": {[]any{by(p.rekor), by(p.rekor)}, reason.TransparencyLogMissing},
		"one under the other's name": {[]any{by(p.rekor), func() map[string]any {
			e := by(p.rekor)
			e["logId"] = by(second)["logId"]
			return e
		}()}, reason.TransparencyLogMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := old(t, logged(t, s, text, sig, tc.entries...))
			_, err := verify.Evaluate(t.Context(), sigstore.NewAt(p.trust(t), p.now), found{&image.Attached{Artifacts: []image.Artifact{a}}}, img, req)
			if code(err) != tc.code {
				t.Errorf("%v, want %q", err, tc.code)
			}
		})
	}
}

func code(err error) reason.Code {
	if err == nil {
		return ""
	}
	return reason.Of(err).Code
}

func keyList(keys ...*ecdsa.PrivateKey) []crypto.PublicKey {
	var list []crypto.PublicKey
	for _, k := range keys {
		list = append(list, k.Public())
	}
	return list
}

func unbase64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestA28UnsignedTime has entries that are in the log beyond doubt, and say when they were made without the log's word
// for it: they prove that the signature was logged, and no time.
func TestA28UnsignedTime(t *testing.T) {
	t.Parallel()
	img, p := testImage(t), newPKI(t, nil)
	inPast := p.now.Add(-570 * time.Minute)
	expired := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = p.now.Add(-10*time.Hour), p.now.Add(-9*time.Hour) }
	for name, tc := range map[string]struct {
		change  func(*x509.Certificate)
		claimed time.Time
		ignore  bool
		code    reason.Code
	}{
		"expired, a time within is claimed":           {expired, inPast, false, reason.TimestampMissing},
		"valid, now is claimed":                       {nil, p.now, false, reason.TimestampMissing},
		"no log wanted, expired, a time is claimed":   {expired, inPast, true, reason.CertificateExpired},
		"no log wanted, valid, another is claimed":    {nil, inPast, true, ""},
		"no log wanted, valid, the far future is too": {nil, p.now.AddDate(100, 0, 0), true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, key := p.leaf(t, tc.change, p.ct)
			a := p.bundle(t, img, made{cert: cert, key: key})
			b := decode(t, a.Payload)
			sealed := b["dsseEnvelope"].(map[string]any)
			text := unbase64(t, sealed["payload"].(string))
			sig := unbase64(t, at(sealed, "signatures")["sig"].(string))
			e := p.includedEntry(t, "log.example.test - 1234567890", "log.example.test", "dsse", "0.0.1", dsseBody(sha256.Sum256(text), sig, pemOf(cert)))
			e["integratedTime"] = fmt.Sprint(tc.claimed.Unix())
			at(b, "verificationMaterial")["tlogEntries"] = []any{e}
			b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2"
			a.Payload = encode(t, b)
			attestor := keyless(t, verify.IdentityText{Subject: devSubject})
			attestor.IgnoreLog = tc.ignore
			if got, err := verdict(t, sigstore.NewAt(p.trust(t), p.now), img, attestor, false, a); got != tc.code {
				t.Errorf("%q, want %q: %v", got, tc.code, err)
			}
		})
	}
}
