package controllers_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-policy/signet/controllers"
	"github.com/signet-policy/signet/test/env"
)

// follow runs a TrustedRoot for the ConfigMap a/root until the test ends, and hands over what it sets.
func follow(t *testing.T, config *rest.Config) <-chan string {
	t.Helper()
	got := make(chan string, 100)
	r, err := controllers.NewTrustedRoot(config, "a", "root", func(b []byte) (bool, error) {
		got <- string(b)
		if string(b) == "bad" {
			return false, errors.New("it is bad")
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Load(t.Context())
	if r.NeedLeaderElection() {
		t.Error("only the leader has a root")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return got
}

func wantRoot(t *testing.T, got <-chan string, want string) {
	t.Helper()
	for {
		select {
		case b := <-got:
			if strings.HasPrefix(b, "another") {
				t.Fatalf("%q was handed over", b)
			}
			if b == want {
				return
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q was not handed over", want)
		}
	}
}

func TestTrustedRoot(t *testing.T) {
	t.Parallel()
	cluster := env.ForTest(t, env.Options{Users: []env.User{{Name: "follower"}}})
	admin, err := controllers.NewClient(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{"a", "b"} {
		if err := cluster.EnsureNamespace(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
	}
	create := func(o client.Object) {
		t.Helper()
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	object := func(ns, name, content string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string]string{"trusted_root.json": content}}
	}
	config := cluster.UserConfig("follower")
	// Without a ConfigMap, and without the permission to read it, nothing fails.
	all, mine := follow(t, cluster.Config()), follow(t, config)
	create(object("a", "other", "another ConfigMap"))
	create(object("b", "root", "another namespace"))
	m := object("a", "root", "first")
	create(m)
	wantRoot(t, all, "first")
	for _, change := range []struct {
		data   map[string]string
		binary map[string][]byte
		want   string
	}{
		{data: map[string]string{"trusted_root.json": "bad"}, want: "bad"},
		{data: map[string]string{"another": "key"}},
		{binary: map[string][]byte{"trusted_root.json": []byte("binary")}, want: "binary"},
	} {
		m.Data, m.BinaryData = change.data, change.binary
		if err := admin.Update(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if change.want != "" {
			wantRoot(t, all, change.want)
		}
	}
	if err := admin.Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	create(object("a", "root", "again"))
	wantRoot(t, all, "again")

	select {
	case b := <-mine:
		t.Errorf("%q was read without permission", b)
	default:
	}
	// The Role of docs/operations.md.
	create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "root"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"root"}, Verbs: []string{"get", "list", "watch"},
	}}})
	create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "root"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "root"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "follower"}},
	})
	wantRoot(t, mine, "again")
}
