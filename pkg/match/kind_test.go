package match_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/match"
)

// VI 4.6(1): group, version, kind and subresource of every form.
func TestParseKind(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][4]string{
		"Pod":                               {"*", "*", "Pod", ""},
		"Pod/status":                        {"*", "*", "Pod", "status"},
		"Pod.status":                        {"*", "*", "Pod", "status"},
		"v1/Pod":                            {"*", "v1", "Pod", ""},
		"v1beta1/Pod":                       {"*", "v1beta1", "Pod", ""},
		"v2alpha10/Pod":                     {"*", "v2alpha10", "Pod", ""},
		"*/Pod":                             {"*", "*", "Pod", ""},
		"*/*":                               {"*", "*", "*", ""},
		"*/scale":                           {"*", "*", "*", "scale"},
		"v1/Pod/status":                     {"*", "v1", "Pod", "status"},
		"v1/Pod.status":                     {"*", "v1", "Pod", "status"},
		"*/Pod/status":                      {"*", "*", "Pod", "status"},
		"*/Pod/*":                           {"*", "*", "Pod", "*"},
		"apps/v1/Deployment":                {"apps", "v1", "Deployment", ""},
		"apps/*/Deployment":                 {"apps", "*", "Deployment", ""},
		"*/v1/Pod":                          {"*", "v1", "Pod", ""},
		"*/*/Pod":                           {"*", "*", "Pod", ""},
		"*/*/scale":                         {"*", "*", "*", "scale"},
		"tekton.dev/v1beta1/TaskRun":        {"tekton.dev", "v1beta1", "TaskRun", ""},
		"tekton.dev/v1beta1/TaskRun.status": {"tekton.dev", "v1beta1", "TaskRun", "status"},
		"tekton.dev/v1beta1/TaskRun/status": {"tekton.dev", "v1beta1", "TaskRun", "status"},
		"*.dev/v?/Task*/*":                  {"*.dev", "v?", "Task*", "*"},
		"Deploy*":                           {"*", "*", "Deploy*", ""},
		"Pod/exec?":                         {"*", "*", "Pod", "exec?"},
		"v1x/Pod":                           {"*", "*", "v1x", "Pod"},
	} {
		k, err := match.ParseKind(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		g, v, kind, sub := k.Parts()
		if d := cmp.Diff(want, [4]string{g.String(), v.String(), kind.String(), sub.String()}); d != "" || k.String() != in {
			t.Errorf("%s: %s", in, d)
		}
	}
	for _, in := range []string{"", "/", "Pod/", "/Pod", "a//b", "a/b/c/d/e", "Pod.", ".Pod", "apps/v1/Deployment/a.b"} {
		if k, err := match.ParseKind(in); err == nil {
			t.Errorf("%q is read as %v", in, k)
		}
	}
}
