package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// supervise is the hidden mode in which the background process runs.
const supervise = "supervise"

// Files of the background playground below the run directory.
const (
	lockFile  = "lock"      // held by the supervisor as long as it lives
	pidFile   = "pid"       // its process id
	readyFile = "ready.txt" // what run prints; there when everything is up
	envFile   = "env.sh"    // sets up a shell
	logName   = "supervisor.log"
)

var errHeld = errors.New("the playground is running")

// lock takes the run directory for this process; errHeld when another has it. The kernel gives it back when the process
// ends, so it never lies as a PID file can.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errHeld
		}
		return nil, err
	}
	return f, nil
}

// start starts the supervisor, unless it runs, waits until the playground is ready and prints how to use it.
func start(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	held, err := lock(dir)
	switch {
	case errors.Is(err, errHeld):
		fmt.Println("The playground is already running (make stop ends it).")
		return printReady(ctx, dir, nil)
	case err != nil:
		return err
	}
	if err := forget(dir); err != nil {
		return err
	}
	held.Close() // the supervisor takes it
	logFile, err := os.Create(filepath.Join(dir, logName))
	if err != nil {
		return err
	}
	defer logFile.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, supervise)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a closed terminal does not end it
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	fmt.Println("Starting the playground (about 10 s) ...")
	return printReady(ctx, dir, ended)
}

// printReady waits for the supervisor's text and prints it.
func printReady(ctx context.Context, dir string, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		if text, err := os.ReadFile(filepath.Join(dir, readyFile)); err == nil {
			fmt.Print(string(text))
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(filepath.Join(dir, logName))
			return fmt.Errorf("the playground did not start: %w\n%s", err, text)
		case <-ctx.Done():
			return fmt.Errorf("waiting for the playground: %w; see %s", ctx.Err(), filepath.Join(dir, logName))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stop ends the supervisor and waits until it is gone. Nothing running is fine.
func stop(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		fmt.Println("Nothing is running.")
		return nil
	}
	held, err := lock(dir)
	if err == nil {
		held.Close()
		fmt.Println("Nothing is running.")
		return forget(dir)
	}
	if !errors.Is(err, errHeld) {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return fmt.Errorf("something runs but has left no process id: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s does not hold a process id: %q", filepath.Join(dir, pidFile), raw)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if held, err := lock(dir); err == nil {
			held.Close()
			fmt.Println("Stopped.")
			return forget(dir)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end: %w", pid, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// serve is the supervisor: the playground with the lab prepared up to its policy, until SIGTERM.
func serve(ctx context.Context, dir string) error {
	held, err := lock(dir)
	if err != nil {
		return err
	}
	defer held.Close()
	if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return err
	}
	runDir := filepath.Join(dir, "playground")
	if err := freshDir(runDir); err != nil {
		return err
	}
	p, err := newPlayground(ctx, runDir)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.prepare(ctx, filepath.Join(dir, envFile)); err != nil {
		return err
	}
	ready := filepath.Join(dir, readyFile)
	if err := os.WriteFile(ready+".new", []byte(p.instructions(dir)), 0o644); err != nil {
		return err
	}
	if err := os.Rename(ready+".new", ready); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// forget removes what a playground that is gone has left; the supervisor's log stays.
func forget(dir string) error {
	for _, name := range []string{readyFile, pidFile, envFile, "playground"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// prepare plays the lab's part before its tests: keys, images, signature, policy.
func (p *playground) prepare(ctx context.Context, shellSetup string) error {
	if err := p.writeEnv(shellSetup); err != nil {
		return err
	}
	l := &lab{ctx: ctx, t: newTranscript(os.Stdout), p: p}
	for _, step := range []func() error{l.keys, l.push, l.sign, l.policy} {
		if err := step(); err != nil {
			return err
		}
	}
	if l.t.failed > 0 {
		return fmt.Errorf("preparing the lab: %d checks FAILED", l.t.failed)
	}
	return nil
}

func (p *playground) instructions(dir string) string {
	return fmt.Sprintf(`
The playground is up: a real API server (no nodes: Pods are admitted and stay Pending), Signet, a registry, a log.

  export KUBECONFIG=%s
  registry           %s (stands in for ghcr.io and docker.io; push there)
  signing keys       %s, cosign.pub (password: signet)
  policies           %s
  logs               %s

Try, with kubectl and cosign set up by:  . %s
(in a shell of its own: it sets HOME and HTTPS_PROXY as well)

  kubectl run goodpod --image=%s
  kubectl run notgoodpod --image=nginx
  kubectl get policyreports

make stop ends it.
`, p.cluster.Kubeconfig(), p.registry.Addr, filepath.Join(p.Lab, "cosign.key"), filepath.Join(p.Lab, "verify-signed-images.yaml"),
		filepath.Join(dir, "playground", "*.log"), filepath.Join(dir, envFile), reference)
}
