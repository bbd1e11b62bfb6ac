package credentials

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// keychain answers by its sources in order, the first of which that has something is tried first: Secrets, then providers.
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
	a, err := k.Choice(ctx, r, 0)
	if a == nil && err == nil {
		k.used(r.RegistryStr(), None)
		return authn.Anonymous, nil
	}
	return a, err
}

// Choice implements registry.Choices: every source that has something is a choice.
func (k *keychain) Choice(ctx context.Context, r authn.Resource, n int) (authn.Authenticator, error) {
	host := r.RegistryStr()
	repository := strings.TrimPrefix(strings.TrimPrefix(r.String(), host), "/")
	for i := range k.secrets {
		auth, ok := k.secrets[i].config.find(host, repository)
		if !ok {
			continue
		}
		if n--; n < 0 {
			k.used(host, k.secrets[i].name)
			return authn.FromConfig(auth), nil
		}
	}
	for i := range k.providers {
		a, err := authn.Resolve(ctx, k.providers[i].keychain, r)
		if err != nil {
			return nil, err
		}
		if a == nil || a == authn.Anonymous {
			continue
		}
		if n--; n < 0 {
			k.used(host, k.providers[i].name)
			return a, nil
		}
	}
	return nil, nil
}
