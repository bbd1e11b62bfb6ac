package credentials

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// keychain answers by the first of its sources that has something: Secrets in order, then providers in order.
type keychain struct {
	secrets   []secret
	providers []provider
	used      func(host, source string)
}

type secret struct {
	name   string
	config *config
}

type provider struct {
	name     string
	keychain authn.Keychain
}

// Resolve implements authn.Keychain.
func (k *keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), r)
}

// ResolveContext implements authn.ContextKeychain.
func (k *keychain) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	host := r.RegistryStr()
	repository := strings.TrimPrefix(strings.TrimPrefix(r.String(), host), "/")
	for i := range k.secrets {
		if auth, ok := k.secrets[i].config.find(host, repository); ok {
			k.used(host, k.secrets[i].name)
			return authn.FromConfig(auth), nil
		}
	}
	for i := range k.providers {
		a, err := authn.Resolve(ctx, k.providers[i].keychain, r)
		if err != nil {
			return nil, err
		}
		if a != nil && a != authn.Anonymous {
			k.used(host, k.providers[i].name)
			return a, nil
		}
	}
	k.used(host, None)
	return authn.Anonymous, nil
}
