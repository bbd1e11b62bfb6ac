package credentials

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// The types of Secrets that hold credentials, with the key that holds them.
const (
	typeConfigJSON = "kubernetes.io/dockerconfigjson"
	keyConfigJSON  = ".dockerconfigjson"
	typeConfig     = "kubernetes.io/dockercfg"
	keyConfig      = ".dockercfg"
)

// hubHost is the name under which Docker Hub's credentials are looked up.
const hubHost = "index.docker.io"

var (
	errMalformed = errors.New("malformed docker configuration")
	errType      = errors.New("not a Secret of type " + typeConfigJSON + " or " + typeConfig)
)

// config is what one pull secret holds. It never changes.
type config struct {
	// entries are those with credentials, the longer paths and the plain hosts first.
	entries []entry
	sum     [sha256.Size]byte
}

// entry is the credential of one host, or of what is below a path there.
type entry struct {
	host, path string
	// name is where it stands, for people.
	name string
	auth authn.AuthConfig
}

// parse reads the data of a Secret. Helpers that a docker configuration may name are never run: only what it holds
// itself counts.
func parse(kind string, data map[string][]byte) (*config, error) {
	var raw []byte
	auths := map[string]authn.AuthConfig{}
	switch kind {
	case typeConfigJSON:
		var doc struct {
			Auths map[string]authn.AuthConfig `json:"auths"`
		}
		raw = data[keyConfigJSON]
		if json.Unmarshal(raw, &doc) != nil {
			return nil, errMalformed // the cause may quote what is secret
		}
		auths = doc.Auths
	case typeConfig:
		raw = data[keyConfig]
		if json.Unmarshal(raw, &auths) != nil {
			return nil, errMalformed
		}
	default:
		return nil, errType
	}
	c := &config{sum: sha256.Sum256(append([]byte(kind+"\x00"), raw...))}
	for key, auth := range auths {
		if auth == (authn.AuthConfig{}) {
			continue
		}
		host, path := parseKey(key)
		name := keyConfig + "[" + withoutUser(key) + "]"
		if kind == typeConfigJSON {
			name = keyConfigJSON + " auths[" + withoutUser(key) + "]"
		}
		c.entries = append(c.entries, entry{host: host, path: path, name: name, auth: auth})
	}
	slices.SortFunc(c.entries, func(a, b entry) int {
		if d := len(b.path) - len(a.path); d != 0 {
			return d
		}
		if x, y := isPattern(a.host), isPattern(b.host); x != y {
			if x {
				return 1
			}
			return -1
		}
		return strings.Compare(a.host+"/"+a.path, b.host+"/"+b.path)
	})
	return c, nil
}

// parseKey reads the key of an entry as kubelets do: a host, perhaps with a scheme, a port or a path.
func parseKey(key string) (host, path string) {
	for _, scheme := range []string{"https://", "http://"} {
		key = strings.TrimPrefix(key, scheme)
	}
	host, path, _ = strings.Cut(key, "/")
	path = strings.Trim(path, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	return canonicalHost(host), path
}

// canonicalHost gives Docker Hub its one name.
func canonicalHost(host string) string {
	switch host = strings.ToLower(host); host {
	case "docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return hubHost
	}
	return host
}

func isPattern(host string) bool { return strings.ContainsAny(host, "*?[") }

// find returns the credential for a repository of a host; nil for none.
func (c *config) find(host, repository string) *entry {
	host = canonicalHost(host)
	for i := range c.entries {
		e := &c.entries[i]
		if e.covers(host) && (e.path == "" || repository == e.path || strings.HasPrefix(repository, e.path+"/")) {
			return e
		}
	}
	return nil
}

// covers tells whether the entry is about the host. A star stands for (a part of) one label, never for several; ports
// have to be the same.
func (e *entry) covers(host string) bool {
	if !isPattern(e.host) {
		return e.host == host
	}
	name, port, _ := strings.Cut(host, ":")
	pattern, patternPort, _ := strings.Cut(e.host, ":")
	if port != patternPort {
		return false
	}
	labels, patterns := strings.Split(name, "."), strings.Split(pattern, ".")
	if len(labels) != len(patterns) {
		return false
	}
	for i, p := range patterns {
		if ok, err := path.Match(p, labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
