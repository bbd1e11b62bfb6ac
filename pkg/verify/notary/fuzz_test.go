package notary

import (
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"unicode"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
)

// envelopes are the Notary signatures of the corpus of the media type.
func envelopes(f *testing.F, mediaType string) (seeds [][]byte) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(corpus.Images(), "blobs", "sha256", "*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var m struct {
			Layers []struct{ MediaType, Digest string } `json:"layers"`
		}
		if json.Unmarshal(b, &m) != nil || len(m.Layers) != 1 || m.Layers[0].MediaType != mediaType {
			continue
		}
		d, err := image.ParseDigest(m.Layers[0].Digest)
		if err != nil {
			f.Fatal(err)
		}
		if b, err = os.ReadFile(filepath.Join(corpus.Images(), "blobs", "sha256", d.Hex())); err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, b)
	}
	if len(seeds) == 0 {
		f.Fatalf("no %s in the corpus", mediaType)
	}
	return seeds
}

// fuzz opens anything as an envelope: it never panics, a failure has a reason and a text for people, and whatever opens is
// bounded and refused by a store that it does not know.
func fuzz(f *testing.F, mediaType string) {
	for _, seed := range envelopes(f, mediaType) {
		f.Add(seed)
	}
	f.Add([]byte("{}"))
	f.Add([]byte{0xd2, 0x84, 0x40, 0xa0, 0xf6, 0x40})
	v := New(nil)
	stranger := &x509.Certificate{Raw: []byte("stranger")}
	f.Fuzz(func(t *testing.T, payload []byte) {
		img := image.DigestOf([]byte("image"))
		a := image.Artifact{
			ArtifactType: image.NotarySignature, MediaType: mediaType, Payload: payload,
			Subject: image.Descriptor{MediaType: "m", Digest: img, Size: 5},
		}
		s, err := open(&a)
		if err != nil {
			e := reason.Of(err)
			if e.Code == reason.InternalError || e.Unreachable || len(e.Text) > 1024 {
				t.Errorf("%s: %q", e.Code, e.Text)
			}
			for _, r := range e.Text {
				if !unicode.IsPrint(r) {
					t.Errorf("%q", e.Text)
				}
			}
		} else {
			if n := len(s.chain); n == 0 || n > maxCertificates {
				t.Errorf("%d certificates", n)
			}
			c := verify.Candidate{Artifact: a, Signature: true, Parsed: s}
			attestor := &verify.Attestor{Certificates: &verify.Certificates{Roots: []*x509.Certificate{stranger}}}
			if got, err := s.verified(); err == nil && got.mismatch == nil {
				t.Error("it is for an image that nobody signed")
			}
			if got, err := v.Verify(t.Context(), image.Pinned{}, &c, attestor); err == nil || got != nil {
				t.Errorf("accepted: %v", got)
			}
		}
	})
}

func FuzzT079JWS(f *testing.F) { fuzz(f, image.NotaryEnvelopeJWS) }

func FuzzCOSE(f *testing.F) { fuzz(f, image.NotaryEnvelopeCOSE) }

// FuzzPredicate reads anything as the only layer of an artifact: what is a statement is a JSON object.
func FuzzPredicate(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1]}`, `null`, `[]`, `{"a":{"a":{}}}`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, err := (&attestation{kind: "k", predicate: payload}).statement()
		if err != nil {
			return
		}
		var fields map[string]any
		if json.Unmarshal(s.Predicate, &fields) != nil || fields == nil {
			t.Errorf("%q is no object", payload)
		}
	})
}
