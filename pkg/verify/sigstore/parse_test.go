package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
)

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"n` + big.NewInt(int64(i)).String() + `":1`)
		}
		return "{" + b.String()[1:] + "}"
	}
	for text, good := range map[string]bool{
		`{}`: true, `[]`: true, `null`: true, `true`: true, `false`: true, `0`: true, `-1.5e+3`: true, `"a\"b\\"`: true,
		` [ 1 , {"a" : [ ] } ] `: true, `{"a":1,"A":2}`: true, many(100): true, `[1,2,3]`: true,
		``: false, ` `: false, `{`: false, `[`: false, `[1`: false, `[1,]`: false, `{"a"}`: false, `{"a":}`: false,
		`{"a":1,}`: false, `{a:1}`: false, `nul`: false, `nullx`: false, `01`: false, `1.`: false, `-`: false, `+1`: false,
		`"a`: false, `"a\`: false, `"\x"`: false, "\"\x01\"": false, `{} {}`: false, `'a'`: false, `[1 2]`: false,
		`{"a":1,"a":1}`: false, `{"a":1,"\u0061":1}`: false, `[1,2,3,4]`: false, `{"x":[1,2,3,4]}`: false,
		strings.TrimSuffix(many(100), "}") + `,"n7":1}`: false, "\ufeff{}": false, "\"\xff\"": false,
	} {
		if err := checkJSON([]byte(text), 3); (err == nil) != good {
			t.Errorf("checkJSON(%.60q) = %v", text, err)
		}
	}
}

func TestChainAuthorities(t *testing.T) {
	t.Parallel()
	made := func(name, issuer string, ca bool) *x509.Certificate {
		return &x509.Certificate{IsCA: ca, RawSubject: []byte(name), RawIssuer: []byte(issuer), Subject: pkix.Name{CommonName: name}}
	}
	leaf, mid, top, other := made("l", "i", false), made("i", "r", true), made("r", "r", true), made("o", "o", true)
	for name, tc := range map[string]struct {
		chain []*x509.Certificate
		want  int
	}{
		"whole":                {[]*x509.Certificate{leaf, mid, top}, 1},
		"two roots":            {[]*x509.Certificate{leaf, mid, top, other}, 2},
		"root alone":           {[]*x509.Certificate{top}, 1},
		"no root":              {[]*x509.Certificate{leaf, mid}, 0},
		"two end certificates": {[]*x509.Certificate{leaf, leaf, top}, 0},
	} {
		got, err := chainAuthorities(tc.chain)
		if len(got) != tc.want || (err == nil) != (tc.want > 0) {
			t.Errorf("%s: %d authorities, %v", name, len(got), err)
		}
	}
}

// FuzzCheckJSON looks for texts that this reader accepts and the standard library reads otherwise.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x",null,{"b":true}]}`, `{"a":1,"a":2}`, `"\ud800"`, `[[[[]]]]`, `-0.0e-1`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkJSON(b, 0)
		if err == nil && !json.Valid(b) {
			t.Errorf("accepted %q", b)
		}
		var v any
		if err != nil && json.Unmarshal(b, &v) == nil {
			return // stricter is what it is for
		}
		if err != nil {
			return
		}
		fields, err := object(trim(b))
		var want map[string]json.RawMessage
		isObject := len(trim(b)) > 0 && trim(b)[0] == '{'
		if (err == nil) != isObject || isObject && json.Unmarshal(b, &want) != nil || len(fields) != len(want) {
			t.Fatalf("%q: %d fields of %d, %v", b, len(fields), len(want), err)
		}
		for name, raw := range want {
			if got, ok := fields[name]; !ok || string(got) != string(raw) {
				t.Errorf("%q: %q is %q", b, name, got)
			}
		}
	})
}

func fuzzImage(t testing.TB) image.Pinned {
	t.Helper()
	ref, err := image.Parse("registry.test/app:v1", image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ref.Pin(image.DigestOf(nil))
}

func FuzzPayload(f *testing.F) {
	img := fuzzImage(f)
	f.Add([]byte(`{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":"` + string(img.Digest()) + `"},"type":"cosign container image signature"},"optional":{"a":"b"}}`))
	f.Add([]byte(`{"critical":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parsePayload(b, img)
		if err == nil && c.mismatch == nil && !strings.Contains(string(b), "type") {
			t.Errorf("accepted %q", b)
		}
		if err == nil && c.predicate != "" {
			t.Error("a payload with a predicate type")
		}
	})
}

func FuzzStatement(f *testing.F) {
	img := fuzzImage(f)
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + img.Digest().Hex() + `"},"annotations":{"a":"b"}}],"predicateType":"x","predicate":{}}`))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseStatement(b, img)
		if err == nil && (c.predicate == "" || c.mismatch == nil && len(c.annotations) == 0) {
			t.Errorf("accepted %q", b)
		}
	})
}

// FuzzArtifact opens and verifies anything; nobody signed it with the fresh key, so nothing may pass. The seeds are what
// the corpus holds.
func FuzzArtifact(f *testing.F) {
	img := fuzzImage(f)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(corpus.Images(), "blobs", "sha256", "*"))
	if err != nil || len(files) == 0 {
		f.Fatal("no blobs", err)
	}
	kinds := []string{simpleSigningType, envelopeType, bundleTypePrefix + ".v0.3+json"}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		switch text := string(b); {
		case strings.Contains(text, `"verificationMaterial"`):
			f.Add(2, b, "", "")
		case strings.Contains(text, `"critical"`):
			f.Add(0, b, `{"SignedEntryTimestamp":"AAAA","Payload":{"body":"e30=","integratedTime":1,"logIndex":1,"logID":"00"}}`, `{"SignedRFC3161Timestamp":"AAAA"}`)
		case strings.Contains(text, `"payloadType"`):
			f.Add(1, b, "", "")
		}
	}
	v := New(nil)
	f.Fuzz(func(t *testing.T, kind int, payload []byte, log, stamp string) {
		a := image.Artifact{MediaType: kinds[uint(kind)%3], Payload: payload, Annotations: map[string]string{
			signatureAnnotation: "MEUCIQDx", logAnnotation: log, timestampAnnotation: stamp,
		}}
		for _, attestor := range []*verify.Attestor{
			{Key: &key.PublicKey, IgnoreLog: true},
			{Key: &key.PublicKey, LogKeys: []crypto.PublicKey{&key.PublicKey}},
		} {
			for _, c := range v.Candidates(img, []image.Artifact{a}) {
				if s, err := v.Verify(t.Context(), img, &c, attestor); err == nil || s != nil {
					t.Error("a stranger's signature was accepted")
				}
				// The proofs are decoded only behind a good signature, so they are looked at on their own.
				if s, ok := c.Parsed.(*signed); ok {
					check, err := newChecker(attestor.Key, 0)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := v.during(t.Context()).verifyLog(s, attestor, &signer{key: attestor.Key}, check, nil); err == nil {
						t.Error("a proof of no log was accepted")
					}
					if responses, err := s.timestamps(); err == nil && len(responses) > maxTimestamps {
						t.Error("too many timestamps")
					}
				}
			}
		}
	})
}
