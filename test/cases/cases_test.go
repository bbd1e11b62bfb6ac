package cases_test

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/signet-policy/signet/test/vectors"
)

var update = flag.Bool("update", false, "write docs/security-cases.md")

const page = "docs/security-cases.md"

var (
	inFunction = regexp.MustCompile(`[TA][0-9]{2,3}`)
	inTitle    = regexp.MustCompile(`^(?:[TA]-[0-9]{2,3}\b[ ,]*(?:and )?)+`)
	inText     = regexp.MustCompile(`\b[TA]-[0-9]{2,3}\b`)
)

// TestCases fails for a case that no test carries in its name, and for a page that lacks a case or names a test that is
// gone. `go test ./test/cases -update` writes the page.
func TestCases(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	proved := map[string][]string{} // tests by case
	goTests(t, root, proved)
	vectorTests(t, proved)
	for _, c := range list {
		if len(proved[c.id]) == 0 {
			t.Errorf("%s (%s) has no test: carry it in the name of a test, of a subtest, or at the head of a vector's comment", c.id, c.name)
		}
	}
	file := filepath.Join(root, page)
	if *update {
		if err := os.WriteFile(file, []byte(render(proved)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, string(text), proved)
}

// compare lets the page name fewer tests than there are, so that a new test does not make it stale.
func compare(t *testing.T, text string, proved map[string][]string) {
	t.Helper()
	rows := map[string][]string{}
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			rows[strings.TrimSpace(cells[1])] = append([]string{strings.TrimSpace(cells[2])}, regexp.MustCompile("`[^`]+`").FindAllString(cells[3], -1)...)
		}
	}
	for _, c := range list {
		row := rows[c.id]
		if len(row) < 2 || row[0] != c.name {
			t.Errorf("%s is not in %s as it is in the list, with its tests", c.id, page)
			continue
		}
		for _, name := range row[1:] {
			if !slices.Contains(proved[c.id], strings.Trim(name, "`")) {
				t.Errorf("%s: %s is in %s, and no longer a test of it", c.id, name, page)
			}
		}
	}
}

func render(proved map[string][]string) string {
	var b strings.Builder
	b.WriteString(`# Security cases

Classes of attacks by their stable names, and the tests that play them. A test of the right-hand column
has the case in its own name, in the name of a subtest, or at the head of its comment (vectors). The list and this page
are held together by ` + "`go test ./test/cases`; with `-update`" + ` it writes the page. What each property rests on is told in
[threat-model.md](threat-model.md).

| Case | Attack | Tests |
|---|---|---|
`)
	for _, c := range list {
		fmt.Fprintf(&b, "| %s | %s | `%s` |\n", c.id, c.name, strings.Join(proved[c.id], "`, `"))
	}
	return b.String()
}

// goTests reads the names of tests and the names of their subtests, which are texts that begin with a case.
func goTests(t *testing.T, root string, proved map[string][]string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == filepath.Join(root, "bin") || path == filepath.Join(root, "_run") || d.Name() == ".git" || path == filepath.Join(root, "test", "cases")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				for id := range carried(f) {
					add(proved, id, filepath.ToSlash(dir)+" "+f.Name.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// carried are the cases in the name of a test and in those of its subtests.
func carried(f *ast.FuncDecl) map[string]bool {
	ids := map[string]bool{}
	for _, m := range inFunction.FindAllString(f.Name.Name, -1) {
		ids[m[:1]+"-"+m[1:]] = true
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				for _, id := range inText.FindAllString(inTitle.FindString(text), -1) {
					ids[id] = true
				}
			}
		}
		return true
	})
	return ids
}

// vectorTests reads the names of vectors, and the cases before the first colon of their comments.
func vectorTests(t *testing.T, proved map[string][]string) {
	t.Helper()
	all, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		ids := map[string]bool{}
		head, _, _ := strings.Cut(v.Comment, ":")
		for _, id := range inText.FindAllString(head, -1) {
			ids[id] = true
		}
		for id := range maps.Keys(ids) {
			add(proved, id, "testdata/vectors "+v.Name)
		}
	}
}

func add(proved map[string][]string, id, name string) {
	if !slices.Contains(proved[id], name) {
		proved[id] = append(proved[id], name)
		slices.SortFunc(proved[id], cmp.Compare)
	}
}
