// Signet lets only images run that the right people have signed. This program is its admission engine.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"

	ctrl "sigs.k8s.io/controller-runtime"
)

// version is set by the linker; "devel" is a build from a work tree.
var version = "devel"

const usage = `Signet lets only images run that the right people have signed.

Usage:
  signet serve [flags]   run the admission webhooks (signet serve --help lists the flags)
  signet version         print the version
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch args[0] {
	case "serve":
		return serveCommand(ctrl.SetupSignalHandler(), args[1:], stderr)
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
