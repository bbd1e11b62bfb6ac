package sigstore_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// intotoBody is the body of an entry of an envelope's hash, as the log wrote it for cosign before version 2.2.
func intotoBody(algorithm string, envelope []byte, by string) string {
	return fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"intoto","spec":{"content":{"hash":{"algorithm":%q,"value":"%x"},"payloadHash":{"algorithm":"sha256","value":"%x"}},"publicKey":%q}}`,
		algorithm, sha256.Sum256(envelope), sha256.Sum256(envelope), b64([]byte(by)))
}

// carrying is the layer with the entry, promised by the log.
func (p *pki) carrying(t testing.TB, a image.Artifact, log *ecdsa.PrivateKey, body string, promised, claimed time.Time) image.Artifact {
	t.Helper()
	by := *p
	by.rekor = log
	raw := b64([]byte(body))
	annotations := map[string]string{"dev.sigstore.cosign/bundle": fmt.Sprintf(`{"SignedEntryTimestamp":%q,"Payload":{"body":%q,"integratedTime":%d,"logIndex":1,"logID":%q}}`,
		b64(by.set(t, raw, promised)), raw, claimed.Unix(), logID(t, log))}
	for k, v := range a.Annotations {
		annotations[k] = v
	}
	a.Annotations = annotations
	return a
}

// TestEnvelopeEntries has entries of the kind that names the hash of a whole envelope, as attestations of cosign 1.x to 2.1
// carry them (VI 6.5(4), 6.11(3)).
func TestEnvelopeEntries(t *testing.T) {
	t.Parallel()
	img, p, s, stranger := testImage(t), newPKI(t, nil), newSigner(t), newSigner(t)
	text := statement(fmt.Sprintf(`[{"digest":{"sha256":%q}}]`, img.Digest().Hex()), signType, "")
	own, again := s.envelope(t, inToto, text), s.envelope(t, inToto, text)
	blank := own
	blank.Payload = append([]byte(" "), own.Payload...)
	pub := string(publicPEM(t, s.key.(*ecdsa.PrivateKey)))
	by := func(a image.Artifact, body string) image.Artifact {
		return p.carrying(t, a, p.rekor, body, p.now, p.now)
	}
	good := intotoBody("sha256", own.Payload, pub)
	simple := s.simple(t, payload(img.Digest().String(), "cosign container image signature", ""))
	const missing = reason.TransparencyLogMissing
	for name, tc := range map[string]struct {
		artifact image.Artifact
		code     reason.Code
	}{
		"its own":                           {by(own, good), ""},
		"T-045 another envelope's":          {by(again, good), missing},
		"T-045 other bytes around it":       {by(blank, good), missing},
		"T-045 of a payload":                {by(own, intotoBody("sha256", []byte(text), pub)), missing},
		"T-045 nothing's, for a payload":    {by(simple, intotoBody("sha256", nil, pub)), missing},
		"T-045 the payload's, without DSSE": {by(simple, intotoBody("sha256", simple.Payload, pub)), missing},
		"T-060 another signer's":            {by(own, intotoBody("sha256", own.Payload, string(publicPEM(t, stranger.key.(*ecdsa.PrivateKey))))), missing},
		"T-060 nobody's":                    {by(own, intotoBody("sha256", own.Payload, "")), missing},
		"T-060 of another log":              {p.carrying(t, own, newKey(t), good, p.now, p.now), missing},
		"A-28 another time":                 {p.carrying(t, own, p.rekor, good, p.now, p.now.Add(time.Second)), missing},
		"A-28 no time":                      {p.carrying(t, own, p.rekor, good, time.Unix(0, 0), time.Unix(0, 0)), missing},
		"T-051 before the log's key":        {p.carrying(t, own, p.rekor, good, p.now.Add(-1001*time.Hour), p.now.Add(-1001*time.Hour)), missing},
		"T-052 another algorithm":           {by(own, intotoBody("sha1", own.Payload, pub)), missing},
		"T-052 empty hash": {by(own, fmt.Sprintf(
			`{"apiVersion":"0.0.1","kind":"intoto","spec":{"content":{"hash":{"algorithm":"sha256","value":""}},"publicKey":%q}}`, b64([]byte(pub)))), missing},
		"T-054 proposal": {by(own, fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"intoto","spec":{"content":{"envelope":"","hash":{"algorithm":"sha256","value":"%x"}},"publicKey":%q}}`,
			sha256.Sum256(own.Payload), b64([]byte(pub)))), missing},
		"in a bundle, which is another text": {
			old(t, logged(t, s, text, s.sign(t, pae(inToto, text)), p.promisedEntry(t, p.rekor, "intoto", "0.0.1", good, p.now))), missing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, a := range map[string]*verify.Attestor{
				"log of the root":   {Key: s.key.Public()},
				"log of the policy": {Key: s.key.Public(), LogKeys: keyList(p.rekor)},
			} {
				if name == "T-051 before the log's key" && len(a.LogKeys) > 0 {
					continue // a key in a policy has no such time
				}
				if got, err := verdict(t, sigstore.NewAt(p.trust(t), p.now), img, a, false, tc.artifact); got != tc.code {
					t.Errorf("%s: %q, want %q: %v", what, got, tc.code, err)
				}
			}
		})
	}
}

// TestEnvelopeEntryTime has such an entry tell when a certificate was used: it outlives the certificate, and proves no use
// after its end.
func TestEnvelopeEntryTime(t *testing.T) {
	t.Parallel()
	img, p := testImage(t), newPKI(t, nil)
	inPast := p.now.Add(-570 * time.Minute)
	cert, key := p.leaf(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = p.now.Add(-10*time.Hour), p.now.Add(-9*time.Hour) }, p.ct)
	other, _ := p.leaf(t, nil, p.ct)
	s := newSigner(t)
	s.key = key
	a := s.envelope(t, inToto, statement(fmt.Sprintf(`[{"digest":{"sha256":%q}}]`, img.Digest().Hex()), signType, ""))
	a.Annotations = map[string]string{"dev.sigstore.cosign/certificate": pemOf(cert)}
	for name, tc := range map[string]struct {
		by   string
		at   time.Time
		code reason.Code
	}{
		"within":                      {pemOf(cert), inPast, ""},
		"after":                       {pemOf(cert), p.now, reason.CertificateExpired},
		"T-042 another certificate's": {pemOf(other), inPast, reason.TransparencyLogMissing},
		"T-042 the key's alone":       {string(publicPEM(t, key)), inPast, reason.TransparencyLogMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logged := p.carrying(t, a, p.rekor, intotoBody("sha256", a.Payload, tc.by), tc.at, tc.at)
			got, err := verdict(t, sigstore.NewAt(p.trust(t), p.now), img, keyless(t, verify.IdentityText{Subject: devSubject}), false, logged)
			if got != tc.code {
				t.Errorf("%q, want %q: %v", got, tc.code, err)
			}
		})
	}
}

// TestEnvelopeEntryOfEndedLog has a log whose key has ended: what it promised before still counts, and nothing after.
func TestEnvelopeEntryOfEndedLog(t *testing.T) {
	t.Parallel()
	img, p, s := testImage(t), newPKI(t, nil), newSigner(t)
	a := s.envelope(t, inToto, statement(fmt.Sprintf(`[{"digest":{"sha256":%q}}]`, img.Digest().Hex()), signType, ""))
	body := intotoBody("sha256", a.Payload, string(publicPEM(t, s.key.(*ecdsa.PrivateKey))))
	trust := p.trust(t)
	for _, log := range trust.rekor {
		log.ValidityPeriodEnd = p.now.Add(-time.Hour)
	}
	for name, tc := range map[string]struct {
		at   time.Time
		code reason.Code
	}{
		"before":      {p.now.Add(-2 * time.Hour), ""},
		"T-051 after": {p.now.Add(-time.Minute), reason.TransparencyLogMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logged := p.carrying(t, a, p.rekor, body, tc.at, tc.at)
			if got, err := verdict(t, sigstore.NewAt(trust, p.now), img, &verify.Attestor{Key: s.key.Public()}, false, logged); got != tc.code {
				t.Errorf("%q, want %q: %v", got, tc.code, err)
			}
		})
	}
}
