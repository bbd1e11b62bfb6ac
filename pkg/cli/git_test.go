package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParseGit reads URLs, and refuses what could become an option of git, a secret, or another place.
func TestParseGit(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		branch string
		source *gitSource
		err    string
	}{
		"policies/":                                       {},
		"-":                                               {},
		"git@github.com:a/b":                              {},
		"https://github.com/a/b":                          {source: &gitSource{"https://github.com/a/b", "main", ""}},
		"https://github.com/a/b/":                         {branch: "x", source: &gitSource{"https://github.com/a/b", "x", ""}},
		"https://github.com/a/b/release/1.6":              {source: &gitSource{"https://github.com/a/b", "release/1.6", ""}},
		"https://github.com/a/b/pod/restricted":           {branch: "main", source: &gitSource{"https://github.com/a/b", "main", "pod/restricted"}},
		"https://gitlab.com/a/b/c.git/d/e":                {branch: "main", source: &gitSource{"https://gitlab.com/a/b/c.git", "main", "d/e"}},
		"ssh://git@github.com/a/b.git":                    {source: &gitSource{"ssh://git@github.com/a/b.git", "main", ""}},
		"https://github.com/a":                            {err: "no repository"},
		"http://github.com/a/b":                           {err: "https, ssh or file is expected"},
		"ext::sh -c true":                                 {},
		"ext://sh":                                        {err: "https, ssh or file is expected"},
		"git://github.com/a/b":                            {err: "https, ssh or file is expected"},
		"https://me:secret@github.com/a/b":                {err: "https://github.com/a/b: credentials are no part of the URL"},
		"https://secret@github.com/a/b":                   {err: "https://github.com/a/b: credentials are no part of the URL"},
		"https://github.com/a/b?x=secret":                 {err: "https://github.com/a/b: the URL of a repository has no query"},
		"https://github.com/a/b/../../c":                  {branch: "main", err: "a plain path is expected"},
		"https:///a/b":                                    {err: "names no host"},
		"ssh://-oProxyCommand=x/a/b":                      {err: "names no host"},
		"ssh://-x@github.com/a/b":                         {err: "names no host"},
		"https://github.com/a/b/c":                        {branch: "--upload-pack=x", err: "is no name of a branch"},
		"https://github.com/a/b/-c":                       {err: "is no name of a branch"},
		"https://github.com/a/b/a..b":                     {err: "is no name of a branch"},
		"file://host/a/b":                                 {err: "three slashes"},
		"file:///nowhere/at/all":                          {err: "no repository"},
		"https://github.com/%00":                          {err: "no repository"},
		"https://%zz":                                     {err: "cannot be read"},
		"https://github.com/a/b/a%20b":                    {err: "is no name of a branch"},
		"https://github.com/a/b/" + "x" + "%0a--upload=y": {err: "is no name of a branch"},
	} {
		got, err := parseGit(in, want.branch)
		if (err != nil) != (want.err != "") || err != nil && (!strings.Contains(err.Error(), want.err) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: %v", in, err)
		}
		if d := cmp.Diff(want.source, got, cmp.AllowUnexported(gitSource{})); d != "" {
			t.Errorf("%q: %s", in, d)
		}
	}
}

// gitRepository is a repository with files on the branch main, and what more git does in it.
func gitRepository(t *testing.T, files map[string]string, more ...[]string) string {
	t.Helper()
	dir := testDir(t, files)
	for _, args := range append([][]string{
		{"init", "-q", "-b", "main"}, {"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "all"},
	}, more...) {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// TestGit clones repositories from this machine, with policies and with tests in them.
func TestGit(t *testing.T) {
	t.Parallel()
	s := stocked(t, "acme/key-notlog-v3-bundle", "acme/unsigned")
	mirrors := t.TempDir()
	s.WriteHostsToml(mirrors, "ghcr.io")
	files := testFilesOf(t, "", "- {policy: signed, rule: check, kind: Pod, resources: [good], result: pass}\n")
	in := map[string]string{"README": "x"}
	for name, text := range files {
		in["deep/suite/"+name] = text
	}
	in["policies/p.yaml"] = files["policy.yaml"]
	in["out/kyverno-test.yaml"] = strings.Replace(files["kyverno-test.yaml"], "policy.yaml", "../../policy.yaml", 1)
	in["abs/kyverno-test.yaml"] = strings.Replace(files["kyverno-test.yaml"], "policy.yaml", "/etc/hostname", 1)
	secret := file(t, "policy.yaml", files["policy.yaml"])
	in["link/kyverno-test.yaml"] = files["kyverno-test.yaml"]
	in["link/pods.yaml"] = files["pods.yaml"]
	repo := gitRepository(t, in)
	if err := os.Symlink(secret, filepath.Join(repo, "link/policy.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "link"}, {"branch", "release/1"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = repo
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	url := "file://" + repo
	for name, c := range map[string]struct {
		args           []string
		exit           int
		stdout, stderr string
	}{
		"tests":                  {[]string{"test", url + "/deep", "-b", "main"}, 0, "Loading test  ( deep/suite/kyverno-test.yaml ) ...", ""},
		"another branch":         {[]string{"test", url + "/deep", "-b", "release/1"}, 0, "Test Summary: 1 tests passed and 0 tests failed", ""},
		"no branch":              {[]string{"test", url + "/deep"}, 1, "", "branch deep cannot be cloned: "},
		"no directory":           {[]string{"test", url + "/none", "-b", "main"}, 1, "", "branch main has no none"},
		"an option for a branch": {[]string{"test", url, "-b", "-x"}, 1, "", `"-x" is no name of a branch`},
		"out of the repository":  {[]string{"test", url + "/out", "-b", "main"}, 1, "", "out/kyverno-test.yaml: policies: policy.yaml: outside of its repository"},
		"absolute":               {[]string{"test", url + "/abs", "-b", "main"}, 1, "", "policies: hostname: outside of its repository"},
		"through a link":         {[]string{"test", url + "/link", "-b", "main"}, 1, "", "link/policy.yaml, document 1: json: cannot unmarshal string"},
		"policies":               {[]string{"apply", url + "/policies", "-b", "main", "-r", file(t, "good.yaml", podOf("good", signed))}, 0, "pass: 2", ""},
		"nobody answers":         {[]string{"test", "https://127.0.0.1:1/a/b", "-b", "main"}, 1, "", "https://127.0.0.1:1/a/b: branch main cannot be cloned: "},
		"no policies":            {[]string{"apply", url, "-b", "nothing", "-r", file(t, "good.yaml", podOf("good", signed))}, 1, "", "branch nothing cannot be cloned"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(t, append(c.args, "--registry-config-dir", mirrors)...)
			if got.exit != c.exit || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) || c.stderr == "" && got.stderr != "" {
				t.Errorf("exit %d\n%s%s", got.exit, got.stdout, got.stderr)
			}
		})
	}
}

// TestNoGit says what is missing.
func TestNoGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	got := call(t, "test", "https://github.com/a/b")
	if got.exit != 1 || !strings.Contains(got.stderr, "https://github.com/a/b: the program git, which reads repositories, is not installed here") {
		t.Errorf("%+v", got)
	}
}
