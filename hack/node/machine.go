package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"cuelabs.dev/go/oci/ociregistry/ociserver"

	"github.com/signet-policy/signet/test/env"
)

var (
	hosts = []string{"ghcr.io", "docker.io", "index.docker.io", "registry-1.docker.io"}
	count = 2 // of nodes
)

// machine is a cluster with its nodes, a registry in place of the public ones, a Rekor log and cosign.
type machine struct {
	dir string
	// lab is the working directory of commands.
	lab      string
	cluster  *env.Cluster
	registry *env.Registry
	rekor    *env.Rekor
	cosign   *env.Cosign
	// mirrors is the directory with hosts.toml files that containerd and Signet get.
	mirrors string
	nodes   []*node
	others  []*env.Process
}

// node is one kubelet with the containerd that it uses.
type node struct {
	number              int
	name                string
	kubelet, containerd *env.Process
}

func newMachine(ctx context.Context, dir string) (*machine, error) {
	m := &machine{dir: dir, lab: filepath.Join(dir, "cosign"), mirrors: filepath.Join(dir, "certs.d")}
	if err := m.start(ctx); err != nil {
		m.stop()
		return nil, fmt.Errorf("starting the nodes: %w", err)
	}
	return m, nil
}

func (m *machine) start(ctx context.Context) error {
	if err := furnish(m.dir); err != nil {
		return err
	}
	users := []env.User{}
	for i := range count {
		users = append(users, env.User{Name: fmt.Sprintf("system:node:node-%d", i+1), Groups: []string{"system:nodes"}})
	}
	var err error
	m.cluster, err = env.Start(ctx, env.Options{
		Dir: m.dir, ControllerManager: true, Users: users, Address: address(1),
		APIServerArgs: []string{"--authorization-mode=Node", "--enable-admission-plugins=NodeRestriction",
			"--kubelet-preferred-address-types=InternalIP"},
	})
	if err != nil {
		return err
	}
	if err := m.startRegistry(ctx); err != nil {
		return err
	}
	if err := m.pushSignet(ctx); err != nil {
		return err
	}
	for i := range count {
		n, err := m.startNode(ctx, i+1)
		if err != nil {
			return err
		}
		m.nodes = append(m.nodes, n)
	}
	kubeconfig := "--kubeconfig=" + m.cluster.Kubeconfig()
	if err := m.run("kube-scheduler", kubeconfig, "--authentication-kubeconfig="+m.cluster.Kubeconfig(),
		"--authorization-kubeconfig="+m.cluster.Kubeconfig(), "--leader-elect=false", "--secure-port=0"); err != nil {
		return err
	}
	// The kernel's own limits for connections are the whole machine's.
	if err := m.run("kube-proxy", kubeconfig, "--hostname-override=node-1", "--proxy-mode=iptables", "--cluster-cidr=10.244.0.0/16",
		"--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0s",
		"--conntrack-tcp-timeout-close-wait=0s", "--metrics-bind-address=127.0.0.1:10249", "--healthz-bind-address=127.0.0.1:10256"); err != nil {
		return err
	}
	for _, n := range m.nodes {
		for _, condition := range []string{"create", "condition=Ready"} {
			res, err := m.cluster.Kubectl(ctx, "wait", "--for="+condition, "--timeout=120s", "node/"+n.name)
			if err = errors.Join(err, res.OK()); err != nil {
				return fmt.Errorf("waiting for %s: %w\n%s", n.name, err, n.kubelet.Tail(20))
			}
		}
	}
	return nil
}

// run starts one of the pinned tools, to be stopped with the machine.
func (m *machine) run(name string, args ...string) error {
	path, err := env.Tool(name)
	if err != nil {
		return err
	}
	p, err := env.StartProcess(m.dir, name, path, args, nil)
	if err != nil {
		return err
	}
	m.others = append(m.others, p)
	return nil
}

// startRegistry starts the registry, also on the node's address because Pods have a loopback interface of their own, and
// what cosign needs.
func (m *machine) startRegistry(ctx context.Context) error {
	var err error
	if m.registry, err = env.StartRegistry(m.dir, hosts...); err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(address(1), "5000"))
	if err != nil {
		return fmt.Errorf("listening for Pods: %w", err)
	}
	go func() {
		s := &http.Server{Handler: ociserver.New(m.registry.Store, nil), ReadHeaderTimeout: 10 * time.Second}
		_ = s.Serve(l) // until this program ends
	}()
	for _, host := range hosts {
		mirror := "http://" + l.Addr().String()
		text := fmt.Sprintf("server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", mirror, mirror)
		if err := writeFile(filepath.Join(m.mirrors, host, "hosts.toml"), text); err != nil {
			return err
		}
	}
	if m.rekor, err = env.StartRekor(ctx, m.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(m.lab, 0o700); err != nil {
		return err
	}
	m.cosign, err = env.NewCosign(ctx, m.lab, m.rekor, m.registry)
	return err
}

// startNode starts containerd, gives it the image of sandboxes, and starts the kubelet.
func (m *machine) startNode(ctx context.Context, number int) (*node, error) {
	n := &node{number: number, name: fmt.Sprintf("node-%d", number)}
	dir := filepath.Join(m.dir, n.name)
	socket := "/run/" + n.name + "/containerd.sock"
	files := map[string]string{
		"containerd.toml":        fmt.Sprintf(containerdConfig, dir, "/run/"+n.name, socket, sandboxImage, plugins, dir, m.mirrors),
		"cni/10-bridge.conflist": fmt.Sprintf(cniConfig, number, number, filepath.Join(dir, "addresses")),
		"kubelet.yaml":           fmt.Sprintf(kubeletConfig, address(number), address(number), socket, dir),
		"resolv.conf":            "",
	}
	for name, text := range files {
		if err := writeFile(filepath.Join(dir, name), text); err != nil {
			return nil, err
		}
	}
	if err := writeSandboxImage(filepath.Join(dir, "pause.tar")); err != nil {
		return nil, err
	}
	return n, m.revive(ctx, n)
}

// revive starts containerd and the kubelet of a node that is off.
func (m *machine) revive(ctx context.Context, n *node) error {
	dir := filepath.Join(m.dir, n.name)
	socket, archive := "/run/"+n.name+"/containerd.sock", filepath.Join(dir, "pause.tar")
	var err error
	if n.containerd, err = env.StartProcess(dir, "containerd", "containerd", []string{"--config=" + filepath.Join(dir, "containerd.toml")}, nil); err != nil {
		return err
	}
	m.others = append(m.others, n.containerd)
	load := func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "ctr", "--address="+socket, "--namespace=k8s.io", "images", "import", archive).CombinedOutput()
		if err != nil {
			return fmt.Errorf("importing the sandbox image: %w: %s", err, out)
		}
		return nil
	}
	if err := n.containerd.WaitReady(ctx, load); err != nil {
		return err
	}
	kubeconfig, err := m.cluster.UserKubeconfig("system:node:" + n.name)
	if err != nil {
		return err
	}
	path, err := env.Tool("kubelet")
	if err != nil {
		return err
	}
	n.kubelet, err = env.StartProcess(dir, "kubelet", path, []string{
		"--config=" + filepath.Join(dir, "kubelet.yaml"), "--kubeconfig=" + kubeconfig, "--hostname-override=" + n.name,
		"--node-ip=" + address(n.number), "--root-dir=" + filepath.Join(dir, "kubelet"), "--cert-dir=" + filepath.Join(dir, "pki"), "--v=2",
	}, nil)
	if err == nil {
		m.others = append(m.others, n.kubelet)
	}
	return err
}

// kill ends a node as a power cut does: kubelet, containerd, and every process of its containers.
func (m *machine) kill(n *node) {
	_ = syscall.Kill(n.kubelet.PID(), syscall.SIGKILL)
	_ = syscall.Kill(n.containerd.PID(), syscall.SIGKILL)
	found, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range found {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		mounts, _ := os.ReadFile(filepath.Join(dir, "mounts"))
		shim := bytes.Contains(command, []byte("containerd-shim")) && bytes.Contains(command, []byte("/run/"+n.name+"/"))
		root, _, _ := bytes.Cut(mounts, []byte("\n"))
		contained := bytes.HasPrefix(root, []byte("overlay / ")) && bytes.Contains(root, []byte(filepath.Join(m.dir, n.name)+"/"))
		if pid > 1 && (shim || contained) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// stop ends this program's own children in order; what containerd started ends with the namespaces.
func (m *machine) stop() {
	for i := len(m.others) - 1; i >= 0; i-- {
		m.others[i].Stop()
	}
	if m.rekor != nil {
		m.rekor.Stop()
	}
	if m.registry != nil {
		m.registry.Stop()
	}
	if m.cluster != nil {
		m.cluster.Stop()
	}
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
