package attacks_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// roles reads the roles that are installed, by kind and name.
func roles(t *testing.T) map[string]rbacv1.ClusterRole {
	t.Helper()
	files, err := filepath.Glob("../../config/rbac/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := map[string]rbacv1.ClusterRole{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
			var role rbacv1.ClusterRole
			if err := d.Decode(&role); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(file, err)
			}
			if role.Kind == "Role" || role.Kind == "ClusterRole" {
				found[role.Kind+" "+role.Name] = role
			}
		}
	}
	return found
}

// TestT024A63Roles looks at what Signet may do, and what it hands out: no wildcards, Secrets in its own namespace alone, and of what it
// may write nothing that decides about anybody's rights or runs anything. Whoever takes it over gets no more than that.
func TestT024A63Roles(t *testing.T) {
	t.Parallel()
	found := roles(t)
	// What may be written, by group and resource; an asterisk before those that are for named objects only.
	written := map[string][]string{
		"ClusterRole kyverno:admission-controller": {
			"admissionregistration.k8s.io/mutatingwebhookconfigurations create", "admissionregistration.k8s.io/validatingwebhookconfigurations create",
			"*admissionregistration.k8s.io/mutatingwebhookconfigurations update", "*admissionregistration.k8s.io/validatingwebhookconfigurations update",
			"events.k8s.io/events create", "events.k8s.io/events patch",
			"wgpolicyk8s.io/policyreports create", "wgpolicyk8s.io/policyreports delete", "wgpolicyk8s.io/policyreports patch", "wgpolicyk8s.io/policyreports update",
			"wgpolicyk8s.io/clusterpolicyreports create", "wgpolicyk8s.io/clusterpolicyreports delete", "wgpolicyk8s.io/clusterpolicyreports patch", "wgpolicyk8s.io/clusterpolicyreports update",
		},
		"Role kyverno:admission-controller": {
			"/secrets create", "*/secrets update", "/events create", "/events patch", "coordination.k8s.io/leases create", "coordination.k8s.io/leases delete", "coordination.k8s.io/leases patch", "*coordination.k8s.io/leases update",
		},
		"ClusterRole kyverno:rbac:admin:policies": {
			"kyverno.io/policies create", "kyverno.io/policies delete", "kyverno.io/policies patch", "kyverno.io/policies update",
		},
	}
	for name := range written {
		if _, ok := found[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
	for name, role := range found {
		for _, rule := range role.Rules {
			if all := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs); slices.Contains(all, "*") || len(rule.NonResourceURLs) > 0 {
				t.Errorf("%s: %v", name, rule)
			}
			if strings.HasPrefix(name, "ClusterRole") && slices.Contains(rule.APIGroups, "") && slices.Contains(rule.Resources, "secrets") {
				t.Errorf("%s: Secrets of every namespace", name)
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						one := group + "/" + resource + " " + verb
						if len(rule.ResourceNames) > 0 {
							one = "*" + one
						}
						// The status of what is Signet's own kinds is for it to write.
						own := name == "ClusterRole kyverno:admission-controller" && group == "kyverno.io" && strings.HasSuffix(resource, "/status") && (verb == "update" || verb == "patch")
						if read := verb == "get" || verb == "list" || verb == "watch"; !read && !own && !slices.Contains(written[name], one) {
							t.Errorf("%s may %s", name, one)
						}
					}
				}
			}
		}
	}
}
