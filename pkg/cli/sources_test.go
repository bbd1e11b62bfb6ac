package cli

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// secretOf is a Secret with entries, in a namespace unless that is empty.
func secretOf(namespace, name, kind, entry, content string) string {
	if namespace != "" {
		namespace = ", namespace: " + namespace
	}
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + namespace + "}\ntype: " + kind + "\ndata: {" + entry + ": " +
		base64.StdEncoding.EncodeToString([]byte(content)) + "}\n"
}

const configJSON = "kubernetes.io/dockerconfigjson"

// VI 7.2(2) and (3), 10.1(2): whose credentials a registry is read with that wants some.
func TestApplyCredentials(t *testing.T) {
	t.Parallel()
	const image = "ghcr.io/acme/key-notlog-v3-bundle:v1"
	server := stocked(t, "acme/key-notlog-v3-bundle")
	server.Fault(registrytest.Match{}, registrytest.Users("me:hunter2"))
	dir := t.TempDir()
	server.WriteHostsToml(dir, "ghcr.io")
	key := trustFile("trust/cosign.pub")
	plain := file(t, "plain.yaml", policyOf(t, "signed", "Enforce", key, "background: false"))
	naming := func(list string) string {
		return file(t, "naming.yaml", strings.Replace(policyOf(t, "signed", "Enforce", key, "background: false"),
			"failureAction:", "imageRegistryCredentials: {secrets: ["+list+"]}\n      failureAction:", 1))
	}
	docker := string(registrytest.DockerConfig(server.Host(), "me:hunter2"))
	good := func(namespace, name string) string {
		return file(t, "secret.yaml", secretOf(namespace, name, configJSON, ".dockerconfigjson", docker))
	}
	stale := file(t, "stale.yaml", secretOf("default", "pull", configJSON, ".dockerconfigjson", string(registrytest.DockerConfig(server.Host(), "me:gone"))))
	pod := func(spec string) string {
		return file(t, "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {"+spec+"containers: [{name: c, image: "+image+"}]}\n")
	}
	account := file(t, "account.yaml", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner, namespace: default}\nimagePullSecrets: [{name: pull}]\n")
	const verified, unauthorized = `"reason": "Verified"`, `"reason": "RegistryUnauthorized"`
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nobody's":                        {[]string{plain, "-r", pod("")}, unauthorized},
		"a rule's":                        {[]string{naming("own"), "-r", pod(""), "-r", good("kyverno", "own")}, verified},
		"a rule's without a namespace":    {[]string{naming("own"), "-r", pod(""), "-r", good("", "own")}, verified},
		"a rule's of another namespace":   {[]string{naming("build/own"), "-r", pod(""), "-r", good("build", "own")}, verified},
		"a rule's that is not there":      {[]string{naming("own"), "-r", pod("")}, "failed to fetch secrets: secret kyverno/own: it is not among the resources given, and no cluster is asked"},
		"a rule's in the wrong place":     {[]string{naming("own"), "-r", pod(""), "-r", good("build", "own")}, "secret kyverno/own: it is not among the resources given"},
		"a Pod's":                         {[]string{plain, "-r", pod("imagePullSecrets: [{name: pull}], "), "-r", good("default", "pull")}, verified},
		"a Pod's of another namespace":    {[]string{plain, "-r", pod("imagePullSecrets: [{name: pull}], "), "-r", good("build", "pull")}, unauthorized},
		"a Pod's that is not there":       {[]string{plain, "-r", pod("imagePullSecrets: [{name: pull}], ")}, unauthorized},
		"a Pod's that is stale":           {[]string{plain, "-r", pod("imagePullSecrets: [{name: pull}], "), "-r", stale}, unauthorized},
		"a service account's":             {[]string{plain, "-r", pod("serviceAccountName: runner, "), "-r", account, "-r", good("default", "pull")}, verified},
		"another service account's":       {[]string{plain, "-r", pod("serviceAccountName: other, "), "-r", account, "-r", good("default", "pull")}, unauthorized},
		"no base64":                       {[]string{plain, "-r", pod(""), "-r", file(t, "bad.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: '%'}\n")}, "is not base64"},
		"a rule's Secret of another type": {[]string{naming("own"), "-r", pod(""), "-r", file(t, "opaque.yaml", secretOf("kyverno", "own", "Opaque", ".dockerconfigjson", docker))}, "not a Secret of type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(t, append([]string{"apply", "--registry-config-dir", dir, "-p", "--output-format", "json"}, c.args...)...)
			if !strings.Contains(got.stdout+got.stderr, c.want) {
				t.Errorf("no %s in %s%s", c.want, got.stdout, got.stderr)
			}
			if strings.Contains(got.stdout+got.stderr, "hunter2") || (got.exit == 0) != (c.want == verified) {
				t.Errorf("exit %d: %s%s", got.exit, got.stdout, got.stderr)
			}
		})
	}
}

// A key in a Secret among the resources is the attestor's.
func TestKeysInSecrets(t *testing.T) {
	t.Parallel()
	const image = "ghcr.io/acme/key-notlog-v3-bundle:v1"
	server := stocked(t, "acme/key-notlog-v3-bundle")
	dir := t.TempDir()
	server.WriteHostsToml(dir, "ghcr.io")
	p := policyOf(t, "signed", "Enforce", trustFile("trust/cosign.pub"), "background: false")
	p = p[:strings.Index(p, "publicKeys:")] + "publicKeys: k8s://build/key\n"
	policy, pod := file(t, "policy.yaml", p), file(t, "pod.yaml", podOf("p", image))
	secret := func(path string) string {
		return file(t, "secret.yaml", secretOf("build", "key", "Opaque", "cosign.pub", read(t, path)))
	}
	good, other := secret(trustFile("trust/cosign.pub")), secret(trustFile("trust/other.pub"))
	for name, c := range map[string]struct {
		secret []string
		apply  int
		verify int
		want   string
	}{
		"the signer's": {[]string{"-r", good}, 0, ExitVerified, "Verified"},
		"another":      {[]string{"-r", other}, 1, ExitRefused, "BadSignature"},
		"none":         {nil, 1, ExitUnchecked, "is in a cluster, and none is asked here"},
		"empty":        {[]string{"-r", file(t, "s.yaml", secretOf("build", "key", "Opaque", "other", ""))}, 1, ExitRefused, "TrustMaterialInvalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(t, append([]string{"apply", policy, "-r", pod, "-p", "--registry-config-dir", dir}, c.secret...)...)
			if got.exit != c.apply || !strings.Contains(got.stdout, c.want) {
				t.Errorf("apply: exit %d: %s%s", got.exit, got.stdout, got.stderr)
			}
			got = call(t, append([]string{"verify", image, "--policy", policy, "--registry-config-dir", dir}, c.secret...)...)
			if got.exit != c.verify || !strings.Contains(got.stdout, c.want) {
				t.Errorf("verify: exit %d: %s%s", got.exit, got.stdout, got.stderr)
			}
		})
	}
}

// TestLayout judges the same image from a registry and from a directory.
func TestLayout(t *testing.T) {
	t.Parallel()
	const repository = "acme/key-rekor1-v3-bundle"
	server := stocked(t, repository)
	path := server.WriteLayouts(t.TempDir())[repository]
	server.Close()
	args := []string{"--key", trustFile("trust/cosign.pub"), "--trusted-root", trustFile("trust/trusted_root.json")}
	got := call(t, append([]string{"explain", "ghcr.io/" + repository + ":v1", "--oci-layout", "ghcr.io/" + repository + "=" + path}, args...)...)
	if got.exit != ExitVerified || !strings.Contains(got.stdout, "200  referrers API    oci-layout://ghcr.io/v2/"+repository+"/referrers/sha256:") || strings.Contains(got.stdout, "http://") {
		t.Errorf("exit %d: %s%s", got.exit, got.stdout, got.stderr)
	}

	// The same with full names in index.json.
	var index registrytest.Index
	name := filepath.Join(path, "index.json")
	if err := json.Unmarshal([]byte(read(t, name)), &index); err != nil {
		t.Fatal(err)
	}
	for i := range index.Manifests {
		if index.Manifests[i].Annotations != nil {
			index.Manifests[i].Annotations["org.opencontainers.image.ref.name"] = "ghcr.io/" + repository + ":v1"
		}
	}
	b, err := json.Marshal(index)
	if err == nil {
		err = os.WriteFile(name, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	got = call(t, append([]string{"verify", "ghcr.io/" + repository + ":v1", "--oci-layout", path}, args...)...)
	if got.exit != ExitVerified {
		t.Errorf("exit %d: %s%s", got.exit, got.stdout, got.stderr)
	}
	got = call(t, append([]string{"verify", "ghcr.io/" + repository + ":v2", "--oci-layout", path}, args...)...)
	if got.exit != ExitRefused || !strings.Contains(got.stdout, "ImageNotFound") {
		t.Errorf("exit %d: %s%s", got.exit, got.stdout, got.stderr)
	}
	if got = call(t, append([]string{"verify", "ghcr.io/acme/x:v1", "--oci-layout", path + "/none"}, args...)...); got.exit != ExitUnchecked || !strings.Contains(got.stderr, "--oci-layout") {
		t.Errorf("exit %d: %s%s", got.exit, got.stdout, got.stderr)
	}
}
