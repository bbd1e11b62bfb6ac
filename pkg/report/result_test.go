package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

var everything = []string{"pass", "fail", "error", "warn", "skip"}

// VI 8.1(4), (5).
func TestFindings(t *testing.T) {
	t.Parallel()
	cluster, local := policy.Key{Name: "check"}, policy.Key{Namespace: "team", Name: "check"}
	nginx := newImage(t, 0, "nginx:1", "/spec/containers/0/image", "/spec/containers/1/image")
	presented := func(r *policy.Rule) {
		r.Policy.Report = policy.Report{Severity: "high", Category: "Supply <chain>"}
	}
	result := func(change func(*reports.PolicyReportResult)) []reports.PolicyReportResult {
		r := reports.PolicyReportResult{Source: "kyverno", Policy: "check", Rule: "r", Result: "fail", Message: "no signatures found",
			Scored: true, Timestamp: metav1.Timestamp{Seconds: 42}, Properties: map[string]string{
				"image": "docker.io/nginx:1", "digest": digest, "path": "/spec/containers/0/image,/spec/containers/1/image",
				"reason": "Unsigned", "process": "admission review"}}
		change(&r)
		return []reports.PolicyReportResult{r}
	}
	tests := map[string]struct {
		result  engine.Result
		allowed []string
		want    []reports.PolicyReportResult
	}{
		"every field of a failed image": {
			result: failed(newRule(cluster, "r", policy.Fail, presented), nginx),
			want: result(func(r *reports.PolicyReportResult) {
				r.Severity, r.Category = "high", "Supply chain"
			}),
		},
		"a namespaced policy with background": {
			result: failed(newRule(local, "r", policy.Fail, background), nginx),
			want: result(func(r *reports.PolicyReportResult) {
				r.Policy, r.Properties["process"] = "team/check", "background scan"
			}),
		},
		"unscored violations are warnings": {
			result: failed(newRule(cluster, "r", policy.Fail, unscored), nginx),
			want:   result(func(r *reports.PolicyReportResult) { r.Scored, r.Result = false, "warn" }),
		},
		"unscored errors stay errors": {
			result: engine.Result{Rule: newRule(cluster, "r", policy.Fail, unscored), Status: engine.Error, Reason: reason.ContextError, Message: "m"},
			want: result(func(r *reports.PolicyReportResult) {
				r.Scored, r.Result, r.Message = false, "error", "m"
				r.Properties = map[string]string{"reason": "ContextError", "process": "admission review"}
			}),
		},
		"a severity that does not exist is left out": {
			result: failed(newRule(cluster, "r", policy.Fail, func(r *policy.Rule) { r.Policy.Report.Severity = "huge" }), nginx),
			want:   result(func(*reports.PolicyReportResult) {}),
		},
		"report properties add facts and replace none": {
			result: failed(newRule(cluster, "r", policy.Fail, reportProperties(map[string]string{
				"team": "a<b>", "image": "forged", "reason": "Verified", "process": "forged", "passMessage": "fine"})), nginx),
			want: result(func(r *reports.PolicyReportResult) { r.Properties["team"] = "ab" }),
		},
		"an error without image gets no image from properties": {
			result: engine.Result{Rule: newRule(cluster, "r", policy.Fail, reportProperties(map[string]string{"image": "forged", "digest": "d", "path": "p"})),
				Status: engine.Error, Reason: reason.ContextError},
			want: result(func(r *reports.PolicyReportResult) {
				r.Result, r.Message = "error", ""
				r.Properties = map[string]string{"reason": "ContextError", "process": "admission review"}
			}),
		},
		"a message for the status": {
			result: failed(newRule(cluster, "r", policy.Fail, reportProperties(map[string]string{"failMessage": "ask us", "warnMessage": "no"})), nginx),
			want:   result(func(r *reports.PolicyReportResult) { r.Message = "ask us" }),
		},
		"a message for the status as reported": {
			result: failed(newRule(cluster, "r", policy.Fail, unscored, reportProperties(map[string]string{"failMessage": "no", "warnMessage": "yes"})), nginx),
			want:   result(func(r *reports.PolicyReportResult) { r.Message, r.Scored, r.Result = "yes", false, "warn" }),
		},
		"a message for every status": {
			result: failed(newRule(cluster, "r", policy.Fail, reportProperties(map[string]string{"failMessage": "no", "message": "always"})), nginx),
			want:   result(func(r *reports.PolicyReportResult) { r.Message = "always" }),
		},
		// T-017
		"T-017 text from a registry": {
			result: engine.Result{Rule: newRule(cluster, "r", policy.Fail), Image: nginx, Digest: digest, Status: engine.Fail, Reason: reason.Unsigned,
				Message: "<img src=x onerror=alert(1)>" + strings.Repeat("x", 5000)},
			want: result(func(r *reports.PolicyReportResult) {
				r.Message = "img src=x onerror=alert(1)" + strings.Repeat("x", textLimit-26-1) + "…"
			}),
		},
		"a result that is not allowed": {
			result:  failed(newRule(cluster, "r", policy.Fail), nginx),
			allowed: []string{"pass", "warn"},
		},
		"warnings are allowed as such": {
			result:  failed(newRule(cluster, "r", policy.Fail, unscored), nginx),
			allowed: []string{"warn"},
			want:    result(func(r *reports.PolicyReportResult) { r.Scored, r.Result = false, "warn" }),
		},
		// VI 8.2(4)
		"a policy that is left out": {
			result: failed(newRule(cluster, "r", policy.Fail, func(r *policy.Rule) { r.Policy.Report.Disabled = true }), nginx),
		},
		"no status": {result: engine.Result{Rule: newRule(cluster, "r", policy.Fail)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			allowed := tc.allowed
			if allowed == nil {
				allowed = everything
			}
			var got []reports.PolicyReportResult
			for _, f := range findings([]engine.Result{tc.result}, 42, allowed) {
				got = append(got, f.result)
				if want := (ruleKey{f.result.Policy, f.result.Rule}); f.ruleKey != want {
					t.Errorf("key %v, want %v", f.ruleKey, want)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}
