package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/signet-policy/signet/test/env"
)

// The hosts that the one local registry stands in for. Clients call Docker Hub's registry by more names than one.
var hosts = []string{"ghcr.io", "docker.io", "index.docker.io", "registry-1.docker.io"}

// playground is everything that the lab needs, running.
type playground struct {
	// Lab is the working directory of the lab's commands: keys and policies are written there.
	Lab string

	cluster  *env.Cluster
	registry *env.Registry
	rekor    *env.Rekor
	cosign   *env.Cosign
	signet   *env.Signet
	closing  sync.Once
}

// newPlayground starts it all below dir.
func newPlayground(ctx context.Context, dir string) (*playground, error) {
	p := &playground{Lab: filepath.Join(dir, "lab")}
	if err := os.MkdirAll(p.Lab, 0o755); err != nil {
		return nil, err
	}
	if err := p.start(ctx, dir); err != nil {
		p.Close()
		return nil, fmt.Errorf("starting the playground: %w", err)
	}
	return p, nil
}

func (p *playground) start(ctx context.Context, dir string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		p.cluster, err = env.Start(gctx, env.Options{Dir: dir, ControllerManager: true, CRDs: []string{env.CRDDir()}})
		if err != nil {
			return err
		}
		return p.cluster.InstallSignet(gctx)
	})
	mirrors := filepath.Join(dir, "certs.d")
	g.Go(func() (err error) {
		if p.registry, err = env.StartRegistry(dir, hosts...); err != nil {
			return err
		}
		if err := p.registry.WriteMirrors(mirrors); err != nil {
			return err
		}
		if p.rekor, err = env.StartRekor(gctx, dir); err != nil {
			return err
		}
		cosignDir := filepath.Join(dir, "cosign")
		if err := os.MkdirAll(cosignDir, 0o700); err != nil {
			return err
		}
		p.cosign, err = env.NewCosign(gctx, cosignDir, p.rekor, p.registry)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	var err error
	p.signet, err = p.cluster.StartSignet(ctx, env.SignetOptions{
		Args: []string{"--trustedRootFile=" + p.cosign.TrustedRoot, "--registryConfigDir=" + mirrors},
	})
	return err
}

// Close stops everything, the clients of a service before the service.
func (p *playground) Close() {
	p.closing.Do(func() {
		if p.signet != nil {
			p.signet.Stop()
		}
		if p.rekor != nil {
			p.rekor.Stop()
		}
		if p.registry != nil {
			p.registry.Stop()
		}
		if p.cluster != nil {
			p.cluster.Stop()
		}
	})
}

// Tails is the end of Signet's log and of the API server's.
func (p *playground) Tails(lines int) string {
	return p.signet.Tail(lines) + "\n" + p.cluster.Tails(lines)
}

// Env is the environment in which kubectl and cosign work here.
func (p *playground) Env() []string {
	path := filepath.Join(env.Root(), "bin", "tools") + string(os.PathListSeparator) + os.Getenv("PATH")
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		path = assets + string(os.PathListSeparator) + path
	}
	return append([]string{"PATH=" + path, "KUBECONFIG=" + p.cluster.Kubeconfig()}, p.cosign.Env...)
}

// writeEnv writes the environment as a file for `.` in a shell.
func (p *playground) writeEnv(file string) error {
	var b strings.Builder
	for _, v := range p.Env() {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&b, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}
