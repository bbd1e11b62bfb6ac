package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/signet-policy/signet/test/env"
)

const (
	repository = "ghcr.io/kiratech/ncat-http-msg-port"
	reference  = repository + ":1.0"
	deployment = "deployment/signet-admission-controller"
)

// check goes through the life of an installation.
func check(ctx context.Context, m *machine) error {
	t, began := &transcript{m: m}, time.Now()
	for _, step := range []func(context.Context, *transcript) error{install, playLab, roll, leader, drain, load, lose, uninstall} {
		if err := step(ctx, t); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if t.failed > 0 {
		return fmt.Errorf("%d of %d checks FAILED", t.failed, t.checks)
	}
	fmt.Printf("\nAll %d checks ok, %s.\n", t.checks, time.Since(began).Round(time.Second))
	return nil
}

// install applies config/default as it is.
func install(ctx context.Context, t *transcript) error {
	t.title("Install: the image of `make image`, config/default as it is")
	began := time.Now()
	t.succeeds(ctx, "everything is accepted", "kubectl apply --server-side -k %s | tail -n 3", filepath.Join(env.Root(), "config", "default"))
	t.succeeds(ctx, "both replicas become ready", "kubectl -n kyverno rollout status --timeout=180s %s", deployment)
	fmt.Printf("# from apply to ready: %s\n", time.Since(began).Round(100*time.Millisecond))
	t.spread(ctx)
	return confined(t)
}

// confined reads from the kernel how Signet's processes are confined.
func confined(t *transcript) error {
	pids := signets()
	t.check("two processes run", len(pids) == 2, pids)
	for _, pid := range pids {
		status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
		if err != nil {
			return err
		}
		mounts, err := os.ReadFile(filepath.Join("/proc", pid, "mounts"))
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(status), "\t", " ")
		for _, want := range []string{
			"Uid: 65532 65532 65532 65532", "Gid: 65532 65532 65532 65532", "CapPrm: 0000000000000000", "CapEff: 0000000000000000",
			"CapBnd: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2",
		} {
			t.check("process "+pid+": "+want, strings.Contains(text, want+"\n"), text)
		}
		t.check("process "+pid+": root is read-only", regexp.MustCompile(`(?m)^overlay / overlay ro,`).Match(mounts), string(mounts))
	}
	return nil
}

// signets are the ids of the processes of Signet's containers.
func signets() (pids []string) {
	found, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range found {
		if raw, err := os.ReadFile(file); err == nil && string(raw) == "signet\n" {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}
