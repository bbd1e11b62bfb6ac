package vectors

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// notarize puts a Notary signature into the registry: of the image, or of an artifact that is attached to it.
func (a *authority) notarize(s *registrytest.Server, one *Signature, repository, digest string) error {
	if one.Type != "" {
		digest = s.Attach(repository, digest, one.Type, "application/json", nil, []byte(one.Predicate))
	}
	body, mediaType := s.Get(repository, digest)
	payload, err := json.Marshal(map[string]any{"targetArtifact": map[string]any{"mediaType": mediaType, "digest": digest, "size": len(body)}})
	if err != nil {
		return err
	}
	key, certificate, err := a.signer(one)
	if err != nil {
		return err
	}
	local, err := signature.NewLocalSigner([]*x509.Certificate{certificate, a.certificate}, key)
	if err != nil {
		return err
	}
	request := &signature.SignRequest{
		Payload: signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: payload},
		Signer:  local, SigningTime: time.Now().Add(-time.Minute), SigningScheme: signature.SigningSchemeX509,
	}
	if one.Expired {
		request.Expiry = request.SigningTime.Add(time.Second)
	}
	form, envelope := image.NotaryEnvelopeJWS, jws.NewEnvelope()
	switch one.Format {
	case "notary-jws":
	case "notary-cose":
		form, envelope = image.NotaryEnvelopeCOSE, cose.NewEnvelope()
	default:
		return fmt.Errorf("signatures: format %q", one.Format)
	}
	signed, err := envelope.Sign(request)
	if err != nil {
		return err
	}
	s.Attach(repository, digest, image.NotarySignature, form, nil, signed)
	return nil
}

func isNotary(format string) bool { return strings.HasPrefix(format, "notary-") }
