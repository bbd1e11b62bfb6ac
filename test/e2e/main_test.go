// Package e2e tests the whole system as its users meet it: a real API server, Signet as a process of its own under its
// own account, registries, and signatures made by cosign.
//
// One cluster serves all tests, each in namespaces of its own. There is one Signet at a time; a test that needs another
// trusted root, or Signet for itself, is not parallel, so that it has ended before the parallel ones begin.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/env"
)

// host is the registry that tests push to by name; it can be told to misbehave.
const host = "registry.test"

// world is everything that the tests share.
type world struct {
	dir     string
	cluster *env.Cluster
	// hub stands for the registries of the lab, under their own names and with TLS for cosign.
	hub *env.Registry
	// registry answers as host.
	registry *registrytest.Server
	rekor    *env.Rekor
	cosign   *env.Cosign
	mirrors  string
	binary   string
	images   *signedImages
	names    atomic.Int64 // makes names unique

	mu     sync.Mutex
	signet *env.Signet
	args   []string // of the running Signet
}

// shared is set by TestMain.
var shared *world

// atOnce is the number of tests that run at the same time. They wait for the cluster more than they work.
const atOnce = "12"

func TestMain(m *testing.M) {
	flag.Parse()
	said := false // somebody who wants to see another number at work says so
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			os.Exit(1)
		}
	}
	if flag.Lookup("test.list").Value.String() != "" || flag.Lookup("test.run").Value.String() == "^$" {
		os.Exit(m.Run()) // nothing will run, as with make bench
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	w := &world{}
	defer w.close()
	began := time.Now()
	if err := w.start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	fmt.Fprintf(os.Stderr, "e2e: everything is up after %s\n", time.Since(began).Round(time.Second))
	shared = w
	code := m.Run()
	if err := w.complaints(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	if code != 0 {
		w.keepLogs()
	}
	return code
}

func (w *world) start(ctx context.Context) error {
	var err error
	if w.dir, err = os.MkdirTemp("", "signet-e2e-"); err != nil {
		return err
	}
	w.mirrors = filepath.Join(w.dir, "certs.d")
	w.registry = registrytest.New(nil)
	w.registry.WriteHostsToml(w.mirrors, host)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.build(gctx) })
	g.Go(func() (err error) {
		w.cluster, err = env.Start(gctx, env.Options{
			Dir: filepath.Join(w.dir, "cluster"), ControllerManager: true, CRDs: []string{env.CRDDir(), filepath.Join("testdata", "crds")},
		})
		if err != nil {
			return err
		}
		if err := w.cluster.InstallSignet(gctx); err != nil {
			return err
		}
		more, err := env.ReadManifests(filepath.Join("testdata", "reader.yaml"))
		if err != nil {
			return err
		}
		return w.cluster.Apply(gctx, more...)
	})
	g.Go(func() (err error) {
		hosts := []string{"ghcr.io", "docker.io", "index.docker.io", "registry-1.docker.io", "registry.example.com"}
		if w.hub, err = env.StartRegistry(w.dir, hosts...); err != nil {
			return err
		}
		if err := w.hub.WriteMirrors(w.mirrors); err != nil {
			return err
		}
		if w.rekor, err = env.StartRekor(gctx, w.dir); err != nil {
			return err
		}
		home := filepath.Join(w.dir, "cosign")
		if err := os.MkdirAll(home, 0o700); err != nil {
			return err
		}
		if w.cosign, err = env.NewCosign(gctx, home, w.rekor, w.hub); err != nil {
			return err
		}
		w.images, err = signImages(gctx, w.registry, w.cosign)
		return err
	})
	return g.Wait()
}

// build makes the program that is tested, with the race detector when the tests have it.
func (w *world) build(ctx context.Context) error {
	w.binary = filepath.Join(w.dir, "signet")
	args := []string{"build", "-buildvcs=false", "-o", w.binary}
	if raceDetector {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = env.Root()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("building Signet: %w\n%s", err, out)
	}
	return nil
}

func (w *world) close() {
	if w.signet != nil {
		w.signet.Stop()
	}
	if w.rekor != nil {
		w.rekor.Stop()
	}
	if w.hub != nil {
		w.hub.Stop()
	}
	if w.registry != nil {
		w.registry.Close()
	}
	if w.cluster != nil {
		w.cluster.Stop()
	}
	_ = os.RemoveAll(w.dir)
}

// run makes sure that Signet runs with the trusted root and the further arguments. An empty root is that of the local
// transparency log, which all parallel tests use.
func (w *world) run(t *testing.T, trustedRoot string, args ...string) *env.Signet {
	t.Helper()
	if trustedRoot == "" {
		trustedRoot = w.cosign.TrustedRoot
	}
	return w.runWith(t, append([]string{"--trustedRootFile=" + trustedRoot}, args...)...)
}

// runWith makes sure that Signet runs with these arguments, which name its trusted root.
func (w *world) runWith(t *testing.T, args ...string) *env.Signet {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	args = append([]string{"--registryConfigDir=" + w.mirrors}, args...)
	if w.signet != nil && slices.Equal(w.args, args) {
		select {
		case <-w.signet.Done():
			t.Fatalf("Signet has ended\n%s", w.signet.Tail(30))
		default:
			return w.signet
		}
	}
	w.stop()
	signet, err := w.cluster.StartSignet(t.Context(), env.SignetOptions{Binary: w.binary, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	w.signet, w.args = signet, args
	w.reached(t)
	return signet
}

// reached waits until the API server calls the Signet that runs now: registrations follow its start, the API server
// learns of them a moment later, and here, unlike behind a Service, every start has another address.
func (w *world) reached(t *testing.T) {
	t.Helper()
	u, broken := newUser(t), rule{name: "broken", key: "/no/key"}.in("")
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	eventually(t, "policies to be judged", func() error {
		_, err := u.dynamic.Resource(clusterPolicies).Create(t.Context(), broken, dry)
		if err == nil || !strings.Contains(err.Error(), "denied the request") {
			return fmt.Errorf("a broken policy: %v", err) //nolint:errorlint // may be nil
		}
		return nil
	})
	eventually(t, "objects to be judged", func() error {
		_, err := u.CoreV1().Pods(metav1.NamespaceDefault).Create(t.Context(), pod("probe", "probe.test/none:1"), dry)
		if err != nil && strings.Contains(err.Error(), "failed calling webhook") {
			return err
		}
		return nil
	})
}

// stop ends Signet, if one runs. The caller holds the lock or has the world for itself.
func (w *world) stop() {
	if w.signet != nil {
		w.signet.Stop()
	}
	w.signet, w.args = nil, nil
}

// complaints are what Signet's log must never hold, whatever the tests did to it: a data race, a panic, a request that
// its permissions did not cover.
func (w *world) complaints() error {
	var errs []error
	for _, file := range w.logFiles() {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(raw)) {
			lower := strings.ToLower(line)
			for _, word := range []string{"data race", "panic", "is forbidden: user"} {
				if strings.Contains(lower, word) {
					errs = append(errs, fmt.Errorf("in Signet's log: %s", strings.TrimSpace(line)))
					break
				}
			}
		}
	}
	if len(errs) > 10 {
		errs = append(errs[:10], fmt.Errorf("and %d more", len(errs)-10))
	}
	return errors.Join(errs...)
}
