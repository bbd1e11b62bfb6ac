package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
)

// counts are the numbers of the last line.
type counts struct{ pass, fail, warn, err, skip int }

// word is the result that a response counts as.
func (a *applied) word(r *response) string {
	if r.result.Status == engine.Fail && a.flags.auditWarn && r.result.Rule.Action(&r.resource.kind) == policy.Audit {
		return "warn"
	}
	return r.result.Status.String()
}

func (a *applied) count() counts {
	n := counts{err: len(a.invalid) + a.unread}
	for i := range a.outcome {
		switch a.word(&a.outcome[i]) {
		case "pass":
			n.pass++
		case "warn":
			n.warn++
		case "error":
			n.err++
		case "skip":
			n.skip++
		default:
			n.fail++
		}
	}
	return n
}

// text is what goes to standard output, in the form that pipelines read (VI 10.1(3)).
func (a *applied) text() (string, error) {
	var b strings.Builder
	rules := 0
	for _, p := range a.policies {
		rules += len(p.Rules)
	}
	fmt.Fprintf(&b, "\nApplying %d policy rule(s) to %d resource(s)", rules, len(a.resources))
	if len(a.exceptions) > 0 {
		fmt.Fprintf(&b, " with %d exception(s)", len(a.exceptions))
	}
	b.WriteString("...\n")
	if len(a.invalid) > 0 {
		b.WriteString("\nInvalid Policies:\n")
		for i, text := range a.invalid {
			fmt.Fprintf(&b, "%d. %s\n", i+1, cleanLines(text))
		}
	}
	switch {
	case a.flags.table:
		a.results(&b)
	case a.flags.policyReport:
		report, err := a.report()
		if err != nil {
			return "", err
		}
		b.WriteString(report)
	default:
		a.failures(&b)
	}
	n := a.count()
	fmt.Fprintf(&b, "\npass: %d, fail: %d, warn: %d, error: %d, skip: %d \n", n.pass, n.fail, n.warn, n.err, n.skip)
	return b.String(), nil
}

// failures prints a block for each policy, resource and phase that has some.
func (a *applied) failures(b *strings.Builder) {
	var last *response
	number := 0
	for i := range a.outcome {
		r := &a.outcome[i]
		if r.result.Status != engine.Fail && !(a.flags.detailed && r.result.Status == engine.Error) {
			continue
		}
		if last == nil || last.policy != r.policy || last.resource != r.resource || last.phase != r.phase || last.result.Status != r.result.Status {
			if last != nil {
				b.WriteString("\n")
			}
			how := "failed"
			switch a.word(r) {
			case "warn":
				how = "failed as audit warning"
			case "error":
				how = "could not be checked"
			}
			fmt.Fprintf(b, "policy %s -> resource %s %s:\n", r.policy.Name, r.resource.shown(), how)
			number = 0
		}
		number++
		fmt.Fprintf(b, "%d - %s %s\n", number, r.result.Rule.Name, cleanLines(r.result.Message))
		last = r
	}
}

// report is the ClusterReport of all results.
func (a *applied) report() (string, error) {
	results := []any{}
	for i := range a.outcome {
		r := &a.outcome[i]
		name := r.policy.String()
		result := map[string]any{
			"source": "kyverno", "policy": name, "rule": r.result.Rule.Name, "result": a.word(r), "message": r.result.Message,
			"scored": !r.policy.Report.Unscored, "properties": map[string]any{"reason": string(r.result.Reason)},
			"resources": []any{map[string]any{
				"apiVersion": strings.TrimPrefix(r.resource.kind.Group+"/"+r.resource.kind.Version, "/"), "kind": r.resource.kind.Kind,
				"namespace": r.resource.kind.Namespace, "name": r.resource.kind.Name,
			}},
		}
		for field, text := range map[string]string{"severity": r.policy.Report.Severity, "category": r.policy.Report.Category} {
			if text != "" {
				result[field] = text
			}
		}
		results = append(results, result)
	}
	n := a.count()
	report := map[string]any{
		"apiVersion": "openreports.io/v1alpha1", "kind": "ClusterReport", "metadata": map[string]any{"name": "merged"},
		"results": results, "summary": map[string]any{"pass": n.pass, "fail": n.fail, "warn": n.warn, "error": n.err, "skip": n.skip},
	}
	if a.flags.output == outputJSON {
		text, err := json.MarshalIndent(report, "", "  ")
		return string(text) + "\n", err
	}
	text, err := yaml.Marshal(report)
	return string(text), err
}
