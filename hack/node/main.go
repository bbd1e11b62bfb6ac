// Command node installs Signet as a user does, with the image of `make image` and config/default, in a cluster whose nodes
// are real: kubelet, containerd, kube-proxy and kube-scheduler run the Pods. It compares every outcome, prints how long
// things take, and leaves nothing behind, because it all happens in namespaces of its own.
//
//	node check   install, enforce, roll, drain, lose a node, uninstall; exit 1 when anything differs
//	node stay    start the same cluster without Signet and wait for Ctrl-C
//	node able    tell what this machine lacks for it
//
// It needs Linux, root, Debian's packages for nodes (it names those that are missing), the pinned tools, and the image;
// neither internet nor a running containerd.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/signet-policy/signet/test/env"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		cancel()
		os.Exit(1)
	}
}

// inside is the first argument of the copy of this program that runs in the namespaces.
const inside = "inside"

func run(ctx context.Context, args []string) error {
	dir := filepath.Join(env.Root(), "_run", "node")
	switch {
	case len(args) == 1 && (args[0] == "check" || args[0] == "stay"):
		return isolate(ctx, dir, args[0])
	case len(args) == 1 && args[0] == "able":
		return lacking(machineLacks())
	case len(args) == 2 && args[0] == inside:
		return serve(ctx, dir, args[1])
	}
	return fmt.Errorf("usage: node check|stay|able (got %q)", args)
}

// isolate runs this program again as the first process of new namespaces. When it ends, the kernel ends every process that
// was started in there, and with the last one go the mounts, the network and its rules. Control groups are no namespace's
// and are removed here.
func isolate(ctx context.Context, dir, mode string) error {
	if err := lacking(append(machineLacks(), buildLacks()...)); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("emptying the run directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	before := controlGroups()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", inside, mode)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	removeControlGroups(before)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; logs are in %s", err, dir)
	}
	return os.RemoveAll(dir)
}

// serve is what runs inside.
func serve(ctx context.Context, dir, mode string) error {
	began := time.Now()
	m, err := newMachine(ctx, dir)
	if err != nil {
		return err
	}
	defer m.stop()
	fmt.Printf("Two nodes are ready after %s.\n", time.Since(began).Round(time.Second))
	if mode == "stay" {
		fmt.Printf("KUBECONFIG=%s, in the namespaces of this program's child (nsenter --mount --net --pid --target). Ctrl-C ends it.\n", m.cluster.Kubeconfig())
		<-ctx.Done()
		return nil
	}
	return check(ctx, m)
}
