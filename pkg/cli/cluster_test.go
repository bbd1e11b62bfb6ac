package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// apiServer answers what signet apply asks, with Pods in pages of the size asked for.
type apiServer struct {
	pods []string // "namespace/name image"
	// objects are further answers by path.
	objects map[string]any
	// refuse are the paths that are forbidden.
	refuse map[string]bool

	mu    sync.Mutex
	asked []string
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.Method+" "+r.URL.RequestURI())
	a.mu.Unlock()
	verbs := []string{"get", "list"}
	pods := map[string]any{"name": "pods", "kind": "Pod", "namespaced": true, "verbs": verbs}
	answer := map[string]any{
		"/api": map[string]any{"kind": "APIVersions", "versions": []string{"v1"}},
		"/apis": map[string]any{"kind": "APIGroupList", "groups": []any{map[string]any{
			"name": "apps", "versions": []any{map[string]any{"groupVersion": "apps/v1", "version": "v1"}, map[string]any{"groupVersion": "apps/v1beta1", "version": "v1beta1"}},
			"preferredVersion": map[string]any{"groupVersion": "apps/v1", "version": "v1"},
		}}},
		"/api/v1": map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": []any{pods,
			map[string]any{"name": "pods/exec", "kind": "PodExecOptions", "namespaced": true, "verbs": []string{"create"}},
			map[string]any{"name": "namespaces", "kind": "Namespace", "verbs": verbs},
			map[string]any{"name": "secrets", "kind": "Secret", "namespaced": true, "verbs": verbs},
		}},
		"/apis/apps/v1": map[string]any{"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": []any{
			map[string]any{"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": verbs}}},
		"/apis/apps/v1beta1": map[string]any{"kind": "APIResourceList", "groupVersion": "apps/v1beta1", "resources": []any{
			map[string]any{"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": verbs}}},
		"/apis/apps/v1/deployments": map[string]any{"kind": "DeploymentList", "apiVersion": "apps/v1", "items": []any{}},
	}[strings.Replace(r.URL.Path, "/namespaces/b/deployments", "/deployments", 1)]
	if o, ok := a.objects[r.URL.Path]; ok {
		answer = o
	}
	if namespace := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/pods"); r.URL.Path == "/api/v1/pods" || "/api/v1/namespaces/"+namespace+"/pods" == r.URL.Path {
		answer = a.list(namespace, r.URL.Query())
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case a.refuse[r.URL.Path]:
		w.WriteHeader(http.StatusForbidden)
		answer = map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "forbidden"}
	case answer == nil:
		w.WriteHeader(http.StatusNotFound)
		answer = map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"}
	}
	_ = json.NewEncoder(w).Encode(answer) // a client that went away is not our trouble
}

func (a *apiServer) list(namespace string, q url.Values) any {
	begin, _ := strconv.Atoi(q.Get("continue"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	items, meta := []any{}, map[string]any{}
	for i, text := range a.pods[begin:] {
		if limit > 0 && len(items) == limit {
			meta["continue"] = strconv.Itoa(begin + i)
			break
		}
		name, image, _ := strings.Cut(text, " ")
		ns, name, _ := strings.Cut(name, "/")
		if namespace != "" && namespace != ns && !strings.HasPrefix(namespace, "/") {
			continue
		}
		items = append(items, map[string]any{ // as in lists, without apiVersion and kind
			"metadata": map[string]any{"name": name, "namespace": ns, "managedFields": []any{map[string]any{"manager": "x"}}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": image}}},
		})
	}
	return map[string]any{"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": items}
}

// kubeconfig starts the server and says how to reach it.
func (a *apiServer) kubeconfig(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return file(t, "kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: none
clusters: [{name: c, cluster: {server: %q}}]
users: [{name: u, user: {}}]
contexts: [{name: here, context: {cluster: c, user: u}}, {name: none, context: {cluster: gone, user: u}}]
`, server.URL))
}

// VI 10.1(4): what the cluster has of the kinds that policies match, page by page, by name and by namespace.
func TestApplyCluster(t *testing.T) {
	t.Parallel()
	const signed, unsigned = "ghcr.io/acme/key-notlog-v3-bundle:v1", "ghcr.io/acme/unsigned:v1"
	registry := stocked(t, "acme/key-notlog-v3-bundle", "acme/unsigned")
	dir := t.TempDir()
	registry.WriteHostsToml(dir, "ghcr.io")
	key := trustFile("trust/cosign.pub")
	plain := policyOf(t, "signed", "Enforce", key, "background: false")
	labelled := strings.Replace(plain, "kinds: [Pod]", "kinds: [Pod], namespaceSelector: {matchLabels: {team: blue}}", 1)
	docker := string(registrytest.DockerConfig("ghcr.io", "me:hunter2"))
	cluster := func() *apiServer {
		a := &apiServer{objects: map[string]any{
			"/api/v1/namespaces/a": map[string]any{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": map[string]any{"name": "a", "labels": map[string]any{"team": "blue"}}},
			"/api/v1/namespaces/b": map[string]any{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": map[string]any{"name": "b"}},
			"/api/v1/namespaces/kyverno/secrets/pull": map[string]any{"kind": "Secret", "apiVersion": "v1", "type": configJSON,
				"metadata": map[string]any{"name": "pull", "namespace": "kyverno"}, "data": map[string]any{".dockerconfigjson": []byte(docker)}},
		}, refuse: map[string]bool{}}
		for i := range 501 {
			a.pods = append(a.pods, fmt.Sprintf("a/p%d %s", i, signed))
		}
		a.pods = append(a.pods, "a/bad "+unsigned, "b/bad "+unsigned, "b/good "+signed)
		return a
	}
	for name, c := range map[string]struct {
		policy string
		args   []string
		spoil  func(*apiServer)
		exit   int
		want   string
		asked  string
	}{
		"everything":                  {plain, nil, nil, 1, "to 504 resource(s)...", "GET /api/v1/pods?continue=500&limit=500"},
		"a namespace":                 {plain, []string{"-n", "b"}, nil, 1, "to 2 resource(s)...\npolicy signed -> resource b/Pod/bad failed:", "GET /api/v1/namespaces/b/pods?limit=500"},
		"a name":                      {plain, []string{"-r", "good"}, nil, 0, "to 1 resource(s)...\n\npass: 2, fail: 0", ""},
		"a name twice":                {plain, []string{"-r", "bad"}, nil, 1, "to 2 resource(s)", ""},
		"no such name":                {plain, []string{"-r", "none"}, nil, 1, "none not found in cluster", ""},
		"labels of namespaces":        {labelled, []string{"-r", "bad"}, nil, 1, "to 2 resource(s)...\npolicy signed -> resource a/Pod/bad failed:", "GET /api/v1/namespaces/b"},
		"labels that may not be read": {labelled, []string{"-r", "good"}, func(a *apiServer) { a.refuse["/api/v1/namespaces/b"] = true }, 1, "pass: 0, fail: 0, warn: 0, error: ", ""},
		"a list that may not be read": {plain, nil, func(a *apiServer) { a.refuse["/api/v1/pods"] = true }, 1, "listing pods: ", ""},
		"a Secret of the cluster": {strings.Replace(plain, "failureAction:", "imageRegistryCredentials: {secrets: [pull]}\n      failureAction:", 1),
			[]string{"-r", "good"}, nil, 0, "pass: 2, fail: 0", "GET /api/v1/namespaces/kyverno/secrets/pull"},
		"a Secret that may not be read": {strings.Replace(plain, "failureAction:", "imageRegistryCredentials: {secrets: [pull]}\n      failureAction:", 1),
			[]string{"-r", "good", "--policy-report", "--output-format", "json"}, func(a *apiServer) { a.refuse["/api/v1/namespaces/kyverno/secrets/pull"] = true }, 1, "secret kyverno/pull: it may not be read in the cluster", ""},
		"a kind that is not there": {strings.Replace(plain, "kinds: [Pod]", "kinds: [Pod, Pods]", 1), []string{"-r", "good"}, nil, 0, "warning: signed: the cluster has no objects of kind Pods to list", ""},
		"an exception in a file":   {plain, []string{"-r", "EXCEPTION", "-r", "bad", "--exceptions-with-resources"}, nil, 1, "with 1 exception(s)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := cluster()
			if c.spoil != nil {
				c.spoil(a)
			}
			args := []string{"apply", file(t, "policy.yaml", c.policy), "--registry-config-dir", dir, "--cluster", "--kubeconfig", a.kubeconfig(t), "--context", "here"}
			for _, arg := range c.args {
				if arg == "EXCEPTION" {
					arg = file(t, "exception.yaml", exceptionFor("a"))
				}
				args = append(args, arg)
			}
			got := call(t, args...)
			if got.exit != c.exit || !strings.Contains(got.stdout+got.stderr, c.want) {
				t.Errorf("exit %d, want %q: %.2000s%s", got.exit, c.want, got.stdout, got.stderr)
			}
			if all := strings.Join(a.asked, "\n") + "\n"; !strings.Contains(all, c.asked+"\n") || strings.Contains(all, "POST") {
				t.Errorf("no %s in\n%s", c.asked, all)
			}
		})
	}
	t.Run("no such context", func(t *testing.T) {
		t.Parallel()
		got := call(t, "apply", file(t, "policy.yaml", plain), "--cluster", "--kubeconfig", cluster().kubeconfig(t))
		if got.exit != 1 || !strings.Contains(got.stderr, "--cluster: ") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("no cluster", func(t *testing.T) {
		t.Parallel()
		got := call(t, "apply", file(t, "policy.yaml", plain), "-r", file(t, "pod.yaml", podOf("p", signed)), "--context", "here")
		if got.exit != 1 || !strings.Contains(got.stderr, "--kubeconfig and --context need --cluster") {
			t.Errorf("%+v", got)
		}
	})
}

// exceptionFor takes the rule away from the Pods named bad of a namespace.
func exceptionFor(namespace string) string {
	return `apiVersion: kyverno.io/v2
kind: PolicyException
metadata: {name: x, namespace: default}
spec:
  match: {any: [{resources: {kinds: [Pod], names: [bad], namespaces: [` + namespace + `]}}]}
  exceptions: [{policyName: signed, ruleNames: [check]}]
`
}

// TestExceptionsWithResources takes exceptions among the resources, alone and in lists, only when told to.
func TestExceptionsWithResources(t *testing.T) {
	t.Parallel()
	registry := stocked(t, "acme/unsigned")
	dir := t.TempDir()
	registry.WriteHostsToml(dir, "ghcr.io")
	policy := file(t, "policy.yaml", policyOf(t, "signed", "Enforce", trustFile("trust/cosign.pub"), "background: false"))
	bad, exception := podOf("bad", "ghcr.io/acme/unsigned:v1"), exceptionFor("default")
	list := "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(exception), "\n", "\n  ") + "\n"
	for name, text := range map[string]string{"documents": bad + "---\n" + exception, "a list": bad + "---\n" + list} {
		resources := file(t, "all.yaml", text)
		got := call(t, "apply", "--registry-config-dir", dir, policy, "-r", resources, "--exceptions-with-resources")
		if got.exit != 0 || !strings.Contains(got.stdout, "to 1 resource(s) with 1 exception(s)...") || !strings.Contains(got.stdout, "skip: 2") {
			t.Errorf("%s: exit %d: %s%s", name, got.exit, got.stdout, got.stderr)
		}
		if got = call(t, "apply", "--registry-config-dir", dir, policy, "-r", resources); got.exit != 1 || !strings.Contains(got.stdout, "to 2 resource(s)...") {
			t.Errorf("%s: exit %d: %s%s", name, got.exit, got.stdout, got.stderr)
		}
	}
	broken := file(t, "broken.yaml", strings.Replace(exception, "spec:", "spec:\n  other: 1", 1))
	if got := call(t, "apply", "--registry-config-dir", dir, policy, "-r", broken, "--exceptions-with-resources"); got.exit != 1 || got.stderr == "" {
		t.Errorf("%+v", got)
	}
}
