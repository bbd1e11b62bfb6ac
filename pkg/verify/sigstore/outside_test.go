package sigstore_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// TestT058Issuer has certificates name a server as their issuer, in every place that could make somebody ask it: texts
// are compared, and nobody is called.
func TestT058Issuer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	img, p := testImage(t), newPKI(t, nil)
	change := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{extension(t, verify.IssuerV2OID, der(t, server.URL, "utf8"))}
		c.OCSPServer, c.IssuingCertificateURL = []string{server.URL + "/ocsp"}, []string{server.URL + "/ca"}
		c.CRLDistributionPoints = []string{server.URL + "/crl"}
	}
	cert, key := p.leaf(t, change, p.ct)
	m := made{cert: cert, key: key, logged: []time.Time{p.now}}
	judge(t, p, img, attempt{made: m, attestor: keyless(t, verify.IdentityText{Issuer: server.URL, Subject: devSubject})})
	judge(t, p, img, attempt{made: m, attestor: keyless(t, verify.IdentityText{Issuer: server.URL + "/", Subject: devSubject}), code: reason.IdentityMismatch})
	if n := asked.Load(); n > 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// TestT059Addresses puts addresses into log entries, whose kinds are known or not: nothing is fetched.
func TestT059Addresses(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	img, p, s := testImage(t), newPKI(t, nil), newSigner(t)
	text := statement(fmt.Sprintf(`[{"digest":{"sha256":%q}}]`, img.Digest().Hex()), signType, "")
	sig := s.sign(t, pae(inToto, text))
	sum := sha256.Sum256([]byte(text))
	pub := string(publicPEM(t, s.key.(*ecdsa.PrivateKey)))
	hashed, enveloped := hashedBody("sha256", sum[:], sig, pub), dsseBody(sum, sig, pub)
	for name, tc := range map[string]struct{ kind, version, body string }{
		"rekord":             {"rekord", "0.0.1", `{"apiVersion":"0.0.1","kind":"rekord","spec":{"data":{"url":"$URL"},"signature":{"url":"$URL","publicKey":{"url":"$URL"}}}}`},
		"rpm":                {"rpm", "0.0.1", `{"apiVersion":"0.0.1","kind":"rpm","spec":{"package":{"url":"$URL"},"publicKey":{"url":"$URL"}}}`},
		"hashedrekord's url": {"hashedrekord", "0.0.1", strings.Replace(hashed, `"data":{`, `"data":{"url":"$URL",`, 1)},
		"its key's url":      {"hashedrekord", "0.0.1", strings.Replace(hashed, `"publicKey":{`, `"publicKey":{"url":"$URL",`, 1)},
		"dsse's url":         {"dsse", "0.0.1", strings.Replace(enveloped, `"spec":{`, `"spec":{"proposedContent":{"envelope":"$URL","verifiers":["$URL"]},`, 1)},
		"intoto's url":       {"intoto", "0.0.2", `{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{"payloadType":"$URL","signatures":[{"sig":"$URL","publicKey":"$URL"}]},"payloadHash":{"algorithm":"sha256","value":"00"}}}}`},
	} {
		body := strings.ReplaceAll(tc.body, "$URL", server.URL)
		a := old(t, logged(t, s, text, sig, p.promisedEntry(t, p.rekor, tc.kind, tc.version, body, p.now)))
		got, err := verdict(t, sigstore.NewAt(p.trust(t), p.now), img, &verify.Attestor{Key: s.key.Public()}, false, a)
		if got == "" && tc.kind != "dsse" {
			t.Errorf("%s: accepted", name)
		}
		if asked.Load() > 0 {
			t.Fatalf("%s: an address was fetched: %v", name, err)
		}
	}
}

// TestT061Bytes signs one form of a document and sends another of the same meaning: the bytes count, and those that were
// verified are those that are handed on.
func TestT061Bytes(t *testing.T) {
	t.Parallel()
	img, s := testImage(t), newSigner(t)
	text := payload(img.Digest().String(), "cosign container image signature", `,"optional":{"a":"b"}`)
	spaced := strings.NewReplacer(`{`, "{ ", `,`, " ,\n").Replace(text)
	escaped := strings.Replace(text, `"critical"`, `"\u0063ritical"`, 1)
	a := &verify.Attestor{Key: s.key.Public(), IgnoreLog: true, Annotations: map[string]string{"a": "b"}}
	req := &verify.Requirement{Sets: []verify.Set{{Count: 1, Entries: []verify.Entry{{Path: "keys", Attestor: a}}}}}
	for name, form := range map[string]string{"as it is": text, "spaced": spaced, "escaped": escaped} {
		artifact := s.simple(t, form)
		proof, err := verify.Evaluate(t.Context(), sigstore.New(nil), found{&image.Attached{Artifacts: []image.Artifact{artifact}}}, img, req)
		if err != nil || string(proof.Signatures[0].Payload) != form {
			t.Errorf("%s: %v", name, err)
		}
		for other, sent := range map[string]string{"as it is": text, "spaced": spaced, "escaped": escaped} {
			if sent == form {
				continue
			}
			changed := artifact
			changed.Payload = []byte(sent)
			if got, err := verdict(t, sigstore.New(nil), img, a, false, changed); got != reason.BadSignature {
				t.Errorf("signed %s, sent %s: %q %v", name, other, got, err)
			}
		}
	}
}

// TestT070DistinguishedNames has certificates with names that are large, deep and odd: within the limits they are read,
// above they are refused, and no reading costs more than the certificate's own size some times over.
func TestT070DistinguishedNames(t *testing.T) {
	t.Parallel()
	img, p := testImage(t), newPKI(t, nil)
	var many []pkix.AttributeTypeAndValue
	for i := range 2000 {
		many = append(many, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: fmt.Sprint("unit", i)})
	}
	for name, tc := range map[string]struct {
		subject pkix.Name
		code    reason.Code
	}{
		"plain":           {pkix.Name{CommonName: "x"}, ""},
		"odd characters":  {pkix.Name{CommonName: "a,b+c=\"d\"<e>;\\f#g\x00h\nCN=dev@example.test"}, ""},
		"2000 parts":      {pkix.Name{ExtraNames: many}, ""},
		"60 KB":           {pkix.Name{CommonName: strings.Repeat("x", 60<<10)}, ""},
		"above the limit": {pkix.Name{CommonName: strings.Repeat("x", 70<<10)}, reason.LimitReached},
	} {
		cert, key := p.leaf(t, func(c *x509.Certificate) { c.Subject = tc.subject }, p.ct)
		m := made{cert: cert, key: key, logged: []time.Time{p.now}}
		a := p.bundle(t, img, m)
		v := sigstore.NewAt(p.trust(t), p.now)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := verdict(t, v, img, keyless(t, verify.IdentityText{Subject: devSubject}), false, a)
		runtime.ReadMemStats(&after)
		if got != tc.code {
			t.Errorf("%s: %q, want %q: %.200v", name, got, tc.code, err)
		}
		// Other tests run beside this one; what is looked for is growth beyond any proportion.
		if cost := after.TotalAlloc - before.TotalAlloc; cost > 1<<30 {
			t.Errorf("%s: %d bytes for a certificate of %d", name, cost, len(cert.Raw))
		}
	}
}
