package notary

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	core "github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/crl"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	"github.com/notaryproject/notation-core-go/revocation/result"

	"github.com/signet-policy/signet/pkg/reason"
)

const (
	// maxServers bounds the addresses that one certificate may have its status asked at.
	maxServers = 8
	// revocation lists are remembered if they are no larger than maxList, in bytes, up to maxLists of them, until they
	// are listAge old or replaced by their own word.
	maxList  = 1 << 20
	maxLists = 16
	listAge  = 10 * time.Minute
)

// revocation asks OCSP responders and CRL distribution points.
type revocation struct{ validator core.Validator }

func newRevocation(client *http.Client) *revocation {
	if client == nil {
		return &revocation{}
	}
	lists, err := crl.NewHTTPFetcher(client)
	if err != nil {
		return &revocation{}
	}
	lists.Cache, lists.DiscardCacheError = &listCache{expirable.NewLRU[string, *crl.Bundle](maxLists, nil, listAge)}, true
	validator, err := core.NewWithOptions(core.Options{OCSPHTTPClient: client, CRLFetcher: lists, CertChainPurpose: purpose.CodeSigning})
	if err != nil {
		return &revocation{}
	}
	return &revocation{validator: validator}
}

// check asks about every certificate but the root that says where. What cannot be learned is a failure like any other:
// whoever can keep the answer away must not get a revoked certificate accepted.
func (r *revocation) check(ctx context.Context, chain []*x509.Certificate) error {
	asked := false
	for i, c := range chain[:len(chain)-1] {
		n := len(c.OCSPServer) + len(c.CRLDistributionPoints)
		if n > maxServers {
			return reason.New(reason.LimitReached, fmt.Sprintf("certificate %d of the chain names more than %d addresses for its revocation", i+1, maxServers))
		}
		asked = asked || n > 0
	}
	if !asked {
		return nil
	}
	if r.validator == nil {
		return reason.New(reason.TrustMaterialUnavailable, "the revocation status of the certificates cannot be asked for")
	}
	results, err := r.validator.ValidateContext(ctx, core.ValidateContextOptions{CertChain: chain})
	switch {
	case err != nil:
		return reason.New(reason.CertificateUntrusted, "the revocation status of the certificates: "+shown(err))
	case len(results) != len(chain):
		return reason.New(reason.TrustMaterialUnavailable, "the revocation status of the certificates is not known")
	}
	unknown := error(nil)
	for i, one := range results {
		switch {
		case one != nil && one.Result == result.ResultRevoked:
			return reason.New(reason.CertificateUntrusted, fmt.Sprintf("certificate %d of the chain is revoked", i+1))
		case one == nil || one.Result != result.ResultOK && one.Result != result.ResultNonRevokable:
			unknown = unanswered(i, one)
		}
	}
	return unknown
}

// unanswered explains a status that is not known.
func unanswered(i int, one *result.CertRevocationResult) error {
	text := fmt.Sprintf("the revocation status of certificate %d of the chain is not known", i+1)
	if one != nil {
		for _, s := range one.ServerResults {
			if s != nil && s.Error != nil {
				text += ": " + shown(s.Error)
				break
			}
		}
	}
	return reason.New(reason.TrustMaterialUnavailable, text)
}

// listCache remembers revocation lists.
type listCache struct {
	lru *expirable.LRU[string, *crl.Bundle]
}

var errTooLarge = errors.New("too large to be remembered")

// Get implements crl.Cache.
func (c *listCache) Get(_ context.Context, url string) (*crl.Bundle, error) {
	if b, ok := c.lru.Get(url); ok {
		return b, nil
	}
	return nil, crl.ErrCacheMiss
}

// Set implements crl.Cache.
func (c *listCache) Set(_ context.Context, url string, b *crl.Bundle) error {
	size := len(b.BaseCRL.Raw)
	if b.DeltaCRL != nil {
		size += len(b.DeltaCRL.Raw)
	}
	if size > maxList {
		return errTooLarge
	}
	c.lru.Add(url, b)
	return nil
}
