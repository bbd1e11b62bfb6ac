package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// certificatesIn reads a directory without a hosts.toml as containerd does, and docker before it: every *.crt is an authority,
// and every *.cert with the *.key of the same name a certificate to show. It returns false for a directory with none of them.
func certificatesIn(dir string) (e hostEntry, ok bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return e, false, err
	}
	var authorities, pairs []any
	for _, entry := range entries {
		name := entry.Name()
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			continue
		}
		switch filepath.Ext(name) {
		case ".toml":
			return e, false, fmt.Errorf("%s is not %s", name, hostsFile)
		case ".crt":
			authorities = append(authorities, name)
		case ".cert":
			key := strings.TrimSuffix(name, ".cert") + ".key"
			if _, err := os.Stat(filepath.Join(dir, key)); err != nil {
				return e, false, fmt.Errorf("%s: there is no %s", name, key)
			}
			pairs = append(pairs, []any{name, key})
		}
	}
	if len(authorities) > 0 {
		e.CA = authorities
	}
	if len(pairs) > 0 {
		e.Client = pairs
	}
	return e, e.CA != nil || e.Client != nil, nil
}
