package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	fcache "k8s.io/client-go/tools/cache/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-policy/signet/pkg/match"
)

// bindingSource is an API server that serves bindings through real informers.
type bindingSource struct {
	source *fcache.FakeControllerSource
	refuse bool // reads nothing

	mu      sync.Mutex
	running map[string]context.CancelFunc
}

func (s *bindingSource) GetInformer(_ context.Context, o client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	var lw toolscache.ListerWatcher = s.source
	if s.refuse {
		lw = fcache.NewFakeControllerSource()
		lw.(*fcache.FakeControllerSource).ListError = errors.New("forbidden")
	}
	informer := toolscache.NewSharedIndexInformer(lw, nil, 0, nil)
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[fmt.Sprintf("%T", o)] = cancel
	go informer.RunWithContext(ctx)
	return informer, nil
}

func (s *bindingSource) RemoveInformer(_ context.Context, o client.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[fmt.Sprintf("%T", o)]()
	delete(s.running, fmt.Sprintf("%T", o))
	return nil
}

func (s *bindingSource) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.running)
}

func roleBinding(namespace, name, kind, role string, subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "u"},
		RoleRef: rbacv1.RoleRef{Kind: kind, Name: role}, Subjects: subjects}
}

// VI 1.4(3): what is bound to a user, to their groups and to a service account, and how that changes.
func TestRoles(t *testing.T) {
	t.Parallel()
	ann, ops := rbacv1.Subject{Kind: "User", Name: "ann"}, rbacv1.Subject{Kind: "Group", Name: "ops"}
	account := rbacv1.Subject{Kind: "ServiceAccount", Namespace: "ci", Name: "build"}
	source := &bindingSource{source: fcache.NewFakeControllerSource(), running: map[string]context.CancelFunc{}}
	source.source.Add(roleBinding("a", "one", "Role", "reader", ann))
	source.source.Add(roleBinding("b", "one", "Role", "reader", ann, account))
	source.source.Add(roleBinding("b", "two", "ClusterRole", "edit", ops))
	source.source.Add(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "all", UID: "u"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "admin"}, Subjects: []rbacv1.Subject{ann, ops}})
	r := &Roles{cache: source}
	ctx := t.Context()
	if b, err := r.Of(ctx, match.User{Name: "ann"}); !errors.Is(err, errBindings) {
		t.Errorf("%v, %v before anybody watches", b, err)
	}
	r.want(byPolicies, true)
	r.want(byPolicies, true)
	for name, c := range map[string]struct {
		user match.User
		want match.Bound
	}{
		"a user":          {match.User{Name: "ann"}, match.Bound{Roles: []string{"a:reader", "b:reader"}, ClusterRoles: []string{"admin"}}},
		"a group":         {match.User{Name: "bob", Groups: []string{"dev", "ops"}}, match.Bound{ClusterRoles: []string{"admin", "edit"}}},
		"both, once":      {match.User{Name: "ann", Groups: []string{"ops"}}, match.Bound{Roles: []string{"a:reader", "b:reader"}, ClusterRoles: []string{"admin", "edit"}}},
		"an account":      {match.User{Name: "system:serviceaccount:ci:build"}, match.Bound{Roles: []string{"b:reader"}}},
		"another account": {match.User{Name: "system:serviceaccount:cd:build"}, match.Bound{}},
		"a group's name":  {match.User{Name: "ops"}, match.Bound{}},
		"a user as group": {match.User{Groups: []string{"ann"}}, match.Bound{}},
		"an odd account":  {match.User{Name: "system:serviceaccount:ci"}, match.Bound{}},
		"nobody":          {match.User{}, match.Bound{}},
	} {
		got, err := r.Of(ctx, c.user)
		if d := cmp.Diff(c.want, got); d != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, d)
		}
	}
	until := func(what string, user match.User, want match.Bound) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			got, err := r.Of(ctx, user)
			d := cmp.Diff(want, got)
			if d == "" && err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v %s", what, err, d)
			}
		}
	}
	source.source.Modify(roleBinding("a", "one", "Role", "reader", ops))
	until("a binding that names others", match.User{Name: "ann"}, match.Bound{Roles: []string{"b:reader"}, ClusterRoles: []string{"admin"}})
	source.source.Delete(roleBinding("b", "one", "Role", "reader", ann, account))
	until("a binding that is gone", match.User{Name: "ann"}, match.Bound{ClusterRoles: []string{"admin"}})
	r.want(bySettings, true)
	r.want(byPolicies, false)
	if source.count() == 0 {
		t.Error("not watching although somebody asks")
	}
	r.want(bySettings, false)
	if source.count() != 0 {
		t.Error("still watching")
	}
	if b, err := r.Of(ctx, match.User{Name: "ann"}); !errors.Is(err, errBindings) {
		t.Errorf("%v, %v after the end of watching", b, err)
	}
	r.want(byPolicies, true)
	until("watching again", match.User{Name: "bob", Groups: []string{"ops"}}, match.Bound{Roles: []string{"a:reader"}, ClusterRoles: []string{"admin", "edit"}})
}

// VI 4.6(6), A-79: bindings that cannot be read are an error, never a user without roles.
func TestRolesUnread(t *testing.T) {
	t.Parallel()
	r := &Roles{cache: &bindingSource{refuse: true, running: map[string]context.CancelFunc{}}}
	r.want(byPolicies, true)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if b, err := r.Of(ctx, match.User{Name: "ann"}); !errors.Is(err, errBindings) {
		t.Errorf("%v, %v", b, err)
	}
	var none *Roles
	none.want(byPolicies, true)
	if b, err := none.Of(t.Context(), match.User{}); !errors.Is(err, errBindings) {
		t.Errorf("%v, %v without anybody to ask", b, err)
	}
}

// Nobody is without roles because watching ends while they are asked for.
func TestRolesWhileWatchingEnds(t *testing.T) {
	t.Parallel()
	source := &bindingSource{source: fcache.NewFakeControllerSource(), running: map[string]context.CancelFunc{}}
	source.source.Add(roleBinding("a", "one", "Role", "reader", rbacv1.Subject{Kind: "User", Name: "ann"}))
	r := &Roles{cache: source}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			r.want(byPolicies, true)
			_, _ = r.Of(t.Context(), match.User{Name: "ann"})
			r.want(byPolicies, false)
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
		}
		if b, err := r.Of(t.Context(), match.User{Name: "ann"}); err == nil && len(b.Roles) != 1 {
			t.Fatalf("%v", b)
		}
	}
}

// What the cache keeps of a binding.
func TestOnlyBinding(t *testing.T) {
	t.Parallel()
	in := roleBinding("a", "one", "Role", "reader", rbacv1.Subject{Kind: "User", Name: "ann"})
	in.Annotations, in.ManagedFields = map[string]string{"large": "x"}, []metav1.ManagedFieldsEntry{{}}
	out, err := onlyBinding(in)
	if d := cmp.Diff(roleBinding("a", "one", "Role", "reader", rbacv1.Subject{Kind: "User", Name: "ann"}), out); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
}
