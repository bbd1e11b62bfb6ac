package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// VI 7.2(3), (4), A-49: a private image is read with the pull secret that the Pod or its ServiceAccount names, from the
// Pod's own namespace, once the owner of the cluster lets Signet read it; not without, and for no other namespace.
func TestPullSecrets(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, own, other := newUser(t), namespace(t), namespace(t)
	repo := repository(t, "private")
	push(shared.registry, repo, "1", &shared.images.signed)
	// By its address: credentials for a name do not go to the mirror that answers for it.
	address := shared.registry.Host()
	image := address + "/" + repo + "@" + shared.images.signed.digest
	t.Cleanup(shared.registry.Fault(registrytest.Match{Repository: repo}, registrytest.Users("puller:secret")))
	for _, ns := range []string{own, other} {
		u.apply(t, rule{keys: map[string]any{"rekor": map[string]any{"ignoreTlog": true}}}.in(ns))
	}
	count := 0
	with := func(account string, secrets ...string) *corev1.Pod {
		count++
		p := pod(fmt.Sprintf("pod-%d", count), image)
		p.Spec.ServiceAccountName = account
		for _, s := range secrets {
			p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
		}
		return p
	}
	refused := func(ns string, p *corev1.Pod) {
		t.Helper()
		_, err := u.create(t, ns, p)
		wantRefused(t, err, "401")
	}
	put := func(name, password string) {
		t.Helper()
		config, err := json.Marshal(map[string]any{"auths": map[string]any{address: map[string]any{"username": "puller", "password": password}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.CoreV1().Secrets(own).Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{".dockerconfigjson": config},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("pull", "secret")
	put("stale", "earlier")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "puller"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}}}
	if _, err := u.CoreV1().ServiceAccounts(own).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	refused(own, with(""))
	// Signet may not read Secrets of other namespaces than its own, until somebody says so.
	refused(own, with("", "pull"))
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "signet-pull"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"pull", "stale"}, Verbs: []string{"get"}}}}
	if _, err := u.RbacV1().Roles(own).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "signet-pull"},
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "signet-pull"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "kyverno", Name: "kyverno-admission-controller"}}}
	if _, err := u.RbacV1().RoleBindings(own).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Pod with the pull secret to be admitted", func() error {
		created, err := u.create(t, own, with("", "pull"))
		if err == nil && !strings.Contains(created.Annotations[annotation], `:"pass"`) {
			t.Errorf("the annotations are %v", created.Annotations)
		}
		return err
	})
	if _, err := u.create(t, own, with("puller")); err != nil {
		t.Errorf("the ServiceAccount's pull secret: %v", err)
	}
	if _, err := u.create(t, own, with("", "missing", "pull")); err != nil {
		t.Errorf("the second pull secret: %v", err)
	}
	// What was verified with credentials is not known to those who have none.
	refused(own, with(""))
	refused(own, with("", "missing"))
	refused(own, with("", "stale"))
	refused(other, with("", "pull"))
}
