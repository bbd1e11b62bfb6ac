package sigstore_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// envelope makes a layer of cosign's .att manifests.
func (s signer) envelope(t testing.TB, payloadType, statement string) image.Artifact {
	text := fmt.Sprintf(`{"payloadType":%q,"payload":%q,"signatures":[{"keyid":"","sig":%q}]}`,
		payloadType, b64([]byte(statement)), b64(s.sign(t, pae(payloadType, statement))))
	return image.Artifact{MediaType: envelope, Payload: []byte(text), Place: "tag sha256-….att"}
}

// VI 6.6(4), (7), 6.11(6), T-018, T-041, T-047, T-064, A-37, A-39: what a statement has to be, in both formats.
func TestStatements(t *testing.T) {
	t.Parallel()
	const kind, custom = "https://example.test/v1", "https://cosign.sigstore.dev/attestation/v1"
	s, other, img := newSigner(t), newSigner(t), testImage(t)
	own := fmt.Sprintf(`[{"name":"elsewhere","digest":{"sha256":%q}}]`, img.Digest().Hex())
	foreign := fmt.Sprintf(`[{"name":%q,"digest":{"sha256":%q}}]`, img.Repository(), strings.Repeat("0", 64))
	sha512 := fmt.Sprintf(`[{"name":"x","digest":{"sha512":%q}}]`, img.Digest().Hex())
	of := func(predicate string) string { return statement(own, kind, `,"predicate":`+predicate) }
	for name, c := range map[string]struct {
		kind, statement string
		by              signer
		payloadType     string
		code            reason.Code
		want            string
	}{
		"object":                         {statement: of(`{"a": [1, {"b": "c"}]}`), want: `{"a":[1,{"b":"c"}]}`},
		"A-39 array":                     {statement: of(`[{"a": 1}]`), code: reason.AttestationConditionFailed},
		"A-39 string":                    {statement: of(`"{}"`), code: reason.AttestationConditionFailed},
		"A-39 null":                      {statement: of(`null`), code: reason.AttestationConditionFailed},
		"A-39 number":                    {statement: of(`7`), code: reason.AttestationConditionFailed},
		"A-39 none":                      {statement: statement(own, kind, ""), code: reason.AttestationConditionFailed},
		"A-39 64 levels":                 {statement: of(`{"a":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}`), want: `{"a":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}`},
		"A-39 65 levels":                 {statement: of(`{"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`), code: reason.AttestationMissing},
		"A-39 look-alike name":           {statement: strings.Replace(of(`{}`), `"predicate":`, `"Predicate":`, 1), code: reason.AttestationMissing},
		"A-39 look-alike type":           {statement: statement(own, "https://еxample.test/v1", `,"predicate":{}`), code: reason.AttestationMissing},
		"two predicates":                 {statement: statement(own, kind, `,"predicate":{"a":1},"predicate":{"a":2}`), code: reason.AttestationMissing},
		"T-018 other type":               {statement: statement(own, kind+"/x", `,"predicate":{}`), code: reason.AttestationMissing},
		"T-041 by a stranger":            {statement: of(`{}`), by: other, code: reason.AttestationMissing},
		"T-047 type is a number":         {statement: strings.Replace(of(`{}`), `"`+kind+`"`, `7`, 1), code: reason.AttestationMissing},
		"T-047 type is a list":           {statement: strings.Replace(of(`{}`), `"`+kind+`"`, `["`+kind+`"]`, 1), code: reason.AttestationMissing},
		"T-047 no type":                  {statement: strings.Replace(of(`{}`), `"predicateType"`, `"kind"`, 1), code: reason.AttestationMissing},
		"T-047 no JSON":                  {statement: `{"_type":`, code: reason.AttestationMissing},
		"T-047 text after it":            {statement: of(`{}`) + "{}", code: reason.AttestationMissing},
		"T-047 payload type":             {statement: of(`{}`), payloadType: "application/json", code: reason.AttestationMissing},
		"T-064 of another image":         {statement: statement(foreign, kind, `,"predicate":{}`), code: reason.AttestationMissing},
		"T-064 digest under sha512":      {statement: statement(sha512, kind, `,"predicate":{}`), code: reason.AttestationMissing},
		"T-064 no subject":               {statement: statement(`[]`, kind, `,"predicate":{}`), code: reason.AttestationMissing},
		"custom, JSON text":              {kind: custom, statement: statement(own, custom, `,"predicate":{"Data":"{\"a\": 1}","Timestamp":"x"}`), want: `{"Data":{"a":1},"Timestamp":"x"}`},
		"custom, other text":             {kind: custom, statement: statement(own, custom, `,"predicate":{"Data":"a: 1"}`), want: `{"Data":"a: 1"}`},
		"custom, a name twice":           {kind: custom, statement: statement(own, custom, `,"predicate":{"Data":"{\"a\":1,\"a\":2}"}`), want: `{"Data":"{\"a\":1,\"a\":2}"}`},
		"custom, an object":              {kind: custom, statement: statement(own, custom, `,"predicate":{"Data":{"a":1}}`), want: `{"Data":{"a":1}}`},
		"JSON text of another type":      {statement: of(`{"Data":"{}"}`), want: `{"Data":"{}"}`},
		"signatures asked for by type":   {kind: signType, statement: statement(own, signType, `,"predicate":{}`), want: `{}`},
		"signature, another type wanted": {statement: statement(own, signType, `,"predicate":{}`), code: reason.AttestationMissing},
	} {
		if c.kind == "" {
			c.kind = kind
		}
		if c.by.key == nil {
			c.by = s
		}
		if c.payloadType == "" {
			c.payloadType = inToto
		}
		for format, artifact := range map[string]image.Artifact{"envelope": c.by.envelope(t, c.payloadType, c.statement), "bundle": c.by.bundle(t, c.payloadType, c.statement)} {
			t.Run(name+"/"+format, func(t *testing.T) {
				t.Parallel()
				attestor := &verify.Attestor{Key: s.key.Public(), IgnoreLog: true}
				req := &verify.Requirement{Attestations: []verify.Attestation{{Path: ".attestations[0]", Type: c.kind, Read: true,
					Sets: []verify.Set{{Count: 1, Entries: []verify.Entry{{Path: "keys", Attestor: attestor}}}}}}}
				proof, err := verify.Evaluate(t.Context(), sigstore.New(nil), found{&image.Attached{Artifacts: []image.Artifact{artifact}}}, img, req)
				if c.code != "" {
					if err == nil || reason.Of(err).Code != c.code {
						t.Fatalf("%v, want %s", err, c.code)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				var got, want any
				if len(proof.Statements) != 1 || json.Unmarshal(proof.Statements[0].Predicate, &got) != nil || json.Unmarshal([]byte(c.want), &want) != nil {
					t.Fatalf("%+v", proof.Statements)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) || proof.Statements[0].Type != c.kind {
					t.Errorf("%s, want %s", proof.Statements[0].Predicate, c.want)
				}
			})
		}
	}
}

// the digest of one statement, the predicate of another and the signature of a third are no statement.
func TestStatementParts(t *testing.T) {
	t.Parallel()
	const kind = "https://example.test/v1"
	s, img := newSigner(t), testImage(t)
	subject := func(hex string) string { return fmt.Sprintf(`[{"name":"x","digest":{"sha256":%q}}]`, hex) }
	right := statement(subject(img.Digest().Hex()), kind, `,"predicate":{"good":false}`)
	foreign := statement(subject(strings.Repeat("1", 64)), kind, `,"predicate":{"good":true}`)
	mixed := statement(subject(img.Digest().Hex()), kind, `,"predicate":{"good":true}`)
	resigned := func(text, signed string) image.Artifact {
		return bundleOf(fmt.Sprintf(`"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[{"sig":%q}]}`, b64([]byte(text)), inToto, b64(s.sign(t, pae(inToto, signed)))))
	}
	artifacts := []image.Artifact{s.bundle(t, inToto, foreign), resigned(mixed, right), resigned(mixed, foreign), s.bundle(t, inToto, right)}
	req := &verify.Requirement{Attestations: []verify.Attestation{{Path: ".attestations[0]", Type: kind, Read: true,
		Sets: []verify.Set{{Count: 1, Entries: []verify.Entry{{Path: "keys", Attestor: &verify.Attestor{Key: s.key.Public(), IgnoreLog: true}}}}}}}}
	proof, err := verify.Evaluate(t.Context(), sigstore.New(nil), found{&image.Attached{Artifacts: artifacts}}, img, req)
	if err != nil || len(proof.Statements) != 1 || string(proof.Statements[0].Predicate) != `{"good":false}` {
		t.Errorf("%+v: %v", proof, err)
	}
	if _, err := verify.Evaluate(t.Context(), sigstore.New(nil), found{&image.Attached{Artifacts: artifacts[:3]}}, img, req); reason.Of(err) == nil || reason.Of(err).Code != reason.AttestationMissing {
		t.Error(err)
	}
}
