package sigstore

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// parseCertificate reads one certificate that a candidate carries.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	if len(der) > maxAnnotation {
		return nil, tooLarge("the certificate", maxAnnotation)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("the certificate is malformed: %w", err)
	}
	return c, nil
}

// parseIntermediates reads the certificates that a candidate carries beside its own. They are hints: what leads to a
// trusted root is used and nothing else. One whose key is not fit to verify with cannot lead anywhere.
func parseIntermediates(list [][]byte) ([]*x509.Certificate, error) {
	if len(list) > maxCertificate-1 {
		return nil, reason.New(reason.LimitReached, fmt.Sprintf("the signature has more than %d certificates", maxCertificate))
	}
	var parsed []*x509.Certificate
	for _, der := range list {
		c, err := parseCertificate(der)
		if err != nil {
			return nil, err
		}
		if verify.CheckKey(c.PublicKey) == nil {
			parsed = append(parsed, c)
		}
	}
	return parsed, nil
}

// chainAnnotation reads the annotation with a certificate's chain. An empty text holds none.
func chainAnnotation(text string) ([]*x509.Certificate, error) {
	if len(text) > maxAnnotation {
		return nil, tooLarge("the certificate's chain", maxAnnotation)
	}
	var list [][]byte
	for rest := []byte(text); len(list) <= maxCertificate; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("it holds something other than certificates")
		}
		list = append(list, block.Bytes)
	}
	if text != "" && len(list) == 0 {
		return nil, errors.New("not PEM")
	}
	return parseIntermediates(list)
}

// carried takes the certificates of a bundle, of any version: the signer's alone, or with its chain.
func (s *signed) carried(material *protobundle.VerificationMaterial) (err error) {
	list := []*protocommon.X509Certificate{material.GetCertificate()}
	if chain := material.GetX509CertificateChain(); chain != nil {
		list = chain.GetCertificates()
	}
	if len(list) == 0 || len(list[0].GetRawBytes()) == 0 {
		return errors.New("the bundle has neither a certificate nor a key")
	}
	s.intermediates = sync.OnceValues(func() ([]*x509.Certificate, error) {
		rest := make([][]byte, len(list)-1)
		for i := range rest {
			rest[i] = list[i+1].GetRawBytes()
		}
		return parseIntermediates(rest)
	})
	s.certificate, err = parseCertificate(list[0].GetRawBytes())
	return err
}
