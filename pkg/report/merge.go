package report

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
)

// slot is one webhook call of a request: its phase, and the failure policy and the one policy, if any, of its path.
type slot struct {
	phase engine.Phase
	path  policy.FailurePolicy
	only  policy.Key
}

// paths are those of the calls, each once, in the order of the webhooks' names.
func paths(calls map[slot][]finding) []slot {
	var out []slot
	for s := range calls {
		if s.phase = 0; !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b slot) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.only.Namespace, b.only.Namespace), cmp.Compare(a.only.Name, b.only.Name))
	})
	return out
}

// at is the call of a phase on the same path.
func (s slot) at(phase engine.Phase) slot { return slot{phase: phase, path: s.path, only: s.only} }

// rules are the rules in force that are reported, by name; nil means that they are not known yet.
type rules map[ruleKey]*policy.Rule

// reported indexes a snapshot.
func reported(s *policy.Snapshot) rules {
	if s == nil {
		return nil
	}
	out := rules{}
	for _, p := range s.Policies() {
		if p.Report.Disabled {
			continue
		}
		for _, r := range p.Rules {
			out[ruleKey{p.Key.String(), r.Name}] = r
		}
	}
	return out
}

// gone tells whether a rule is known not to be in force or not to be reported.
func (rs rules) gone(k ruleKey) bool { return rs != nil && rs[k] == nil }

// merge works out an object's results from those its report holds and from what was reviewed, call by call.
//
// A rule belongs to one phase: to the validating one when it has something to check there, which includes the
// verification, and to the mutating one otherwise. A call replaces all results of the rules that belong to it, by phase
// and path, so that rules which no longer match disappear, and leaves every other result alone. In the mutating phase
// the results of the other rules only stand in until the validating call is heard of, here or in another replica.
// On creation nothing of a mutating call replaces what is there: only another call of the same request wrote it.
//
// Where both calls of a path are known, the worse of their results for an image stands (VI 8.1(3)).
func merge(existing []reports.PolicyReportResult, calls map[slot][]finding, created bool, inForce rules) []reports.PolicyReportResult {
	held := map[ruleKey]bool{}
	for i := range existing {
		if existing[i].Source == source {
			held[ruleKey{existing[i].Policy, existing[i].Rule}] = true
		}
	}
	replaced := map[ruleKey]slot{} // with the path: while a policy goes from one to another, both say the same
	var out []reports.PolicyReportResult
	for _, path := range paths(calls) {
		take := func(f *finding) {
			if by, ok := replaced[f.ruleKey]; !ok || by == path {
				out, replaced[f.ruleKey] = append(out, f.result), path
			}
		}
		validated, heard := calls[path.at(engine.Validating)]
		mutated := calls[path.at(engine.Mutating)]
		for i := range validated {
			if !inForce.gone(validated[i].ruleKey) {
				take(worse(&validated[i], mutated))
			}
		}
		for i := range mutated {
			f := &mutated[i]
			if inForce.gone(f.ruleKey) || f.validates && (heard || held[f.ruleKey]) || created && held[f.ruleKey] {
				continue
			}
			take(f)
		}
	}
	for i := range existing {
		k := ruleKey{existing[i].Policy, existing[i].Rule}
		if existing[i].Source != source || !replacedBy(replaced, k) && keeps(k, calls, created, inForce) {
			out = append(out, existing[i])
		}
	}
	tellVerification(out, existing, calls)
	sortResults(out)
	return fit(out)
}

// worse is what the other phase says of the same image if that is worse, and else the finding itself.
func worse(f *finding, others []finding) *finding {
	for i := range others {
		if o := &others[i]; o.ruleKey == f.ruleKey && sameImage(&o.result, &f.result) && badness(o.result.Result) > badness(f.result.Result) {
			return o
		}
	}
	return f
}

// sameImage tells whether results are about one image at the same places, which one of them may name by its tag and the other
// by its digest.
func sameImage(a, b *reports.PolicyReportResult) bool {
	p, q := a.Properties, b.Properties
	return p["path"] == q["path"] && (p["image"] == q["image"] || p["digest"] != "" && p["digest"] == q["digest"])
}

// tellVerification gives passes that the cache answered the message of the verification, where that is known: from the other
// phase, or from the report as it was.
func tellVerification(results, existing []reports.PolicyReportResult, calls map[slot][]finding) {
	for i := range results {
		r := &results[i]
		if r.Source != source || r.Result != reports.ResultPass || !strings.Contains(r.Message, engine.FromCache) {
			continue
		}
		tells := func(o *reports.PolicyReportResult) bool {
			return o.Source == source && o.Policy == r.Policy && o.Rule == r.Rule && o.Result == r.Result && o.Properties["digest"] != "" &&
				o.Properties["digest"] == r.Properties["digest"] && sameImage(o, r) && !strings.Contains(o.Message, engine.FromCache)
		}
		for s, found := range calls {
			if k := slices.IndexFunc(found, func(f finding) bool { return tells(&f.result) }); k >= 0 && s.phase == engine.Mutating {
				r.Message = found[k].result.Message
			}
		}
		if k := slices.IndexFunc(existing, func(o reports.PolicyReportResult) bool { return tells(&o) }); k >= 0 && strings.Contains(r.Message, engine.FromCache) {
			r.Message = existing[k].Message
		}
	}
}

func replacedBy(replaced map[ruleKey]slot, k ruleKey) bool { _, ok := replaced[k]; return ok }

// keeps tells whether a rule's results survive calls that did not produce any for it.
func keeps(k ruleKey, calls map[slot][]finding, created bool, inForce rules) bool {
	if inForce == nil {
		return true
	}
	r := inForce[k]
	if r == nil {
		return false
	}
	owner := slot{phase: engine.Mutating, path: r.Policy.FailurePolicy}
	if r.Policy.FineGrained() {
		owner.only = r.Policy.Key
	}
	if r.Validates() {
		owner.phase = engine.Validating
	}
	_, heard := calls[owner]
	return !heard || created && owner.phase == engine.Mutating
}

// sortResults orders results by policy, rule and source; images keep their order.
func sortResults(results []reports.PolicyReportResult) {
	slices.SortStableFunc(results, func(a, b reports.PolicyReportResult) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Source, b.Source))
	})
}

// sizeLimit is the most that the results of one report take, in bytes; the API server stores about 1.5 MiB.
const sizeLimit = 768 << 10

// fit leaves results out until a report can be stored, the good ones first.
func fit(results []reports.PolicyReportResult) []reports.PolicyReportResult {
	total := 0
	for i := range results {
		total += size(&results[i])
	}
	if total <= sizeLimit {
		return results
	}
	order := make([]int, len(results))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(badness(results[b].Result), badness(results[a].Result))
	})
	room := sizeLimit
	var kept []int
	for _, i := range order {
		if room -= size(&results[i]); room < 0 {
			break
		}
		kept = append(kept, i)
	}
	slices.Sort(kept)
	out := make([]reports.PolicyReportResult, len(kept))
	for i, k := range kept {
		out[i] = results[k]
	}
	return out
}

func size(r *reports.PolicyReportResult) int {
	n := 256 + len(r.Policy) + len(r.Rule) + len(r.Message) + len(r.Category)
	for k, v := range r.Properties {
		n += len(k) + len(v) + 8
	}
	return n
}

// summarize counts results.
func summarize(results []reports.PolicyReportResult) reports.PolicyReportSummary {
	var s reports.PolicyReportSummary
	for i := range results {
		switch results[i].Result {
		case reports.ResultPass:
			s.Pass++
		case reports.ResultFail:
			s.Fail++
		case reports.ResultWarn:
			s.Warn++
		case reports.ResultError:
			s.Error++
		case reports.ResultSkip:
			s.Skip++
		}
	}
	return s
}

// sameResults compares results without their timestamps.
func sameResults(a, b []reports.PolicyReportResult) bool {
	return slices.EqualFunc(a, b, func(x, y reports.PolicyReportResult) bool {
		x.Timestamp, y.Timestamp = metav1.Timestamp{}, metav1.Timestamp{}
		return equality.Semantic.DeepEqual(x, y)
	})
}
