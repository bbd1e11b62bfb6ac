package env_test

import (
	"path/filepath"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/signet-policy/signet/test/env"
)

// config/default is applied to a real API server, as `make install` does it, and Signet's account may do what it needs
// and nothing that it must not.
func TestConfigDefault(t *testing.T) {
	t.Parallel()
	c := env.ForTest(t, env.Options{})
	ctx := t.Context()
	for _, round := range []string{"first", "second"} { // the second time nothing is in the way
		res, err := c.Kubectl(ctx, "apply", "--server-side", "-k", filepath.Join(env.Root(), "config", "default"))
		if err != nil {
			t.Fatal(err)
		}
		if err := res.OK(); err != nil {
			t.Fatalf("%s: %v", round, err)
		}
	}
	config, err := c.ServiceAccountConfig(ctx, env.SystemNamespace, env.SignetAccount)
	if err != nil {
		t.Fatal(err)
	}
	signet, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		attributes authorizationv1.ResourceAttributes
		want       bool
	}{
		"watch policies":                 {authorizationv1.ResourceAttributes{Group: "kyverno.io", Resource: "clusterpolicies", Verb: "watch"}, true},
		"write reports anywhere":         {authorizationv1.ResourceAttributes{Group: "wgpolicyk8s.io", Resource: "policyreports", Verb: "create", Namespace: "default"}, true},
		"keep its own certificates":      {authorizationv1.ResourceAttributes{Resource: "secrets", Verb: "create", Namespace: env.SystemNamespace}, true},
		"read other namespaces' secrets": {authorizationv1.ResourceAttributes{Resource: "secrets", Verb: "get", Namespace: "default"}, false},
		"list all secrets":               {authorizationv1.ResourceAttributes{Resource: "secrets", Verb: "list"}, false},
		"change pods":                    {authorizationv1.ResourceAttributes{Resource: "pods", Verb: "update", Namespace: "default"}, false},
		"watch namespaces":               {authorizationv1.ResourceAttributes{Resource: "namespaces", Verb: "watch"}, true},
		"change namespaces":              {authorizationv1.ResourceAttributes{Resource: "namespaces", Verb: "patch"}, false},
		"change policies":                {authorizationv1.ResourceAttributes{Group: "kyverno.io", Resource: "clusterpolicies", Verb: "update"}, false},
		"grant itself more":              {authorizationv1.ResourceAttributes{Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Verb: "escalate"}, false},
		"act as someone else":            {authorizationv1.ResourceAttributes{Resource: "users", Verb: "impersonate"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &tt.attributes}}
			got, err := signet.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Status.Allowed != tt.want {
				t.Errorf("allowed is %v, want %v (%s)", got.Status.Allowed, tt.want, got.Status.Reason)
			}
		})
	}
}
