package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Result is what a finished command printed and its exit code.
type Result struct {
	Stdout, Stderr string
	// Code is the exit code; 0 is success.
	Code int
}

// OK returns an error with the command's standard error unless it succeeded.
func (r Result) OK() error {
	if r.Code == 0 {
		return nil
	}
	return fmt.Errorf("%w %d: %s%s", errExit, r.Code, r.Stdout, r.Stderr)
}

var errExit = errors.New("exit code")

// RunCommand runs a program to its end in dir, with extraEnv added to this program's environment and nothing to read.
// A program that fails is a Result with its code; the error is for one that could not run.
func RunCommand(ctx context.Context, dir string, extraEnv []string, path string, args ...string) (Result, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), extraEnv...)
	// What the command starts ends with it, also when ctx ends first.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return r, fmt.Errorf("running %s %v: %w", path, args, errors.Join(ctx.Err(), err))
	}
	return r, nil
}

// Kubectl runs kubectl as the admin. A kubectl that fails is a Result with its code, not an error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (Result, error) {
	path, err := Tool("kubectl")
	if err != nil {
		return Result{}, err
	}
	return RunCommand(ctx, c.Dir, []string{"KUBECONFIG=" + c.Kubeconfig(), "HOME=" + c.Dir}, path, args...)
}
