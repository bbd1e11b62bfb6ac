package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/signet-policy/signet/test/env"
)

// transcript prints commands with their output, and checks between them.
type transcript struct {
	m              *machine
	checks, failed int
}

func (t *transcript) title(s string) { fmt.Printf("\n== %s\n\n", s) }

// run prints a command line, has a shell run it, and prints what it printed and how long it took.
func (t *transcript) run(ctx context.Context, format string, args ...any) env.Result {
	line := fmt.Sprintf(format, args...)
	fmt.Println("$ " + line)
	res, took := t.m.shell(ctx, line)
	fmt.Print(res.Stdout)
	if took >= time.Second {
		fmt.Printf("# %s\n", took.Round(100*time.Millisecond))
	}
	return res
}

// check records one outcome; got is shown when it does not hold.
func (t *transcript) check(what string, holds bool, got any) {
	t.checks++
	if holds {
		fmt.Printf("ok     %s\n", what)
		return
	}
	t.failed++
	fmt.Printf("FAILED %s\n       got: %v\n", what, got)
}

// succeeds runs a command that has to end with exit code 0.
func (t *transcript) succeeds(ctx context.Context, what, format string, args ...any) env.Result {
	res := t.run(ctx, format, args...)
	t.check(what, res.Code == 0, fmt.Sprintf("exit code %d", res.Code))
	return res
}

// shell runs one line in the lab's directory. Both of its streams go to one pipe, in the order of writing.
func (m *machine) shell(ctx context.Context, line string) (env.Result, time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	began := time.Now()
	tools := os.Getenv("KUBEBUILDER_ASSETS") + string(os.PathListSeparator) + filepath.Join(env.Root(), "bin", "tools")
	environment := append([]string{"PATH=" + tools + string(os.PathListSeparator) + os.Getenv("PATH"), "KUBECONFIG=" + m.cluster.Kubeconfig()}, m.cosign.Env...)
	res, err := env.RunCommand(ctx, m.lab, environment, "/bin/sh", "-c", "exec 2>&1; "+line)
	if err != nil {
		res.Code, res.Stdout = -1, res.Stdout+err.Error()+"\n"
	}
	return res, time.Since(began)
}

// eventually asks until accept likes the answer, for two minutes at most, and returns the last one.
func (m *machine) eventually(ctx context.Context, line string, accept func(string) bool) (answer string, took time.Duration, ok bool) {
	began := time.Now()
	for time.Since(began) < 2*time.Minute && ctx.Err() == nil {
		res, _ := m.shell(ctx, line)
		if answer = strings.TrimSpace(res.Stdout); accept(answer) {
			return answer, time.Since(began), true
		}
		time.Sleep(200 * time.Millisecond)
	}
	return answer, time.Since(began), false
}
