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

const (
	repository = "ghcr.io/kiratech/ncat-http-msg-port"
	reference  = repository + ":1.0"
)

// lab is one run of the lab: the transcript and what earlier steps found out.
type lab struct {
	ctx    context.Context
	t      *transcript
	p      *playground
	digest string // of the signed image
}

// playLab runs the lab's steps and then what the lab leaves out. An outcome that differs is counted in the transcript;
// the error is for a step that could not run, after which the rest means nothing.
func playLab(ctx context.Context, t *transcript, p *playground) error {
	l := &lab{ctx: ctx, t: t, p: p}
	steps := []func() error{
		l.keys, l.push, l.sign, l.verify, l.policy, l.signedPod, l.unsignedPod, l.report,
		l.deployments, l.audit, l.movedTag, l.olderFormat, l.permissions,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) command(format string, args ...any) (outcome, error) {
	return l.t.command(l.ctx, l.p, fmt.Sprintf(format, args...))
}

func (l *lab) keys() error {
	l.t.title("Requisites")
	l.t.note("COSIGN_PASSWORD is set, so cosign does not ask for one.")
	res, err := l.command("cosign generate-key-pair")
	if err != nil {
		return err
	}
	l.t.equal("a key pair was made", "Private key written to cosign.key\nPublic key written to cosign.pub\n", res.Output)
	res, err = l.command("ls -1 cosign.*")
	if err != nil {
		return err
	}
	l.t.equal("both files are there", "cosign.key\ncosign.pub\n", res.Output)
	return nil
}

func (l *lab) push() error {
	l.t.title("Build the container")
	img, err := labImage("Container test")
	if err != nil {
		return fmt.Errorf("building the lab's image: %w", err)
	}
	nginx, err := nginxImage()
	if err != nil {
		return fmt.Errorf("building nginx: %w", err)
	}
	if l.digest, err = l.p.push(l.ctx, "kiratech/ncat-http-msg-port:1.0", img); err != nil {
		return err
	}
	unsigned, err := l.p.push(l.ctx, "library/nginx:latest", nginx)
	if err != nil {
		return err
	}
	l.t.note("There is no docker here: the demo built the lab's image itself and pushed it, and an nginx that nobody signed,\n"+
		"to a registry on %s that stands in for ghcr.io and docker.io:", l.p.registry.Addr)
	l.t.say("%s\n  digest: %s\ndocker.io/library/nginx:latest\n  digest: %s", reference, l.digest, unsigned)
	return nil
}

func (l *lab) sign() error {
	l.t.title("Sign the pushed container image")
	l.t.note("cosign reaches ghcr.io by HTTPS_PROXY and SSL_CERT_FILE, and takes this place's transparency log from\n" +
		"COSIGN_SIGNING_CONFIG and COSIGN_TRUSTED_ROOT. Nothing goes to the internet.")
	res, err := l.command("cosign sign --key cosign.key %s@%s", repository, l.digest)
	if err != nil {
		return err
	}
	l.t.equal("cosign signed the image", "exit code 0", fmt.Sprintf("exit code %d", res.Code))
	return nil
}

func (l *lab) verify() error {
	l.t.note("cosign 3.1 writes \"optional\":{} where the lab's 3.0.2 wrote \"optional\":null.")
	for _, ref := range []string{reference, repository + "@" + l.digest} {
		res, err := l.command("cosign verify --key cosign.pub %s", ref)
		if err != nil {
			return err
		}
		l.t.equal("cosign verifies "+ref, l.verifyOutput(ref), res.Output)
	}
	return nil
}

// verifyOutput is what the lab shows for `cosign verify`.
func (l *lab) verifyOutput(ref string) string {
	return fmt.Sprintf(`
Verification for %s --
The following checks were performed on each of these signatures:
  - The cosign claims were validated
  - Existence of the claims in the transparency log was verified offline
  - The signatures were verified against the specified public key

[{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"https://sigstore.dev/cosign/sign/v1"},"optional":{}}]
`, ref, ref, l.digest)
}

func (l *lab) policy() error {
	l.t.title("Create the Kyverno ClusterPolicy")
	if err := l.p.writePolicy("verify-signed-images.yaml", nil); err != nil {
		return err
	}
	l.t.note("verify-signed-images.yaml is the lab's policy with the new public key.")
	res, err := l.command("cat verify-signed-images.yaml")
	if err != nil {
		return err
	}
	if res, err = l.command("kubectl apply -f verify-signed-images.yaml"); err != nil {
		return err
	}
	l.t.equal("the policy is accepted", "clusterpolicy.kyverno.io/require-signed-images created\n", res.Output)
	return l.ready("require-signed-images")
}

// ready waits until a policy is enforced.
func (l *lab) ready(policy string) error {
	res, err := l.command("kubectl wait --for=condition=Ready --timeout=120s clusterpolicy/%s", policy)
	if err != nil {
		return err
	}
	l.t.equal("the policy becomes ready", fmt.Sprintf("clusterpolicy.kyverno.io/%s condition met\n", policy), res.Output)
	if res.Code != 0 {
		return fmt.Errorf("policy %s is not ready; nothing after it would tell anything", policy)
	}
	if res, err = l.command("kubectl get cpol %s", policy); err != nil {
		return err
	}
	l.t.check("kubectl get cpol shows it ready", column(res.Output, policy, "READY") == "True", "READY True", res.Output)
	return nil
}

func (l *lab) signedPod() error {
	l.t.title("Test everything")
	res, err := l.command("kubectl run goodpod --image=%s", reference)
	if err != nil {
		return err
	}
	l.t.equal("the signed image is admitted", "pod/goodpod created\n", res.Output)
	res, err = l.command(`kubectl get pod goodpod -o jsonpath='{.metadata.annotations.kyverno\.io\/verify-images}'; echo`)
	if err != nil {
		return err
	}
	l.t.equal("the verification is noted in the Pod", fmt.Sprintf("{\"%s@%s\":\"pass\"}\n", repository, l.digest), res.Output)
	if res, err = l.command(`kubectl get pod goodpod -o jsonpath='{.spec.containers[0].image}'; echo`); err != nil {
		return err
	}
	l.t.equal("the image is pinned to the digest that was verified", reference+"@"+l.digest+"\n", res.Output)
	return nil
}

// denial is the lab's refusal of nginx. The blank at the end of its third line does not show on a page.
const denial = `Error from server: admission webhook "mutate.kyverno.svc-fail" denied the request: ` + `

resource Pod/default/notgoodpod was blocked due to the following policies ` + `

require-signed-images:
  check-image-signature: 'failed to verify image docker.io/nginx:latest: .attestors[0].entries[0].keys:
    no signatures found'
`

func (l *lab) unsignedPod() error {
	res, err := l.command("kubectl run notgoodpod --image=nginx")
	if err != nil {
		return err
	}
	l.t.equal("the unsigned image is refused in the lab's words", shown(denial), shown(res.Output))
	l.t.equal("kubectl fails", "exit code 1", fmt.Sprintf("exit code %d", res.Code))
	if res, err = l.command("kubectl get pods"); err != nil {
		return err
	}
	l.t.check("only goodpod exists", column(res.Output, "goodpod", "NAME") == "goodpod" && !strings.Contains(res.Output, "notgoodpod"),
		"goodpod", res.Output)
	return nil
}

// shown is text as a page shows it: without blanks at the ends of lines and empty lines at the end.
func shown(text string) string {
	return strings.TrimRight(regexp.MustCompile(`[ \t]+\n`).ReplaceAllString(text, "\n"), "\n") + "\n"
}

func (l *lab) report() error {
	l.t.title("Policy reports")
	l.t.note("Reports are written after the answer, within a few seconds.")
	return l.reported("default", "goodpod", "PASS")
}

// reported waits for a report on a Pod in which exactly one result stands in the given column.
func (l *lab) reported(namespace, pod, result string) error {
	accept := func(r outcome) bool { return column(r.Output, pod, result) == "1" }
	res, err := l.t.eventually(l.ctx, l.p, "kubectl get policyreports --namespace "+namespace, accept)
	if err != nil {
		return err
	}
	l.t.check(fmt.Sprintf("the report of %s says %s 1", pod, result), accept(res), result+" 1 for "+pod, res.Output)
	return nil
}

// column finds, in a table printed by kubectl, the row that has the word and returns its field below the header.
func column(table, word, header string) string {
	lines := strings.Split(table, "\n")
	at := regexp.MustCompile(`(^|\s)` + header + `(\s|$)`).FindStringIndex(lines[0])
	if at == nil {
		return ""
	}
	start := strings.Index(lines[0][at[0]:], header) + at[0]
	for _, line := range lines[1:] {
		for _, field := range strings.Fields(line) {
			if field == word && start < len(line) {
				if cells := strings.Fields(line[start:]); len(cells) > 0 {
					return cells[0]
				}
			}
		}
	}
	return ""
}

// writePolicy writes the lab's policy with the new public key into the lab's directory, changed by edit.
func (p *playground) writePolicy(file string, edit func(string) string) error {
	raw, err := os.ReadFile(filepath.Join(env.Root(), "config", "samples", "verify-signed-images.yaml"))
	if err != nil {
		return fmt.Errorf("reading the lab's policy: %w", err)
	}
	key, err := os.ReadFile(filepath.Join(p.Lab, "cosign.pub"))
	if err != nil {
		return fmt.Errorf("reading the public key: %w", err)
	}
	block := regexp.MustCompile(`(?s)( *)-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n`)
	text := block.ReplaceAllStringFunc(string(raw), func(old string) string {
		margin := old[:strings.Index(old, "-")]
		var b strings.Builder
		for line := range strings.Lines(string(key)) {
			b.WriteString(margin + line)
		}
		return b.String()
	})
	if edit != nil {
		text = edit(text)
	}
	return os.WriteFile(filepath.Join(p.Lab, file), []byte(text), 0o644)
}
