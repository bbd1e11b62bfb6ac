package notary_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

const sbomType = "application/vnd.example.sbom.v1+json"

func layer(payload string) registrytest.Layer {
	return registrytest.Layer{MediaType: "application/json", Payload: []byte(payload)}
}

// Artifacts that refer to the image count when a Notary signature of their own does.
func TestAttestations(t *testing.T) {
	t.Parallel()
	type world struct {
		*scene
		ca, other *authority
	}
	signed := func(w *world, by *authority, form string, d image.Descriptor) {
		w.Attach(repository, string(d.Digest), image.NotarySignature, form, nil, by.signer(form, nil).sign(d, nil))
	}
	const good = `{"name":"app"}`
	for name, tc := range map[string]struct {
		stock func(w *world)
		want  []string // predicates
		code  reason.Code
		text  string
	}{
		"JWS":  {stock: func(w *world) { signed(w, w.ca, forms[0], w.artifact(sbomType, layer(good))) }, want: []string{good}},
		"COSE": {stock: func(w *world) { signed(w, w.ca, forms[1], w.artifact(sbomType, layer(good))) }, want: []string{good}},
		"two, both read": {stock: func(w *world) {
			signed(w, w.ca, forms[0], w.artifact(sbomType, layer(`{"n":1}`)))
			signed(w, w.ca, forms[1], w.artifact(sbomType, layer(`{"n":2}`)))
		}, want: []string{`{"n":1}`, `{"n":2}`}},
		"strangers' are set aside": {stock: func(w *world) {
			w.artifact(sbomType, layer(`{"n":1}`))
			signed(w, w.other, forms[0], w.artifact(sbomType, layer(`{"n":2}`)))
			signed(w, w.ca, forms[1], w.artifact(sbomType, layer(`{"n":3}`)))
		}, want: []string{`{"n":3}`}},
		"a stranger's signature beside": {stock: func(w *world) {
			d := w.artifact(sbomType, layer(good))
			signed(w, w.other, forms[0], d)
			w.Attach(repository, string(d.Digest), image.NotarySignature, forms[0], nil, []byte("junk"))
			signed(w, w.ca, forms[1], d)
		}, want: []string{good}},
		"none": {stock: func(*world) {}, code: reason.AttestationMissing, text: "no matching attestations found for image "},
		"other type": {
			stock: func(w *world) {
				signed(w, w.ca, forms[0], w.artifact("application/vnd.example.sbom.v2+json", layer(good)))
			},
			code: reason.AttestationMissing, text: "no matching attestations found for image ",
		},
		"unsigned": {
			stock: func(w *world) { w.artifact(sbomType, layer(good)) },
			code:  reason.AttestationMissing, text: "no matching attestations: no signature is associated with the attestation",
		},
		"signed by a stranger": {
			stock: func(w *world) { signed(w, w.other, forms[0], w.artifact(sbomType, layer(good))) },
			code:  reason.AttestationMissing, text: "no matching attestations: the signature is not produced by a trusted signer",
		},
		"T-072 the image's signature is not the artifact's": {stock: func(w *world) {
			d := w.artifact(sbomType, layer(good))
			one := w.ca.signer(forms[0], nil)
			w.Attach(repository, string(d.Digest), image.NotarySignature, forms[0], nil, one.sign(w.img, nil))
			w.attach(forms[0], one.sign(w.img, nil))
		}, code: reason.AttestationMissing, text: "no matching attestations: the signature is for another artifact"},
		"no object": {
			stock: func(w *world) { signed(w, w.ca, forms[0], w.artifact(sbomType, layer(`[1]`))) },
			code:  reason.AttestationConditionFailed, text: "failed to extract predicate from statement: the layer is not a JSON object",
		},
		"null": {
			stock: func(w *world) { signed(w, w.ca, forms[0], w.artifact(sbomType, layer(`null`))) },
			code:  reason.AttestationConditionFailed, text: "the layer is not a JSON object",
		},
		"nested without end": {
			stock: func(w *world) {
				signed(w, w.ca, forms[0], w.artifact(sbomType, layer(`{"a":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`)))
			},
			code: reason.AttestationConditionFailed, text: "nested too deeply",
		},
		"two layers": {
			stock: func(w *world) { signed(w, w.ca, forms[0], w.artifact(sbomType, layer(good), layer(`{}`))) },
			code:  reason.AttestationMissing, text: "does not have exactly one layer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{newScene(t), newAuthority(t, "Root"), newAuthority(t, "Other")}
			tc.stock(w)
			proof, err := w.attested(sbomType, w.ca.cert)
			wantCode(t, err, tc.code, tc.text)
			if err != nil {
				return
			}
			var got []string
			for _, s := range proof.Statements {
				if s.Type != sbomType || s.Name != "x" {
					t.Errorf("%+v", s)
				}
				got = append(got, string(s.Predicate))
			}
			if d := cmp.Diff(tc.want, got, sorted()); d != "" {
				t.Error(d)
			}
		})
	}
}

// An artifact whose signatures cannot be listed is not set aside as unsigned.
func TestAttestationProblem(t *testing.T) {
	t.Parallel()
	s, ca := newScene(t), newAuthority(t, "Root")
	d := s.artifact(sbomType, layer(`{}`))
	s.Fault(registrytest.Match{Kind: registrytest.Referrers, Reference: string(d.Digest)}, registrytest.Status(403, "DENIED"))
	_, err := s.attested(sbomType, ca.cert)
	wantCode(t, err, reason.RegistryUnauthorized, "")
}
