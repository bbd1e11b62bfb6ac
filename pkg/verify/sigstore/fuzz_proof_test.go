package sigstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/signet-policy/signet/pkg/fuzztest"
	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
)

// bundles are those of the corpus.
func bundles(f *testing.F) []*protobundle.Bundle {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(corpus.Images(), "blobs", "sha256", "*"))
	if err != nil {
		f.Fatal(err)
	}
	var list []*protobundle.Bundle
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		pb := &protobundle.Bundle{}
		if protojson.Unmarshal(b, pb) == nil && pb.GetVerificationMaterial() != nil {
			list = append(list, pb)
		}
	}
	if len(list) < 5 {
		f.Fatalf("%d bundles", len(list))
	}
	return list
}

func trustedRoot(f *testing.F) root.TrustedMaterial {
	f.Helper()
	s, err := trust.FromFile(filepath.Join(corpus.Dir(), "trust", "trusted_root.json"))
	if err != nil {
		f.Fatal(err)
	}
	m, err := s.Material(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	return m
}

// given is a Source of one root.
type given struct{ root.TrustedMaterial }

func (g given) Material(context.Context) (root.TrustedMaterial, error) { return g.TrustedMaterial, nil }
func (given) Generation() string                                       { return "fuzz" }

// FuzzLogEntry: no entry of a log, however it is put together, vouches for a signature that the log never saw. The seeds
// are entries that the log did make, for others.
func FuzzLogEntry(f *testing.F) {
	for _, b := range bundles(f) {
		for _, e := range b.GetVerificationMaterial().GetTlogEntries() {
			p := e.GetInclusionProof()
			var hash []byte
			if len(p.GetHashes()) > 0 {
				hash = p.GetHashes()[0]
			}
			f.Add(e.GetCanonicalizedBody(), e.GetLogId().GetKeyId(), e.GetInclusionPromise().GetSignedEntryTimestamp(), p.GetCheckpoint().GetEnvelope(), p.GetRootHash(), hash,
				e.GetLogIndex(), e.GetIntegratedTime(), p.GetTreeSize())
		}
	}
	v := New(given{trustedRoot(f)})
	s := &signed{message: []byte("message"), payload: []byte("message"), signature: []byte("signature"), layer: []byte("layer")}
	pub, err := corpus.Read("trust/third.pub")
	if err != nil {
		f.Fatal(err)
	}
	keys, err := verify.ParseKeys(pub)
	if err != nil {
		f.Fatal(err)
	}
	check, err := newChecker(keys[0], crypto.SHA256)
	if err != nil {
		f.Fatal(err)
	}
	text, err := corpus.Read("trust/rekor1.pub")
	if err != nil {
		f.Fatal(err)
	}
	logs, err := verify.ParseKeys(text)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(logs[0])
	if err != nil {
		f.Fatal(err)
	}
	log := sha256.Sum256(der)
	f.Add(fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"intoto","spec":{"content":{"hash":{"algorithm":"sha256","value":"%x"}},"publicKey":%q}}`,
		sha256.Sum256(s.layer), base64.StdEncoding.EncodeToString([]byte(pub))), log[:], []byte("promise"), "", []byte(nil), []byte(nil), int64(1), int64(1764000000), int64(0))
	f.Fuzz(func(t *testing.T, body, id, promise []byte, checkpoint string, rootHash, hash []byte, index, integrated, size int64) {
		e := &protorekor.TransparencyLogEntry{}
		raw, err := json.Marshal(map[string]any{
			"logIndex": index, "logId": map[string]any{"keyId": id}, "integratedTime": integrated, "canonicalizedBody": body,
			"inclusionPromise": map[string]any{"signedEntryTimestamp": promise},
			"inclusionProof":   map[string]any{"logIndex": index, "rootHash": rootHash, "treeSize": size, "hashes": [][]byte{hash}, "checkpoint": map[string]any{"envelope": checkpoint}},
		})
		if err != nil || len(raw) > maxBundle || protojson.Unmarshal(raw, e) != nil {
			t.Skip()
		}
		kind, err := entryKind(body)
		if err != nil {
			return
		}
		e.KindVersion = kind
		own := *s
		own.logEntries = func() ([]*protorekor.TransparencyLogEntry, error) {
			return []*protorekor.TransparencyLogEntry{e}, nil
		}
		own.timestamps = func() ([][]byte, error) { return nil, nil }
		fuzztest.Bounded(t, 32<<20, 2000, len(raw), func() {
			defer func() {
				// As in Verify: what panics in a library has rejected the candidate. A panic of our own is a defect.
				if p := recover(); p != nil {
					t.Logf("a library panicked: %v", p)
				}
			}()
			for _, a := range []*verify.Attestor{{Key: keys[0]}, {Key: keys[0], LogKeys: logs}} {
				during := v.during(t.Context())
				stamps, _ := during.times(&own, a)
				if times, err := during.verifyLog(&own, a, &signer{key: keys[0]}, check, stamps); err == nil {
					t.Errorf("an entry that nobody made tells the time %v", times)
				}
			}
		})
	})
}

// FuzzTimestamp: no response vouches for a signature that the authority never saw.
func FuzzTimestamp(f *testing.F) {
	for _, b := range bundles(f) {
		for _, r := range b.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps() {
			f.Add(r.GetSignedTimestamp())
		}
	}
	f.Add([]byte{48, 3, 2, 1, 0})
	for _, token := range [][]byte{bytes.Repeat([]byte{0x30, 0x80}, 20<<10), deepDER(10 << 10), deepDER(20)} {
		f.Add(wrapped(0, 16, append([]byte{48, 3, 2, 1, 0}, token...)))
	}
	authorities := trustedRoot(f).TimestampingAuthorities()
	text, err := corpus.Read("trust/tsa-chain.pem")
	if err != nil {
		f.Fatal(err)
	}
	chain, err := verify.ParseCertificates(text)
	if err != nil {
		f.Fatal(err)
	}
	own, err := chainAuthorities(chain)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxAnnotation {
			t.Skip()
		}
		fuzztest.Bounded(t, 16<<20, 2000, len(b), func() {
			defer func() {
				if p := recover(); p != nil {
					t.Logf("a library panicked: %v", p)
				}
			}()
			s := &signed{stamped: []byte("signature"), timestamps: func() ([][]byte, error) { return [][]byte{b}, nil }}
			for _, list := range [][]root.TimestampingAuthority{authorities, own} {
				if stamps, err := stampedAt(s, list); err == nil {
					t.Errorf("nobody stamped it at %v", stamps)
				}
			}
		})
	})
}

// FuzzPromises: no list of certificate timestamps vouches for a certificate that no log ever saw. The seeds are lists of
// other certificates.
func FuzzPromises(f *testing.F) {
	oid := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	for _, c := range certificateSeeds(f) {
		for _, e := range c.Extensions {
			if e.Id.Equal(oid) {
				f.Add(e.Value)
			}
		}
	}
	f.Add([]byte{4, 0})
	v := New(given{trustedRoot(f)})
	text, err := corpus.Read("trust/foreign/fulcio-chain.pem")
	if err != nil {
		f.Fatal(err)
	}
	chain, err := verify.ParseRoots(text)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		if len(list) > maxAnnotation {
			t.Skip()
		}
		leaf := *chain[0]
		sum := sha256.Sum256(list)
		leaf.RawTBSCertificate = append([]byte{48, 32}, sum[:]...)
		leaf.Extensions = []pkix.Extension{{Id: oid, Value: list}}
		fuzztest.Bounded(t, 16<<20, 2000, len(list), func() {
			defer func() {
				if p := recover(); p != nil {
					t.Logf("a library panicked: %v", p)
				}
			}()
			at := time.Unix(1764000000, 0)
			p := path{chain: append([]*x509.Certificate{&leaf}, chain...), start: at, end: at}
			if err := v.during(t.Context()).verifySCT(&verify.Attestor{Keyless: &verify.Keyless{}}, []path{p}); err == nil {
				t.Errorf("%x vouches for a certificate that nobody logged", list)
			}
		})
	})
}
