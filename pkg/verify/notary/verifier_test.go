package notary_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	gocose "github.com/veraison/go-cose"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/pkg/verify"
)

// TestMain keeps the proxies of the surroundings out of the tests.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

// wantCode checks the outcome; an empty code is a pass.
func wantCode(t *testing.T, err error, code reason.Code, text string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("%s: %v", reason.Of(err).Code, err)
		}
		return
	}
	if err == nil {
		t.Fatalf("a pass, want %s", code)
	}
	if got := reason.Of(err); got.Code != code || !strings.Contains(got.Text, text) || got.Unreachable {
		t.Errorf("%s: %v\nwant %s with %q", got.Code, err, code, text)
	}
	if !errors.Is(err, verify.ErrNotVerified) {
		t.Errorf("no violation: %v", err)
	}
}

// One signature of the image, of every kind that must not count, and those that must.
func TestSignatures(t *testing.T) {
	t.Parallel()
	type world struct {
		*scene
		form string
		ca   *authority
	}
	ago := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-72*time.Hour), time.Now().Add(-48*time.Hour)
	}
	for name, tc := range map[string]struct {
		envelope func(w *world) []byte
		store    func(w *world) []*x509.Certificate // nil for the authority's root
		code     reason.Code
		text     string
	}{
		"good": {envelope: func(w *world) []byte { return w.ca.signer(w.form, nil).sign(w.img, nil) }},
		"good, expires later": {envelope: func(w *world) []byte {
			return w.ca.signer(w.form, nil).sign(w.img, func(r *signature.SignRequest) { r.Expiry = time.Now().Add(time.Hour) })
		}},
		"other authority": {
			envelope: func(w *world) []byte { return newAuthority(w.t, "Other").signer(w.form, nil).sign(w.img, nil) },
			code:     reason.CertificateUntrusted, text: "not produced by a trusted signer",
		},
		"same name, other authority": {
			envelope: func(w *world) []byte { return newAuthority(w.t, "Root").signer(w.form, nil).sign(w.img, nil) },
			code:     reason.CertificateUntrusted, text: "not produced by a trusted signer",
		},
		"T-072 other digest": {
			envelope: func(w *world) []byte {
				d := w.img
				d.Digest = image.DigestOf([]byte("other"))
				return w.ca.signer(w.form, nil).sign(d, nil)
			}, code: reason.DigestMismatch, text: "for another artifact",
		},
		"T-072 other size": {
			envelope: func(w *world) []byte { d := w.img; d.Size++; return w.ca.signer(w.form, nil).sign(d, nil) },
			code:     reason.DigestMismatch, text: "for another artifact",
		},
		"T-072 other media type": {
			envelope: func(w *world) []byte {
				d := w.img
				d.MediaType = "application/vnd.oci.image.index.v1+json"
				return w.ca.signer(w.form, nil).sign(d, nil)
			}, code: reason.DigestMismatch, text: "for another artifact",
		},
		"T-073 expired signature": {
			envelope: func(w *world) []byte {
				return w.ca.signer(w.form, nil).sign(w.img, func(r *signature.SignRequest) { r.Expiry = time.Now().Add(-time.Minute) })
			}, code: reason.CertificateExpired, text: "the signature expired on ",
		},
		"T-073 expired certificate": {
			envelope: func(w *world) []byte {
				s := w.ca.signer(w.form, ago)
				past := newAuthority(w.t, "Past")
				past.cert = past.issue(past.key.Public(), func(c *x509.Certificate) {
					ago(c)
					c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.Subject.CommonName = true, x509.KeyUsageCertSign, nil, "Past"
				})
				*w.ca = *past
				s = past.signer(w.form, ago)
				return s.sign(w.img, func(r *signature.SignRequest) { r.SigningTime = time.Now().Add(-50 * time.Hour) })
			}, code: reason.CertificateExpired, text: "certificate 1 of the chain is valid from",
		},
		"tampered payload": {
			envelope: func(w *world) []byte {
				s := w.ca.signer(w.form, nil)
				d := w.img
				d.Digest = image.DigestOf([]byte("other"))
				good, other := s.sign(w.img, nil), s.sign(d, nil)
				return edit(w.t, w.form, other, func(fields, _ map[string]any) {
					edit(w.t, w.form, good, func(from, _ map[string]any) { fields["payload"] = from["payload"] }, nil)
				}, func(m *gocose.Sign1Message) {
					edit(w.t, w.form, good, nil, func(from *gocose.Sign1Message) { m.Payload = from.Payload })
				})
			}, code: reason.BadSignature, text: "does not verify with the certificate that it carries",
		},
		"T-071 broken signature of a stranger, who costs no computation": {
			envelope: func(w *world) []byte {
				one, two := newAuthority(w.t, "One").signer(w.form, nil), newAuthority(w.t, "Two").signer(w.form, nil)
				return carrying(w.t, w.form, one.sign(w.img, nil), two.chain...)
			}, code: reason.CertificateUntrusted, text: "its certificate chain holds none of the given certificates",
		},
		"other key's certificate": {
			envelope: func(w *world) []byte {
				s := w.ca.signer(w.form, nil)
				return carrying(w.t, w.form, newAuthority(w.t, "Other").signer(w.form, nil).sign(w.img, nil), s.chain...)
			}, code: reason.BadSignature, text: "does not verify with the certificate that it carries",
		},
		"chain of another authority with the same names": {
			envelope: func(w *world) []byte {
				s := newAuthority(w.t, "Root").signer(w.form, nil)
				return carrying(w.t, w.form, s.sign(w.img, nil), s.chain[0], w.ca.cert)
			}, code: reason.CertificateUntrusted, text: "certificate 1 of the chain is not issued by the next one",
		},
		"chain with a stranger behind": {
			envelope: func(w *world) []byte {
				s := newAuthority(w.t, "Other").signer(w.form, nil)
				return carrying(w.t, w.form, s.sign(w.img, nil), s.chain[0], s.chain[1], w.ca.cert)
			}, code: reason.CertificateUntrusted, text: "certificate 2 of the chain is not issued by the next one",
		},
		"not for code signing": {
			envelope: func(w *world) []byte {
				s := w.ca.signer(w.form, nil)
				server := w.ca.issue(s.key.Public(), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
				return carrying(w.t, w.form, s.sign(w.img, nil), server, w.ca.cert)
			}, code: reason.CertificateUntrusted, text: "unfit for code signing",
		},
		"signed by the authority's own certificate": {
			envelope: func(w *world) []byte {
				s := w.ca.signer(w.form, nil)
				s.key = w.ca.key
				s.chain[0] = w.ca.issue(w.ca.key.Public(), nil)
				return carrying(w.t, w.form, s.sign(w.img, nil), w.ca.cert)
			}, code: reason.CertificateUntrusted, text: "unfit for code signing",
		},
		"leaf without its authority": {
			envelope: func(w *world) []byte {
				s := w.ca.signer(w.form, nil)
				return carrying(w.t, w.form, s.sign(w.img, nil), s.chain[0])
			}, code: reason.CertificateUntrusted, text: "its certificate chain holds none of the given certificates",
		},
		"self-signed leaf of a stranger": {
			envelope: func(w *world) []byte { return selfSigned(w.t, w.form).sign(w.img, nil) },
			code:     reason.CertificateUntrusted, text: "not produced by a trusted signer",
		},
		"certificates without end": {
			envelope: func(w *world) []byte {
				s := w.ca.signer(w.form, nil)
				chain := s.chain
				for len(chain) < 12 {
					chain = append(chain, w.ca.cert)
				}
				return carrying(w.t, w.form, s.sign(w.img, nil), chain...)
			}, code: reason.LimitReached, text: "carries more than 11 certificates",
		},
		"names without end": {
			envelope: func(w *world) []byte {
				s := w.ca.signer(w.form, nil)
				many := w.ca.issue(s.key.Public(), func(c *x509.Certificate) {
					for i := range 33 {
						c.DNSNames = append(c.DNSNames, fmt.Sprintf("%d.example.com", i))
					}
				})
				return carrying(w.t, w.form, s.sign(w.img, nil), many, w.ca.cert)
			}, code: reason.LimitReached, text: "more than 32 names",
		},
		"T-070 distinguished name without end": {
			envelope: func(w *world) []byte {
				s := w.ca.signer(w.form, nil)
				long := w.ca.issue(s.key.Public(), func(c *x509.Certificate) {
					for range 100 {
						c.Subject.OrganizationalUnit = append(c.Subject.OrganizationalUnit, strings.Repeat("x", 60))
					}
				})
				return carrying(w.t, w.form, s.sign(w.img, nil), long, w.ca.cert)
			}, code: reason.LimitReached, text: "a name in it is larger",
		},
		"no certificate": {
			envelope: func(w *world) []byte { return carrying(w.t, w.form, w.ca.signer(w.form, nil).sign(w.img, nil)) },
			code:     reason.BadSignature, text: "malformed signature",
		},
		"critical attribute": {
			envelope: func(w *world) []byte {
				return w.ca.signer(w.form, nil).sign(w.img, func(r *signature.SignRequest) {
					r.ExtendedSignedAttributes = []signature.Attribute{{Key: "example.com/x", Critical: true, Value: "y"}}
				})
			}, code: reason.BadSignature, text: "not evaluated: example.com/x",
		},
		"verification plugin": {
			envelope: func(w *world) []byte {
				return w.ca.signer(w.form, nil).sign(w.img, func(r *signature.SignRequest) {
					r.ExtendedSignedAttributes = []signature.Attribute{{Key: "io.cncf.notary.verificationPlugin", Critical: true, Value: "y"}}
				})
			}, code: reason.BadSignature, text: "not evaluated: io.cncf.notary.verificationPlugin",
		},
		"other signing scheme": {
			envelope: func(w *world) []byte {
				return w.ca.signer(w.form, nil).sign(w.img, func(r *signature.SignRequest) { r.SigningScheme = signature.SigningSchemeX509SigningAuthority })
			}, code: reason.CertificateUntrusted, text: `"notary.x509.signingAuthority"`,
		},
		"other payload": {
			envelope: func(w *world) []byte {
				return w.ca.signer(w.form, nil).sign(w.img, func(r *signature.SignRequest) { r.Payload.ContentType = "application/json" })
			}, code: reason.BadSignature, text: `is of type "application/json"`,
		},
		"names no artifact": {
			envelope: func(w *world) []byte {
				return w.ca.signer(w.form, nil).sign(w.img, func(r *signature.SignRequest) { r.Payload.Content = []byte(`{"targetArtifact":null}`) })
			}, code: reason.BadSignature, text: "names no artifact",
		},
		"junk":  {envelope: func(*world) []byte { return []byte("junk") }, code: reason.BadSignature, text: "malformed signature"},
		"empty": {envelope: func(*world) []byte { return []byte("{}") }, code: reason.BadSignature, text: "malformed signature"},
		"VI 6.12(4) no store": {
			envelope: func(w *world) []byte { return w.ca.signer(w.form, nil).sign(w.img, nil) },
			store:    func(*world) []*x509.Certificate { return []*x509.Certificate{} },
			code:     reason.TrustMaterialInvalid, text: "no certificates to trust",
		},
	} {
		for _, form := range forms {
			t.Run(name+"/"+form, func(t *testing.T) {
				t.Parallel()
				w := &world{newScene(t), form, newAuthority(t, "Root")}
				w.attach(form, tc.envelope(w))
				store := []*x509.Certificate{w.ca.cert}
				if tc.store != nil {
					store = tc.store(w)
				}
				proof, err := w.signed(nil, store...)
				wantCode(t, err, tc.code, tc.text)
				if err == nil && (proof.Until.IsZero() || proof.Until.After(w.ca.cert.NotAfter)) {
					t.Errorf("good until %v", proof.Until)
				}
			})
		}
	}
}

// selfSigned is somebody whose certificate nobody vouches for.
func selfSigned(t testing.TB, form string) *signer {
	t.Helper()
	own := &authority{t: t, key: newKey(t)}
	return &signer{t: t, form: form, key: own.key, chain: []*x509.Certificate{own.issue(own.key.Public(), nil)}}
}

// The store may hold the signing certificate itself, an intermediate, or several authorities.
func TestStores(t *testing.T) {
	t.Parallel()
	s, ca := newScene(t), newAuthority(t, "Root")
	below := &authority{t: t, key: newKey(t)}
	below.cert = ca.issue(below.key.Public(), func(c *x509.Certificate) {
		c.Subject.CommonName = "Intermediate"
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
	})
	one := below.signer(image.NotaryEnvelopeJWS, nil)
	one.chain = append(one.chain, ca.cert)
	own := selfSigned(t, image.NotaryEnvelopeCOSE)
	s.attach(one.form, one.sign(s.img, nil))
	s.attach(own.form, own.sign(s.img, nil))
	stranger := newAuthority(t, "Stranger").cert
	for name, store := range map[string][]*x509.Certificate{
		"root": {ca.cert}, "intermediate": {below.cert}, "leaf": {one.chain[0]}, "self-signed": {own.chain[0]}, "several": {stranger, below.cert},
	} {
		if _, err := s.signed(nil, store...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := s.signed(nil, stranger)
	wantCode(t, err, reason.CertificateUntrusted, "failed to verify "+s.pinned.String()+": no matching signatures: ")
}

// Junk of the type, whatever it is, does not keep a good signature from counting.
func TestJunkBeside(t *testing.T) {
	t.Parallel()
	s, ca := newScene(t), newAuthority(t, "Root")
	for i := range 60 {
		s.attach(forms[i%2], fmt.Appendf(nil, `{"junk": %d}`, i))
	}
	s.Attach(repository, string(s.img.Digest), image.NotarySignature, "application/octet-stream", nil, []byte("junk"))
	s.AttachLayers(repository, string(s.img.Digest), image.NotarySignature)
	one := ca.signer(image.NotaryEnvelopeCOSE, nil)
	s.attach(one.form, one.sign(s.img, nil))
	if _, err := s.signed(nil, ca.cert); err != nil {
		t.Error(err)
	}
}

// Nothing of the type is there.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Attach(repository, string(s.img.Digest), "application/spdx+json", "application/spdx+json", nil, []byte("{}"))
	_, err := s.signed(nil, newAuthority(t, "Root").cert)
	wantCode(t, err, reason.Unsigned, fmt.Sprintf(".attestors[0].entries[0]: failed to verify %s: no signature is associated with %q, make sure the image was signed successfully", s.pinned, s.pinned))
}

// An index is signed by its own digest, and a manifest may say what it is by the type of its config alone, as older signers
// write it.
func TestIndexAndOlderManifests(t *testing.T) {
	t.Parallel()
	s, ca := newScene(t), newAuthority(t, "Root")
	child, mediaType := s.Get(repository, string(s.img.Digest))
	digest := s.PushIndex(repository, "multi", registrytest.Descriptor{MediaType: mediaType, Digest: string(s.img.Digest), Size: int64(len(child))})
	one := ca.signer(image.NotaryEnvelopeJWS, nil)
	s.attach(one.form, one.sign(s.img, nil)) // of the child only
	body, mediaType := s.Get(repository, digest)
	s.img = image.Descriptor{MediaType: mediaType, Digest: image.Digest(digest), Size: int64(len(body))}
	s.pinned = s.pinned.Ref().Pin(s.img.Digest)
	_, err := s.signed(nil, ca.cert)
	wantCode(t, err, reason.Unsigned, "no signature is associated with")

	blob := s.PushBlob(repository, one.form, one.sign(s.img, nil))
	config := s.PushBlob(repository, image.NotarySignature, []byte("{}"))
	manifest, err := json.Marshal(registrytest.ImageManifest{
		SchemaVersion: 2, MediaType: ociManifest, Config: config, Layers: []registrytest.Descriptor{blob},
		Subject: &registrytest.Descriptor{MediaType: mediaType, Digest: digest, Size: int64(len(body))},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.PushManifest(repository, "", ociManifest, manifest)
	if _, err := s.signed(nil, ca.cert); err != nil {
		t.Error(err)
	}
}
