package matrix

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// Media types and predicate types as cosign writes them.
const (
	simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	envelopeType  = "application/vnd.dsse.envelope.v1+json"
	sigArtifact   = "application/vnd.dev.cosign.artifact.sig.v1+json"
	inToto        = "application/vnd.in-toto+json"
	bundleType    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	signPredicate = "https://sigstore.dev/cosign/sign/v1"
	provenance    = "https://slsa.dev/provenance/v1"
)

var b64 = base64.StdEncoding.EncodeToString

// deed is what somebody signs, and how: everything that a reason to refuse can be about.
type deed struct {
	img       image.Digest
	predicate string // a bundle's or an envelope's statement; empty for a signature in simple signing
	// release is signed as the annotation release.
	release string
	key     *ecdsa.PrivateKey
	// leaf and carried are the certificates that come along; without a leaf there are none.
	leaf    *x509.Certificate
	carried []*x509.Certificate
	// rekor1, rekor2 and stamped are who logs and stamps; nil for nobody.
	rekor1  *ecdsa.PrivateKey
	rekor2  ed25519.PrivateKey
	stamped *party
	now     time.Time

	// The lies. signature spoils what was signed, entry what was logged, stamp what was stamped.
	signature, entry, stamp bool
}

// lie is another text, if it is one.
func lie(wanted bool, b []byte) []byte {
	if wanted {
		return append([]byte("not "), b...)
	}
	return b
}

// signer is what log entries name: the certificate, or else the key, in PEM.
func (d *deed) signer(t testing.TB) []byte {
	if d.leaf != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.leaf.Raw})
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki(t, d.key.Public())})
}

// statement is the in-toto statement that is signed.
func (d *deed) statement() []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q},"annotations":{"release":%q}}],"predicateType":%q,"predicate":{"a":"b"}}`,
		d.img.Hex(), d.release, d.predicate)
}

func pae(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(inToto), inToto, len(payload), payload)
}

// layer is the deed in cosign's older format, as the layer of a manifest.
func (d *deed) layer(t testing.TB) registrytest.Layer {
	t.Helper()
	annotations := map[string]string{}
	if d.leaf != nil {
		annotations["dev.sigstore.cosign/certificate"] = string(d.signer(t))
		var chain strings.Builder
		for _, c := range d.carried {
			_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		}
		annotations["dev.sigstore.cosign/chain"] = chain.String()
	}
	l := registrytest.Layer{Annotations: annotations}
	var sig, stamped []byte
	var body string
	if d.predicate == "" {
		l.MediaType = simpleSigning
		l.Payload = fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"registry.test/app"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":{"release":%q}}`,
			d.img, d.release)
		sig = sign(t, d.key, lie(d.signature, l.Payload))
		annotations["dev.cosignproject.cosign/signature"] = b64(sig)
		sum := sha256.Sum256(lie(d.entry, l.Payload))
		body = fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"%x"}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`,
			sum, b64(sig), b64(d.signer(t)))
		stamped = sig
	} else {
		l.MediaType = envelopeType
		payload := d.statement()
		sig = sign(t, d.key, pae(lie(d.signature, payload)))
		annotations["dev.cosignproject.cosign/signature"] = ""
		annotations["predicateType"] = d.predicate
		l.Payload = fmt.Appendf(nil, `{"payloadType":%q,"payload":%q,"signatures":[{"keyid":"","sig":%q}]}`, inToto, b64(payload), b64(sig))
		body = d.dsseEntry(t, payload, l.Payload, sig)
		stamped = l.Payload // the whole layer, for want of a signature beside it
	}
	if d.rekor1 != nil {
		at := d.now.Unix()
		annotations["dev.sigstore.cosign/bundle"] = fmt.Sprintf(`{"SignedEntryTimestamp":%q,"Payload":{"body":%q,"integratedTime":%d,"logIndex":7,"logID":%q}}`,
			b64(d.entryTimestamp(t, body, at)), b64([]byte(body)), at, hex.EncodeToString(keyID(t, d.rekor1.Public())))
	}
	if d.stamped != nil {
		annotations["dev.sigstore.cosign/rfc3161timestamp"] = fmt.Sprintf(`{"SignedRFC3161Timestamp":%q}`, b64(d.stamped.stamp(t, lie(d.stamp, stamped))))
	}
	return l
}

// dsseEntry is what Rekor v1 logs of an envelope.
func (d *deed) dsseEntry(t testing.TB, payload, envelope, sig []byte) string {
	return fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"%x"},"payloadHash":{"algorithm":"sha256","value":"%x"},"signatures":[{"signature":%q,"verifier":%q}]}}`,
		sha256.Sum256(envelope), sha256.Sum256(lie(d.entry, payload)), b64(sig), b64(d.signer(t)))
}

// entryTimestamp is Rekor v1's signature over an entry and its time.
func (d *deed) entryTimestamp(t testing.TB, body string, at int64) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{ // keys in order, as in canonical JSON
		"body": b64([]byte(body)), "integratedTime": at, "logID": hex.EncodeToString(keyID(t, d.rekor1.Public())), "logIndex": 7,
	})
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, d.rekor1, text)
}

// bundle is the deed as a Sigstore bundle of version 0.3.
func (d *deed) bundle(t testing.TB) []byte {
	t.Helper()
	payload := d.statement()
	sig := sign(t, d.key, pae(lie(d.signature, payload)))
	envelope := map[string]any{"payload": b64(payload), "payloadType": inToto, "signatures": []any{map[string]any{"sig": b64(sig)}}}
	material := map[string]any{}
	switch {
	case d.leaf != nil && d.carried != nil:
		chain := []any{}
		for _, c := range append([]*x509.Certificate{d.leaf}, d.carried...) {
			chain = append(chain, map[string]any{"rawBytes": b64(c.Raw)})
		}
		material["x509CertificateChain"] = map[string]any{"certificates": chain}
	case d.leaf != nil:
		material["certificate"] = map[string]any{"rawBytes": b64(d.leaf.Raw)}
	default:
		material["publicKey"] = map[string]any{"hint": b64(keyID(t, d.key.Public()))}
	}
	var entries []any
	if d.rekor1 != nil {
		raw, err := json.Marshal(envelope)
		if err != nil {
			t.Fatal(err)
		}
		body := d.dsseEntry(t, payload, raw, sig)
		e := entry(t, origin1+" - 1234", d.rekor1, keyID(t, d.rekor1.Public()), "dsse", "0.0.1", body)
		e["integratedTime"] = fmt.Sprint(d.now.Unix())
		e["inclusionPromise"] = map[string]any{"signedEntryTimestamp": b64(d.entryTimestamp(t, body, d.now.Unix()))}
		entries = append(entries, e)
	}
	if d.rekor2 != nil {
		sum := sha256.Sum256(lie(d.entry, pae(payload)))
		verifier := map[string]any{"keyDetails": "PKIX_ECDSA_P256_SHA_256", "publicKey": map[string]any{"rawBytes": b64(spki(t, d.key.Public()))}}
		if d.leaf != nil {
			verifier = map[string]any{"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": map[string]any{"rawBytes": b64(d.leaf.Raw)}}
		}
		body, err := json.Marshal(map[string]any{"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": map[string]any{"hashedRekordV002": map[string]any{
			"data":      map[string]any{"algorithm": "SHA2_256", "digest": b64(sum[:])},
			"signature": map[string]any{"content": b64(sig), "verifier": verifier},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry(t, origin2, d.rekor2, originID(t, d.rekor2.Public()), "hashedrekord", "0.0.2", string(body)))
	}
	if entries != nil {
		material["tlogEntries"] = entries
	}
	if d.stamped != nil {
		material["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{
			map[string]any{"signedTimestamp": b64(d.stamped.stamp(t, lie(d.stamp, sig)))},
		}}
	}
	raw, err := json.Marshal(map[string]any{"mediaType": bundleType, "verificationMaterial": material, "dsseEnvelope": envelope})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// entry is a log's entry with the proof that it is the only leaf of the log's tree.
func entry(t testing.TB, origin string, key crypto.Signer, id []byte, kind, version, body string) map[string]any {
	t.Helper()
	leaf := sha256.Sum256(append([]byte{0}, body...))
	text := fmt.Sprintf("%s\n1\n%s\n", origin, b64(leaf[:]))
	name, _, _ := strings.Cut(origin, " ")
	checkpoint := fmt.Sprintf("%s\n— %s %s\n", text, name, b64(append(append([]byte(nil), id[:4]...), sign(t, key, []byte(text))...)))
	index := "0"
	if version == "0.0.1" {
		index = "7" // in all the log's trees
	}
	return map[string]any{
		"logIndex": index, "logId": map[string]any{"keyId": b64(id)}, "kindVersion": map[string]any{"kind": kind, "version": version},
		"canonicalizedBody": b64([]byte(body)),
		"inclusionProof": map[string]any{
			"logIndex": "0", "rootHash": b64(leaf[:]), "treeSize": "1", "hashes": []any{}, "checkpoint": map[string]any{"envelope": checkpoint},
		},
	}
}
