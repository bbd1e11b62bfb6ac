package env

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// The namespace and the service account that Signet runs as, as in config/.
const (
	SystemNamespace = "kyverno"
	SignetAccount   = "kyverno-admission-controller"
)

// signetGrace is longer than Signet takes to answer what it has begun and to say that it is gone: one that is killed earlier leaves
// leases behind, for which the next one waits.
const signetGrace = time.Minute

// SignetOptions say how to start Signet.
type SignetOptions struct {
	// Binary is the program; empty means bin/signet.
	Binary string
	// Dir is the run directory for its log; empty means the cluster's.
	Dir string
	// Args follow `serve` and the flags that tie it to the cluster.
	Args []string
	// Env is added to its environment.
	Env []string
}

// Signet is a running `signet serve`, outside the cluster and connected to it.
type Signet struct {
	// WebhookPort and MetricsPort are its loopback ports.
	WebhookPort, MetricsPort int
	*Process
}

// InstallSignet applies the permissions and the configuration of config/ (not the Deployment: here are no nodes).
func (c *Cluster) InstallSignet(ctx context.Context) error {
	if err := c.EnsureNamespace(ctx, SystemNamespace); err != nil {
		return err
	}
	res, err := c.Kubectl(ctx, "kustomize", filepath.Join(Root(), "config", "rbac"))
	if err == nil {
		err = res.OK()
	}
	if err != nil {
		return fmt.Errorf("building config/rbac: %w", err)
	}
	objects, err := ParseManifests([]byte(res.Stdout))
	if err != nil {
		return fmt.Errorf("reading config/rbac: %w", err)
	}
	config, err := ReadManifests(filepath.Join(Root(), "config", "manager", "configmap.yaml"))
	if err != nil {
		return err
	}
	return c.Apply(ctx, append(objects, config...)...)
}

// StartSignet starts Signet as its own process that acts as its own service account, with the permissions of
// config/rbac and no others, and waits until it is ready to answer. Call InstallSignet before.
func (c *Cluster) StartSignet(ctx context.Context, o SignetOptions) (*Signet, error) {
	if o.Binary == "" {
		o.Binary = filepath.Join(Root(), "bin", "signet")
	}
	if o.Dir == "" {
		o.Dir = c.Dir
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return nil, fmt.Errorf("run `make build` first: %w", err)
	}
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, SystemNamespace, SignetAccount)
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(2)
	if err != nil {
		return nil, err
	}
	s := &Signet{WebhookPort: ports[0], MetricsPort: ports[1]}
	args := append([]string{
		"serve", "--kubeconfig=" + kubeconfig, "--serverIP=127.0.0.1",
		"--webhookServerPort=" + strconv.Itoa(s.WebhookPort), "--metricsPort=" + strconv.Itoa(s.MetricsPort),
	}, o.Args...)
	s.Process, err = StartProcess(o.Dir, "signet", o.Binary, args, append([]string{"KYVERNO_NAMESPACE=" + SystemNamespace}, o.Env...))
	if err != nil {
		return nil, err
	}
	s.grace = signetGrace
	// Its certificate is signed by an authority that it has just made; what is asked here is only whether it is up.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.WaitReady(ctx, getOK(client, loopback("https", s.WebhookPort)+"/health/readiness")); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}
