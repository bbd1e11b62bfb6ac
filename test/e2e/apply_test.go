package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/test/env"
)

// VI 10.1(4): "signet apply --cluster" judges what runs by a policy that no cluster has yet, with what the policy names
// there: a config map, a call of the API server, the labels of namespaces.
func TestApplyCluster(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, other, images := newUser(t), namespace(t), namespace(t), newPair(t)
	for name, team := range map[string]string{ns: "blue", other: "red"} {
		patch := []byte(`{"metadata": {"labels": {"signet-test-team": "` + team + `"}}}`)
		if _, err := u.CoreV1().Namespaces().Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	keys := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, Data: map[string]string{"pub": shared.images.key}}
	if _, err := u.CoreV1().ConfigMaps(ns).Create(t.Context(), keys, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	u.mustCreate(t, ns, pod("good-"+ns, images.good))
	u.mustCreate(t, ns, pod("bad-"+ns, images.bad))
	u.mustCreate(t, other, pod("elsewhere-"+ns, images.bad))

	policyBy := func(key string, entries []any, preconditions map[string]any) map[string]any {
		p := rule{name: "by-map", key: key, keys: map[string]any{"rekor": map[string]any{"ignoreTlog": true}}}.clusterFor(ns)
		r := p.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
		r["match"] = map[string]any{"any": []any{map[string]any{"resources": map[string]any{
			"kinds": []any{"Pod"}, "namespaceSelector": map[string]any{"matchLabels": map[string]any{"signet-test-team": "blue"}},
		}}}}
		r["context"] = entries
		if preconditions != nil {
			r["preconditions"] = preconditions
		}
		return p.Object
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(object map[string]any) {
		t.Helper()
		text, err := yaml.Marshal(object)
		if err == nil {
			err = os.WriteFile(policy, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(policyBy("{{ keys.data.pub }}", []any{
		map[string]any{"name": "keys", "configMap": map[string]any{"name": "keys", "namespace": ns}},
		map[string]any{"name": "map", "apiCall": map[string]any{"urlPath": "/api/v1/namespaces/" + ns + "/configmaps/keys", "jmesPath": "metadata.name"}},
	}, map[string]any{"all": []any{map[string]any{"key": "{{ map }}", "operator": "Equals", "value": "keys"}}}))
	apply := func(code int, args ...string) (env.Result, map[string][]string) {
		t.Helper()
		args = append([]string{"apply", policy, "--cluster", "--kubeconfig", shared.cluster.Kubeconfig(), "--registry-config-dir", shared.mirrors,
			"-p", "--output-format", "json"}, args...)
		got, err := env.RunCommand(t.Context(), t.TempDir(), nil, shared.binary, args...)
		if err != nil {
			t.Fatal(err)
		}
		if got.Code != code {
			t.Errorf("%v: exit %d\n%s%s", args, got.Code, got.Stdout, got.Stderr)
		}
		var report struct {
			Results []struct {
				Result    string
				Resources []struct{ Namespace, Name string }
			}
		}
		results := map[string][]string{}
		if _, document, found := strings.Cut(got.Stdout, "...\n"); found {
			if err := json.NewDecoder(strings.NewReader(document)).Decode(&report); err != nil {
				t.Fatalf("%v\n%s", err, got.Stdout)
			}
		}
		for _, r := range report.Results {
			results[r.Resources[0].Name] = append(results[r.Resources[0].Name], r.Result)
		}
		return got, results
	}
	first := func(results []string) string { return strings.Join(results[:min(1, len(results))], "") }

	got, results := apply(1, "-n", ns)
	if first(results["good-"+ns]) != "pass" || first(results["bad-"+ns]) != "fail" || len(results) != 2 {
		t.Errorf("%v\n%s", results, got.Stdout)
	}
	if !regexp.MustCompile(`Applying \d+ policy rule\(s\) to 2 resource\(s\)`).MatchString(got.Stdout) {
		t.Error(got.Stdout)
	}
	// The labels of namespaces decide in all of them.
	if got, results = apply(1, "-r", "bad-"+ns, "-r", "elsewhere-"+ns); first(results["bad-"+ns]) != "fail" || len(results) != 1 {
		t.Errorf("%v\n%s", results, got.Stdout)
	}
	if got, results = apply(0, "-r", "good-"+ns); first(results["good-"+ns]) != "pass" || len(results) != 1 {
		t.Errorf("%v\n%s", results, got.Stdout)
	}
	if got, _ = apply(1, "-r", "nobody-"+ns); !strings.Contains(got.Stderr, "nobody-"+ns+" not found in cluster") {
		t.Error(got.Stderr)
	}
	// What a GlobalContextEntry keeps is read for the call.
	published := "published-" + ns
	if err := u.publish(t, globalEntry("v2", published, map[string]any{
		"kubernetesResource": map[string]any{"version": "v1", "resource": "configmaps", "namespace": ns},
		"projections":        []any{map[string]any{"name": "pub", "jmesPath": "[?metadata.name=='keys'].data.pub | [0]"}},
	})); err != nil {
		t.Fatal(err)
	}
	write(policyBy("{{ key }}", []any{map[string]any{"name": "key", "globalReference": map[string]any{"name": published + ".pub"}}}, nil))
	if got, results = apply(1, "-n", ns); first(results["good-"+ns]) != "pass" || first(results["bad-"+ns]) != "fail" {
		t.Errorf("%v\n%s", results, got.Stdout)
	}
	// A file is judged with what the policy names in the cluster.
	file := filepath.Join(t.TempDir(), "pod.yaml")
	document := "apiVersion: v1\nkind: Pod\nmetadata: {name: from-file, namespace: " + ns + "}\nspec: {containers: [{name: c, image: \"" + images.good + "\"}]}\n"
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, results = apply(0, "-r", file); first(results["from-file"]) != "pass" || len(results) != 1 {
		t.Errorf("%v\n%s", results, got.Stdout)
	}
}
