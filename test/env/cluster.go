package env

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// startTimeout bounds the whole start of a cluster, and of any other program here. A quiet machine needs about three seconds, one
// that builds and tests other things meanwhile now and then a minute. A program that ends is noticed at once.
const startTimeout = 5 * time.Minute

// The addresses of Services, and the first of them, which is the API server's own.
const (
	serviceRange   = "10.0.0.0/24"
	serviceAddress = "10.0.0.1"
)

// User is someone who can talk to the API server with a bearer token.
type User struct {
	Name   string
	Groups []string
}

// Options choose what Start starts. The zero value is a bare API server: no CRDs, no controllers.
type Options struct {
	// Dir is the run directory for data, logs and kubeconfig files. Empty means a temporary one, removed on Stop.
	Dir string
	// CRDs are files or directories of manifests to install before Start returns; see CRDDir.
	CRDs []string
	// ControllerManager starts kube-controller-manager too: default service accounts, garbage collection by owner,
	// Deployments that make ReplicaSets that make Pods. Without it the ServiceAccount admission plugin is off, so that
	// Pods can be created in any namespace at once.
	ControllerManager bool
	// Users are known to the API server besides "admin" (group system:masters). They start without any permission.
	Users []User
	// APIServerArgs are appended to kube-apiserver's flags.
	APIServerArgs []string
	// Address is a further address that the API server listens on and clients are told of, for nodes and their Pods,
	// which do not share this program's loopback interface. The controllers of nodes then run too.
	Address string
}

// Cluster is a running control plane without nodes.
type Cluster struct {
	// Dir is the run directory: one log file per process, the kubeconfig files.
	Dir string
	// CA signed the API server's certificate.
	CA *Authority

	url         string
	tokens      map[string]string
	client      kubernetes.Interface
	processes   []*Process
	tempDir     bool
	controllers bool
}

// Start starts etcd and kube-apiserver on free loopback ports and waits until the API server is ready. On failure
// everything is stopped and the error ends with the last log lines of the process that failed.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := &Cluster{Dir: o.Dir, tokens: map[string]string{}}
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "signet-env-")
		if err != nil {
			return nil, fmt.Errorf("making a run directory: %w", err)
		}
		c.Dir, c.tempDir = dir, true
	}
	if err := c.start(ctx, o); err != nil {
		c.Stop()
		return nil, fmt.Errorf("starting the cluster: %w", err)
	}
	return c, nil
}

// ForTest starts a cluster that is stopped when the test ends. A failed start fails the test; a failed test shows the
// end of every process's log.
func ForTest(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	c, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Tails(15))
		}
		c.Stop()
	})
	return c
}

func (c *Cluster) start(ctx context.Context, o Options) error {
	// All tools are looked up first: a missing one is told before anything runs.
	names := []string{"etcd", "kube-apiserver"}
	if o.ControllerManager {
		names = append(names, "kube-controller-manager")
	}
	tools := map[string]string{}
	for _, name := range names {
		path, err := Tool(name)
		if err != nil {
			return err
		}
		tools[name] = path
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	etcdURL, err := c.startEtcd(tools["etcd"])
	if err != nil {
		return err
	}
	if err := c.startAPIServer(ctx, tools["kube-apiserver"], etcdURL, o); err != nil {
		return err
	}
	if c.client, err = kubernetes.NewForConfig(c.Config()); err != nil {
		return err
	}
	// The garbage collector looks for new kinds every half minute, so those that are known come before it.
	if err := c.InstallCRDs(ctx, o.CRDs...); err != nil || !o.ControllerManager {
		return err
	}
	return c.startControllerManager(ctx, tools["kube-controller-manager"], o)
}

func (c *Cluster) startEtcd(path string) (url string, err error) {
	ports, err := FreePorts(2)
	if err != nil {
		return "", err
	}
	url = loopback("http", ports[0])
	peer := loopback("http", ports[1])
	_, err = c.run("etcd", path, []string{
		"--name=run", "--data-dir=" + filepath.Join(c.Dir, "etcd-data"), "--log-level=warn",
		"--listen-client-urls=" + url, "--advertise-client-urls=" + url,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=run=" + peer,
		// Nothing here outlives the run, so nothing has to survive a power cut.
		"--unsafe-no-fsync", "--quota-backend-bytes=2147483648",
	})
	return url, err
}

func (c *Cluster) startAPIServer(ctx context.Context, path, etcdURL string, o Options) error {
	var err error
	if c.CA, err = NewAuthority("signet-env"); err != nil {
		return err
	}
	names := []string{"127.0.0.1", "localhost", "kubernetes.default.svc"}
	if o.Address != "" {
		names = append(names, o.Address, serviceAddress)
	}
	cert, key, err := c.CA.Serve(names...)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"apiserver.crt": cert, "apiserver.key": key, "ca.crt": c.CA.PEM, "tokens.csv": []byte(c.tokenFile(o.Users)),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(c.Dir, name), content, 0o600); err != nil {
			return err
		}
	}
	signKey, signPub, err := writeKeyPair(c.Dir, "service-accounts", false)
	if err != nil {
		return err
	}
	ports, err := FreePorts(1)
	if err != nil {
		return err
	}
	c.url = loopback("https", ports[0])
	args := []string{
		"--etcd-servers=" + etcdURL, "--storage-media-type=application/vnd.kubernetes.protobuf",
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + strconv.Itoa(ports[0]),
		"--tls-cert-file=" + filepath.Join(c.Dir, "apiserver.crt"), "--tls-private-key-file=" + filepath.Join(c.Dir, "apiserver.key"),
		"--token-auth-file=" + filepath.Join(c.Dir, "tokens.csv"), "--authorization-mode=RBAC", "--anonymous-auth=true",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-signing-key-file=" + signKey, "--service-account-key-file=" + signPub,
		"--service-cluster-ip-range=" + serviceRange, "--allow-privileged=true",
		// A cluster of one process on one machine needs neither its own endpoints nor fairness between clients.
		"--endpoint-reconciler-type=none", "--enable-priority-and-fairness=false", "--profiling=false",
		"--shutdown-delay-duration=0s", "--event-ttl=1h", "--v=1",
	}
	if !o.ControllerManager {
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	if o.Address != "" { // of a flag given twice the last counts
		args = append(args, "--bind-address=0.0.0.0", "--advertise-address="+o.Address, "--endpoint-reconciler-type=lease")
	}
	p, err := c.run("kube-apiserver", path, append(args, o.APIServerArgs...))
	if err != nil {
		return err
	}
	if err := c.writeKubeconfig("admin"); err != nil {
		return err
	}
	httpClient, err := rest.HTTPClientFor(c.Config())
	if err != nil {
		return err
	}
	if err := p.WaitReady(ctx, getOK(httpClient, c.url+"/readyz")); err != nil {
		return fmt.Errorf("%w\n%s", err, c.processes[0].Tail(10)) // etcd's fault as often as its own
	}
	return nil
}

// run starts one process of the cluster and remembers it for Stop.
func (c *Cluster) run(name, path string, args []string) (*Process, error) {
	p, err := StartProcess(c.Dir, name, path, args, nil)
	if err != nil {
		return nil, err
	}
	c.processes = append(c.processes, p)
	return p, nil
}

// Tails is the end of every process's log.
func (c *Cluster) Tails(lines int) string {
	var b strings.Builder
	for _, p := range c.processes {
		b.WriteString(p.Tail(lines) + "\n")
	}
	return b.String()
}

// Stop ends all processes, the last started first, and removes the run directory if Start made it.
func (c *Cluster) Stop() {
	for i := len(c.processes) - 1; i >= 0; i-- {
		c.processes[i].Stop()
	}
	c.processes = nil
	if c.tempDir {
		_ = os.RemoveAll(c.Dir)
	}
}

func loopback(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

var errNotReady = errors.New("not ready")

// getOK is a probe: GET url answers 200.
func getOK(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%w: %s answers %s", errNotReady, url, res.Status)
		}
		return nil
	}
}
