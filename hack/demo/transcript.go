package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/signet-policy/signet/test/env"
)

// transcript prints commands with their output as a terminal shows them, and checks between them.
type transcript struct {
	out    io.Writer
	colors bool
	// checks were made, failed of them did not hold.
	checks, failed int
}

func newTranscript(out *os.File) *transcript {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &transcript{out: out, colors: terminal && os.Getenv("NO_COLOR") == ""}
}

func (t *transcript) paint(code, s string) string {
	if !t.colors {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// say prints a line of explanation.
func (t *transcript) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// title begins a section, named as in the lab.
func (t *transcript) title(s string) { fmt.Fprintf(t.out, "\n%s\n\n", t.paint("1", "== "+s)) }

// note prints a remark between commands.
func (t *transcript) note(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Fprintln(t.out, t.paint("2", "# "+strings.TrimSuffix(line, "\n")))
	}
}

// command prints `$ line`, has a shell run exactly that line in the lab's directory, and prints what it printed.
func (t *transcript) command(ctx context.Context, p *playground, line string) (outcome, error) {
	fmt.Fprintln(t.out, t.paint("1", "$ "+line))
	res, err := shell(ctx, p, line)
	if err != nil {
		return res, err
	}
	if res.Output == "" {
		fmt.Fprintln(t.out, t.paint("2", "(no output)"))
	} else {
		fmt.Fprint(t.out, res.Output)
		if !strings.HasSuffix(res.Output, "\n") {
			fmt.Fprintln(t.out)
		}
	}
	return res, nil
}

// eventually runs line in silence until accept likes its result or the time is over, and then prints it as command does.
func (t *transcript) eventually(ctx context.Context, p *playground, line string, accept func(outcome) bool) (outcome, error) {
	deadline := time.Now().Add(reportPatience)
	for time.Now().Before(deadline) {
		res, err := shell(ctx, p, line)
		if err != nil {
			return res, err
		}
		if accept(res) {
			break
		}
		select {
		case <-ctx.Done():
			return res, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return t.command(ctx, p, line)
}

// reportPatience is how long a report, or a controller's Pod, may take to appear.
const reportPatience = 3 * time.Minute

// outcome is what a command printed, as a terminal shows it, and its exit code.
type outcome struct {
	Output string
	Code   int
}

// shell runs one line with the playground's environment. Both of its streams go to one pipe, so that their order is the
// order in which the command wrote them.
func shell(ctx context.Context, p *playground, line string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	res, err := env.RunCommand(ctx, p.Lab, p.Env(), "/bin/sh", "-c", "exec 2>&1; "+line)
	return outcome{Output: res.Stdout, Code: res.Code}, err
}

// check records one outcome; want and got are shown when it does not hold.
func (t *transcript) check(what string, holds bool, want, got string) {
	t.checks++
	if holds {
		fmt.Fprintf(t.out, "%s %s\n", t.paint("32", "ok    "), what)
		return
	}
	t.failed++
	fmt.Fprintf(t.out, "%s %s\n%s%s", t.paint("31", "FAILED"), what, indent("want", want), indent("got ", got))
}

// equal checks that got is exactly want.
func (t *transcript) equal(what, want, got string) { t.check(what, got == want, want, got) }

// containsAll checks that got has every part.
func (t *transcript) containsAll(what, got string, parts ...string) {
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.check(what, false, "… "+part+" …", got)
			return
		}
	}
	t.check(what, true, "", "")
}

func indent(label, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		fmt.Fprintf(&b, "       %s: %q\n", label, line)
		label = "    "
	}
	if text == "" {
		fmt.Fprintf(&b, "       %s: (nothing)\n", label)
	}
	return b.String()
}
