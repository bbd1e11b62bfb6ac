package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/test/env"
)

func TestColumn(t *testing.T) {
	t.Parallel()
	const table = `NAME         KIND   NAME      PASS   FAIL   WARN
6f0c-1        Pod    goodpod   1      0      0
6f0c-2        Pod    badpod    0      12
`
	for name, tt := range map[string]struct{ table, word, header, want string }{
		"a cell":                    {table, "goodpod", "PASS", "1"},
		"a cell further right":      {table, "badpod", "FAIL", "12"},
		"an empty cell":             {table, "badpod", "WARN", ""},
		"no such row":               {table, "otherpod", "PASS", ""},
		"no such column":            {table, "goodpod", "SKIP", ""},
		"a header inside another":   {"UNREADY   READY\na         True\n", "a", "READY", "True"},
		"nothing":                   {"", "goodpod", "PASS", ""},
		"an answer without a table": {"No resources found in default namespace.\n", "resources", "PASS", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := column(tt.table, tt.word, tt.header); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	if got, want := shown("a \n\n b\t\nc\n\n"), "a\n\n b\nc\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The policy of the demo is the lab's but for its key.
func TestWritePolicy(t *testing.T) {
	t.Parallel()
	const key = "-----BEGIN PUBLIC KEY-----\nAAAA\nBBBB\n-----END PUBLIC KEY-----\n"
	p := &playground{Lab: t.TempDir()}
	if err := os.WriteFile(filepath.Join(p.Lab, "cosign.pub"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.writePolicy("p.yaml", nil); err != nil {
		t.Fatal(err)
	}
	got := lines(t, filepath.Join(p.Lab, "p.yaml"))
	want := lines(t, filepath.Join(env.Root(), "config", "samples", "verify-signed-images.yaml"))
	for i, line := range want {
		if strings.Contains(line, "-----BEGIN") {
			margin := strings.Repeat(" ", strings.Index(line, "-"))
			want[i+1], want[i+2] = margin+"AAAA", margin+"BBBB"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}

// A run directory belongs to one supervisor, and is free again when that is gone.
func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); !errors.Is(err, errHeld) {
		t.Fatalf("want errHeld, got %v", err)
	}
	held.Close()
	again, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(raw), "\n")
}
