package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/signet-policy/signet/test/env"
)

// The tests of this file stop Signet, or what it registered, and are not parallel for that reason.

const (
	policyValidating = "kyverno-policy-validating-webhook-cfg"
	policyMutating   = "kyverno-policy-mutating-webhook-cfg"
	mutating         = "kyverno-resource-mutating-webhook-cfg"
	validating       = "kyverno-resource-validating-webhook-cfg"
)

// unjudged does something while no webhook judges policies: it takes the registration away until the API server has
// noticed, while Signet cannot put it back. It may be done and the answer come too late, so it must be right to do it again.
func (u *user) unjudged(t *testing.T, do func(context.Context) error) {
	t.Helper()
	for _, name := range []string{policyValidating, policyMutating} {
		var err error
		if name == policyValidating {
			err = u.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), name, metav1.DeleteOptions{})
		} else {
			err = u.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(t.Context(), name, metav1.DeleteOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	eventually(t, "to be unjudged", func() error {
		// As long as the API server still calls a webhook, it waits for an answer that does not come.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return do(ctx)
	})
}

// breakPolicy gives the policy a key that is none.
func breakPolicy(t *testing.T, p *unstructured.Unstructured) {
	t.Helper()
	rules, _, _ := unstructured.NestedSlice(p.Object, "spec", "rules")
	entry := rules[0].(map[string]any)["verifyImages"].([]any)[0].(map[string]any)
	set := entry["attestors"].([]any)[0].(map[string]any)["entries"].([]any)[0].(map[string]any)
	set["keys"].(map[string]any)["publicKeys"] = "/etc/key.pub"
	mustSet(t, p, rules, "spec", "rules")
}

// brokenText is what is said about the key of breakPolicy.
const brokenText = `spec.rules[0].verifyImages[0].attestors[0].entries[0].keys.publicKeys: Invalid value: "/etc/key.pub": ` +
	`file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI`

// A stored policy that cannot be compiled, which takes somebody who keeps the policy webhook away: after a good
// generation that one stays in force; without one, everything that the policy matches is refused. The status names the
// field either way.
func TestBrokenStoredPolicy(t *testing.T) {
	signet := shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	p := u.apply(t, rule{}.in(ns))
	policy := u.resource(p)
	notReady := func(p *unstructured.Unstructured) {
		t.Helper()
		c := readyCondition(u.condition(t, p, "False"))
		if text := fmt.Sprint(c["message"]); c["reason"] != "Failed" || !strings.Contains(text, brokenText) {
			t.Errorf("condition %v, want it to say %s", c, brokenText)
		}
	}

	if err := syscall.Kill(signet.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awake := false
	wake := func() {
		if !awake {
			awake = true
			if err := syscall.Kill(signet.PID(), syscall.SIGCONT); err != nil {
				t.Error(err)
			}
		}
	}
	defer wake()
	u.unjudged(t, func(ctx context.Context) error {
		now, err := policy.Get(ctx, p.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		breakPolicy(t, now)
		_, err = policy.Update(ctx, now, metav1.UpdateOptions{})
		return err
	})
	wake()
	notReady(p)
	_, err := u.create(t, ns, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "bad", said("signed", "check", images.objection())))
	u.mustCreate(t, ns, pod("good", images.good))

	// Signet starts anew, with nothing but the broken generation.
	shared.stop()
	fresh := namespace(t)
	other := rule{name: "other"}.in(fresh)
	breakPolicy(t, other)
	u.unjudged(t, func(ctx context.Context) error {
		if _, err := u.resource(other).Create(ctx, other, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
			return err
		}
		return nil
	})
	t.Cleanup(func() { u.withdraw(t, other) })
	shared.run(t, "")
	for ns, p := range map[string]*unstructured.Unstructured{ns: p, fresh: other} {
		notReady(p)
		_, err := u.create(t, ns, pod("any", images.good))
		wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "any", said(p.GetName(), "check",
			"the policy cannot be evaluated: "+brokenText)))
	}
	// Mended, it is in force as if nothing had been.
	mended, err := policy.Get(t.Context(), p.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustSet(t, mended, rule{}.in(ns).Object["spec"], "spec")
	if mended, err = policy.Update(t.Context(), mended, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	u.ready(t, mended)
	u.mustCreate(t, ns, pod("any", images.good))
}

// Signet that ends leaves its registrations, so that nothing comes through while it is away, except where the failure
// policy says so; and goes on where it was.
func TestA56Restart(t *testing.T) {
	signet := shared.run(t, "")
	u, strict, lax, images := newUser(t), namespace(t), namespace(t), newPair(t)
	u.apply(t, rule{}.in(strict))
	u.apply(t, rule{failure: "Ignore", kinds: []any{"ConfigMap"}}.in(lax))

	if err := syscall.Kill(signet.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-signet.Done():
	case <-time.After(patience):
		t.Fatal("Signet does not end")
	}
	shared.stop()
	if _, err := u.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), mutating, metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := u.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), validating, metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	for _, image := range []string{images.good, images.bad} {
		_, err := u.create(t, strict, pod("p", image))
		if err == nil || !strings.Contains(err.Error(), `failed calling webhook "mutate.kyverno.svc-fail"`) {
			t.Errorf("%s without Signet: %v", image, err)
		}
	}

	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}
	if _, err := u.CoreV1().ConfigMaps(lax).Create(t.Context(), settings, metav1.CreateOptions{}); err != nil {
		t.Errorf("what may be ignored, without Signet: %v", err)
	}

	shared.run(t, "")
	eventually(t, "the new address to be registered", func() error {
		_, err := u.create(t, strict, pod("good", images.good))
		return err
	})
	_, err := u.create(t, strict, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", strict, "bad", said("signed", "check", images.objection())))
}

// A second Signet stands by, and takes over with what it has read when the first one ends.
func TestA56Standby(t *testing.T) {
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{}.in(ns))
	dir := filepath.Join(shared.dir, "standby")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	second, err := shared.cluster.StartSignet(t.Context(), env.SignetOptions{Binary: shared.binary, Dir: dir, Args: shared.args})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Stop()
	u.mustCreate(t, ns, pod("both", images.good))
	shared.stop()
	eventually(t, "the second Signet to take over", func() error {
		_, err := u.create(t, ns, pod("second", images.good))
		return err
	})
	_, err = u.create(t, ns, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "bad", said("signed", "check", images.objection())))
	// A policy written now is read by the new leader, and becomes ready.
	other := namespace(t)
	u.apply(t, rule{}.in(other))
	_, err = u.create(t, other, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", other, "bad", said("signed", "check", images.objection())))
}
