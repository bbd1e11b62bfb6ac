package e2e

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Rules are about users by the roles that are bound to them now (VI 1.4(3)), once a policy asks for it.
func TestMatchRoles(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	p := rule{name: "by-role"}.in(ns)
	r := p.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
	r["exclude"] = map[string]any{"any": []any{map[string]any{"roles": []any{ns + ":trusted"}}}}
	u.apply(t, p)
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "trusted"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create"}}}}
	if _, err := u.RbacV1().Roles(ns).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	allow := func(role, name string) {
		t.Helper()
		b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}}}
		if _, err := u.RbacV1().RoleBindings(ns).Create(t.Context(), b, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	other := role.DeepCopy()
	other.Name = "other"
	if _, err := u.RbacV1().Roles(ns).Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	allow("other", "eve-"+ns)
	allow("trusted", "ann-"+ns)
	as := func(name string) *user {
		t.Helper()
		config := shared.cluster.Config()
		config.Impersonate = rest.ImpersonationConfig{UserName: name}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		return &user{Interface: client}
	}
	eventually(t, "somebody with the role to be left alone", func() error {
		_, err := as("ann-"+ns).create(t, ns, pod("good", images.bad))
		return err
	})
	_, err := as("eve-"+ns).create(t, ns, pod("bad", images.bad))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "bad", said("by-role", "check", images.objection())))
	if err := u.RbacV1().RoleBindings(ns).Delete(t.Context(), "ann-"+ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	allow("other", "ann-too-"+ns)
	_, err = as("ann-too-"+ns).create(t, ns, pod("bad", images.bad))
	wantRefused(t, err, "by-role")
}
