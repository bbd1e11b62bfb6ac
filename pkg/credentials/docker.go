package credentials

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// maxDockerConfig bounds the docker configuration that is looked into, in bytes.
const maxDockerConfig = 4 << 20

// dockerConfig is the part of a docker configuration that says where credentials are.
type dockerConfig struct {
	Auths       map[string]json.RawMessage `json:"auths"`
	CredHelpers map[string]string          `json:"credHelpers"`
	CredsStore  string                     `json:"credsStore"`
}

// DockerEntry says where the default keychain has found the credential for a repository of a host: in which file, and under
// which key or by which helper. It says nothing of the credential, and is empty when it cannot tell.
func DockerEntry(host, repository string) string {
	asked := []string{host + "/" + repository, host}
	if host == hubHost {
		asked[1] = authn.DefaultAuthKey
	}
	var env dockerConfig
	if json.Unmarshal([]byte(os.Getenv("DOCKER_AUTH_CONFIG")), &env) == nil {
		for _, key := range asked {
			if name, ok := env.entry(key); ok {
				return "environment variable DOCKER_AUTH_CONFIG, auths[" + name + "]"
			}
		}
	}
	path := dockerFile()
	c, ok := readDockerConfig(path)
	if !ok {
		return ""
	}
	for _, key := range asked {
		name := hostnameOf(key)
		if key == authn.DefaultAuthKey {
			name = key
		}
		switch helper, found := c.CredHelpers[name]; {
		case found:
			return path + ", credHelpers[" + name + "] (docker-credential-" + helper + ")"
		case c.CredsStore != "":
			return path + ", credsStore (docker-credential-" + c.CredsStore + ")"
		}
		if name, ok := c.entry(key); ok {
			return path + ", auths[" + name + "]"
		}
	}
	return ""
}

// entry is the key of auths that is about what is asked for.
func (c *dockerConfig) entry(asked string) (string, bool) {
	if _, ok := c.Auths[asked]; ok {
		return withoutUser(asked), true
	}
	for key := range c.Auths {
		if hostnameOf(key) == asked {
			return withoutUser(key), true
		}
	}
	return "", false
}

// hostnameOf is the host of a key, which may be a URL.
func hostnameOf(key string) string {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		return withoutUser(host)
	}
	host, _, _ := strings.Cut(key, "/")
	return host
}

// withoutUser drops a user, and with him a password, that somebody may have left in a key.
func withoutUser(key string) string {
	return key[strings.LastIndexByte(key, '@')+1:]
}

// dockerFile is the file that the default keychain reads.
func dockerFile() string {
	home, _ := os.UserHomeDir()
	own, named := filepath.Join(home, ".docker"), os.Getenv("DOCKER_CONFIG")
	if isFile(filepath.Join(own, "config.json")) || named != "" && isFile(filepath.Join(named, "config.json")) {
		if named != "" {
			own = named
		}
		return filepath.Join(own, "config.json")
	}
	if path := os.Getenv("REGISTRY_AUTH_FILE"); isFile(path) {
		return path
	}
	if path := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "containers", "auth.json"); os.Getenv("XDG_RUNTIME_DIR") != "" && isFile(path) {
		return path
	}
	config := os.Getenv("XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(home, ".config")
	}
	return filepath.Join(config, "containers", "auth.json")
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func readDockerConfig(path string) (c dockerConfig, ok bool) {
	if !isFile(path) {
		return c, false
	}
	f, err := os.Open(path) //nolint:gosec // the caller's own configuration
	if err != nil {
		return c, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDockerConfig))
	return c, err == nil && json.Unmarshal(b, &c) == nil
}
