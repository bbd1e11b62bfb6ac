package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// VI 6.5(1), 7.2(8), A-40, A-41, seed 41: keys in a Secret, by both spellings. Without the permission, the Secret or the
// key there is a denial that says which; every change of the Secret counts at once, also for a verdict that is cached.
func TestA41KeysInSecrets(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, own, other := newUser(t), namespace(t), namespace(t)
	const name = "image-signer"
	reference := "k8s://" + own + "/" + name
	u.apply(t, rule{keys: map[string]any{"publicKeys": "", "secret": map[string]any{"name": name, "namespace": own}}}.in(own))
	u.apply(t, rule{name: "signed-" + other, key: reference, resources: map[string]any{"namespaces": []any{other}}}.in(""))
	image := push(shared.registry, repository(t, "keys"), "1", &shared.images.signed) + "@" + shared.images.signed.digest

	count := 0
	try := func(ns string) error {
		count++
		_, err := u.create(t, ns, pod(fmt.Sprintf("pod-%d", count), image))
		return err
	}
	refused := func(text string) {
		t.Helper()
		for _, ns := range []string{own, other} {
			eventually(t, "the image to be refused", func() error {
				if err := try(ns); err == nil || !strings.Contains(unfolded(err.Error()), text) {
					return fmt.Errorf("the answer is %v", err) //nolint:errorlint // may be nil
				}
				return nil
			})
		}
	}
	admitted := func() {
		t.Helper()
		for _, ns := range []string{own, other} {
			eventually(t, "the image to be admitted", func() error { return try(ns) })
		}
	}
	secrets := u.CoreV1().Secrets(own)
	put := func(data map[string]string) {
		t.Helper()
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
		err := secrets.Delete(t.Context(), name, metav1.DeleteOptions{})
		if err == nil || apierrors.IsNotFound(err) {
			_, err = secrets.Create(t.Context(), s, metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	change := func(key string) {
		t.Helper()
		s, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
		if err == nil {
			s.Data = map[string][]byte{"cosign.pub": []byte(key)}
			_, err = secrets.Update(t.Context(), s, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	unavailable := "failed to verify image " + image + ": .attestors[0].entries[0].keys: the key " + reference + " is not available: "
	refused(unavailable + "Signet may not get, list and watch this Secret")
	u.eventWith(t, own, "Policy", "signed", "the key "+reference+" is not available: Signet may not", "[TrustMaterialUnavailable]")

	// The permission for this one name, merged into Signet's role by its label.
	grant := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "signet-key-" + own, Labels: map[string]string{"rbac.kyverno.io/aggregate-to-admission-controller": "true"}},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get", "list", "watch"}}},
	}
	if _, err := u.RbacV1().ClusterRoles().Create(t.Context(), grant, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.RbacV1().ClusterRoles().Delete(contextOf(t), grant.Name, metav1.DeleteOptions{}) })
	refused(unavailable + "there is no such Secret")

	// As cosign writes it, the private key beside the public one.
	put(map[string]string{"cosign.pub": shared.images.key, "cosign.key": "private", "cosign.password": "password"})
	admitted()
	change(shared.images.strangerKey)
	refused("no matching signatures: ")
	change(shared.images.key)
	admitted()
	change(shared.images.key + shared.images.strangerKey)
	refused("the key " + reference + ": cosign.pub holds 2 public keys, and a Secret stands for exactly one")
	change("")
	refused("the key " + reference + ": cosign.pub: public keys: empty")
	put(map[string]string{"other": shared.images.key})
	refused("the key " + reference + ": the Secret has no entry cosign.pub")
	put(map[string]string{"cosign.pub": shared.images.key})
	admitted()
	if err := secrets.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	refused(unavailable + "there is no such Secret")
}
