// Package cloud gets registry credentials from the surroundings of the process: Amazon ECR, Azure Container Registry,
// Google's registries and GitHub's. It runs no programs. A provider is asked only for hosts that are its own by their
// whole names, so that no token is ever made for, or sent to, a name that merely looks like one of them.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sync/singleflight"
)

// Options change where providers look. The zero value is for production.
type Options struct {
	// Getenv reads an environment variable; nil for os.Getenv. The libraries of the clouds read the environment themselves.
	Getenv func(string) string
	// Failed is told that a provider gave nothing for a host of its own, at most once per minute and account. The registry
	// is then asked without credentials. Nil means nobody listens.
	Failed func(provider string, err error)
	// Transport is for the requests that this package makes itself; nil for http.DefaultTransport.
	Transport http.RoundTripper
	// Now is the clock; nil for the real one.
	Now func() time.Time
}

const (
	// patience bounds how long a request waits for a provider, and effort how long the provider tries.
	patience = 4 * time.Second
	effort   = 20 * time.Second
	// pause is how long a provider that failed is left alone.
	pause = time.Minute
	// early is how long before its end a token is renewed, and longest how long one is used.
	early   = 5 * time.Minute
	longest = time.Hour
	// accounts bounds the tokens that are kept.
	accounts = 256
)

// Keychains are the providers by their names: amazon, azure, google and github.
func Keychains(o Options) map[string]authn.Keychain {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Failed == nil {
		o.Failed = func(string, error) {}
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	exchange := &exchange{client: &http.Client{Transport: o.Transport, Timeout: effort, CheckRedirect: noRedirects}, token: azureToken(o.Getenv)}
	return map[string]authn.Keychain{
		"amazon": newKeychain("amazon", o, amazonAccount, amazonToken),
		"azure":  newKeychain("azure", o, azureAccount, exchange.fetch),
		"google": newKeychain("google", o, googleAccount, googleToken),
		"github": gitHub(o.Getenv),
	}
}

func noRedirects(*http.Request, []*http.Request) error { return errors.New("redirected") }

// fetch gets the credential of an account, and when it ends.
type fetch func(ctx context.Context, account string) (authn.AuthConfig, time.Time, error)

// keychain serves the hosts of one provider. It is safe for concurrent use.
type keychain struct {
	name    string
	options Options
	// account names what one token serves; ok is false for hosts of others.
	account func(host string) (account string, ok bool)
	fetch   fetch

	mu      sync.Mutex
	known   map[string]held
	flights singleflight.Group
}

type held struct {
	auth  authn.AuthConfig
	err   error
	until time.Time
}

func newKeychain(name string, o Options, account func(string) (string, bool), f fetch) *keychain {
	return &keychain{name: name, options: o, account: account, fetch: f, known: map[string]held{}}
}

// Resolve implements authn.Keychain.
func (k *keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), r)
}

// ResolveContext implements authn.ContextKeychain. Without a token access is anonymous: a public image needs none, and
// the registry refuses the others.
func (k *keychain) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	account, ok := k.account(strings.ToLower(r.RegistryStr()))
	if !ok {
		return authn.Anonymous, nil
	}
	h, ok := k.recall(account)
	if !ok {
		h = k.ask(ctx, account)
	}
	if h.err != nil {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(h.auth), nil
}

func (k *keychain) recall(account string) (held, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok := k.known[account]
	return h, ok && k.options.Now().Before(h.until)
}

// ask gets a token. Those who need the same one share the work, which goes on when one of them gives up.
func (k *keychain) ask(ctx context.Context, account string) held {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	flight := k.flights.DoChan(account, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), effort)
		defer cancel()
		h := k.get(ctx, account)
		if h.err != nil {
			k.options.Failed(k.name, h.err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		for old := range k.known {
			if len(k.known) < accounts {
				break
			}
			delete(k.known, old)
		}
		k.known[account] = h
		return h, nil
	})
	select {
	case <-ctx.Done():
		return held{err: ctx.Err()}
	case r := <-flight:
		h, ok := r.Val.(held)
		if !ok {
			return held{err: errors.New("no answer")}
		}
		return h
	}
}

// get makes one attempt. What the libraries panic of is an error.
func (k *keychain) get(ctx context.Context, account string) (h held) {
	now := k.options.Now()
	defer func() {
		if p := recover(); p != nil {
			h = held{err: fmt.Errorf("internal error: %.200v", p), until: now.Add(pause)}
		}
	}()
	auth, end, err := k.fetch(ctx, account)
	if err != nil {
		return held{err: err, until: now.Add(pause)}
	}
	until := now.Add(longest)
	if end = end.Add(-early); end.Before(until) {
		until = end
	}
	return held{auth: auth, until: until}
}

// gitHub is GITHUB_TOKEN for ghcr.io.
func gitHub(getenv func(string) string) authn.Keychain {
	return environment(func(host string) authn.Authenticator {
		token := getenv("GITHUB_TOKEN")
		if host != "ghcr.io" || token == "" {
			return authn.Anonymous
		}
		user := getenv("GITHUB_ACTOR")
		if user == "" {
			user = "unset" // it plays no part
		}
		return authn.FromConfig(authn.AuthConfig{Username: user, Password: token})
	})
}

// environment is a keychain that needs no look anywhere.
type environment func(host string) authn.Authenticator

// Resolve implements authn.Keychain.
func (e environment) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return e(strings.ToLower(r.RegistryStr())), nil
}
