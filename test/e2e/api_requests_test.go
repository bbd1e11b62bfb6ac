package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/env"
)

// counter passes on what Signet asks the API server, and keeps count.
type counter struct {
	kubeconfig string

	mu   sync.Mutex
	seen []string
}

// newCounter makes a kubeconfig of Signet's own account that leads through the counter.
func newCounter(t *testing.T) *counter {
	t.Helper()
	config, err := shared.cluster.ServiceAccountConfig(t.Context(), env.SystemNamespace, env.SignetAccount)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(&rest.Config{Host: config.Host, TLSClientConfig: config.TLSClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.note(r)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		shared.stop() // its way to the API server ends here
		server.CloseClientConnections()
		server.Close()
	})
	k := clientcmdapi.NewConfig()
	k.Clusters["counted"] = &clientcmdapi.Cluster{
		Server: server.URL, CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
	k.AuthInfos["signet"] = &clientcmdapi.AuthInfo{Token: config.BearerToken}
	k.Contexts["counted"] = &clientcmdapi.Context{Cluster: "counted", AuthInfo: "signet"}
	k.CurrentContext = "counted"
	if err := clientcmd.WriteToFile(*k, c.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return c
}

// note keeps a request as "verb path", but for what goes on beside the reviews: watches, leases, which kinds are
// served, the status of policies and the webhooks that they need.
func (c *counter) note(r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource := parts[min(2, len(parts)):] // after api/v1
	if parts[0] == "apis" {
		resource = parts[min(3, len(parts)):]
	}
	if len(resource) > 2 && resource[0] == "namespaces" {
		resource = resource[2:]
	}
	verb := strings.ToLower(r.Method)
	switch {
	case len(resource) == 0 || r.URL.Query().Get("watch") == "true",
		resource[0] == "leases" || resource[len(resource)-1] == "status" || strings.HasSuffix(resource[0], "webhookconfigurations"),
		resource[len(resource)-1] == "kyverno:webhook": // their owner
		return
	case verb == "get" && len(resource) == 1 && strings.HasPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name="):
		verb = "list one"
	case verb == "get" && len(resource) == 1:
		verb = "list"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, verb+" "+r.URL.Path)
}

// take are the requests since the last call, with their number.
func (c *counter) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int{}
	for _, s := range c.seen {
		out[s]++
	}
	c.seen = nil
	return out
}

// A review lists nothing from the API server, and when it is warm it asks it nothing, whatever its policy reads: the roles of
// the user, the labels of the namespace, a config map, a pull secret. What is asked cold is asked by name, and once for many
// reviews.
func TestReviewsDoNotList(t *testing.T) {
	c := newCounter(t)
	shared.run(t, "", "--kubeconfig="+c.kubeconfig)
	u := newUser(t)
	address := shared.registry.Host()
	config, err := json.Marshal(map[string]any{"auths": map[string]any{address: map[string]any{"username": "puller", "password": "secret"}}})
	if err != nil {
		t.Fatal(err)
	}
	const namespaces, podsEach = 5, 20
	spaces := make([]string, namespaces)
	for i := range spaces {
		spaces[i] = namespace(t)
		prepareSpace(t, u, spaces[i], config)
	}
	var images []string
	for i := range namespaces * podsEach {
		repo := repository(t, fmt.Sprintf("image-%d", i))
		push(shared.registry, repo, "1", &shared.images.signed)
		t.Cleanup(shared.registry.Fault(registrytest.Match{Repository: repo}, registrytest.Users("puller:secret")))
		images = append(images, address+"/"+repo+"@"+shared.images.signed.digest)
	}
	p := rule{
		name: "reads-all", keys: map[string]any{"rekor": map[string]any{"ignoreTlog": true}},
		resources: map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"counted": "yes"}}},
	}.in("")
	r := p.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
	r["exclude"] = map[string]any{"any": []any{map[string]any{"clusterRoles": []any{"nobody-has-this"}}}}
	r["context"] = []any{
		map[string]any{"name": "settings", "configMap": map[string]any{"name": "settings", "namespace": "{{ request.namespace }}"}},
		map[string]any{"name": "enforced", "variable": map[string]any{"value": "{{ settings.data.enforced }}"}},
		map[string]any{"name": "everywhere", "globalReference": map[string]any{"name": "counted", "jmesPath": "[?metadata.namespace == '{{ request.namespace }}' && metadata.name == 'settings'] | [0].data.enforced"}},
	}
	r["preconditions"] = map[string]any{"all": []any{map[string]any{"key": "{{ enforced }} {{ everywhere }}", "operator": "Equals", "value": "yes yes"}}}
	// A global context entry is read beside the reviews.
	err = u.publish(t, globalEntry("v2", "counted", map[string]any{
		"kubernetesResource": map[string]any{"version": "v1", "resource": "configmaps"},
		"projections":        []any{map[string]any{"name": "all", "jmesPath": "[].metadata.name"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	u.published(t, "counted", "True")
	u.apply(t, p)
	review := func(n int) {
		t.Helper()
		one := pod(fmt.Sprintf("p%d", n), images[n])
		one.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
		got, err := u.CoreV1().Pods(spaces[n%namespaces]).Create(t.Context(), one, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.Annotations[annotation], `:"pass"`) {
			t.Fatalf("not verified: %v", got.Annotations)
		}
	}
	eventually(t, "the permission to read the pull secret to be known", func() error {
		one := pod("first", images[0])
		one.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
		_, err := u.CoreV1().Pods(spaces[0]).Create(t.Context(), one, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
	c.take()

	began := time.Now()
	for n := range images {
		review(n)
	}
	cold := c.take()
	rounds := 2 + int(time.Since(began)/(10*time.Second)) // a pull secret is read again after ten seconds
	t.Logf("%d cold reviews: %v", len(images), cold)
	for request, n := range cold {
		verb, path, _ := strings.Cut(request, " /")
		switch {
		case verb == "list one" && strings.HasSuffix(path, "/configmaps"):
			// Following a config map begins with a list of it alone, beside the review.
			if n > 1 {
				t.Errorf("%d times %s", n, request)
			}
		case verb == "get" && strings.HasSuffix(path, "/configmaps/settings"):
			if n > 1+podsEach/4 { // until it is followed, each review asks
				t.Errorf("%d times %s", n, request)
			}
		case verb == "get" && (strings.HasSuffix(path, "/secrets/pull") || strings.HasSuffix(path, "/serviceaccounts/default")):
			if n > rounds {
				t.Errorf("%d times %s", n, request)
			}
		default:
			t.Errorf("%d times %s", n, request)
		}
	}

	// Warm: the same Pods again, in rounds of one for each namespace, until a few fell between two readings of the pull secrets.
	quiet, round := 0, 0
	eventually(t, "rounds of warm reviews that ask nothing", func() error {
		from := round % podsEach * namespaces
		round++
		for n := from; n < from+namespaces; n++ {
			review(n)
		}
		warm := c.take()
		for request := range warm {
			if !slices.ContainsFunc([]string{"/secrets/pull", "/serviceaccounts/default"}, func(s string) bool { return strings.HasSuffix(request, s) }) {
				t.Errorf("%d warm reviews: %v", namespaces, warm)
			}
		}
		if len(warm) == 0 {
			quiet++
		}
		if quiet < 5 {
			return fmt.Errorf("%d of %d rounds, and the last one asked %v", quiet, round, warm)
		}
		return nil
	})
}

// prepareSpace makes what the policy of a counted namespace reads.
func prepareSpace(t *testing.T, u *user, ns string, credentials []byte) {
	t.Helper()
	label(t, u, ns, map[string]string{"counted": "yes"})
	ctx := t.Context()
	_, err := u.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"enforced": "yes"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.CoreV1().Secrets(ns).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: credentials},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.RbacV1().Roles(ns).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "signet-pull"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"pull"}, Verbs: []string{"get"}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.RbacV1().RoleBindings(ns).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "signet-pull"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "signet-pull"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: env.SystemNamespace, Name: env.SignetAccount}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}
