package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/signet-policy/signet/pkg/credentials"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/cloud"
	"github.com/signet-policy/signet/pkg/registry/layout"
)

// sources are the flags that say where images come from.
type sources struct {
	registryConfigDir string
	allowInsecure     bool
	layouts           []string
}

func (s *sources) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&s.registryConfigDir, "registry-config-dir", "", "`directory` with <host>/hosts.toml files, as containerd reads them")
	fs.BoolVar(&s.allowInsecure, "allow-insecure-registry", false, "allow plain HTTP to registries that do not speak TLS")
	fs.StringArrayVar(&s.layouts, "oci-layout", nil, "`[NAME[:TAG]=]DIRECTORY` in OCI image layout that is read in place of a registry, for the repository NAME or for those that its index.json names; may be repeated")
}

// images are what registries, and directories in their place, are read by.
type images struct {
	layouts *layout.Set
	source  *credentials.Source
	objects *objects
	seen    *recorder
}

// open makes what registries are read by. The Secrets that policies and Pods name are looked for among the objects.
func (s *sources) open(seen *recorder, objects *objects, o Options) (*images, error) {
	layouts, err := layout.Open(s.layouts)
	if err != nil {
		return nil, fmt.Errorf("--oci-layout %w", err)
	}
	client, err := registry.New(registry.Options{
		ConfigDir: s.registryConfigDir, UserAgent: "signet/" + o.Version, Observe: seen.observe, Local: layouts.Repository,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--registry-config-dir: %w", err), layouts.Close())
	}
	source := credentials.New(credentials.Options{
		Client: client, Secrets: objects, SystemNamespace: objects.systemNamespace, Behind: true,
		Providers: []string{credentials.DefaultProvider}, AllowInsecure: s.allowInsecure, Used: seen.used,
		Keychains: cloud.Keychains(cloud.Options{Failed: func(provider string, err error) {
			seen.note("no registry credentials from the provider " + provider + ": " + err.Error())
		}}),
	})
	return &images{layouts: layouts, source: source, objects: objects, seen: seen}, nil
}

func (i *images) close() { i.layouts.Close() }

// Open implements engine.Accesses. A Secret that a policy names has to be known here: without it, a registry would be asked
// in another way than in the cluster. Pull secrets of Pods may be missing, and then the docker configuration counts.
func (i *images) Open(ctx context.Context, a engine.Access) (engine.Opened, error) {
	if a.Credentials != nil {
		for _, n := range a.Credentials.Secrets {
			n = i.objects.completed(n)
			if err := i.objects.need(ctx, n); err != nil {
				return engine.Opened{}, fmt.Errorf("secret %s: %w", n, err)
			}
		}
	}
	o, err := i.source.Open(ctx, a)
	if err != nil {
		return engine.Opened{}, err
	}
	reader, ok := o.Registry.(reader)
	if !ok {
		return engine.Opened{}, errors.New("registries cannot be read") // there is only one kind
	}
	o.Registry = i.seen.by(reader, o.ID)
	return o, nil
}

// own opens the process' own access.
func (i *images) own(ctx context.Context) error {
	_, err := i.Open(ctx, engine.Access{})
	return err
}
