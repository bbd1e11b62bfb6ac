package notary

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/veraison/go-cose"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/untrusted"
	"github.com/signet-policy/signet/pkg/verify"
)

const (
	// maxCertificates bounds the certificates that an envelope carries.
	maxCertificates = 11
	// maxCertificate bounds one of them, and maxName its subject and its issuer, in bytes.
	maxCertificate = 64 << 10
	maxName        = 4 << 10
	// maxNames bounds the alternative names of a certificate.
	maxNames = 32
)

// carried reads the certificates of an envelope, signer first, before anything is computed with them: many of them, or
// large keys, would take long.
func carried(mediaType string, payload []byte) ([]*x509.Certificate, error) {
	var list [][]byte
	var err error
	switch mediaType {
	case image.NotaryEnvelopeJWS:
		list, err = carriedJWS(payload)
	case image.NotaryEnvelopeCOSE:
		list, err = carriedCOSE(payload)
	default:
		err = errors.New("an unknown form of signature")
	}
	switch {
	case err != nil:
		return nil, malformed(err)
	case len(list) == 0:
		return nil, reason.New(reason.BadSignature, "malformed signature: it carries no certificate")
	case len(list) > maxCertificates:
		return nil, reason.New(reason.LimitReached, fmt.Sprintf("the signature carries more than %d certificates", maxCertificates))
	}
	var chain []*x509.Certificate
	for i, der := range list {
		c, err := certificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		chain = append(chain, c)
	}
	return chain, nil
}

func carriedJWS(payload []byte) ([][]byte, error) {
	if err := untrusted.CheckDepth(payload, maxDepth); err != nil {
		return nil, err
	}
	var doc struct {
		Header struct {
			Chain [][]byte `json:"x5c"`
		} `json:"header"`
	}
	if json.Unmarshal(payload, &doc) != nil {
		return nil, errors.New("it is no JWS envelope")
	}
	return doc.Header.Chain, nil
}

func carriedCOSE(payload []byte) (list [][]byte, err error) {
	var message cose.Sign1Message
	if message.UnmarshalCBOR(payload) != nil {
		return nil, errors.New("it is no COSE envelope")
	}
	chain, ok := message.Headers.Unprotected[cose.HeaderLabelX5Chain].([]any)
	if !ok {
		return nil, errors.New("it carries no list of certificates")
	}
	for _, one := range chain {
		der, ok := one.([]byte)
		if !ok {
			return nil, errors.New("it carries something else than a certificate")
		}
		list = append(list, der)
	}
	return list, nil
}

// certificate reads one certificate within bounds.
func certificate(der []byte) (*x509.Certificate, error) {
	if len(der) > maxCertificate {
		return nil, reason.New(reason.LimitReached, fmt.Sprintf("it is larger than %d bytes", maxCertificate))
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, reason.New(reason.BadSignature, "malformed: "+shown(err))
	}
	if len(c.RawSubject) > maxName || len(c.RawIssuer) > maxName {
		return nil, reason.New(reason.LimitReached, fmt.Sprintf("a name in it is larger than %d bytes", maxName))
	}
	if len(c.DNSNames)+len(c.EmailAddresses)+len(c.IPAddresses)+len(c.URIs) > maxNames {
		return nil, reason.New(reason.LimitReached, fmt.Sprintf("it has more than %d names", maxNames))
	}
	if err := verify.CheckKey(c.PublicKey); err != nil {
		return nil, reason.New(reason.CertificateUntrusted, shown(err))
	}
	return c, nil
}

// trusted tells whether a chain holds a certificate of the store that leads down to the signer. The links are followed from
// there, so that no key is used that nobody trusted vouches for.
func trusted(chain, store []*x509.Certificate) error {
	anchor := slices.IndexFunc(chain, func(c *x509.Certificate) bool { return slices.ContainsFunc(store, c.Equal) })
	if anchor < 0 {
		return reason.New(reason.CertificateUntrusted, "the signature is not produced by a trusted signer: its certificate chain holds none of the given certificates")
	}
	for i := anchor; i > 0; i-- {
		if err := chain[i-1].CheckSignatureFrom(chain[i]); err != nil {
			return reason.New(reason.CertificateUntrusted, fmt.Sprintf("the signature is not produced by a trusted signer: certificate %d of the chain is not issued by the next one", i))
		}
	}
	return nil
}
