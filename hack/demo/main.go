// Command demo plays the lab "Sign Containers with Cosign" against a real API server on this machine.
//
//	demo demo    run the lab, compare every outcome, leave nothing running; exit 1 when anything differs
//	demo run     start the same playground in the background and print how to use it
//	demo stop    end what run started
//
// It needs the pinned tools (make tools) and bin/signet (make build), and neither internet nor containers.
package main

import (
	"context"
	"fmt"
	"os"
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
		fmt.Fprintln(os.Stderr, "demo:", err)
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	dir := filepath.Join(env.Root(), "_run")
	mode := ""
	if len(args) == 1 {
		mode = args[0]
	}
	switch mode {
	case "demo":
		return demo(ctx, filepath.Join(dir, "demo"))
	case "run":
		return start(ctx, dir)
	case "stop":
		return stop(ctx, dir)
	case supervise:
		return serve(ctx, dir)
	}
	return fmt.Errorf("usage: demo demo|run|stop (got %q)", args)
}

// demo runs the lab once. The run directory stays for a look at the logs when something differed.
func demo(ctx context.Context, dir string) error {
	began := time.Now()
	t := newTranscript(os.Stdout)
	if err := freshDir(dir); err != nil {
		return err
	}
	t.say("Starting etcd, kube-apiserver, kube-controller-manager, a registry, a Rekor log and Signet (logs: %s)", dir)
	p, err := newPlayground(ctx, dir)
	if err != nil {
		return err
	}
	defer p.Close()
	t.say("Ready after %s.", time.Since(began).Round(100*time.Millisecond))
	if err := playLab(ctx, t, p); err != nil {
		t.say("%s", p.Tails(10))
		return err
	}
	if t.failed > 0 {
		t.say("%s", p.Tails(10))
		return fmt.Errorf("%d of %d checks FAILED; logs are in %s", t.failed, t.checks, dir)
	}
	p.Close()
	t.say("\nAll %d checks ok, %s. Nothing is left running.", t.checks, time.Since(began).Round(time.Second))
	return os.RemoveAll(dir)
}

// freshDir makes an empty directory.
func freshDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("emptying the run directory: %w", err)
	}
	return os.MkdirAll(dir, 0o755)
}
