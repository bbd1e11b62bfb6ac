package vectors_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/test/vectors"
)

// serveVector starts an API server with what a vector says there is, and returns the kubeconfig for it.
func serveVector(t *testing.T, v *vectors.Vector, registry *registrytest.Server, write func(name string, texts ...string) string) string {
	t.Helper()
	s := &apiServer{vector: v, registry: registry.Host()}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return write("kubeconfig", `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: "`+server.URL+`"}}], users: [{name: u, user: {}}]}`)
}

// apiServer answers for one vector. It lists nothing.
type apiServer struct {
	vector   *vectors.Vector
	registry string
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, said := s.vector.Request.API[r.Method+" "+r.URL.RequestURI()]; said {
		s.vector.Request.ServeHTTP(w, r)
		return
	}
	answer := s.object(r)
	if answer == nil {
		s.vector.Request.ServeHTTP(w, r) // not found
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // a client that went away is not our trouble
}

func (s *apiServer) object(r *http.Request) map[string]any {
	kinds := map[string]string{"secrets": "Secret", "serviceaccounts": "ServiceAccount", "configmaps": "ConfigMap"}
	switch r.URL.Path {
	case "/api":
		return map[string]any{"kind": "APIVersions", "versions": []string{"v1"}}
	case "/apis":
		return map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{}}
	case "/api/v1":
		list := []any{map[string]any{"name": "namespaces", "kind": "Namespace", "verbs": []string{"get"}}}
		for name, kind := range kinds {
			list = append(list, map[string]any{"name": name, "kind": kind, "namespaced": true, "verbs": []string{"get"}})
		}
		return map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": list}
	}
	rest, _ := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/")
	parts := strings.Split(rest, "/")
	request := &s.vector.Request
	metadata := map[string]any{"name": parts[len(parts)-1]}
	if len(parts) == 1 {
		labels, err := request.Labels(r.Context(), parts[0])
		if err != nil {
			return nil
		}
		metadata["labels"] = labels
		return map[string]any{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
	}
	if len(parts) != 3 {
		return nil
	}
	namespace, name := parts[0], parts[2]
	metadata["namespace"] = namespace
	out := map[string]any{"kind": kinds[parts[1]], "apiVersion": "v1", "metadata": metadata}
	switch parts[1] {
	case "secrets":
		if key, ok := request.Keys[verify.SecretScheme+namespace+"/"+name]; ok {
			out["type"], out["data"] = "Opaque", map[string][]byte{"cosign.pub": []byte(key)}
			return out
		}
		kind, data, err := request.Secrets(s.registry).Secret(r.Context(), namespace, name)
		if err != nil || kind == "" {
			return nil
		}
		out["type"], out["data"] = kind, data
	case "serviceaccounts":
		names, err := request.Secrets(s.registry).PullSecrets(r.Context(), namespace, name)
		if err != nil || names == nil {
			return nil
		}
		list := []any{}
		for _, n := range names {
			list = append(list, map[string]any{"name": n})
		}
		out["imagePullSecrets"] = list
	case "configmaps":
		data, ok := request.ConfigMaps[namespace+"/"+name]
		if !ok {
			return nil
		}
		out["data"] = data
	default:
		return nil
	}
	return out
}
