package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/signet-policy/signet/pkg/wildcard"
)

const testCommand = "test"

// testFlags are those of signet test, under the names that pipelines know (VI 10.2(4)).
type testFlags struct {
	flags
	paths                     []string
	fileName, selector        string
	format, branch            string
	registry, detailed        bool
	failOnly, plain, required bool

	selected selection
}

// The forms of the output besides the table.
var testFormats = []string{"json", "yaml", "markdown", "junit"}

func testFlagSet(f *testFlags) *pflag.FlagSet {
	fs := pflag.NewFlagSet("signet test", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	fs.StringVarP(&f.fileName, "file-name", "f", "kyverno-test.yaml", "`name` of the files with tests")
	fs.StringVarP(&f.selector, "test-case-selector", "t", "policy=*,rule=*,resource=*", "run only the `cases` whose names match these patterns")
	fs.StringVarP(&f.format, "output-format", "o", "", "print the results as `format`: json, yaml, markdown or junit; the rest goes to standard error")
	fs.StringVarP(&f.branch, "git-branch", "b", "", "`branch` of tests that are named by the URL of a git repository")
	fs.BoolVar(&f.failOnly, "fail-only", false, "print only what failed")
	fs.BoolVar(&f.detailed, "detailed-results", false, "print messages too")
	fs.BoolVar(&f.required, "require-tests", false, "fail when there are no tests")
	fs.BoolVar(&f.registry, "registry", false, "read images of context entries from their registry, whatever the values say of them")
	fs.BoolVar(&f.plain, "remove-color", false, "print without colors, also on a terminal")
	fs.StringVar(&f.trustedRoot, "trusted-root", "", "trusted_root.json `file`, in place of the public Sigstore instance's")
	f.addFlags(fs)
	fs.BoolVar(&f.offline, "offline", false, "search no transparency log for the entry of a signature that carries none")
	fs.DurationVar(&f.timeout, "timeout", 30*time.Second, "`time` for each policy and resource")
	return fs
}

func testUsage() string {
	return "Judges resources by policies as signet apply does, and compares the results with those that files named kyverno-test.yaml\n" +
		"expect. Exit code 1 when a result is another one, or when a file cannot be read.\n\n" +
		"Usage:\n  signet test DIR... [flags]\n\nDIR is a directory with such files in it or below, one of the files, or the URL of a git repository.\n\nFlags:\n" +
		testFlagSet(&testFlags{}).FlagUsagesWrapped(120)
}

func parseTest(args []string) (*testFlags, error) {
	f := &testFlags{}
	f.command = testCommand
	fs := testFlagSet(f)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	f.paths = fs.Args()
	switch {
	case len(f.paths) == 0:
		return nil, errors.New("expected a directory with tests")
	case f.format != "" && !slices.Contains(testFormats, f.format):
		return nil, fmt.Errorf("--output-format %.40q: json, yaml, markdown or junit is expected", f.format)
	case f.fileName == "" || f.fileName != filepath.Base(f.fileName):
		return nil, fmt.Errorf("--file-name %.80q: the name of a file is expected", f.fileName)
	case f.timeout <= 0:
		return nil, fmt.Errorf("--timeout %s: a positive duration is expected", f.timeout)
	}
	var err error
	f.selected, err = parseSelection(f.selector)
	return f, err
}

// selection tells which cases run; a pattern that is not set stands for all.
type selection map[string]wildcard.Pattern

func parseSelection(s string) (selection, error) {
	out := selection{}
	for part := range strings.SplitSeq(s, ",") {
		name, pattern, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if _, twice := out[name]; !ok || twice || !slices.Contains([]string{"policy", "rule", "resource"}, name) {
			return nil, fmt.Errorf("--test-case-selector %.80q: policy=…,rule=…,resource=… is expected", s)
		}
		p, err := wildcard.Compile(strings.TrimSpace(pattern))
		if err != nil {
			return nil, fmt.Errorf("--test-case-selector: %w", err)
		}
		out[name] = p
	}
	return out, nil
}

// has tells whether one of the names is selected.
func (s selection) has(what string, names ...string) bool {
	p, ok := s[what]
	return !ok || slices.ContainsFunc(names, p.Matches)
}

// Test runs "signet test" with the arguments after that word and returns the exit code: 0, or 1 when a result is not the one
// that its test expects, or something cannot be read.
func Test(ctx context.Context, args []string, o Options) int {
	f, err := parseTest(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprint(o.Stdout, testUsage())
		return 0
	case err != nil:
		fmt.Fprintf(o.Stderr, "signet test: %s (see signet test --help)\n", cleanLines(err.Error()))
		return 1
	}
	t := &tested{flags: f, options: o, progress: o.Stdout, colors: !f.plain && isTerminal(o.Stdout)}
	if f.format != "" {
		t.progress = o.Stderr
	}
	if err := t.run(ctx); err != nil {
		fmt.Fprintf(o.Stderr, "signet test: %s\n", cleanLines(err.Error()))
		return 1
	}
	return t.exit()
}

// isTerminal tells whether somebody watches, who has not asked for plain text.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// tested is one call of signet test.
type tested struct {
	flags    *testFlags
	options  Options
	progress io.Writer
	colors   bool

	suites         []*suite
	passed, failed int
}

// suite is what one file of tests came to.
type suite struct {
	name string
	rows []testRow
	// err is why the file could not be run: a failure of its own.
	err error
}

func (t *tested) run(ctx context.Context) error {
	sources := &checkouts{branch: t.flags.branch}
	defer sources.remove()
	for _, path := range t.flags.paths {
		dir, root, err := sources.path(ctx, path)
		if err != nil {
			return err
		}
		files, err := testFiles(dir, t.flags.fileName)
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := ctx.Err(); err != nil {
				return err
			}
			t.suite(ctx, file, root)
		}
	}
	return t.print()
}

// testFiles are the files with tests in a directory and below, or the file that is named.
func testFiles(path, name string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	var files []string
	err = filepath.WalkDir(path, func(file string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case !d.IsDir() && d.Name() == name:
			files = append(files, file)
		}
		return nil
	})
	return files, err
}

// suite runs one file and counts.
func (t *tested) suite(ctx context.Context, file, root string) {
	s := &suite{name: file}
	if root != "" {
		if rel, err := filepath.Rel(root, file); err == nil {
			s.name = rel
		}
	}
	s.rows, s.err = t.file(ctx, s.name, file, root)
	if s.err != nil {
		t.failed++
		fmt.Fprintf(t.options.Stderr, "signet test: %s: %s\n", clean(s.name), cleanLines(strings.TrimPrefix(s.err.Error(), file+", ")))
	}
	for i := range s.rows {
		if s.rows[i].ok {
			t.passed++
		} else {
			t.failed++
		}
	}
	if s.err == nil && t.flags.format == "" {
		fmt.Fprint(t.progress, t.table(s))
	}
	t.suites = append(t.suites, s)
}

// exit gives the exit code, and says why it is not 0.
func (t *tested) exit() int {
	switch {
	case t.failed > 0:
		fmt.Fprintf(t.options.Stderr, "%d tests failed\n", t.failed)
		return 1
	case t.passed == 0 && t.flags.required:
		fmt.Fprintln(t.options.Stderr, "no tests found")
		return 1
	case len(t.suites) == 0:
		fmt.Fprintln(t.options.Stderr, "No test yamls available")
	case t.passed == 0:
		fmt.Fprintln(t.options.Stderr, "warning: no test was run")
	}
	return 0
}
