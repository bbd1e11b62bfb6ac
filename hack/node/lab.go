package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/signet-policy/signet/test/env"
)

// overlay is the kustomization of someone with mirrors and a log of their own, as docs/operations.md has it.
const overlay = `resources: [%s]
configMapGenerator:
- name: registries
  namespace: kyverno
  files: [%s]
- name: signet-trusted-root
  namespace: kyverno
  files: [trusted_root.json]
  options: {disableNameSuffixHash: true}
patches:
- target: {kind: Deployment, name: signet-admission-controller}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --registryConfigDir=/etc/signet/certs.d}
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --trustedRootConfigMap=kyverno/signet-trusted-root}
    - op: add
      path: /spec/template/spec/containers/0/volumeMounts/-
      value: {name: registries, mountPath: /etc/signet/certs.d}
    - op: add
      path: /spec/template/spec/volumes/-
      value: {name: registries, configMap: {name: registries, items: [%s]}}
`

// writeOverlay writes it with the files that it names into a directory.
func (m *machine) writeOverlay(dir string) error {
	var files, items []string
	for _, host := range hosts {
		files = append(files, host+".toml")
		items = append(items, fmt.Sprintf("{key: %s.toml, path: %s/hosts.toml}", host, host))
		raw, err := os.ReadFile(filepath.Join(m.mirrors, host, "hosts.toml"))
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, host+".toml"), string(raw)); err != nil {
			return err
		}
	}
	root, err := os.ReadFile(m.cosign.TrustedRoot)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "trusted_root.json"), string(root)); err != nil {
		return err
	}
	base, err := filepath.Rel(dir, filepath.Join(env.Root(), "config", "default"))
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "kustomization.yaml"), fmt.Sprintf(overlay, base, strings.Join(files, ", "), strings.Join(items, ", ")))
}

// playLab is the lab with Pods that run.
func playLab(ctx context.Context, t *transcript) error {
	t.title("The lab, with Pods that run")
	if err := t.m.writeOverlay(filepath.Join(t.m.dir, "install")); err != nil {
		return err
	}
	t.succeeds(ctx, "mirrors and a root of its own are added", "kubectl apply --server-side -k ../install | grep -v unchanged | tail -n 3")
	t.succeeds(ctx, "the replicas are replaced", "kubectl -n kyverno rollout status --timeout=180s %s", deployment)
	img, err := program("Container test", "8888")
	if err != nil {
		return err
	}
	digest, err := t.m.push(ctx, "kiratech/ncat-http-msg-port:1.0", img)
	if err != nil {
		return err
	}
	if img, err = program("not signed", "80"); err != nil {
		return err
	}
	if _, err := t.m.push(ctx, "library/nginx:latest", img); err != nil {
		return err
	}
	t.succeeds(ctx, "a key pair is made", "cosign generate-key-pair")
	t.succeeds(ctx, "the image is signed", "cosign sign --key cosign.key %s@%s", repository, digest)
	if err := t.m.writePolicy(); err != nil {
		return err
	}
	t.succeeds(ctx, "the policy is accepted", "kubectl apply -f verify-signed-images.yaml")
	t.succeeds(ctx, "the policy becomes ready", "kubectl wait --for=condition=Ready --timeout=60s cpol/require-signed-images")
	t.succeeds(ctx, "the signed image is admitted", "kubectl run goodpod --image=%s --port=8888", reference)
	res := t.run(ctx, "kubectl run notgoodpod --image=nginx")
	t.check("the unsigned image is refused", res.Code == 1 && strings.Contains(res.Stdout, ".attestors[0].entries[0].keys:\n    no signatures found"), res.Stdout)
	t.succeeds(ctx, "the signed Pod runs", "kubectl wait --for=condition=Ready --timeout=120s pod/goodpod")
	res = t.run(ctx, "kubectl get pod goodpod -o jsonpath='{.status.containerStatuses[0].imageID}'; echo")
	t.check("the node pulled the digest that was verified", strings.TrimSpace(res.Stdout) == repository+"@"+digest, res.Stdout)
	answer, _, ok := t.m.eventually(ctx, `curl -s --max-time 5 "http://$(kubectl get pod goodpod -o jsonpath='{.status.podIP}'):8888"`,
		func(s string) bool { return strings.Contains(s, "Container test") })
	t.check("it answers as the lab's container does", ok, answer)
	answer, _, ok = t.m.eventually(ctx, "kubectl get policyreports --no-headers | grep goodpod",
		func(s string) bool { return len(strings.Fields(s)) > 3 && strings.Fields(s)[3] == "1" })
	t.check("its report says PASS 1", ok, answer)
	return nil
}

// writePolicy writes the lab's policy with the new public key.
func (m *machine) writePolicy() error {
	raw, err := os.ReadFile(filepath.Join(env.Root(), "config", "samples", "verify-signed-images.yaml"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(m.lab, "cosign.pub"))
	if err != nil {
		return err
	}
	block := regexp.MustCompile(`(?s)( *)-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n`)
	margin := block.FindStringSubmatch(string(raw))[1]
	text := block.ReplaceAllLiteralString(string(raw), margin+strings.ReplaceAll(strings.TrimSpace(string(key)), "\n", "\n"+margin)+"\n")
	return writeFile(filepath.Join(m.lab, "verify-signed-images.yaml"), text)
}
