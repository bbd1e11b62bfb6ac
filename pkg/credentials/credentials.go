// Package credentials decides with which credentials a registry is read for an entry of a rule and an object: those of
// Secrets that the entry names, of the pull secrets that the object names in its own namespace, and of providers, or those
// that the process has. What is secret leaves it only towards the registry client, and goes into no text.
package credentials

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/extract"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/registry"
)

// Secrets reads Secrets and service accounts by their names. What is not there, or may not be read, is no error. It is
// safe for concurrent use.
type Secrets interface {
	// Secret returns the type and the data of a Secret; an empty type for none.
	Secret(ctx context.Context, namespace, name string) (kind string, data map[string][]byte, err error)
	// PullSecrets returns the names of a service account's pull secrets.
	PullSecrets(ctx context.Context, namespace, serviceAccount string) ([]string, error)
}

// Options make a source. Client is required.
type Options struct {
	// Client is what registries are read by; its own credentials are not used.
	Client *registry.Client
	// Secrets reads the cluster. Nil for a process without one: then nothing that is named there exists, and what the
	// process has takes its place.
	Secrets Secrets
	// SystemNamespace is where Secrets without a namespace are.
	SystemNamespace string
	// PullSecrets, Providers and AllowInsecure are the process' own access. Without Secrets and providers its keychain is
	// the docker configuration's.
	PullSecrets   []policy.SecretName
	Providers     []string
	AllowInsecure bool
	// Behind lets the process' own access stand behind the pull secrets of objects, instead of nothing: for who judges objects
	// of another place, and may know their images but not their pull secrets.
	Behind bool
	// Keychains are those of the providers, by name. The one named default is the docker configuration's; nil for
	// authn.DefaultKeychain.
	Keychains map[string]authn.Keychain
	// Used is told which source gave the credentials for a repository, once per look-up.
	Used func(Use)
	// Now is the clock; nil for the real one.
	Now func() time.Time
}

// None is the source of anonymous access, and DefaultProvider that of the docker configuration.
const (
	None            = "none"
	DefaultProvider = "default"
)

// Use is where a credential was found. It holds nothing of the credential.
type Use struct {
	Host, Repository string
	// Source is "secret namespace/name", the name of a provider, or None.
	Source string
	// Entry is where a Secret has it; empty for others.
	Entry string
}

const (
	// fresh is how long what was read of a Secret is used, and absent how long nothing is looked for again.
	fresh  = 10 * time.Second
	absent = 2 * time.Second
	// patience bounds one look at the API server.
	patience = 2 * time.Second
	// remembered bounds the Secrets and service accounts that are remembered.
	remembered = 1024
)

// Source opens registries with credentials. It is safe for concurrent use.
type Source struct {
	opts    Options
	known   *lru.Cache[string, known]
	flights singleflight.Group
}

// known is what was read of one Secret or service account.
type known struct {
	config *config // nil for none, or for one that cannot be used
	broken error
	names  []string // of a service account
	until  time.Time
}

// New returns a source.
func New(opts Options) *Source {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Used == nil {
		opts.Used = func(Use) {}
	}
	s := &Source{opts: opts}
	// The only error is a size that is not positive.
	s.known, _ = lru.New[string, known](remembered)
	return s
}

// Open implements engine.Accesses (VI 7.2(1) to (3)).
func (s *Source) Open(ctx context.Context, a engine.Access) (engine.Opened, error) {
	k := &keychain{used: s.opts.Used}
	pull, err := s.pullSecrets(ctx, a)
	if err != nil {
		return engine.Opened{}, err
	}
	own := a.Credentials != nil || len(pull) > 0 && !s.opts.Behind
	named, providers, insecure := s.opts.PullSecrets, s.opts.Providers, s.opts.AllowInsecure
	if own {
		named, providers, insecure = nil, nil, false
		if c := a.Credentials; c != nil {
			named, providers, insecure = c.Secrets, c.Providers, c.AllowInsecure
		}
	}
	for _, n := range named {
		if err := s.add(ctx, k, n, false); err != nil {
			return engine.Opened{}, err
		}
	}
	for _, n := range pull {
		if err := s.add(ctx, k, n, true); err != nil {
			return engine.Opened{}, err
		}
	}
	if len(providers) == 0 && (len(named)+len(pull) == 0 || s.opts.Secrets == nil) {
		providers = []string{DefaultProvider}
	}
	for _, name := range providers {
		if err := s.addProvider(k, name); err != nil {
			return engine.Opened{}, err
		}
	}
	out := engine.Opened{Registry: s.opts.Client.With(k, insecure), Insecure: insecure}
	if own || len(named)+len(k.secrets) > 0 {
		out.ID = k.id(insecure)
	}
	return out, nil
}

// pullSecrets are the object's, or those that its Pods will get from their service account.
func (s *Source) pullSecrets(ctx context.Context, a engine.Access) ([]policy.SecretName, error) {
	names := a.PullSecrets
	if a.ServiceAccount != "" && len(names) == 0 && s.opts.Secrets != nil {
		var err error
		if names, err = s.ofServiceAccount(ctx, a.Namespace, a.ServiceAccount); err != nil {
			return nil, err
		}
	}
	var out []policy.SecretName
	for _, n := range names {
		if len(out) < extract.PullLimit {
			out = append(out, policy.SecretName{Namespace: a.Namespace, Name: n})
		}
	}
	return out, nil
}

// add reads a Secret into the keychain. What the maker of an object names may not turn a violation into an error, so
// a pull secret of his that cannot be used is passed over; one that a policy names is not.
func (s *Source) add(ctx context.Context, k *keychain, n policy.SecretName, lenient bool) error {
	if s.opts.Secrets == nil {
		return nil
	}
	if n.Namespace == "" {
		n.Namespace = s.opts.SystemNamespace
	}
	if _, err := policy.ParseSecretName(n.String()); err != nil {
		return nil // nothing can have this name
	}
	read, err := s.read(ctx, "secret "+n.String(), func(ctx context.Context) (known, error) {
		kind, data, err := s.opts.Secrets.Secret(ctx, n.Namespace, n.Name)
		if err != nil || kind == "" {
			return known{}, err
		}
		c, err := parse(kind, data)
		return known{config: c, broken: err}, nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("secret %s: %w", n, err)
	case read.broken != nil && !lenient:
		return fmt.Errorf("secret %s: %w", n, read.broken)
	case read.config != nil:
		k.secrets = append(k.secrets, secret{name: "secret " + n.String(), config: read.config})
	}
	return nil
}

func (s *Source) ofServiceAccount(ctx context.Context, namespace, name string) ([]string, error) {
	n := policy.SecretName{Namespace: namespace, Name: name}
	if _, err := policy.ParseSecretName(n.String()); err != nil {
		return nil, nil
	}
	read, err := s.read(ctx, "serviceaccount "+n.String(), func(ctx context.Context) (known, error) {
		names, err := s.opts.Secrets.PullSecrets(ctx, namespace, name)
		return known{names: names}, err
	})
	if err != nil {
		return nil, fmt.Errorf("service account %s: %w", n, err)
	}
	return read.names, nil
}

// read gives what is known under the key, or looks. Those who ask at the same time share one look, which goes on when one
// of them gives up. Errors are not remembered.
func (s *Source) read(ctx context.Context, key string, look func(context.Context) (known, error)) (known, error) {
	if k, ok := s.known.Get(key); ok && s.opts.Now().Before(k.until) {
		return k, nil
	}
	flight := s.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		k, err := look(ctx)
		if err != nil {
			return known{}, err
		}
		life := fresh
		if k.config == nil && len(k.names) == 0 {
			life = absent
		}
		k.until = s.opts.Now().Add(life)
		s.known.Add(key, k)
		return k, nil
	})
	select {
	case <-ctx.Done():
		return known{}, ctx.Err()
	case r := <-flight:
		k, _ := r.Val.(known)
		return k, r.Err
	}
}

func (s *Source) addProvider(k *keychain, name string) error {
	chain := s.opts.Keychains[name]
	if chain == nil && name == DefaultProvider {
		chain = authn.DefaultKeychain
	}
	if chain == nil {
		return fmt.Errorf("credential provider %q is not part of this build", name)
	}
	k.providers = append(k.providers, provider{name: name, keychain: chain})
	return nil
}

// id names everything that the keychain may answer by, without being it.
func (k *keychain) id(insecure bool) string {
	sum := sha256.New()
	for i := range k.secrets {
		sum.Write(k.secrets[i].config.sum[:])
	}
	for i := range k.providers {
		fmt.Fprintf(sum, "provider %q", k.providers[i].name)
	}
	fmt.Fprintf(sum, "insecure %t", insecure)
	return hex.EncodeToString(sum.Sum(nil))
}
