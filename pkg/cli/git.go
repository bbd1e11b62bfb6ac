package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// cloneTimeout is the time for one clone.
const cloneTimeout = 5 * time.Minute

// defaultBranch is the one of a repository whose URL names none.
const defaultBranch = "main"

// checkouts are the repositories that one call has cloned. What is in them was written by strangers.
type checkouts struct {
	// branch is that of --git-branch; without one, a URL may name it behind the repository.
	branch string
	dirs   []string
}

// gitSource is what a URL names.
type gitSource struct {
	repository string // for git
	branch     string
	dir        string // in the repository
}

// local replaces the URLs among paths by directories with what they name. The others stay.
func (c *checkouts) local(ctx context.Context, paths []string) ([]string, error) {
	out := slices.Clone(paths)
	for i, p := range paths {
		dir, _, err := c.path(ctx, p)
		if err != nil {
			return nil, err
		}
		out[i] = dir
	}
	return out, nil
}

// path is a path, or where a URL's repository has been cloned to. Root is the clone; empty for a path.
func (c *checkouts) path(ctx context.Context, p string) (dir, root string, err error) {
	source, err := parseGit(p, c.branch)
	if err != nil {
		return "", "", err
	}
	if source == nil {
		return p, "", nil
	}
	if root, err = c.clone(ctx, source); err != nil {
		return "", "", fmt.Errorf("%s: %w", source.shown(), err)
	}
	dir = filepath.Join(root, filepath.FromSlash(source.dir))
	if err := within(root, dir); err != nil {
		return "", "", err
	}
	if _, err := os.Stat(dir); err != nil {
		return "", "", fmt.Errorf("%s: branch %s has no %s", source.shown(), source.branch, source.dir)
	}
	return dir, root, nil
}

// remove deletes the clones.
func (c *checkouts) remove() {
	for _, dir := range c.dirs {
		_ = os.RemoveAll(dir) // the system clears its temporary directory too
	}
}

// shown is the repository without what may be a secret.
func (s *gitSource) shown() string {
	if u, err := url.Parse(s.repository); err == nil {
		return shownURL(u)
	}
	return "the repository"
}

// shownURL is a URL without user and query: tokens stand in either.
func shownURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// within refuses a path outside a directory.
func within(root, path string) error {
	rel, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("%s: outside of its repository", filepath.Base(path))
	}
	return nil
}

// ofRepository are the variables that tie git to a repository.
var ofRepository = []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX"}

var (
	scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	// branchName is narrower than what git allows, and never an option.
	branchName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+@-]*$`)
)

// parseGit reads the URL of a repository and a directory in it; nil for a path. With a branch, all behind the repository is
// the directory; without, it is the branch.
func parseGit(p, branch string) (*gitSource, error) {
	if !scheme.MatchString(p) {
		return nil, nil
	}
	u, err := url.Parse(p)
	if err != nil {
		return nil, errors.New("the URL of the repository cannot be read")
	}
	_, secret := u.User.Password()
	switch {
	case u.Scheme != "https" && u.Scheme != "ssh" && u.Scheme != "file":
		return nil, fmt.Errorf("%s: a URL with https, ssh or file is expected", shownURL(u))
	case secret || u.Scheme == "https" && u.User != nil:
		return nil, fmt.Errorf("%s: credentials are no part of the URL; git's own ones are used", shownURL(u))
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s: the URL of a repository has no query and no fragment", shownURL(u))
	case u.Scheme != "file" && (u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") || strings.HasPrefix(u.User.Username(), "-")):
		return nil, errors.New("the URL of the repository names no host")
	case u.Scheme == "file" && u.Host != "":
		return nil, fmt.Errorf("%s: file:/// with three slashes is expected", shownURL(u))
	}
	segments := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
	if slices.Contains(segments, "..") || slices.Contains(segments, ".") {
		return nil, fmt.Errorf("%s: a plain path is expected", shownURL(u))
	}
	n := repositoryEnd(u.Scheme, segments)
	if n == 0 {
		return nil, fmt.Errorf("%s: no repository", shownURL(u))
	}
	repository, rest := *u, strings.Join(segments[n:], "/")
	repository.Path, repository.RawPath = "/"+strings.Join(segments[:n], "/"), ""
	s := &gitSource{repository: repository.String(), branch: branch, dir: rest}
	if branch == "" {
		s.branch, s.dir = rest, ""
	}
	if s.branch == "" {
		s.branch = defaultBranch
	}
	if !branchName.MatchString(s.branch) || strings.Contains(s.branch, "..") {
		return nil, fmt.Errorf("%.80q is no name of a branch", s.branch)
	}
	return s, nil
}

// repositoryEnd is how many segments of a path name the repository; 0 for none. It ends in .git, or is the first directory
// that is one, or has an owner and a name.
func repositoryEnd(scheme string, segments []string) int {
	for i, s := range segments {
		if scheme == "file" {
			dir := "/" + filepath.Join(segments[:i+1]...)
			if isRepository(dir) || isRepository(filepath.Join(dir, ".git")) {
				return i + 1
			}
		} else if strings.HasSuffix(s, ".git") {
			return i + 1
		}
	}
	if scheme == "file" || len(segments) < 2 {
		return 0
	}
	return 2
}

// isRepository tells whether a directory is one that git made.
func isRepository(dir string) bool {
	_, head := os.Stat(filepath.Join(dir, "HEAD"))
	_, objects := os.Stat(filepath.Join(dir, "objects"))
	return head == nil && objects == nil
}

// clone gets the newest state of a branch. Links in it are files with a text, and nothing of it is run.
func (c *checkouts) clone(ctx context.Context, s *gitSource) (string, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return "", errors.New("the program git, which reads repositories, is not installed here: clone the repository and name the directory")
	}
	dir, err := os.MkdirTemp("", "signet-git-")
	if err != nil {
		return "", err
	}
	c.dirs = append(c.dirs, dir)
	ctx, cancel := context.WithTimeout(ctx, cloneTimeout)
	defer cancel()
	//nolint:gosec // nothing that the caller says can be an option: the branch and the URL were looked at
	cmd := exec.CommandContext(ctx, git, "-c", "core.symlinks=false", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false",
		"clone", "--quiet", "--depth=1", "--single-branch", "--no-tags", "--no-recurse-submodules", "--template=", "--branch="+s.branch,
		"--", s.repository, dir)
	// A hook of git may have called this program: its repository is not the one that is meant.
	surroundings := slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.Contains(ofRepository, name)
	})
	cmd.Env = append(surroundings, "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=https:ssh:file", "GIT_LFS_SKIP_SMUDGE=1")
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stderr = &limited{w: &said, left: 4 << 10}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("branch %s cannot be cloned: %w", s.branch, ctx.Err())
		}
		return "", fmt.Errorf("branch %s cannot be cloned: %s", s.branch, strings.Join(strings.Fields(said.String()), " "))
	}
	return dir, nil
}

// limited keeps the beginning of what is written.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
