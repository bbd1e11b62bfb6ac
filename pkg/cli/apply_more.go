package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// moreFlags are those of signet apply about values, the form of the output, and sources of policies.
type moreFlags struct {
	set                            []string
	valuesFile, branch             string
	table, detailed, plain, toPipe bool
}

func (m *moreFlags) add(fs *pflag.FlagSet) {
	fs.StringSliceVarP(&m.set, "set", "s", nil, "`name=value` in place of a field of the request or of a context entry; may be repeated")
	fs.StringVarP(&m.valuesFile, "values-file", "f", "", "`file` of kind Values, with what --set sets and more")
	fs.StringVarP(&m.branch, "git-branch", "b", "", "`branch` of policies that are named by the URL of a git repository")
	fs.BoolVarP(&m.table, "table", "t", false, "print every result as a table")
	fs.BoolVar(&m.detailed, "detailed-results", false, "with --table, print messages too; without, print errors as well as failures")
	fs.BoolVar(&m.plain, "remove-color", false, "accepted; the output has no colors")
	fs.BoolVarP(&m.toPipe, "stdin", "i", false, "print only the resources as they would be stored, for kubectl to read, and those only if nothing fails; the rest goes to standard error")
}

func (m *moreFlags) check(f *applyFlags) error {
	switch {
	case len(m.set) > 0 && m.valuesFile != "":
		return errors.New("values come from --set or from --values-file, not from both")
	case m.table && f.policyReport:
		return errors.New("--table and --policy-report are two forms of the output: give one of them")
	}
	return nil
}

// readValues reads what the flags say in place of a request and of a cluster.
func (a *applied) readValues(io.Reader, io.Writer) error {
	var err error
	switch {
	case a.flags.valuesFile != "":
		if a.values, err = readValues(a.flags.valuesFile); err != nil {
			return fmt.Errorf("--values-file: %w", err)
		}
	case len(a.flags.set) > 0:
		a.values, err = readSet(a.flags.set)
	}
	return err
}

// results prints every result as a table.
func (a *applied) results(b *strings.Builder) {
	t := &table{columns: []string{"ID", "POLICY", "RULE", "RESOURCE", "RESULT", "REASON"}}
	if a.flags.detailed {
		t.columns = append(t.columns, "MESSAGE")
	}
	for i := range a.outcome {
		r := &a.outcome[i]
		word := a.word(r)
		row := []string{fmt.Sprint(i + 1), r.policy.String(), r.result.Rule.Name, r.resource.shown(), strings.ToUpper(word[:1]) + word[1:], string(r.result.Reason)}
		if a.flags.detailed {
			row = append(row, oneLine(r.result.Message))
		}
		t.rows = append(t.rows, row)
	}
	b.WriteString(t.text(nil))
}

// told is where the text goes: to standard error when the resources go to standard output.
func (a *applied) told(o Options) io.Writer {
	if a.flags.toPipe {
		return o.Stderr
	}
	return o.Stdout
}

// pipe prints the resources as they would be stored, if all of them would be.
func (a *applied) pipe(w io.Writer) error {
	if n := a.count(); !a.flags.toPipe || n.fail+n.err > 0 {
		return nil
	}
	text, err := a.stored()
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	return err
}
