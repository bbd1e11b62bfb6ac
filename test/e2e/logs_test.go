package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// How much of the logs a failed test shows.
const (
	shownLines = 60
	shownBytes = 600 // of one line
)

// logFiles are the logs of every Signet that ran so far; those that were started with the same directory share one.
func (w *world) logFiles() []string {
	files, err := filepath.Glob(filepath.Join(w.dir, "*", "signet.log"))
	if err != nil {
		return nil // the pattern is sound
	}
	return files
}

// explain has a test that fails show what Signet logged of the namespace, and every error and warning, since now. The logs of the
// end would show what other tests did.
func (w *world) explain(t testing.TB, namespace string) {
	from := map[string]int64{}
	for _, file := range w.logFiles() {
		if info, err := os.Stat(file); err == nil {
			from[file] = info.Size()
		}
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, file := range w.logFiles() {
			lines, err := telling(file, from[file], namespace)
			if err != nil {
				t.Log(err)
			}
			if len(lines) > 0 {
				t.Logf("from %s, about %s and what went wrong:\n%s", file, namespace, strings.Join(lines, "\n"))
			}
		}
	})
}

// telling are the last lines of a log, from an offset on, that name the namespace or tell of trouble.
func telling(file string, from int64, namespace string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\n")
		// klog's lines begin with their level. What the program does not write by klog is trouble as well.
		trouble := !strings.HasPrefix(line, "I") || strings.Contains(line, " cause=") || strings.Contains(line, " err=")
		if !trouble && !strings.Contains(line, namespace) {
			continue
		}
		if len(line) > shownBytes {
			line = line[:shownBytes] + "…"
		}
		out = append(out, line)
	}
	return out[max(0, len(out)-shownLines):], nil
}

// keepLogs copies the logs of a failed run to where they outlive it, and says where.
func (w *world) keepLogs() {
	kept, err := os.MkdirTemp("", "signet-e2e-failed-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the logs are not kept:", err)
		return
	}
	logs, _ := filepath.Glob(filepath.Join(w.dir, "*", "*.log"))
	more, _ := filepath.Glob(filepath.Join(w.dir, "*.log"))
	for _, file := range slices.Concat(logs, more) {
		name, err := filepath.Rel(w.dir, file)
		if err == nil {
			var raw []byte
			if raw, err = os.ReadFile(file); err == nil {
				err = os.WriteFile(filepath.Join(kept, strings.ReplaceAll(name, string(filepath.Separator), "-")), raw, 0o600)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e: keeping a log:", err)
		}
	}
	fmt.Fprintln(os.Stderr, "e2e: the logs of this run are in", kept)
}

// What a failed test shows is chosen from its own time: its namespace, and trouble.
func TestTelling(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "signet.log")
	before := "E1 an error of before\n"
	text := before + "I1 \"denied\" namespace=\"mine-x\"\nI1 \"denied\" namespace=\"other\"\nI1 \"cannot renew\" cause=\"a\"\nW1 \"slow\"\nhttp: TLS handshake error\nI1 " + strings.Repeat("mine-x", 200) + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := telling(file, int64(len(before)), "mine-x")
	if err != nil || len(got) != 5 || !strings.Contains(got[0], "mine-x") || !strings.HasPrefix(got[3], "http:") || len(got[4]) > shownBytes+len("…") {
		t.Errorf("%q, %v", got, err)
	}
}
