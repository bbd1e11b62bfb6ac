// Signet lets only images run that the right people have signed. This program is its admission engine.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/signet-policy/signet/pkg/cli"
)

// version is set by the linker; "devel" is a build from a work tree.
var version = "devel"

const usage = `Signet lets only images run that the right people have signed.

Usage:
  signet serve [flags]              run the admission webhooks
  signet verify IMAGE [flags]       judge an image as admission would, without a cluster
  signet explain IMAGE [flags]      show where signatures were looked for, what was found, and why it was accepted or not
  signet apply POLICY... -r FILE    judge resources, or those of a cluster (-c), by policies as admission would
  signet test DIR... [flags]        compare such judgements with those that files named kyverno-test.yaml expect
  signet version                    print the version

Each command lists its flags with --help.
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch args[0] {
	case "serve":
		return serveCommand(ctrl.SetupSignalHandler(), args[1:], stdout, stderr)
	case "verify":
		return local(cli.Verify, args[1:], stdout, stderr)
	case "explain":
		return local(cli.Explain, args[1:], stdout, stderr)
	case "apply":
		return local(cli.Apply, args[1:], stdout, stderr)
	case "test":
		return local(cli.Test, args[1:], stdout, stderr)
	case "version", "--version":
		fmt.Fprintf(stdout, "signet %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return 0
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	default:
		fmt.Fprintf(stderr, "signet: unknown command %.64q\n\n%s", args[0], usage)
		return 2
	}
}

// local runs a command of the user's own until it is done or the user has enough of it.
func local(command func(context.Context, []string, cli.Options) int, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(logr.Discard()) // what there is to say is said by the command
	return command(ctx, args, cli.Options{Stdout: stdout, Stderr: stderr, Version: version, SystemNamespace: systemNamespace()})
}
