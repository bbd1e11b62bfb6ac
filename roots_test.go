package main

import (
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/trust/trusttest"
)

// VI 6.13(1), (2): which root the flags and the environment choose, and which combinations stop the start.
func TestRoots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, pem := filepath.Join(dir, "trusted_root.json"), filepath.Join(dir, "empty.pem")
	for path, content := range map[string][]byte{file: trusttest.EmptyRoot(0), pem: nil} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fromFile, err := trust.FromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	initial := base64.StdEncoding.EncodeToString(trusttest.NewRepository(t).Initial)
	none := map[string]string{}
	for name, tc := range map[string]struct {
		args       []string
		env        map[string]string
		generation string
		runs       int
		wantErr    string
	}{
		"nothing":                       {generation: trust.Public().Generation()},
		"file":                          {args: []string{"--trustedRootFile=" + file}, generation: fromFile.Generation()},
		"file before TUF":               {args: []string{"--trustedRootFile=" + file, "--enableTuf", "--tufRootRaw=!"}, generation: fromFile.Generation()},
		"no file":                       {args: []string{"--trustedRootFile=" + file + "x"}, wantErr: "--trustedRootFile"},
		"unreachable ConfigMap":         {args: []string{"--trustedRootConfigMap=a/b"}, generation: "none", runs: 1},
		"ConfigMap before TUF":          {args: []string{"--trustedRootConfigMap=a/b", "--enableTuf"}, generation: "none", runs: 1},
		"file and ConfigMap":            {args: []string{"--trustedRootFile=" + file, "--trustedRootConfigMap=a/b"}, wantErr: "only one"},
		"ConfigMap without namespace":   {args: []string{"--trustedRootConfigMap=b"}, wantErr: "namespace/name"},
		"ConfigMap with two slashes":    {args: []string{"--trustedRootConfigMap=a/b/c"}, wantErr: "namespace/name"},
		"ConfigMap without name":        {args: []string{"--trustedRootConfigMap=a/"}, wantErr: "namespace/name"},
		"TUF":                           {args: []string{"--enableTuf"}, generation: "none", runs: 1},
		"TUF by root":                   {args: []string{"--enableTuf", "--tufMirror=https://a.b/c", "--tufRootRaw=" + initial}, generation: "none", runs: 1},
		"TUF by a URL":                  {args: []string{"--enableTuf", "--tufRoot=https://a.b/root.json"}, generation: "none", runs: 1},
		"TUF by an unsafe URL":          {args: []string{"--enableTuf", "--tufRoot=http://a.b/root.json"}, wantErr: "https"},
		"TUF by no file":                {args: []string{"--enableTuf", "--tufRoot=" + file + "x"}, wantErr: "--enableTuf"},
		"TUF by two roots":              {args: []string{"--enableTuf", "--tufRoot=" + file, "--tufRootRaw=" + initial}, wantErr: "only one"},
		"TUF by garbage":                {args: []string{"--enableTuf", "--tufRootRaw=!"}, wantErr: "--tufRootRaw"},
		"TUF by another document":       {args: []string{"--enableTuf", "--tufRoot=" + file}, wantErr: "unusable"},
		"TUF by no URL":                 {args: []string{"--enableTuf", "--tufMirror=a.b"}, wantErr: "mirror"},
		"TUF flags without TUF":         {args: []string{"--tufMirror=a.b", "--tufRootRaw=!"}, generation: trust.Public().Generation()},
		"environment unusable":          {env: map[string]string{"SIGSTORE_ROOT_FILE": pem}, wantErr: "SIGSTORE_ROOT_FILE"},
		"environment unusable with TUF": {args: []string{"--enableTuf"}, env: map[string]string{"SIGSTORE_REKOR_PUBLIC_KEY": pem}, wantErr: "SIGSTORE_REKOR_PUBLIC_KEY"},
		"environment and file":          {args: []string{"--trustedRootFile=" + file}, env: map[string]string{"SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": pem}, wantErr: "cannot be used with"},
		"environment of the cache":      {args: []string{"--enableTuf"}, env: map[string]string{"TUF_ROOT": dir, "SIGSTORE_NO_CACHE": "true"}, generation: "none", runs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.env == nil {
				tc.env = none
			}
			var roots trust.Root
			runs := 0
			f, err := parseServeFlags(tc.args, io.Discard)
			if err == nil {
				r, runnables, e := newRoots(t.Context(), &rest.Config{Host: "http://127.0.0.1:1"}, f, func(name string) string { return tc.env[name] }, logr.Discard())
				roots, runs, err = r, len(runnables), e
			}
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("the error is %v, want %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if g := roots.Generation(); g != tc.generation || runs != tc.runs {
				t.Errorf("generation %s, %d to run", g, runs)
			}
		})
	}
}
