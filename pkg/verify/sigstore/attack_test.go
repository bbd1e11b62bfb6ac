package sigstore_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

const (
	simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	bundleV3      = "application/vnd.dev.sigstore.bundle.v0.3+json"
	envelope      = "application/vnd.dsse.envelope.v1+json"
	signType      = "https://sigstore.dev/cosign/sign/v1"
	inToto        = "application/vnd.in-toto+json"
)

var b64 = base64.StdEncoding.EncodeToString

// signer signs as cosign does, for candidates that no cosign would make.
type signer struct {
	key  crypto.Signer
	hash crypto.Hash
}

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, crypto.SHA256}
}

func (s signer) sign(t testing.TB, message []byte) []byte {
	t.Helper()
	if s.hash != 0 {
		h := s.hash.New()
		h.Write(message)
		message = h.Sum(nil)
	}
	sig, err := s.key.Sign(rand.Reader, message, s.hash)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func (s signer) simple(t testing.TB, payload string) image.Artifact {
	return image.Artifact{
		MediaType: simpleSigning, Payload: []byte(payload), Place: "tag sha256-….sig",
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": b64(s.sign(t, []byte(payload)))},
	}
}

func pae(payloadType, payload string) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

func (s signer) bundle(t testing.TB, payloadType, statement string) image.Artifact {
	return bundleOf(fmt.Sprintf(`"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[{"sig":%q}]}`,
		b64([]byte(statement)), payloadType, b64(s.sign(t, pae(payloadType, statement)))))
}

func bundleOf(content string) image.Artifact {
	text := fmt.Sprintf(`{"mediaType":%q,"verificationMaterial":{"publicKey":{"hint":"x"}},%s}`, bundleV3, content)
	return image.Artifact{MediaType: bundleV3, Payload: []byte(text), Place: "referrers API"}
}

func payload(digest, kind, rest string) string {
	return fmt.Sprintf(`{"critical":{"identity":{"docker-reference":"elsewhere.test/x"},"image":{"docker-manifest-digest":%q},"type":%q}%s}`, digest, kind, rest)
}

func statement(subject, predicateType, rest string) string {
	return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":%s,"predicateType":%q%s}`, subject, predicateType, rest)
}

func testImage(t testing.TB) image.Pinned {
	t.Helper()
	ref, err := image.Parse("registry.test/app:v1", image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ref.Pin(image.DigestOf([]byte("image")))
}

// verdict is the reason code for the candidates by the attestor; empty for a pass.
func verdict(t testing.TB, v verify.Verifier, img image.Pinned, a *verify.Attestor, any bool, artifacts ...image.Artifact) (reason.Code, error) {
	t.Helper()
	req := &verify.Requirement{AnyStatement: any, Sets: []verify.Set{{Count: 1, Entries: []verify.Entry{{Path: "keys", Attestor: a}}}}}
	proof, err := verify.Evaluate(t.Context(), v, found{&image.Attached{Artifacts: artifacts}}, img, req)
	if err != nil {
		return reason.Of(err).Code, err
	}
	if len(proof.Signatures) != 1 || len(proof.Signatures[0].Payload) == 0 {
		t.Error("a pass without proof")
	}
	return "", nil
}

func TestContent(t *testing.T) {
	t.Parallel()
	s, img := newSigner(t), testImage(t)
	digest, hex := img.Digest().String(), img.Digest().Hex()
	other := image.DigestOf([]byte("other"))
	const kind = "cosign container image signature"
	good := payload(digest, kind, "")
	subject := fmt.Sprintf(`[{"digest":{"sha256":%q}}]`, hex)
	goodStatement := statement(subject, signType, `,"predicate":{}`)
	annotated := func(text string) string { return payload(digest, kind, `,"optional":`+text) }
	simple := func(text string) image.Artifact { return s.simple(t, text) }
	stated := func(text string) image.Artifact { return s.bundle(t, inToto, text) }
	changed := func(a image.Artifact, change func(*image.Artifact)) image.Artifact { change(&a); return a }
	replaced := func(a image.Artifact, old, new string) image.Artifact {
		if !bytes.Contains(a.Payload, []byte(old)) {
			t.Fatalf("%q is not in the payload", old)
		}
		a.Payload = bytes.Replace(a.Payload, []byte(old), []byte(new), 1)
		return a
	}
	layer := func(text string, sigs string) image.Artifact {
		return image.Artifact{MediaType: envelope, Payload: fmt.Appendf(nil, `{"payloadType":%q,"payload":%q,"signatures":%s}`, inToto, b64([]byte(text)), sigs)}
	}
	sig := func(text string) string { return fmt.Sprintf(`{"sig":%q}`, b64(s.sign(t, pae(inToto, text)))) }
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

	tests := map[string]struct {
		artifact image.Artifact
		any      bool
		require  map[string]string
		code     reason.Code
	}{
		"A-21 elsewhere's name":      {artifact: simple(good)},
		"simple, atomic":             {artifact: simple(payload(digest, "atomic container signature", ""))},
		"simple, optional null":      {artifact: simple(annotated("null"))},
		"simple, unknown field":      {artifact: simple(payload(digest, kind, `,"extra":1`))},
		"simple, blanks around":      {artifact: simple(" \n" + good + "\n")},
		"A-20 other digest":          {artifact: simple(payload(other.String(), kind, "")), code: reason.DigestMismatch},
		"A-20 upper-case digest":     {artifact: simple(payload("sha256:"+strings.ToUpper(hex), kind, "")), code: reason.DigestMismatch},
		"A-20 empty digest":          {artifact: simple(payload("", kind, "")), code: reason.BadSignature},
		"A-22 other type":            {artifact: simple(payload(digest, "something else", "")), code: reason.BadSignature},
		"A-22 bundle's type":         {artifact: simple(payload(digest, signType, "")), code: reason.BadSignature},
		"A-22 no type":               {artifact: simple(strings.Replace(good, `"type"`, `"kind"`, 1)), code: reason.BadSignature},
		"A-23 duplicate":             {artifact: simple(payload(digest, kind, `,"critical":{}`)), code: reason.BadSignature},
		"A-23 escaped duplicate":     {artifact: simple(payload(digest, kind, `,"critic\u0061l":{}`)), code: reason.BadSignature},
		"A-23 case variant beside":   {artifact: simple(payload(digest, kind, `,"Critical":{}`)), code: reason.BadSignature},
		"A-23 case variant alone":    {artifact: simple(strings.Replace(good, `"critical"`, `"Critical"`, 1)), code: reason.BadSignature},
		"A-23 case variant inside":   {artifact: simple(strings.Replace(good, `"image"`, `"Image"`, 1)), code: reason.BadSignature},
		"A-23 duplicate deep inside": {artifact: simple(annotated(`{"a":{"b":1,"b":2}}`)), code: reason.BadSignature},
		"A-23 trailing data":         {artifact: simple(good + "{}"), code: reason.BadSignature},
		"A-23 NaN":                   {artifact: simple(annotated(`{"a":NaN}`)), code: reason.BadSignature},
		"A-23 byte order mark":       {artifact: simple("\ufeff" + good), code: reason.BadSignature},
		"A-23 not UTF-8":             {artifact: simple(annotated("{\"a\":\"\xff\"}")), code: reason.BadSignature},
		"A-23 control character":     {artifact: simple(annotated("{\"a\":\"\n\"}")), code: reason.BadSignature},
		"A-23 64 levels":             {artifact: simple(payload(digest, kind, `,"x":`+deep(63)))},
		"A-23 65 levels":             {artifact: simple(payload(digest, kind, `,"x":`+deep(64))), code: reason.BadSignature},
		"A-23 10000 levels":          {artifact: simple(payload(digest, kind, `,"x":`+deep(10000))), code: reason.BadSignature},
		"A-23 huge number":           {artifact: simple(payload(digest, kind, `,"x":1e999999999`))},
		"A-23 leading zero":          {artifact: simple(payload(digest, kind, `,"x":01`)), code: reason.BadSignature},
		"A-36 payload at the limit":  {artifact: simple(good + strings.Repeat(" ", 64<<10-len(good)))},
		"payload above the limit":    {artifact: simple(good + strings.Repeat(" ", 64<<10-len(good)+1)), code: reason.LimitReached},
		"empty payload":              {artifact: simple(""), code: reason.BadSignature},
		"payload is a string":        {artifact: simple(`"x"`), code: reason.BadSignature},
		"critical is null":           {artifact: simple(`{"critical":null}`), code: reason.BadSignature},
		"optional is a list":         {artifact: simple(annotated("[]")), code: reason.BadSignature},
		"no signature annotation":    {artifact: changed(simple(good), func(a *image.Artifact) { a.Annotations = nil }), code: reason.BadSignature},
		"signature is no base64":     {artifact: changed(simple(good), func(a *image.Artifact) { a.Annotations = map[string]string{"dev.cosignproject.cosign/signature": "%"} }), code: reason.BadSignature},
		"A-36 signature of 10 MB": {artifact: changed(simple(good), func(a *image.Artifact) {
			a.Annotations = map[string]string{"dev.cosignproject.cosign/signature": strings.Repeat("A", 10<<20)}
		}), code: reason.LimitReached},
		"T-061 tampered payload": {artifact: changed(simple(good), func(a *image.Artifact) { a.Payload = append(a.Payload, ' ') }), code: reason.BadSignature},
		"certificate is no PEM":  {artifact: changed(simple(good), func(a *image.Artifact) { a.Annotations["dev.sigstore.cosign/certificate"] = "x" }), code: reason.BadSignature},
		"certificate is empty":   {artifact: changed(simple(good), func(a *image.Artifact) { a.Annotations["dev.sigstore.cosign/certificate"] = "" })},
		"certificate of 10 MB": {artifact: changed(simple(good), func(a *image.Artifact) {
			a.Annotations["dev.sigstore.cosign/certificate"] = strings.Repeat("A", 10<<20)
		}), code: reason.LimitReached},
		"annotation":                   {artifact: simple(annotated(`{"a":"b","c":1}`)), require: map[string]string{"a": "b"}},
		"annotation missing":           {artifact: simple(annotated(`{"a":"b"}`)), require: map[string]string{"a": "b", "c": "d"}, code: reason.AnnotationMismatch},
		"annotation is a number":       {artifact: simple(annotated(`{"a":1}`)), require: map[string]string{"a": "1"}, code: reason.AnnotationMismatch},
		"annotation in another case":   {artifact: simple(annotated(`{"A":"b"}`)), require: map[string]string{"a": "b"}, code: reason.AnnotationMismatch},
		"annotation wanted empty":      {artifact: simple(good), require: map[string]string{"a": ""}, code: reason.AnnotationMismatch},
		"annotation outside optional":  {artifact: simple(payload(digest, kind, `,"a":"b"`)), require: map[string]string{"a": "b"}, code: reason.AnnotationMismatch},
		"annotation of the layer only": {artifact: changed(simple(good), func(a *image.Artifact) { a.Annotations["a"] = "b" }), require: map[string]string{"a": "b"}, code: reason.AnnotationMismatch},

		"bundle":                        {artifact: stated(goodStatement)},
		"statement v0.1":                {artifact: stated(strings.Replace(goodStatement, "Statement/v1", "Statement/v0.1", 1))},
		"statement v2":                  {artifact: stated(strings.Replace(goodStatement, "Statement/v1", "Statement/v2", 1)), code: reason.BadSignature},
		"A-20 subject of another":       {artifact: stated(statement(fmt.Sprintf(`[{"digest":{"sha256":%q}}]`, other.Hex()), signType, "")), code: reason.DigestMismatch},
		"one of two subjects":           {artifact: stated(statement(fmt.Sprintf(`[{"digest":{"sha256":%q}},{"digest":{"sha256":%q}}]`, other.Hex(), hex), signType, ""))},
		"digest under another name":     {artifact: stated(statement(fmt.Sprintf(`[{"digest":{"sha512":%q}}]`, hex), signType, "")), code: reason.DigestMismatch},
		"T-064 only the name matches":   {artifact: stated(statement(fmt.Sprintf(`[{"name":"registry.test/app@sha256:%s","digest":{"sha256":%q}}]`, hex, other.Hex()), signType, "")), code: reason.DigestMismatch},
		"T-053 no subjects":             {artifact: stated(statement(`[]`, signType, "")), code: reason.BadSignature},
		"T-053 null subject":            {artifact: stated(statement(`[null]`, signType, "")), code: reason.BadSignature},
		"T-053 subject without digest":  {artifact: stated(statement(fmt.Sprintf(`[{"digest":{"sha256":%q}},{"name":"x"}]`, hex), signType, "")), code: reason.BadSignature},
		"T-053 empty digest":            {artifact: stated(statement(`[{"digest":{"sha256":""}}]`, signType, "")), code: reason.BadSignature},
		"T-047 no predicate type":       {artifact: stated(statement(subject, "", "")), code: reason.BadSignature},
		"T-047 predicate type a number": {artifact: stated(strings.Replace(goodStatement, `"`+signType+`"`, "1", 1)), code: reason.BadSignature},
		"A-23 statement duplicate":      {artifact: stated(statement(subject, signType, `,"subject":[]`)), code: reason.BadSignature},
		"A-23 statement case variant":   {artifact: stated(statement(subject, signType, `,"Subject":[]`)), code: reason.BadSignature},
		"1025 subjects":                 {artifact: stated(statement("["+strings.TrimSuffix(strings.Repeat(subject[1:len(subject)-1]+",", 1025), ",")+"]", signType, "")), code: reason.BadSignature},
		"A-24 payload type":             {artifact: s.bundle(t, "application/json", goodStatement), code: reason.BadSignature},
		"A-24 payload type swapped":     {artifact: replaced(s.bundle(t, "application/json", goodStatement), `"application/json"`, `"`+inToto+`"`), code: reason.BadSignature},
		"A-24 two signatures":           {artifact: replaced(stated(goodStatement), `"signatures":[`, `"signatures":[{"sig":"AAAA"},`), code: reason.BadSignature},
		"A-24 no signature":             {artifact: bundleOf(fmt.Sprintf(`"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[]}`, b64([]byte(goodStatement)), inToto)), code: reason.BadSignature},
		"A-24 empty signature":          {artifact: bundleOf(fmt.Sprintf(`"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[{"sig":""}]}`, b64([]byte(goodStatement)), inToto)), code: reason.BadSignature},
		"bundle's annotation":           {artifact: stated(statement(fmt.Sprintf(`[{"digest":{"sha256":%q},"annotations":{"a":"b"}}]`, hex), signType, "")), require: map[string]string{"a": "b"}},
		"annotation of another subject": {
			artifact: stated(statement(fmt.Sprintf(`[{"digest":{"sha256":%q}},{"digest":{"sha256":%q},"annotations":{"a":"b"}}]`, hex, other.Hex()), signType, "")),
			require:  map[string]string{"a": "b"}, code: reason.AnnotationMismatch,
		},
		"annotation in the predicate": {artifact: stated(statement(subject, signType, `,"predicate":{"a":"b"}`)), require: map[string]string{"a": "b"}, code: reason.AnnotationMismatch},

		"A-77 attestation is no signature": {artifact: stated(statement(subject, "https://slsa.dev/provenance/v1", "")), code: reason.Unsigned},
		"attestation as any statement":     {artifact: stated(statement(subject, "https://slsa.dev/provenance/v1", "")), any: true},
		"envelope layer":                   {artifact: layer(goodStatement, "["+sig(goodStatement)+"]")},
		"A-34 envelope layer, attestation": {artifact: layer(statement(subject, "x", ""), "["+sig(statement(subject, "x", ""))+"]"), code: reason.Unsigned},
		"envelope layer, any":              {artifact: layer(statement(subject, "x", ""), "["+sig(statement(subject, "x", ""))+"]"), any: true},
		"envelope layer, wrong bytes":      {artifact: layer(goodStatement, "["+sig(goodStatement+" ")+"]"), code: reason.BadSignature},
		"envelope layer, two signatures":   {artifact: layer(goodStatement, "["+sig(goodStatement)+","+sig("x")+"]"), code: reason.BadSignature},

		"v0.1":                  {artifact: replaced(stated(goodStatement), bundleV3, "application/vnd.dev.sigstore.bundle+json;version=0.1")},
		"v0.2":                  {artifact: replaced(stated(goodStatement), bundleV3, "application/vnd.dev.sigstore.bundle+json;version=0.2")},
		"v0.3 in the old form":  {artifact: replaced(stated(goodStatement), bundleV3, "application/vnd.dev.sigstore.bundle+json;version=0.3")},
		"v0.4":                  {artifact: replaced(stated(goodStatement), bundleV3, "application/vnd.dev.sigstore.bundle.v0.4+json"), code: reason.BadSignature},
		"no version":            {artifact: replaced(stated(goodStatement), bundleV3, "application/json"), code: reason.BadSignature},
		"unknown field":         {artifact: replaced(stated(goodStatement), `"verificationMaterial"`, `"more":1,"verificationMaterial"`), code: reason.BadSignature},
		"A-23 bundle duplicate": {artifact: replaced(stated(goodStatement), `"verificationMaterial"`, `"mediaType":"x","verificationMaterial"`), code: reason.BadSignature},
		"A-23 bundle, one field in two spellings": {artifact: replaced(stated(goodStatement), `"dsseEnvelope"`, `"dsse_envelope":{"payload":"","payloadType":"x","signatures":[{"sig":"AAAA"}]},"dsseEnvelope"`), code: reason.BadSignature},
		"A-23 bundle, case variant":               {artifact: replaced(stated(goodStatement), `"dsseEnvelope"`, `"DsseEnvelope":{},"dsseEnvelope"`), code: reason.BadSignature},
		"A-34 both contents":                      {artifact: replaced(stated(goodStatement), `"dsseEnvelope"`, `"messageSignature":{"signature":"AAAA"},"dsseEnvelope"`), code: reason.BadSignature},
		"no content":                              {artifact: bundleOf(`"dsseEnvelope":null`), code: reason.BadSignature},
		"no material":                             {artifact: replaced(stated(goodStatement), `"publicKey":{"hint":"x"}`, ""), code: reason.BadSignature},
		"T-048 empty certificate":                 {artifact: replaced(stated(goodStatement), `"publicKey":{"hint":"x"}`, `"certificate":{"rawBytes":""}`), code: reason.BadSignature},
		"T-048 log entry without fields":          {artifact: replaced(stated(goodStatement), `"publicKey":{"hint":"x"}`, `"publicKey":{"hint":"x"},"tlogEntries":[{}]`), code: reason.BadSignature},
		"T-048 null log entry":                    {artifact: replaced(stated(goodStatement), `"publicKey":{"hint":"x"}`, `"publicKey":{"hint":"x"},"tlogEntries":[null]`), code: reason.BadSignature},
		"T-049 33 log entries":                    {artifact: replaced(stated(goodStatement), `"publicKey":{"hint":"x"}`, `"publicKey":{"hint":"x"},"tlogEntries":[{}`+strings.Repeat(",{}", 32)+`]`), code: reason.LimitReached},
		"T-049 32 timestamps":                     {artifact: replaced(stated(goodStatement), `"publicKey":{"hint":"x"}`, `"publicKey":{"hint":"x"},"timestampVerificationData":{"rfc3161Timestamps":[{}`+strings.Repeat(",{}", 31)+`]}`)},
		"T-049 33 timestamps":                     {artifact: replaced(stated(goodStatement), `"publicKey":{"hint":"x"}`, `"publicKey":{"hint":"x"},"timestampVerificationData":{"rfc3161Timestamps":[{}`+strings.Repeat(",{}", 32)+`]}`), code: reason.LimitReached},
		"T-049 100000 log entries":                {artifact: replaced(stated(goodStatement), `"publicKey":{"hint":"x"}`, `"publicKey":{"hint":"x"},"tlogEntries":[{}`+strings.Repeat(",{}", 99999)+`]`), code: reason.BadSignature},
		"T-065 12 certificates":                   {artifact: replaced(stated(goodStatement), `"publicKey":{"hint":"x"}`, `"x509CertificateChain":{"certificates":[{}`+strings.Repeat(",{}", 11)+`]}`), code: reason.LimitReached},
		"bundle at the limit": {artifact: changed(stated(goodStatement), func(a *image.Artifact) {
			a.Payload = append(a.Payload, bytes.Repeat([]byte(" "), 1<<20-len(a.Payload))...)
		})},
		"bundle above the limit": {artifact: changed(stated(goodStatement), func(a *image.Artifact) {
			a.Payload = append(a.Payload, bytes.Repeat([]byte(" "), 1<<20-len(a.Payload)+1)...)
		}), code: reason.LimitReached},

		"T-079 foreign layer type": {artifact: image.Artifact{MediaType: "application/jose+json", Payload: []byte(good)}, code: reason.Unsigned},
		"bundle in a plain layer":  {artifact: changed(stated(goodStatement), func(a *image.Artifact) { a.MediaType, a.ArtifactType = "application/json", bundleV3 })},
		"legacy artifact in a plain layer": {artifact: changed(simple(good), func(a *image.Artifact) {
			a.MediaType, a.ArtifactType = "application/json", "application/vnd.dev.cosign.artifact.sig.v1+json"
		})},
		"A-34 simple signing typed as bundle": {artifact: changed(simple(good), func(a *image.Artifact) { a.MediaType = bundleV3 }), code: reason.BadSignature},
		"A-34 bundle typed as simple signing": {artifact: changed(stated(goodStatement), func(a *image.Artifact) { a.MediaType = simpleSigning }), code: reason.BadSignature},
		"manifest not opened":                 {artifact: image.Artifact{Err: reason.New(reason.DigestMismatch, "lies")}, code: reason.DigestMismatch},
		"tag's manifest not opened":           {artifact: image.Artifact{ArtifactType: "application/vnd.oci.image.config.v1+json", Err: reason.New(reason.BadSignature, "index")}, code: reason.BadSignature},
		"foreign manifest not opened":         {artifact: image.Artifact{ArtifactType: "application/spdx+json", Err: reason.New(reason.LimitReached, "large")}, code: reason.Unsigned},
	}
	v := sigstore.New(nil)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &verify.Attestor{Key: s.key.Public(), Hash: s.hash, IgnoreLog: true, Annotations: tc.require}
			if got, err := verdict(t, v, img, a, tc.any, tc.artifact); got != tc.code {
				t.Errorf("%q, want %q: %v", got, tc.code, err)
			}
			if len(tc.artifact.Payload) < 1<<21 && tc.code != "" {
				// The same beside a valid signature does no harm.
				a.Annotations = nil
				if got, err := verdict(t, v, img, a, false, tc.artifact, s.simple(t, good)); got != "" {
					t.Errorf("it hides a valid one: %v", err)
				}
			}
		})
	}
}

// TestA26Algorithms confuses keys, hashes and signature schemes.
func TestA26Algorithms(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	good := payload(img.Digest().String(), "cosign container image signature", "")
	ec := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, p224 := ec(elliptic.P256()), ec(elliptic.P224())
	with := func(sig []byte) image.Artifact {
		return image.Artifact{MediaType: simpleSigning, Payload: []byte(good), Annotations: map[string]string{"dev.cosignproject.cosign/signature": b64(sig)}}
	}
	sum := sha256.Sum256([]byte(good))
	pss, err := rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, sum[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	pre := crypto.SHA512.New()
	pre.Write([]byte(good))
	edPre, err := edKey.Sign(rand.Reader, pre.Sum(nil), &ed25519.Options{Hash: crypto.SHA512})
	if err != nil {
		t.Fatal(err)
	}
	plain := signer{p256, crypto.SHA256}.sign(t, []byte(good))
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(plain, &rs); err != nil {
		t.Fatal(err)
	}
	padded := append([]byte{plain[0], plain[1] + 1, plain[2], plain[3] + 1, 0}, plain[4:]...)
	raw := append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...)
	manifest := func(s signer, digest []byte) image.Artifact {
		sig, err := s.key.Sign(rand.Reader, digest, s.hash)
		if err != nil {
			t.Fatal(err)
		}
		return bundleOf(fmt.Sprintf(`"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":%q},"signature":%q}`, b64(digest), b64(sig)))
	}
	imageSum := sha256.Sum256([]byte("image"))
	otherSum := sha256.Sum256([]byte("other"))
	tests := map[string]struct {
		key      crypto.PublicKey
		hash     crypto.Hash
		artifact image.Artifact
		code     reason.Code
	}{
		"ECDSA":                             {p256.Public(), crypto.SHA256, with(plain), ""},
		"no hash is SHA-256":                {p256.Public(), 0, with(plain), ""},
		"ECDSA SHA-224":                     {p256.Public(), crypto.SHA224, with(signer{p256, crypto.SHA224}.sign(t, []byte(good))), ""},
		"ECDSA SHA-512":                     {p256.Public(), crypto.SHA512, with(signer{p256, crypto.SHA512}.sign(t, []byte(good))), ""},
		"ECDSA with another hash":           {p256.Public(), crypto.SHA512, with(plain), reason.BadSignature},
		"SHA-1 attestor":                    {p256.Public(), crypto.SHA1, with(signer{p256, crypto.SHA1}.sign(t, []byte(good))), reason.TrustMaterialInvalid},
		"SHA-1 signature":                   {p256.Public(), crypto.SHA256, with(signer{p256, crypto.SHA1}.sign(t, []byte(good))), reason.BadSignature},
		"P-224":                             {p224.Public(), crypto.SHA256, with(signer{p224, crypto.SHA256}.sign(t, []byte(good))), reason.TrustMaterialInvalid},
		"RSA":                               {rsaKey.Public(), crypto.SHA256, with(signer{rsaKey, crypto.SHA256}.sign(t, []byte(good))), ""},
		"RSA-PSS":                           {rsaKey.Public(), crypto.SHA256, with(pss), reason.BadSignature},
		"RSA key, ECDSA signature":          {rsaKey.Public(), crypto.SHA256, with(plain), reason.BadSignature},
		"ECDSA key, RSA signature":          {p256.Public(), crypto.SHA256, with(signer{rsaKey, crypto.SHA256}.sign(t, []byte(good))), reason.BadSignature},
		"Ed25519":                           {edKey.Public(), crypto.SHA256, with(signer{edKey, 0}.sign(t, []byte(good))), ""},
		"Ed25519ph":                         {edKey.Public(), crypto.SHA512, with(edPre), reason.BadSignature},
		"Ed25519 key, ECDSA":                {edKey.Public(), crypto.SHA256, with(plain), reason.BadSignature},
		"no key":                            {nil, crypto.SHA256, with(plain), reason.TrustMaterialInvalid},
		"A-27 leading zero in DER":          {p256.Public(), crypto.SHA256, with(padded), reason.BadSignature},
		"A-27 data after DER":               {p256.Public(), crypto.SHA256, with(append(bytes.Clone(plain), 0)), reason.BadSignature},
		"A-27 raw r and s, as cosign takes": {p256.Public(), crypto.SHA256, with(raw), ""},
		"r and s zero":                      {p256.Public(), crypto.SHA256, with([]byte{48, 6, 2, 1, 0, 2, 1, 0}), reason.BadSignature},
		"manifest":                          {p256.Public(), crypto.SHA256, manifest(signer{p256, crypto.SHA256}, imageSum[:]), ""},
		"manifest, RSA":                     {rsaKey.Public(), crypto.SHA256, manifest(signer{rsaKey, crypto.SHA256}, imageSum[:]), ""},
		"T-052 manifest, other digest":      {p256.Public(), crypto.SHA256, manifest(signer{p256, crypto.SHA256}, otherSum[:]), reason.DigestMismatch},
		"manifest, other hash":              {p256.Public(), crypto.SHA512, manifest(signer{p256, crypto.SHA256}, imageSum[:]), reason.BadSignature},
		"manifest, Ed25519":                 {edKey.Public(), crypto.SHA256, manifest(signer{edKey, 0}, imageSum[:]), reason.BadSignature},
		"T-053 manifest, empty digest":      {p256.Public(), crypto.SHA256, bundleOf(`"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":""},"signature":"AAAA"}`), reason.DigestMismatch},
		"T-053 manifest, no digest":         {p256.Public(), crypto.SHA256, bundleOf(`"messageSignature":{"signature":"AAAA"}`), reason.BadSignature},
		"manifest, other algorithm":         {p256.Public(), crypto.SHA256, bundleOf(fmt.Sprintf(`"messageSignature":{"messageDigest":{"algorithm":"SHA2_512","digest":%q},"signature":"AAAA"}`, b64(imageSum[:]))), reason.BadSignature},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &verify.Attestor{Key: tc.key, Hash: tc.hash, IgnoreLog: true}
			if got, err := verdict(t, sigstore.New(nil), img, a, false, tc.artifact); got != tc.code {
				t.Errorf("%q, want %q: %v", got, tc.code, err)
			}
		})
	}
}

// TestPanics gives the verifier candidates that it did not open.
func TestPanics(t *testing.T) {
	t.Parallel()
	v := sigstore.New(nil)
	for name, c := range map[string]*verify.Candidate{
		"nothing":      {},
		"of another":   {Parsed: "x"},
		"with error":   {Err: reason.New(reason.BadSignature, "x")},
		"a nil struct": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if s, err := v.Verify(t.Context(), testImage(t), c, &verify.Attestor{}); err == nil || s != nil {
				t.Error("accepted")
			}
		})
	}
}

func decode(t testing.TB, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
