package vectors

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

const (
	signType    = "https://sigstore.dev/cosign/sign/v1"
	payloadType = "application/vnd.in-toto+json"
	bundleType  = "application/vnd.dev.sigstore.bundle.v0.3+json"
	simpleType  = "application/vnd.dev.cosign.simplesigning.v1+json"
)

// Signature is one that the vector's own authority vouches for, whose certificate is ${ca}: what the corpus, which is
// made by cosign, does not hold. It has no log entry, no timestamp and no SCT.
type Signature struct {
	// Image is one of Unsigned, which therefore is signed after all.
	Image string `json:"image"`
	// Format is "legacy" for cosign 2's, "bundle" for cosign 3's, "notary-jws" or "notary-cose" for the Notary Project's.
	Format string `json:"format"`
	// Type makes it a Notary signature of an artifact of the type that is attached to the image, with Predicate as its only
	// layer; Expired one that has expired.
	Type      string `json:"type"`
	Predicate string `json:"predicate"`
	Expired   bool   `json:"expired"`
	// Email is the certificate's only name; empty for a certificate without any. Issuer is its OIDC issuer.
	Email  string `json:"email"`
	Issuer string `json:"issuer"`
	// Annotations are in what is signed.
	Annotations map[string]string `json:"annotations"`
	// Repository is where the signature is put; empty for the image's.
	Repository string `json:"repository"`
}

// authority is a certificate authority of one vector.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &authority{key: key}
	a.certificate, err = a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Authority of a vector"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, key)
	return a, err
}

// issue signs the template by the parent, or by itself.
func (a *authority) issue(template, parent *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	if parent == nil {
		parent = template
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (a *authority) pem() string { return encode(a.certificate) }

func encode(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// signer makes a key with a certificate.
func (a *authority) signer(s *Signature) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	if s.Email == "" {
		template.Subject = pkix.Name{CommonName: "No name in the right place"}
	} else {
		template.EmailAddresses = []string{s.Email}
	}
	if s.Issuer != "" {
		der, err := asn1.MarshalWithParams(s.Issuer, "utf8")
		if err != nil {
			return nil, nil, err
		}
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: der}}
	}
	certificate, err := a.issue(template, a.certificate, key)
	return key, certificate, err
}

// sign puts the signatures into the registry.
func (a *authority) sign(s *registrytest.Server, digests map[string]string, list []Signature) error {
	legacy := map[string][]registrytest.Layer{} // by repository and digest
	for i := range list {
		one := &list[i]
		digest, known := digests[one.Image]
		if !known {
			return fmt.Errorf("signatures: no image %q", one.Image)
		}
		repository := one.Repository
		if repository == "" {
			repository, _, _ = strings.Cut(one.Image, ":")
		}
		if isNotary(one.Format) {
			if err := a.notarize(s, one, repository, digest); err != nil {
				return err
			}
			continue
		}
		key, certificate, err := a.signer(one)
		if err != nil {
			return err
		}
		switch one.Format {
		case "legacy":
			layer, err := simpleSigned(one, digest, key, certificate)
			if err != nil {
				return err
			}
			at := repository + "@" + digest
			legacy[at] = append(legacy[at], layer)
			s.AttachTag(repository, digest, "sig", legacy[at]...)
		case "bundle":
			bundle, err := bundled(one, digest, key, certificate)
			if err != nil {
				return err
			}
			s.Attach(repository, digest, bundleType, bundleType, nil, bundle)
		default:
			return fmt.Errorf("signatures: format %q", one.Format)
		}
	}
	return nil
}

func simpleSigned(s *Signature, digest string, key *ecdsa.PrivateKey, certificate *x509.Certificate) (registrytest.Layer, error) {
	payload, err := json.Marshal(map[string]any{
		"critical": map[string]any{
			"identity": map[string]any{"docker-reference": ""}, "image": map[string]any{"docker-manifest-digest": digest},
			"type": "cosign container image signature",
		},
		"optional": s.Annotations,
	})
	if err != nil {
		return registrytest.Layer{}, err
	}
	signature, err := signBytes(key, payload)
	return registrytest.Layer{MediaType: simpleType, Payload: payload, Annotations: map[string]string{
		"dev.cosignproject.cosign/signature": signature, "dev.sigstore.cosign/certificate": encode(certificate),
	}}, err
}

func bundled(s *Signature, digest string, key *ecdsa.PrivateKey, certificate *x509.Certificate) ([]byte, error) {
	algorithm, hex, _ := strings.Cut(digest, ":")
	statement, err := json.Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       []any{map[string]any{"digest": map[string]any{algorithm: hex}, "annotations": s.Annotations}},
		"predicateType": signType, "predicate": map[string]any{},
	})
	if err != nil {
		return nil, err
	}
	signature, err := signBytes(key, fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(statement), statement))
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"mediaType":            bundleType,
		"verificationMaterial": map[string]any{"certificate": map[string]any{"rawBytes": certificate.Raw}},
		"dsseEnvelope": map[string]any{
			"payloadType": payloadType, "payload": statement, "signatures": []any{map[string]any{"sig": signature}},
		},
	})
}

// signBytes gives the signature in base64.
func signBytes(key *ecdsa.PrivateKey, message []byte) (string, error) {
	sum := sha256.Sum256(message)
	der, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	return base64.StdEncoding.EncodeToString(der), err
}
