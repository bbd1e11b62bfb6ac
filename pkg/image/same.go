package image

import "strings"

// SameRepository tells whether two references are in one repository, however its registry is spelled.
func SameRepository(a, b Ref) bool {
	return a.canonical() == b.canonical()
}

// canonical is the repository with a lower-case host, without a default port, and with one name for Docker Hub's.
func (r Ref) canonical() string {
	host, path := plainPort(strings.ToLower(r.registry)), r.path
	for _, port := range []string{":443", ":80"} {
		host = strings.TrimSuffix(host, port)
	}
	if host == "" || dockerHub(host) {
		host = DefaultRegistry
		if rest, ok := strings.CutPrefix(path, "library/"); ok && !strings.Contains(rest, "/") {
			path = rest
		}
	}
	return join(host, path)
}
