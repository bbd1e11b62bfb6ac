package registrytest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
)

// Users answers 401 to who is none of the users, "name:password", and lets the registry answer the others.
func Users(users ...string) Fault {
	return Unless(func(r *http.Request) bool {
		name, password, ok := r.BasicAuth()
		return ok && slices.Contains(users, name+":"+password)
	}, Status(http.StatusUnauthorized, "UNAUTHORIZED", "WWW-Authenticate", `Basic realm="private"`))
}

// DockerConfig is a docker configuration with one user, "name:password", of a host.
func DockerConfig(host, user string) []byte {
	return fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(user)))
}
