package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// notarized is a Notary signature, made by the Notary Project's own library.
type notarized struct {
	cose     bool // else JWS
	stranger bool // signed with a certificate of nobody's authority, else of the sample's
	// artifact is signed instead of the image it is attached to: its type, and its only layer.
	artifact statement
}

// notarySampleCases are for the samples about Notary signatures.
func notarySampleCases() map[string][]sampleCase {
	const app, spdxType = "registry.example.com/app", "application/spdx+json"
	bill := func(version string) statement { return statement{spdxType, `{"spdxVersion":"` + version + `"}`} }
	return map[string][]sampleCase{
		"notary-signatures.yaml": {
			{repository: app, notarized: []notarized{{}}},
			{repository: app, notarized: []notarized{{cose: true}}},
			{repository: app, notarized: []notarized{{stranger: true}, {}}},
			{repository: app, notarized: []notarized{{stranger: true}}, refused: "the signature is not produced by a trusted signer"},
			{repository: app, notarized: []notarized{{artifact: bill("SPDX-2.3")}}, refused: "no signature is associated with"},
			{repository: app, signedBy: []string{"cosign"}, refused: "no signature is associated with"},
		},
		"notary-sbom.yaml": {
			{repository: "ghcr.io/example/app", notarized: []notarized{{artifact: bill("SPDX-2.3")}}},
			{repository: "ghcr.io/example/app", notarized: []notarized{{cose: true, artifact: bill("SPDX-2.2")}}},
			{repository: "ghcr.io/example/app", notarized: []notarized{{artifact: bill("SPDX-1.2")}}, refused: "bill of materials in SPDX-1.2"},
			{repository: "ghcr.io/example/app", notarized: []notarized{{stranger: true, artifact: bill("SPDX-2.3")}}, refused: "the signature is not produced by a trusted signer"},
			{repository: "ghcr.io/example/app", notarized: []notarized{{artifact: statement{"application/vnd.cyclonedx+json", `{"spdxVersion":"SPDX-2.3"}`}}}, refused: "no matching attestations found for image"},
			{repository: "ghcr.io/example/app", notarized: []notarized{{}}, refused: "no matching attestations found for image"},
		},
	}
}

// attach signs the image, or what it attaches to it, and puts the signature beside it.
func (n *notarized) attach(ctx context.Context, repository, digest string) error {
	subject, err := shared.hub.Store.ResolveManifest(ctx, repository, ociregistry.Digest(digest))
	if err != nil {
		return err
	}
	if n.artifact.kind != "" {
		if subject, err = beside(ctx, repository, subject, n.artifact.kind, "application/json", []byte(n.artifact.predicate)); err != nil {
			return err
		}
	}
	payload, err := json.Marshal(map[string]any{"targetArtifact": map[string]any{
		"mediaType": subject.MediaType, "digest": subject.Digest, "size": subject.Size,
	}})
	if err != nil {
		return err
	}
	chain, key, err := n.signer()
	if err != nil {
		return err
	}
	local, err := signature.NewLocalSigner(chain, key)
	if err != nil {
		return err
	}
	form, envelope := image.NotaryEnvelopeJWS, jws.NewEnvelope()
	if n.cose {
		form, envelope = image.NotaryEnvelopeCOSE, cose.NewEnvelope()
	}
	signed, err := envelope.Sign(&signature.SignRequest{
		Payload: signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: payload},
		Signer:  local, SigningTime: time.Now().Add(-time.Minute), SigningScheme: signature.SigningSchemeX509,
	})
	if err != nil {
		return err
	}
	_, err = beside(ctx, repository, subject, image.NotarySignature, form, signed)
	return err
}

// signer is the one that certifier made, or a stranger.
func (n *notarized) signer() (chain []*x509.Certificate, key *ecdsa.PrivateKey, err error) {
	if n.stranger {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, err
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			return nil, nil, err
		}
		c, err = x509.ParseCertificate(der)
		return []*x509.Certificate{c}, key, err
	}
	for _, name := range []string{"certified.pem", "certified.crt", "certified-chain.crt"} {
		rest, err := os.ReadFile(filepath.Join(shared.cosign.Dir, name))
		if err != nil {
			return nil, nil, err
		}
		for block := (*pem.Block)(nil); ; {
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if block.Type == "CERTIFICATE" {
				c, err := x509.ParseCertificate(block.Bytes)
				if err != nil {
					return nil, nil, err
				}
				chain = append(chain, c)
				continue
			}
			private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			key, _ = private.(*ecdsa.PrivateKey)
		}
	}
	if key == nil {
		return nil, nil, errors.New("the certified key is no ECDSA key")
	}
	return chain, key, nil
}

// beside attaches an artifact with one layer to a subject and returns its manifest's descriptor.
func beside(ctx context.Context, repository string, subject ociregistry.Descriptor, artifactType, layerType string, content []byte) (ociregistry.Descriptor, error) {
	store, none := shared.hub.Store, ociregistry.Descriptor{}
	blob := func(mediaType string, content []byte) (registrytest.Descriptor, error) {
		d := registrytest.Descriptor{MediaType: mediaType, Digest: registrytest.DigestOf(content), Size: int64(len(content))}
		_, err := store.PushBlob(ctx, repository, ociregistry.Descriptor{MediaType: mediaType, Digest: ociregistry.Digest(d.Digest), Size: d.Size}, bytes.NewReader(content))
		return d, err
	}
	config, err := blob("application/vnd.oci.empty.v1+json", []byte("{}"))
	if err != nil {
		return none, err
	}
	layer, err := blob(layerType, content)
	if err != nil {
		return none, err
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := json.Marshal(registrytest.ImageManifest{
		SchemaVersion: 2, MediaType: manifestType, ArtifactType: artifactType, Config: config, Layers: []registrytest.Descriptor{layer},
		Subject: &registrytest.Descriptor{MediaType: subject.MediaType, Digest: string(subject.Digest), Size: subject.Size},
	})
	if err != nil {
		return none, err
	}
	return store.PushManifest(ctx, repository, "", manifest, manifestType)
}
