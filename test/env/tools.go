package env

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// ErrToolMissing is wrapped by every failure to find one of the pinned programs.
var ErrToolMissing = errors.New("run `make tools` first (it builds the pinned tools once, about 20 minutes on two cores)")

// Root is the absolute path of the project's root directory, found from the working directory upwards or, when this
// package runs outside a checkout, from where it was compiled.
func Root() string {
	if dir, err := os.Getwd(); err == nil {
		for {
			if isRoot(dir) {
				return dir
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

func isRoot(dir string) bool {
	for _, name := range []string{"go.mod", filepath.Join("hack", "tools", "go.mod")} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// CRDDir is where the generated CustomResourceDefinitions are.
func CRDDir() string { return filepath.Join(Root(), "config", "crd", "bases") }

// Tool returns the path of a pinned program: from $KUBEBUILDER_ASSETS when that is set and holds it, else from
// bin/tools. A missing program is an error that wraps ErrToolMissing.
func Tool(name string) (string, error) {
	var dirs []string
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		dirs = append(dirs, assets)
	}
	dirs = append(dirs, filepath.Join(Root(), "bin", "tools"))
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not in %v: %w", name, dirs, ErrToolMissing)
}
