// Package cli is the command line over the engine: signet verify and signet explain ask of one image what admission would
// ask, and signet apply and signet test of whole resources, with the same policies, engine, registry client and verifier,
// and without a cluster.
//
// Results go to standard output, as text or as JSON (a Report); warnings and usage errors go to standard error. What
// registries, certificates and signatures say is cleaned before it is printed.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// Exit codes.
const (
	// ExitVerified says that every rule that judges the image holds, or that explain looked everywhere.
	ExitVerified = 0
	// ExitRefused says that the image was judged and refused.
	ExitRefused = 1
	// ExitUnchecked says that no verdict was reached: bad flags, no rule for the image, or a result of status error.
	ExitUnchecked = 2
)

// Options are what commands get from the program.
type Options struct {
	Stdout, Stderr io.Writer
	// Version goes into the User-Agent header of requests to registries.
	Version string
	// SystemNamespace is where Secrets are that policies name without a namespace; kyverno if empty.
	SystemNamespace string
}

// Verify runs "signet verify" with the arguments after that word and returns the exit code.
func Verify(ctx context.Context, args []string, o Options) int {
	return command(ctx, verifyCommand, args, o)
}

// Explain runs "signet explain" with the arguments after that word and returns the exit code.
func Explain(ctx context.Context, args []string, o Options) int {
	return command(ctx, explainCommand, args, o)
}

func command(ctx context.Context, name string, args []string, o Options) int {
	f, err := parseFlags(name, args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprint(o.Stdout, usage(name))
		return ExitVerified
	case err != nil:
		return complain(o, name, fmt.Errorf("%w (see signet %s --help)", err, name))
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	report, warnings, err := run(ctx, f, o)
	for _, w := range warnings {
		fmt.Fprintln(o.Stderr, "warning:", clean(w))
	}
	if err != nil {
		return complain(o, name, err)
	}
	text := report.text()
	if f.output == outputJSON {
		if text, err = report.json(); err != nil {
			return complain(o, name, err)
		}
	}
	if _, err := io.WriteString(o.Stdout, text); err != nil {
		return complain(o, name, err)
	}
	return report.exit
}

func complain(o Options, name string, err error) int {
	fmt.Fprintf(o.Stderr, "signet %s: %s\n", name, cleanLines(err.Error()))
	return ExitUnchecked
}
