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
	used      func(Use)
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
		k.used(useOf(r, None, ""))
		return authn.Anonymous, nil
	}
	return a, err
}

// Choice implements registry.Choices: every source that has something is a choice.
func (k *keychain) Choice(ctx context.Context, r authn.Resource, n int) (authn.Authenticator, error) {
	at := useOf(r, "", "")
	for i := range k.secrets {
		e := k.secrets[i].config.find(at.Host, at.Repository)
		if e == nil {
			continue
		}
		if n--; n < 0 {
			k.used(useOf(r, k.secrets[i].name, e.name))
			return authn.FromConfig(e.auth), nil
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
			k.used(useOf(r, k.providers[i].name, ""))
			return a, nil
		}
	}
	return nil, nil
}

// useOf describes the use of a source.
func useOf(r authn.Resource, source, entry string) Use {
	host := r.RegistryStr()
	return Use{Host: host, Repository: strings.TrimPrefix(strings.TrimPrefix(r.String(), host), "/"), Source: source, Entry: entry}
}
