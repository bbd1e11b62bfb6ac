package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

const applyCommand = "apply"

// applyFlags are those of signet apply, under the names that pipelines know.
type applyFlags struct {
	flags
	moreFlags
	paths, exceptions            []string
	userInfo, results            string
	auditWarn, warnNoPass        bool
	continueOnFail, policyReport bool
	inlineExceptions             bool
	warnExitCode                 int
	registry                     bool
}

func applyFlagSet(f *applyFlags) *pflag.FlagSet {
	fs := pflag.NewFlagSet("signet apply", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	fs.StringSliceVarP(&f.resources, "resource", "r", nil, "`file` or directory with the resources to judge; may be repeated")
	fs.StringSliceVar(&f.resources, "resources", nil, "`file` or directory: the same as --resource")
	fs.StringSliceVarP(&f.exceptions, "exception", "e", nil, "`file` or directory with PolicyExceptions; may be repeated")
	fs.StringVarP(&f.userInfo, "userinfo", "u", "", "`file` with a UserInfo: who is taken to make the request")
	fs.StringVarP(&f.namespace, "namespace", "n", "", "`name` of the namespace of resources and Policies that name none (default \"default\"), and with --cluster of those that are judged (default: all)")
	fs.StringVarP(&f.results, "output", "o", "", "`file` for the resources as they would be stored, or directory, which is made if the name ends with a slash")
	fs.BoolVarP(&f.policyReport, "policy-report", "p", false, "print a report instead of the list of failures")
	fs.StringVar(&f.output, "output-format", "yaml", "`format` of the report: yaml or json")
	fs.BoolVar(&f.auditWarn, "audit-warn", false, "count the failures of policies in Audit mode as warnings")
	fs.IntVar(&f.warnExitCode, "warn-exit-code", 0, "exit `code` when there are warnings and nothing worse")
	fs.BoolVar(&f.warnNoPass, "warn-no-pass", false, "exit with the code of --warn-exit-code when nothing passed")
	fs.BoolVar(&f.continueOnFail, "continue-on-fail", false, "judge the rest when something cannot be read, which counts as an error")
	fs.BoolVar(&f.registry, "registry", false, "read images of context entries from their registry, whatever the values say of them")
	f.add(fs)
	fs.StringVar(&f.trustedRoot, "trusted-root", "", "trusted_root.json `file`, in place of the public Sigstore instance's")
	f.addFlags(fs)
	f.where.addFlags(fs, "c", "judge what the cluster has of the kinds that the policies match, with what policies name there; --resource then names objects")
	fs.BoolVar(&f.inlineExceptions, "exceptions-with-resources", false, "take PolicyExceptions among the resources as exceptions")
	fs.BoolVar(&f.offline, "offline", false, "search no transparency log for the entry of a signature that carries none")
	fs.DurationVar(&f.timeout, "timeout", 30*time.Second, "`time` for each policy and resource")
	return fs
}

func applyUsage() string {
	return "Judges resources by policies as admission would, without changing anything. Exit code 1 when something fails or is an error.\n\n" +
		"Usage:\n  signet apply POLICY... --resource FILE... [flags]\n  signet apply POLICY... --cluster [flags]\n\n" +
		"POLICY is a file, a directory, the URL of a git repository, or - for standard input.\n" +
		"Without --cluster, rules that need a config map, the API server or a Secret that is not among the resources are errors,\nunless values are given in their place; --policy-report says why.\n\nFlags:\n" +
		applyFlagSet(&applyFlags{}).FlagUsagesWrapped(120)
}

func parseApply(args []string) (*applyFlags, error) {
	f := &applyFlags{}
	f.command = applyCommand
	fs := applyFlagSet(f)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	f.paths = fs.Args()
	switch {
	case len(f.paths) == 0:
		return nil, errors.New("expected a file with policies")
	case len(f.resources) == 0 && !f.where.asked:
		return nil, errors.New("expected --resource with a file, or --cluster")
	case inputs(f.paths, f.resources, f.exceptions) > 1:
		return nil, errors.New("standard input (-) can be read once only: as policies, resources or exceptions")
	case f.output != "yaml" && f.output != outputJSON:
		return nil, fmt.Errorf("--output-format %.40q: yaml or json is expected", f.output)
	case f.warnExitCode < 0 || f.warnExitCode > 255:
		return nil, fmt.Errorf("--warn-exit-code %d: a number from 0 to 255 is expected", f.warnExitCode)
	case f.timeout <= 0:
		return nil, fmt.Errorf("--timeout %s: a positive duration is expected", f.timeout)
	}
	return f, errors.Join(f.where.check(), f.check(f))
}

// inputs is how often standard input is named.
func inputs(lists ...[]string) int {
	n := 0
	for _, path := range slices.Concat(lists...) {
		if path == "-" {
			n++
		}
	}
	return n
}

// Apply runs "signet apply" with the arguments after that word and returns the exit code: 0, 1 when something fails, is an
// error or cannot be read, or the one of --warn-exit-code.
func Apply(ctx context.Context, args []string, o Options) int {
	f, err := parseApply(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprint(o.Stdout, applyUsage())
		return 0
	case err != nil:
		fmt.Fprintf(o.Stderr, "signet apply: %s (see signet apply --help)\n", cleanLines(err.Error()))
		return 1
	}
	sources := &checkouts{branch: f.branch}
	defer sources.remove()
	if f.paths, err = sources.local(ctx, f.paths); err != nil {
		fmt.Fprintf(o.Stderr, "signet apply: %s\n", cleanLines(err.Error()))
		return 1
	}
	a := &applied{flags: f}
	if err := a.run(ctx, os.Stdin, o); err != nil {
		fmt.Fprintf(o.Stderr, "signet apply: %s\n", cleanLines(err.Error()))
		return 1
	}
	text, err := a.text()
	if err == nil {
		_, err = io.WriteString(a.told(o), text)
	}
	if err == nil {
		err = a.pipe(o.Stdout)
	}
	if err == nil {
		err = a.store()
	}
	if err != nil {
		fmt.Fprintf(o.Stderr, "signet apply: %s\n", cleanLines(err.Error()))
		return 1
	}
	return a.exit(o.Stderr)
}

// exit says in words and as a code how it went. A policy that was refused is an error.
func (a *applied) exit(stderr io.Writer) int {
	n := a.count()
	switch {
	case n.fail > 0:
		fmt.Fprintln(stderr, "exit as there are policy violations")
		return 1
	case n.err > 0:
		fmt.Fprintln(stderr, "exit as there are policy errors")
		return 1
	case n.warn > 0 && a.flags.warnExitCode != 0:
		fmt.Fprintln(stderr, "exit as there are policy warnings")
		return a.flags.warnExitCode
	case n.pass == 0 && a.flags.warnNoPass:
		fmt.Fprintln(stderr, "exit as no objects satisfied policy")
		return a.flags.warnExitCode
	}
	return 0
}
