package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end after SIGTERM before its group is killed, unless it says otherwise.
const stopGrace = 5 * time.Second

// Process is a running program in a process group of its own, its output in a file.
type Process struct {
	// Name is what messages call it, and its log file's name.
	Name string
	// LogFile holds its standard output and standard error.
	LogFile string

	cmd   *exec.Cmd
	done  chan struct{}
	err   error // how it ended; read after done
	grace time.Duration
	once  sync.Once
}

// StartProcess starts name with its output in dir/name.log. extraEnv is added to this program's environment.
// The process is killed when this program dies, however that happens.
func StartProcess(dir, name, path string, args, extraEnv []string) (*Process, error) {
	p := &Process{Name: name, LogFile: filepath.Join(dir, name+".log"), done: make(chan struct{}), grace: stopGrace}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), extraEnv...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = childAttributes()
	started := make(chan error, 1)
	go func() {
		// The kernel sends the parent-death signal when the thread that forked ends, not when the program does. So one
		// goroutine keeps its thread from start to end of the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// PID is the process id, which is also the id of its process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop ends the process and everything it started: SIGTERM first, SIGKILL to the whole group when its grace is over.
// It returns when the process is gone. Stopping twice does nothing.
func (p *Process) Stop() {
	p.once.Do(func() {
		select {
		case <-p.done:
			return // it ended by itself; its id may be another's by now
		default:
		}
		group := -p.PID()
		_ = syscall.Kill(group, syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(p.grace):
		}
		_ = syscall.Kill(group, syscall.SIGKILL) // also what the process left behind
		<-p.done
	})
}

// Tail returns the last lines of the process's output, for a failure message.
func (p *Process) Tail(lines int) string {
	return fmt.Sprintf("--- last lines of %s\n%s", p.LogFile, tailFile(p.LogFile, lines))
}

// tailBytes bounds how much of a log a failure message reads.
const tailBytes = 64 << 10

func tailFile(path string, lines int) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		_, _ = f.Seek(-tailBytes, io.SeekEnd)
	}
	raw, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// WaitReady calls probe until it returns nil. It gives up, with the end of the process's log in the error, when the
// process ends or ctx does.
func (p *Process) WaitReady(ctx context.Context, probe func(context.Context) error) error {
	err := poll(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		select {
		case <-p.done:
			return stopPolling{fmt.Errorf("%s ended: %w", p.Name, errors.Join(errEnded, p.err))}
		default:
			return probe(ctx)
		}
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w\n%s", p.Name, err, p.Tail(20))
	}
	return nil
}

var errEnded = errors.New("process ended")

// stopPolling wraps an error that waiting longer cannot mend.
type stopPolling struct{ error }

func (s stopPolling) Unwrap() error { return s.error }

// poll calls f at the interval until it returns nil; when ctx ends, the last error of f says what was missing.
func poll(ctx context.Context, interval time.Duration, f func(context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		var stop stopPolling
		if errors.As(err, &stop) {
			return stop.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last: %w)", ctx.Err(), err)
		case <-ticker.C:
		}
	}
}
