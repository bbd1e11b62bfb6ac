package report

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/extract"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// newRule is a rule of a policy of its own; it validates unless a change says otherwise.
func newRule(key policy.Key, name string, path policy.FailurePolicy, changes ...func(*policy.Rule)) *policy.Rule {
	r := &policy.Rule{Policy: &policy.Policy{Key: key, UID: "policy-uid", FailurePolicy: path}, Name: name,
		Entries: []*policy.Entry{{Required: true}}}
	r.Policy.Rules = []*policy.Rule{r}
	for _, change := range changes {
		change(r)
	}
	return r
}

func onlyMutates(r *policy.Rule) { r.Entries[0].Required = false }

func background(r *policy.Rule) { r.Policy.Background = true }

func unscored(r *policy.Rule) { r.Policy.Report.Unscored = true }

func reportProperties(p map[string]string) func(*policy.Rule) {
	return func(r *policy.Rule) { r.ReportProperties = p }
}

func newImage(t *testing.T, index int, ref string, pointers ...string) *plan.Image {
	t.Helper()
	parsed, err := image.Parse(ref, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := &plan.Image{Ref: parsed, Index: index}
	for _, p := range pointers {
		out.Uses = append(out.Uses, plan.Use{Use: extract.Use{Pointer: p, Value: ref}})
	}
	return out
}

func failed(r *policy.Rule, img *plan.Image) engine.Result {
	return engine.Result{Rule: r, Image: img, Digest: digest, Status: engine.Fail, Reason: reason.Unsigned, Message: "no signatures found"}
}

func passed(r *policy.Rule, img *plan.Image) engine.Result {
	return engine.Result{Rule: r, Image: img, Digest: digest, Status: engine.Pass, Reason: reason.Verified, Message: "verified"}
}

// brief is a report result with nothing but what merging goes by, and a message to tell results apart.
func brief(policyKey, rule, message string) reports.PolicyReportResult {
	return reports.PolicyReportResult{Source: source, Policy: policyKey, Rule: rule, Result: reports.ResultPass, Message: message,
		Timestamp: metav1.Timestamp{Seconds: 7}}
}

func found(validates bool, results ...reports.PolicyReportResult) []finding {
	out := []finding{}
	for _, r := range results {
		out = append(out, finding{ruleKey: ruleKey{r.Policy, r.Rule}, validates: validates, result: r})
	}
	return out
}

// messages are the messages of results, in order.
func messages(results []reports.PolicyReportResult) []string {
	out := []string{}
	for i := range results {
		out = append(out, results[i].Message)
	}
	return out
}

// fixedPolicies is a policy source for a recorder.
type fixedPolicies struct{ snapshot *policy.Snapshot }

func (f fixedPolicies) Snapshot() *policy.Snapshot { return f.snapshot }

func inForce(rs ...*policy.Rule) fixedPolicies {
	var all []*policy.Policy
	for _, r := range rs {
		all = append(all, r.Policy)
	}
	return fixedPolicies{policy.NewSnapshot(all)}
}
