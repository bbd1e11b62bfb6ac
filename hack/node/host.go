package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/signet-policy/signet/test/env"
)

const (
	plugins = "/usr/lib/cni" // where Debian has them
	// What make builds before.
	imageFile   = "bin/image/signet.oci.tar"
	programFile = "bin/ncat"
)

var tools = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "kubelet", "kube-proxy", "kube-scheduler", "cosign", "rekor-server"}

// lacking is an error that says loudly what is missing, and nil if nothing is.
func lacking(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("CANNOT RUN HERE, NOTHING WAS CHECKED:\n  %s", strings.Join(missing, "\n  "))
}

// machineLacks lists what this machine lacks, each with what to do about it.
func machineLacks() (missing []string) {
	lack := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	if os.Geteuid() != 0 {
		lack("not root: namespaces, mounts and control groups are needed")
	}
	if len(hierarchies()) == 0 {
		lack("no control groups for memory below /sys/fs/cgroup")
	}
	for _, c := range [][2]string{
		{"containerd", "containerd"}, {"ctr", "containerd"}, {"runc", "runc"}, {"iptables", "iptables"}, {"ip", "iproute2"}, {"conntrack", "conntrack"}, {"curl", "curl"},
	} {
		if _, err := exec.LookPath(c[0]); err != nil {
			lack("no %s: apt-get install --no-install-recommends %s", c[0], c[1])
		}
	}
	for _, name := range []string{"bridge", "host-local", "loopback"} {
		if _, err := os.Stat(filepath.Join(plugins, name)); err != nil {
			lack("no %s/%s: apt-get install --no-install-recommends containernetworking-plugins", plugins, name)
		}
	}
	return missing
}

// buildLacks lists what has not been built yet.
func buildLacks() (missing []string) {
	for _, name := range tools {
		if _, err := env.Tool(name); err != nil {
			missing = append(missing, name+" is not in bin/tools: run `make node`")
		}
	}
	for _, file := range []string{imageFile, programFile} {
		if _, err := os.Stat(filepath.Join(env.Root(), file)); err != nil {
			missing = append(missing, err.Error()+": run `make node`")
		}
	}
	return missing
}

// hierarchies are the mounted trees of control groups: one of version 2, or one for each controller of version 1.
func hierarchies() []string {
	if found, _ := filepath.Glob("/sys/fs/cgroup/cgroup.controllers"); len(found) > 0 {
		return []string{"/sys/fs/cgroup"}
	}
	if found, _ := filepath.Glob("/sys/fs/cgroup/memory/tasks"); len(found) == 0 {
		return nil
	}
	found, _ := filepath.Glob("/sys/fs/cgroup/*")
	return found
}

// controlGroups lists the groups that containerd makes for Pods, whosever.
func controlGroups() (dirs []string) {
	for _, h := range hierarchies() {
		_ = filepath.WalkDir(filepath.Join(h, "k8s.io"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	return dirs
}

// removeControlGroups removes those that were not there before. The kernel keeps one in which something runs.
func removeControlGroups(before []string) {
	after := controlGroups()
	slices.Reverse(after) // children first
	for _, dir := range after {
		if !slices.Contains(before, dir) {
			if err := syscall.Rmdir(dir); err != nil {
				fmt.Fprintf(os.Stderr, "node: removing %s: %v\n", dir, err)
			}
		}
	}
}

// kernelSettings are those that a kubelet sets for the whole machine. It gets files of its own to write into.
var kernelSettings = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// furnish makes the new namespaces a machine: mounts that nobody else sees, and a network with one interface.
func furnish(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	// What has a fixed place there and belongs to the machine's own containerd and kubelet, if it has them.
	for _, path := range []string{"/run", "/var/lib", "/var/log"} {
		if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mounting %s: %w", path, err)
		}
	}
	settings := filepath.Join(dir, "sysctl")
	if err := os.MkdirAll(settings, 0o755); err != nil {
		return err
	}
	for name, value := range kernelSettings {
		file := filepath.Join(settings, filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(file, filepath.Join("/proc/sys", name), "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("covering /proc/sys/%s: %w", name, err)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("routing between Pods: %w", err)
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "eth0", "type", "veth", "peer", "name", "wire"},
		{"link", "set", "wire", "up"}, {"link", "set", "eth0", "up"},
		{"address", "add", address(1) + "/24", "dev", "eth0"}, {"address", "add", address(2) + "/24", "dev", "eth0"},
		{"route", "add", "default", "dev", "eth0"}, // the addresses of Services need one before they are translated
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	return nil
}

// address is a node's.
func address(node int) string { return fmt.Sprintf("192.168.77.%d", node) }
