package cli

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// shownRow is a row as it is printed.
type shownRow struct {
	ID       int    `json:"ID"`
	Policy   string `json:"POLICY"`
	Rule     string `json:"RULE"`
	Resource string `json:"RESOURCE"`
	Result   string `json:"RESULT"`
	Reason   string `json:"REASON"`
	Message  string `json:"MESSAGE,omitempty"`
}

var testColumns = []string{"ID", "POLICY", "RULE", "RESOURCE", "RESULT", "REASON"}

// shown are the rows of a file that are printed, numbered from a number on.
func (t *tested) shown(s *suite, from int) []shownRow {
	var out []shownRow
	for i := range s.rows {
		r := &s.rows[i]
		if r.ok && t.flags.failOnly {
			continue
		}
		row := shownRow{from + len(out), clean(r.policy), clean(r.rule), clean(r.resource), "Fail", clean(r.reason), ""}
		if r.ok {
			row.Result = "Pass"
		}
		if t.flags.detailed {
			row.Message = oneLine(r.message)
		}
		out = append(out, row)
	}
	return out
}

func (t *tested) columns() []string {
	if t.flags.detailed {
		return append(testColumns[:len(testColumns):len(testColumns)], "MESSAGE")
	}
	return testColumns
}

func (t *tested) cells(r *shownRow) []string {
	cells := []string{strconv.Itoa(r.ID), r.Policy, r.Rule, r.Resource, r.Result, r.Reason}
	if t.flags.detailed {
		cells = append(cells, r.Message)
	}
	return cells
}

// table draws the rows of a file.
func (t *tested) table(s *suite) string {
	rows := t.shown(s, 1)
	if len(rows) == 0 {
		return "\n"
	}
	out := &table{columns: t.columns()}
	for i := range rows {
		out.rows = append(out.rows, t.cells(&rows[i]))
	}
	var paint func(string, string) string
	if t.colors {
		paint = func(column, text string) string {
			switch {
			case column == "RESULT" && text == "Pass":
				return "\x1b[32m" + text + "\x1b[0m"
			case column == "RESULT":
				return "\x1b[31m" + text + "\x1b[0m"
			}
			return text
		}
	}
	return "\n" + out.text(paint) + "\n"
}

// print writes the results in another form than a table, as one document, and the summary.
func (t *tested) print() error {
	var rows []shownRow
	of := make([][]shownRow, len(t.suites))
	for i, s := range t.suites {
		of[i] = t.shown(s, len(rows)+1)
		rows = append(rows, of[i]...)
		if s.err != nil {
			// What reads the document must not take a file that was not run for one without failures.
			row := shownRow{ID: len(rows) + 1, Resource: clean(s.name), Result: "Fail", Reason: oneLine(s.err.Error())}
			of[i] = append(of[i], row)
			rows = append(rows, row)
		}
	}
	if rows == nil {
		rows = []shownRow{}
	}
	var text []byte
	var err error
	switch t.flags.format {
	case "json":
		if text, err = json.MarshalIndent(rows, "", "  "); err == nil {
			text = append(text, '\n')
		}
	case "yaml":
		text, err = yaml.Marshal(rows)
	case "markdown":
		text = []byte(t.markdown(rows))
	case "junit":
		text, err = t.junit(of)
	}
	if err == nil && len(text) > 0 {
		_, err = t.options.Stdout.Write(text)
	}
	if err == nil {
		_, err = io.WriteString(t.progress, fmt.Sprintf("\nTest Summary: %d tests passed and %d tests failed\n", t.passed, t.failed))
	}
	return err
}

func (t *tested) markdown(rows []shownRow) string {
	var b strings.Builder
	line := func(cells []string) {
		for i := range cells {
			cells[i] = strings.NewReplacer("|", `\|`, "<", "&lt;", "`", "\\`", "[", `\[`).Replace(cells[i])
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	columns := t.columns()
	line(append([]string{}, columns...))
	b.WriteString(strings.Repeat("| --- ", len(columns)) + "|\n")
	for i := range rows {
		line(t.cells(&rows[i]))
	}
	return b.String()
}

// The document that build servers read.
type (
	junitDocument struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitFailure `xml:"failure"`
		Output  string        `xml:"system-out,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func (t *tested) junit(of [][]shownRow) ([]byte, error) {
	var d junitDocument
	for i, rows := range of {
		s := junitSuite{Name: clean(t.suites[i].name)}
		for k := range rows {
			r := &rows[k]
			c := junitCase{Class: strings.TrimSuffix(r.Policy+"/"+r.Rule, "/"), Name: r.Resource, Output: r.Message}
			if r.Result != "Pass" {
				s.Failures++
				c.Failure, c.Output = &junitFailure{Message: r.Reason, Text: r.Message}, ""
			}
			s.Cases = append(s.Cases, c)
		}
		s.Tests = len(rows)
		d.Tests += s.Tests
		d.Failures += s.Failures
		d.Suites = append(d.Suites, s)
	}
	text, err := xml.MarshalIndent(&d, "", "  ")
	return []byte(xml.Header + string(text) + "\n"), err
}
