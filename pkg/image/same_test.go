package image_test

import (
	"testing"

	"github.com/signet-policy/signet/pkg/image"
)

func TestSameRepository(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b string
		want bool
	}{
		"tags and digests":      {"ghcr.io/a/b:1", "ghcr.io/a/b@" + digestA, true},
		"case of the host":      {"GHCR.IO/a/b", "ghcr.io/a/b", true},
		"default port":          {"ghcr.io:443/a/b", "ghcr.io:80/a/b", true},
		"zeros before the port": {"ghcr.io:0443/a/b", "ghcr.io/a/b", true},
		"Docker Hub":            {"nginx", "index.docker.io/library/nginx:1", true},
		"Docker Hub, long":      {"docker.io/library/nginx", "registry-1.docker.io/nginx", true},
		"another path":          {"ghcr.io/a/b", "ghcr.io/a/b-evil", false},
		"another host":          {"ghcr.io/a/b", "ghcr.io.test/a/b", false},
		"another port":          {"ghcr.io:5000/a/b", "ghcr.io/a/b", false},
		"library elsewhere":     {"ghcr.io/library/b", "ghcr.io/b", false},
		"library below the Hub": {"docker.io/a/library/b", "docker.io/a/b", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := image.SameRepository(parse(t, c.a), parse(t, c.b)); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}
