// Package kms asks key management services for public keys, by the libraries that cosign uses: AWS KMS, Azure Key Vault,
// Google Cloud KMS and Vault's transit engine. Credentials are those that the process's environment gives to each of
// them. Signatures are never sent anywhere; they are verified with the key here.
package kms

import (
	"context"
	"crypto"
	"net"
	"net/http"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/aws"
	"github.com/sigstore/sigstore/pkg/signature/kms/azure"
	"github.com/sigstore/sigstore/pkg/signature/kms/gcp"
	"github.com/sigstore/sigstore/pkg/signature/kms/hashivault"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/signet-policy/signet/pkg/egress"
	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// dialTimeout bounds the making of a connection to a host that a reference names.
const dialTimeout = 5 * time.Second

// Open is that of keyring.Services. Nothing is asked before the first question.
func Open(ctx context.Context, ref verify.Reference) (keyring.Service, error) {
	s := &service{ref: ref}
	var err error
	switch ref.Scheme() {
	case verify.AWSScheme:
		var opts []func(*config.LoadOptions) error
		if ref.Foreign() {
			opts = append(opts, config.WithHTTPClient(guarded(ref.Host())))
		}
		s.keys, err = aws.LoadSignerVerifier(ctx, string(ref), opts...)
	case verify.AzureScheme:
		s.keys, err = azure.LoadSignerVerifier(ctx, string(ref))
	case verify.GCPScheme:
		s.keys, err = gcp.LoadSignerVerifier(ctx, string(ref))
	case verify.VaultScheme:
		s.keys = vault(ref)
	default:
		return nil, reason.New(reason.TrustMaterialInvalid, "the key "+string(ref)+" is in no key management service")
	}
	if err != nil {
		return nil, cause(ref, err)
	}
	return s, nil
}

// service is one key of a provider.
type service struct {
	ref  verify.Reference
	keys signature.PublicKeyProvider
}

// PublicKey is that of keyring.Service.
func (s *service) PublicKey(ctx context.Context) (crypto.PublicKey, error) {
	key, err := s.keys.PublicKey(options.WithContext(ctx))
	if err != nil {
		return nil, cause(s.ref, err)
	}
	return key, nil
}

// vault reads the address and the token anew for every question: a token in a file is replaced from time to time.
type vault verify.Reference

func (v vault) PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	keys, err := hashivault.LoadSignerVerifier(string(v), crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return keys.PublicKey(opts...)
}

// guarded keeps the host that a reference names from being one that answers to this machine alone, whatever its name
// resolves to. Other hosts are asked by the library for credentials, and those may be.
func guarded(host string) *awshttp.BuildableClient {
	open := &net.Dialer{Timeout: dialTimeout}
	closed := egress.Dialer(dialTimeout, false)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if name, _, err := net.SplitHostPort(address); err != nil || strings.EqualFold(name, strings.Trim(host, "[]")) {
				return closed.DialContext(ctx, network, address)
			}
			return open.DialContext(ctx, network, address)
		}
	})
}
