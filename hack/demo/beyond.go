package main

import (
	"fmt"
	"os"
	"strings"
)

// The steps here go beyond the lab's page: what a user tries next.

func (l *lab) deployments() error {
	l.t.title("Beyond the lab: Deployments are judged too")
	res, err := l.command("kubectl create deployment good --image=%s", reference)
	if err != nil {
		return err
	}
	l.t.equal("a Deployment of the signed image is admitted", "deployment.apps/good created\n", res.Output)
	pinned := reference + "@" + l.digest + "\n"
	accept := func(r outcome) bool { return r.Output == pinned }
	res, err = l.t.eventually(l.ctx, l.p, `kubectl get pods -l app=good -o jsonpath='{.items[0].spec.containers[0].image}'; echo`, accept)
	if err != nil {
		return err
	}
	l.t.equal("the Pod that its controller made is pinned", pinned, res.Output)
	if res, err = l.command("kubectl create deployment notgood --image=nginx"); err != nil {
		return err
	}
	l.t.containsAll("a Deployment of the unsigned image is refused by the generated rule", res.Output,
		`admission webhook "mutate.kyverno.svc-fail" denied the request`,
		"resource Deployment/default/notgood was blocked due to the following policies",
		"autogen-check-image-signature: ", "no signatures found")
	return nil
}

func (l *lab) audit() error {
	l.t.title("Beyond the lab: look before you enforce")
	l.t.note("The same policy for the namespace staging, with failureAction: Audit.")
	err := l.p.writePolicy("audit-signed-images.yaml", func(text string) string {
		return strings.NewReplacer("name: require-signed-images", "name: audit-signed-images",
			"- default", "- staging", "failureAction: Enforce", "failureAction: Audit").Replace(text)
	})
	if err != nil {
		return err
	}
	res, err := l.command("kubectl create namespace staging")
	if err != nil {
		return err
	}
	if err := l.p.cluster.EnsureNamespace(l.ctx, "staging"); err != nil {
		return err
	}
	if res, err = l.command("kubectl apply -f audit-signed-images.yaml"); err != nil {
		return err
	}
	l.t.containsAll("the policy is accepted", res.Output, "clusterpolicy.kyverno.io/audit-signed-images created")
	if err := l.ready("audit-signed-images"); err != nil {
		return err
	}
	if res, err = l.command("kubectl --namespace staging run notgoodpod --image=nginx"); err != nil {
		return err
	}
	l.t.containsAll("the unsigned Pod is admitted, with a warning", res.Output, "pod/notgoodpod created", "Warning: policy audit-signed-images.check-image-signature: ", "no signatures found")
	return l.reported("staging", "notgoodpod", "FAIL")
}

func (l *lab) movedTag() error {
	l.t.title("Beyond the lab: a tag that moves")
	other, err := labImage("Something else")
	if err != nil {
		return fmt.Errorf("building another image: %w", err)
	}
	digest, err := l.p.push(l.ctx, "kiratech/ncat-http-msg-port:1.0", other)
	if err != nil {
		return err
	}
	l.t.note("Somebody pushed another image under the signed tag: %s is now\n%s", reference, digest)
	res, err := l.command("kubectl run movedpod --image=%s", reference)
	if err != nil {
		return err
	}
	l.t.containsAll("the new image under the old tag is refused", res.Output, "failed to verify image "+reference+":\n", "no signatures found")
	if res, err = l.command("kubectl run stillgood --image=%s@%s", repository, l.digest); err != nil {
		return err
	}
	l.t.equal("the signed digest is still admitted", "pod/stillgood created\n", res.Output)
	return nil
}

func (l *lab) olderFormat() error {
	l.t.title("Beyond the lab: signatures in cosign 2's format")
	img, err := labImage("Signed as cosign 2 does it")
	if err != nil {
		return fmt.Errorf("building another image: %w", err)
	}
	digest, err := l.p.push(l.ctx, "kiratech/older-format:1.0", img)
	if err != nil {
		return err
	}
	l.t.note("This format needs a Rekor v1 log, and here is none: so this signature is in no log, and a second policy for the\n" +
		"namespace unlogged says ignoreTlog: true.")
	res, err := l.command("COSIGN_SIGNING_CONFIG= cosign sign --key cosign.key --new-bundle-format=false --use-signing-config=false --tlog-upload=false "+
		"ghcr.io/kiratech/older-format@%s", digest)
	if err != nil {
		return err
	}
	l.t.equal("cosign signed the image", "exit code 0", fmt.Sprintf("exit code %d", res.Code))
	if res, err = l.command("kubectl run unloggedpod --image=ghcr.io/kiratech/older-format:1.0"); err != nil {
		return err
	}
	l.t.containsAll("the lab's policy wants a log entry and refuses it", res.Output,
		"require-signed-images:", "failed to verify image ghcr.io/kiratech/older-format:1.0")
	err = l.p.writePolicy("unlogged-signed-images.yaml", func(text string) string {
		text = strings.NewReplacer("name: require-signed-images", "name: unlogged-signed-images", "- default", "- unlogged").Replace(text)
		return strings.TrimRight(text, "\n") + "\n                    rekor:\n                      ignoreTlog: true\n"
	})
	if err != nil {
		return err
	}
	if err := l.p.cluster.EnsureNamespace(l.ctx, "unlogged"); err != nil {
		return err
	}
	if res, err = l.command("kubectl apply -f unlogged-signed-images.yaml"); err != nil {
		return err
	}
	l.t.containsAll("the policy is accepted", res.Output, "clusterpolicy.kyverno.io/unlogged-signed-images created")
	if err := l.ready("unlogged-signed-images"); err != nil {
		return err
	}
	if res, err = l.command("kubectl --namespace unlogged run goodpod --image=ghcr.io/kiratech/older-format:1.0"); err != nil {
		return err
	}
	l.t.equal("without the log requirement it is admitted", "pod/goodpod created\n", res.Output)
	return nil
}

// permissions looks for what the API server refused to Signet itself: it runs with the roles of config/rbac and no others.
func (l *lab) permissions() error {
	l.t.title("Beyond the lab: Signet's own permissions")
	log, err := os.ReadFile(l.p.signet.LogFile)
	if err != nil {
		return fmt.Errorf("reading Signet's log: %w", err)
	}
	var refused []string
	for line := range strings.Lines(string(log)) {
		if strings.Contains(strings.ToLower(line), "forbidden") {
			refused = append(refused, line)
		}
	}
	l.t.check("the roles of config/rbac were enough", len(refused) == 0, "no request of Signet forbidden", strings.Join(refused, ""))
	return nil
}
