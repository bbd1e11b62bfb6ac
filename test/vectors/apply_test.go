package vectors_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/cli"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/test/vectors"
	"github.com/signet-policy/signet/testdata/corpus"
)

// plain tells whether a vector says all that happens by policies, exceptions, one object that is created, and a registry:
// what a pipeline has, too.
func plain(v *vectors.Vector) bool {
	r := &v.Request
	return (r.Operation == "" || r.Operation == "CREATE") && r.Subresource == "" && r.User == "" && len(r.Groups)+len(r.Roles)+len(r.ClusterRoles) == 0 &&
		r.RolesDown == "" && r.NamespacesDown == "" && r.SecretsDown == "" && r.Timeout == "" && !r.NotReady &&
		len(r.Namespaces)+len(r.Keys)+len(r.ConfigMaps)+len(r.API)+len(v.Globals)+len(v.Config) == 0 &&
		v.Old == "" && v.Warm == "" && v.Final == ""
}

// behaves tells whether the vector's registry does nothing that a directory cannot do.
func behaves(v *vectors.Vector) bool {
	r := &v.Registry
	return len(r.Users)+len(r.Faults) == 0 && r.Referrers == "" && !r.Refuse && r.After == nil
}

// apart are vectors whose outcome is another one without an API server, with the reason.
var apart = map[string]string{
	"signature-algorithm":          "the schema's default for keys.signatureAlgorithm is there before the entry's is looked at",
	"credentials-secret-missing":   "a Secret that a rule names and that was not given is an error, because the cluster may have it",
	"credentials-secret-namespace": "the same",
	"context-apicall-traversal":    "there is no API server to ask, so that the entry's default counts before its path is looked at",
	"context-apicall-confined":     "the same",
}

// TestApply runs the vectors by "signet apply" (VI 10.1): the results of the first phase are those of admission, and what
// is refused there is refused here.
func TestApply(t *testing.T) {
	t.Parallel()
	applyVectors(t, 150, plain, func(t *testing.T, v *vectors.Vector) { applyVector(t, v, inFiles) })
}

// TestApplyLayout runs the vectors whose registry behaves again, with what it holds in OCI image layouts, to the same
// results: nothing of that is asked of the registry any more.
func TestApplyLayout(t *testing.T) {
	t.Parallel()
	is := func(v *vectors.Vector) bool { return plain(v) && behaves(v) }
	applyVectors(t, 100, is, func(t *testing.T, v *vectors.Vector) { applyVector(t, v, inLayouts) })
}

// TestApplyCluster runs the vectors that need a cluster's data with that of an API server.
func TestApplyCluster(t *testing.T) {
	t.Parallel()
	is := func(v *vectors.Vector) bool {
		bare := *v
		r := &bare.Request
		served := len(r.Namespaces) + len(r.PullSecrets) + len(r.ServiceAccounts) + len(r.Keys) + len(r.ConfigMaps) + len(r.API)
		r.Namespaces, r.PullSecrets, r.ServiceAccounts, r.ConfigMaps, r.API = nil, nil, nil, nil, nil
		for ref, key := range r.Keys {
			if verify.Reference(ref).Scheme() != verify.SecretScheme || !strings.HasPrefix(key, "-----BEGIN") {
				return false
			}
		}
		r.Keys = nil
		return served > 0 && plain(&bare)
	}
	applyVectors(t, 20, is, func(t *testing.T, v *vectors.Vector) { applyVector(t, v, inCluster) })
}

func applyVectors(t *testing.T, least int, is func(*vectors.Vector) bool, run func(*testing.T, *vectors.Vector)) {
	list, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, v := range list {
		if !is(v) || apart[v.Name] != "" {
			continue
		}
		ran++
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			run(t, v)
		})
	}
	if ran < least {
		t.Errorf("only %d of %d vectors ran", ran, len(list))
	}
}

// secretDocuments are the Secrets and service accounts of a vector, as a pipeline would have them.
func secretDocuments(t *testing.T, v *vectors.Vector, server *registrytest.Server) []string {
	t.Helper()
	var texts []string
	add := func(kind, key string, more map[string]any) {
		namespace, name, _ := strings.Cut(key, "/")
		document := map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"namespace": namespace, "name": name}}
		maps.Copy(document, more)
		b, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	for key := range v.Request.PullSecrets {
		namespace, name, _ := strings.Cut(key, "/")
		kind, data, err := v.Request.Secrets(server.Host()).Secret(t.Context(), namespace, name)
		if err != nil {
			t.Fatal(err)
		}
		add("Secret", key, map[string]any{"type": kind, "data": data})
	}
	for key, names := range v.Request.ServiceAccounts {
		list := []any{}
		for _, n := range names {
			list = append(list, map[string]any{"name": n})
		}
		add("ServiceAccount", key, map[string]any{"imagePullSecrets": list})
	}
	return texts
}

// way is where a vector's images and objects are.
type way int

const (
	// inFiles has Secrets in files, inLayouts images too, and inCluster everything but the object on an API server.
	inFiles way = iota + 1
	inLayouts
	inCluster
)

func applyVector(t *testing.T, v *vectors.Vector, how way) {
	server := registrytest.New(nil)
	defer server.Close()
	digests := v.Registry.Stock(server)
	want, err := v.Want(digests)
	if err != nil {
		t.Fatal(err)
	}
	if want.Refused == "" && want.Results == nil {
		t.Skip("the vector states no results")
	}
	dir, mirrors := t.TempDir(), t.TempDir()
	v.Registry.Configure(t, server, mirrors)
	v.Registry.Misbehave(t, server, digests)
	write := func(name string, texts ...string) string {
		for i, text := range texts {
			texts[i] = vectors.Expand(text, digests)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(texts, "\n---\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	object := v.Object
	if object == "" {
		object = "{apiVersion: v1, kind: ConfigMap, metadata: {name: none}}"
	}
	args := []string{write("policies.yaml", slices.Clone(v.Policies)...), "-r", write("object.yaml", object), "--registry-config-dir", mirrors,
		"--offline", "-p", "--output-format", "json"}
	if len(v.Exceptions) > 0 {
		args = append(args, "-e", write("exceptions.yaml", slices.Clone(v.Exceptions)...))
	}
	if v.Request.TrustedRoot != "" {
		args = append(args, "--trusted-root", filepath.Join(corpus.Dir(), v.Request.TrustedRoot))
	}
	if how == inCluster {
		args = append(args, "--cluster", "--kubeconfig", serveVector(t, v, server, write))
	} else if texts := secretDocuments(t, v, server); len(texts) > 0 {
		args = append(args, "-r", write("secrets.yaml", texts...))
	}
	if how == inLayouts {
		for repository, path := range server.WriteLayouts(t.TempDir()) {
			for _, host := range append([]string{vectors.Host}, v.Registry.Hosts...) {
				args = append(args, "--oci-layout", host+"/"+repository+"="+path)
			}
		}
		defer func() {
			held := server.Repositories()
			for _, e := range server.Log() {
				if slices.Contains(held, e.Repository) {
					t.Errorf("the registry was asked for %s", e.Path)
				}
			}
		}()
	}
	var stdout, stderr bytes.Buffer
	exit := cli.Apply(t.Context(), args, cli.Options{Stdout: &stdout, Stderr: &stderr, Version: "test"})
	if want.Refused != "" {
		if exit == 0 {
			t.Errorf("not refused:\n%s", stdout.String())
		}
		return
	}
	_, text, found := strings.Cut(stdout.String(), "...\n")
	var report struct {
		Results []struct {
			Policy, Rule, Result string
			Properties           map[string]string
		}
	}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&report); !found || err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	// Of each policy the results of the first phase come first.
	wanted, got := map[string][]string{}, map[string][]string{}
	for _, line := range *want.Results {
		fields := strings.Fields(line)
		policy := fields[0][:strings.LastIndexByte(fields[0], '/')]
		wanted[policy] = append(wanted[policy], fields[0]+" "+strings.Join(fields[len(fields)-2:], " "))
	}
	for _, r := range report.Results {
		if len(got[r.Policy]) < len(wanted[r.Policy]) {
			got[r.Policy] = append(got[r.Policy], r.Policy+"/"+r.Rule+" "+r.Result+" "+r.Properties["reason"])
		}
	}
	for policy, lines := range wanted {
		slices.Sort(lines)
		slices.Sort(got[policy])
		if d := cmp.Diff(lines, got[policy]); d != "" {
			t.Errorf("%s: %s\n%s", policy, d, stderr.String())
		}
	}
}
