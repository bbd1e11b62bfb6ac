package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/signet-policy/signet/test/env"
)

// labDenial is the lab's refusal of nginx. The third line ends with a blank.
const labDenial = `Error from server: admission webhook "mutate.kyverno.svc-fail" denied the request: ` + `

resource Pod/default/notgoodpod was blocked due to the following policies ` + `

require-signed-images:
  check-image-signature: 'failed to verify image docker.io/nginx:latest: .attestors[0].entries[0].keys:
    no signatures found'
`

// The lab, word for word: its commands by the real cosign and kubectl, with what the page shows for each.
func TestLab(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	dir := t.TempDir()
	const repository = "ghcr.io/kiratech/ncat-http-msg-port"
	digest := pushRandom(t, "kiratech/ncat-http-msg-port:1.0")
	pushRandom(t, "library/nginx:latest")

	sh := func(format string, args ...any) (string, int) {
		t.Helper()
		path := filepath.Join(env.Root(), "bin", "tools") + string(os.PathListSeparator) + os.Getenv("PATH")
		if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
			path = assets + string(os.PathListSeparator) + path
		}
		environment := append([]string{"PATH=" + path, "KUBECONFIG=" + shared.cluster.Kubeconfig()}, shared.cosign.Env...)
		line := fmt.Sprintf(format, args...)
		res, err := env.RunCommand(t.Context(), dir, environment, "/bin/sh", "-c", "exec 2>&1; "+line)
		if err != nil {
			t.Fatal(err)
		}
		return res.Stdout, res.Code
	}
	want := func(code int, output, line string) {
		t.Helper()
		got, gotCode := sh("%s", line)
		if got != output || gotCode != code {
			t.Fatalf("$ %s\ngot  (%d) %q\nwant (%d) %q", line, gotCode, got, code, output)
		}
	}
	verified := func(ref string) string {
		return fmt.Sprintf(`
Verification for %s --
The following checks were performed on each of these signatures:
  - The cosign claims were validated
  - Existence of the claims in the transparency log was verified offline
  - The signatures were verified against the specified public key

[{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"https://sigstore.dev/cosign/sign/v1"},"optional":{}}]
`, ref, ref, digest)
	}

	want(0, "Private key written to cosign.key\nPublic key written to cosign.pub\n", "cosign generate-key-pair")
	if out, code := sh("cosign sign --key cosign.key %s@%s", repository, digest); code != 0 {
		t.Fatalf("cosign sign: %s", out)
	}
	for _, ref := range []string{repository + ":1.0", repository + "@" + digest} {
		want(0, verified(ref), "cosign verify --key cosign.pub "+ref)
	}

	writeLabPolicy(t, dir)
	t.Cleanup(func() {
		if res, err := shared.cluster.Kubectl(context.Background(), "delete", "clusterpolicy", "require-signed-images"); err != nil || res.Code != 0 {
			t.Logf("deleting the lab's policy: %v %s", err, res.Stderr)
		}
	})
	want(0, "clusterpolicy.kyverno.io/require-signed-images created\n", "kubectl apply -f verify-signed-images.yaml")
	want(0, "clusterpolicy.kyverno.io/require-signed-images condition met\n",
		"kubectl wait --for=condition=Ready --timeout=120s clusterpolicy/require-signed-images")

	want(0, "pod/goodpod created\n", "kubectl run goodpod --image="+repository+":1.0")
	want(0, fmt.Sprintf("{\"%s@%s\":\"pass\"}\n", repository, digest),
		`kubectl get pod goodpod -o jsonpath='{.metadata.annotations.kyverno\.io\/verify-images}'; echo`)
	want(0, repository+":1.0@"+digest, `kubectl get pod goodpod -o jsonpath='{.spec.containers[0].image}'`)
	// The page does not show blanks at the ends of lines, nor that kubectl ends with an empty line.
	got, code := sh("kubectl run notgoodpod --image=nginx")
	if strings.TrimRight(got, "\n") != strings.TrimRight(labDenial, "\n") || code != 1 {
		t.Fatalf("got (%d) %q\nwant %q", code, got, labDenial)
	}
	want(1, "Error from server (NotFound): pods \"notgoodpod\" not found\n", "kubectl get pod notgoodpod")
	want(0, "", "kubectl delete pod goodpod --wait=false >/dev/null")
}

// writeLabPolicy writes the lab's policy with the key that the lab's first command made, otherwise as it is.
func writeLabPolicy(t *testing.T, dir string) {
	t.Helper()
	sample, err := os.ReadFile(filepath.Join(env.Root(), "config", "samples", "verify-signed-images.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	const marker = "publicKeys: |-\n"
	head, _, found := strings.Cut(string(sample), marker)
	if !found || !strings.HasSuffix(strings.TrimSpace(string(sample)), "-----END PUBLIC KEY-----") {
		t.Fatal("the lab's policy does not end with its key")
	}
	text := head + marker
	for line := range strings.Lines(string(key)) {
		text += strings.Repeat(" ", 22) + line
	}
	if err := os.WriteFile(filepath.Join(dir, "verify-signed-images.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pushRandom puts an image that nobody signed into the lab's registries and returns its digest.
func pushRandom(t *testing.T, repositoryAndTag string) string {
	t.Helper()
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(shared.hub.Addr+"/"+repositoryAndTag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
