package report

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/pkg/engine"
)

// source names this engine in report results.
const source = "kyverno"

// ruleKey names a rule the way report results do.
type ruleKey struct{ policy, rule string }

// finding is one report result with what merging needs to know about it.
type finding struct {
	ruleKey
	// validates tells that the rule is judged again in the validating phase.
	validates bool
	unchanged bool
	result    reports.PolicyReportResult
}

// findings turns results of the engine into report results, in their order.
func findings(results []engine.Result, seconds int64, allowed []string) []finding {
	var out []finding
	for i := range results {
		r := &results[i]
		if r.Rule == nil || r.Rule.Policy == nil || r.Rule.Policy.Report.Disabled || r.Status == 0 {
			continue
		}
		result := reportResult(r, seconds)
		if !slices.Contains(allowed, string(result.Result)) {
			continue
		}
		out = append(out, finding{ruleKey: ruleKey{result.Policy, result.Rule}, validates: r.Rule.Validates(),
			unchanged: r.Unchanged, result: result})
	}
	return out
}

func reportResult(r *engine.Result, seconds int64) reports.PolicyReportResult {
	p := r.Rule.Policy
	out := reports.PolicyReportResult{
		Source: source, Policy: p.Key.String(), Rule: r.Rule.Name, Category: text(p.Report.Category),
		Severity: severity(p.Report.Severity), Scored: !p.Report.Unscored, Result: outcome(r),
		Timestamp: metav1.Timestamp{Seconds: seconds},
	}
	out.Message = message(r, out.Result)
	out.Properties = properties(r)
	return out
}

// outcome is the result as reports spell it: an unscored violation is only a warning.
func outcome(r *engine.Result) reports.PolicyResult {
	if r.Status == engine.Fail && r.Rule.Policy.Report.Unscored {
		return reports.ResultWarn
	}
	return reports.PolicyResult(r.Status.String())
}

// severity gives only what the resource definition admits: a typo in an annotation must not cost the report.
func severity(s string) reports.PolicySeverity {
	switch v := reports.PolicySeverity(s); v {
	case reports.SeverityCritical, reports.SeverityHigh, reports.SeverityMedium, reports.SeverityLow, reports.SeverityInfo:
		return v
	default:
		return ""
	}
}

// message is the result's own unless the rule's report properties replace it.
func message(r *engine.Result, outcome reports.PolicyResult) string {
	for _, key := range []string{"message", string(outcome) + "Message"} {
		if m, ok := added(r)[key]; ok {
			return text(m)
		}
	}
	return text(r.Message)
}

// added are the rule's own properties: with variables replaced where that was done, and otherwise those that hold none.
func added(r *engine.Result) map[string]string {
	if r.Properties != nil {
		return r.Properties
	}
	return r.Rule.ReportProperties
}

// replacements are report properties that say something about the message and are no facts of the result.
var replacements = []string{"message", "passMessage", "failMessage", "warnMessage", "errorMessage", "skipMessage"}

// propertiesLimit is the largest number of properties that a rule adds.
const propertiesLimit = 64

// properties are the rule's, and the facts of the result, which a rule cannot replace.
func properties(r *engine.Result) map[string]string {
	out := map[string]string{}
	rule := added(r)
	names := make([]string, 0, len(rule))
	for name := range rule {
		if !slices.Contains(replacements, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), propertiesLimit)] {
		out[text(name)] = text(rule[name])
	}
	delete(out, "image")
	delete(out, "digest")
	delete(out, "path")
	delete(out, "exceptions")
	out["process"] = "admission review"
	if r.Rule.Policy.Background {
		out["process"] = "background scan"
	}
	out["reason"] = string(r.Reason)
	if len(r.Exceptions) > 0 {
		names := make([]string, len(r.Exceptions))
		for i, k := range r.Exceptions {
			names[i] = k.Name
		}
		out["exceptions"] = text(strings.Join(names, ","))
	}
	if r.Image == nil {
		return out
	}
	out["image"] = text(r.Image.Ref.String())
	if r.Digest != "" {
		out["digest"] = text(r.Digest.String())
	}
	pointers := make([]string, len(r.Image.Uses))
	for i, u := range r.Image.Uses {
		pointers[i] = u.Pointer
	}
	out["path"] = text(strings.Join(pointers, ","))
	return out
}

// badness orders outcomes, the worst highest.
func badness(r reports.PolicyResult) int {
	return slices.Index([]reports.PolicyResult{reports.ResultSkip, reports.ResultPass, reports.ResultWarn,
		reports.ResultError, reports.ResultFail}, r)
}
