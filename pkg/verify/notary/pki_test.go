package notary_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	gocose "github.com/veraison/go-cose"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/notary"
)

const (
	repository  = "acme/app"
	payloadType = "application/vnd.cncf.notary.payload.v1+json"
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
)

// forms are the media types of envelopes.
var forms = []string{image.NotaryEnvelopeJWS, image.NotaryEnvelopeCOSE}

// authority issues certificates for code signing.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	a.cert = a.issue(a.key.Public(), func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name}
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	})
	return a
}

// issue makes a certificate for the key, that of the authority itself as long as it has none.
func (a *authority) issue(key crypto.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Release"}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if change != nil {
		change(template)
	}
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// signer is somebody with a key and a chain, signing in one form.
type signer struct {
	t     testing.TB
	form  string
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate
}

func (a *authority) signer(form string, change func(*x509.Certificate)) *signer {
	a.t.Helper()
	key := newKey(a.t)
	return &signer{t: a.t, form: form, key: key, chain: []*x509.Certificate{a.issue(key.Public(), change), a.cert}}
}

// sign signs the descriptor with the real library.
func (s *signer) sign(d image.Descriptor, change func(*signature.SignRequest)) []byte {
	s.t.Helper()
	payload, err := json.Marshal(map[string]any{"targetArtifact": map[string]any{"mediaType": d.MediaType, "digest": d.Digest, "size": d.Size}})
	if err != nil {
		s.t.Fatal(err)
	}
	local, err := signature.NewLocalSigner(s.chain, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &signature.SignRequest{
		Payload: signature.Payload{ContentType: payloadType, Content: payload}, Signer: local,
		SigningTime: time.Now().Add(-time.Hour), SigningScheme: signature.SigningSchemeX509, SigningAgent: "test",
	}
	if change != nil {
		change(r)
	}
	envelope := jws.NewEnvelope()
	if s.form == image.NotaryEnvelopeCOSE {
		envelope = cose.NewEnvelope()
	}
	out, err := envelope.Sign(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// edit changes an envelope: a JWS envelope by its fields, a COSE envelope by its message.
func edit(t testing.TB, form string, envelope []byte, jwsEdit func(fields, header map[string]any), coseEdit func(*gocose.Sign1Message)) []byte {
	t.Helper()
	if form == image.NotaryEnvelopeCOSE {
		var message gocose.Sign1Message
		if err := message.UnmarshalCBOR(envelope); err != nil {
			t.Fatal(err)
		}
		coseEdit(&message)
		message.Headers.RawUnprotected = nil // or it would be written as it was
		out, err := message.MarshalCBOR()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var fields map[string]any
	if err := json.Unmarshal(envelope, &fields); err != nil {
		t.Fatal(err)
	}
	header, _ := fields["header"].(map[string]any)
	jwsEdit(fields, header)
	out, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// carrying puts another chain into an envelope.
func carrying(t testing.TB, form string, envelope []byte, chain ...*x509.Certificate) []byte {
	t.Helper()
	return edit(t, form, envelope, func(_, header map[string]any) {
		var list [][]byte
		for _, c := range chain {
			list = append(list, c.Raw)
		}
		header["x5c"] = list
	}, func(m *gocose.Sign1Message) {
		list := []any{}
		for _, c := range chain {
			list = append(list, c.Raw)
		}
		m.Headers.Unprotected[gocose.HeaderLabelX5Chain] = list
	})
}

// scene is a registry with one image.
type scene struct {
	*registrytest.Server
	t      testing.TB
	client *registry.Client
	img    image.Descriptor
	pinned image.Pinned
}

type anonymous struct{}

func (anonymous) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{t: t, Server: registrytest.New(t)}
	digest := s.PushImage(repository, "v1", []byte("app"))
	body, mediaType := s.Get(repository, digest)
	s.img = image.Descriptor{MediaType: mediaType, Digest: image.Digest(digest), Size: int64(len(body))}
	ref, err := image.Parse(s.Host()+"/"+repository+"@"+digest, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.pinned, _, err = ref.Pinned(); err != nil {
		t.Fatal(err)
	}
	if s.client, err = registry.New(registry.Options{Keychain: anonymous{}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// attach stores a signature of the image.
func (s *scene) attach(form string, envelope []byte) {
	s.Attach(repository, string(s.img.Digest), image.NotarySignature, form, nil, envelope)
}

// artifact stores an artifact that refers to the image, and describes its manifest.
func (s *scene) artifact(kind string, layers ...registrytest.Layer) image.Descriptor {
	d := s.AttachLayers(repository, string(s.img.Digest), kind, layers...)
	return image.Descriptor{MediaType: ociManifest, Digest: image.Digest(d.Digest), Size: d.Size}
}

// referrers is the fetcher of a requirement.
type referrers struct {
	client *registry.Client
	types  []string
}

func (r referrers) Attached(ctx context.Context, img image.Pinned, _ image.Ref) (*image.Attached, error) {
	return r.client.Referrers(ctx, img, r.types)
}

func set(store ...*x509.Certificate) verify.Set {
	return verify.Set{Count: 1, Entries: []verify.Entry{{
		Path: ".attestors[0].entries[0]", Attestor: &verify.Attestor{Certificates: &verify.Certificates{Roots: store}},
	}}}
}

// signed judges the image's signatures by the store.
func (s *scene) signed(client *http.Client, store ...*x509.Certificate) (*verify.Proof, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	return verify.Evaluate(ctx, notary.New(client), referrers{s.client, []string{image.NotarySignature}}, s.pinned,
		&verify.Requirement{Notary: true, Sets: []verify.Set{set(store...)}})
}

// attested judges artifacts of the type by the store.
func (s *scene) attested(kind string, store ...*x509.Certificate) (*verify.Proof, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	return verify.Evaluate(ctx, notary.New(nil), referrers{s.client, []string{kind}}, s.pinned,
		&verify.Requirement{Notary: true, Attestations: []verify.Attestation{{
			Path: ".attestations[0]", Name: "x", Type: kind, Read: true, Sets: []verify.Set{set(store...)},
		}}})
}

// requestBody is an OCSP request as it was sent, by either method.
func requestBody(r *http.Request) ([]byte, error) {
	if r.Method == http.MethodPost {
		return io.ReadAll(r.Body)
	}
	text, err := url.PathUnescape(r.URL.EscapedPath()[strings.LastIndexByte(r.URL.EscapedPath(), '/')+1:])
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}

// sorted compares lists without their order.
func sorted() cmp.Option { return cmpopts.SortSlices(func(a, b string) bool { return a < b }) }
