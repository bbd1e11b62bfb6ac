package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
)

var (
	mutFail   = slot{phase: engine.Mutating, path: policy.Fail}
	valFail   = slot{phase: engine.Validating, path: policy.Fail}
	mutIgnore = slot{phase: engine.Mutating, path: policy.Ignore}
	valIgnore = slot{phase: engine.Validating, path: policy.Ignore}
)

func TestMerge(t *testing.T) {
	t.Parallel()
	// "v" policies validate, "m" policies only mutate; the letter behind is the path.
	all := reported(inForce(
		newRule(policy.Key{Name: "v-fail"}, "r", policy.Fail), newRule(policy.Key{Name: "m-fail"}, "r", policy.Fail, onlyMutates),
		newRule(policy.Key{Name: "v-ignore"}, "r", policy.Ignore), newRule(policy.Key{Name: "m-ignore"}, "r", policy.Ignore, onlyMutates),
	).snapshot)
	vf := func(m string) reports.PolicyReportResult { return brief("v-fail", "r", m) }
	mf := func(m string) reports.PolicyReportResult { return brief("m-fail", "r", m) }
	vi := func(m string) reports.PolicyReportResult { return brief("v-ignore", "r", m) }
	mi := func(m string) reports.PolicyReportResult { return brief("m-ignore", "r", m) }
	foreign := brief("v-fail", "r", "foreign")
	foreign.Source = "another engine"
	held := []reports.PolicyReportResult{mf("mf0"), mi("mi0"), vf("vf0"), vi("vi0")}
	tests := map[string]struct {
		existing []reports.PolicyReportResult
		calls    map[slot][]finding
		created  bool
		rules    rules
		want     []string
	}{
		"validating replaces mutating": {
			calls: map[slot][]finding{mutFail: found(true, vf("old")), valFail: found(true, vf("new"))},
			want:  []string{"new"},
		},
		"validating without a result for the rule": {
			calls: map[slot][]finding{mutFail: found(true, vf("old")), valFail: nil},
			want:  []string{},
		},
		"a policy that goes from one path to another says everything twice": {
			calls: map[slot][]finding{mutFail: found(true, vf("one"), vf("two")), valFail: found(true, vf("one"), vf("two")),
				mutIgnore: found(true, vf("one"), vf("two")), valIgnore: found(true, vf("one"), vf("two"))},
			want: []string{"one", "two"},
		},
		"mutating stands in": {
			calls: map[slot][]finding{mutFail: found(true, vf("new"))},
			want:  []string{"new"},
		},
		"but not for what validating said elsewhere": {
			existing: []reports.PolicyReportResult{vf("vf0")},
			calls:    map[slot][]finding{mutFail: found(true, vf("new"))},
			want:     []string{"vf0"},
		},
		"rules that only mutate keep their mutating results": {
			calls: map[slot][]finding{mutFail: found(false, mf("mf")), valFail: found(true, vf("vf"))},
			want:  []string{"mf", "vf"},
		},
		"every path has its own": {
			calls: map[slot][]finding{mutFail: found(false, mf("mf")), mutIgnore: found(false, mi("mi")), valFail: found(true, vf("vf")), valIgnore: found(true, vi("vi"))},
			want:  []string{"mf", "mi", "vf", "vi"},
		},
		"results of calls not heard of stay": {
			existing: held,
			calls:    map[slot][]finding{valFail: found(true, vf("vf1"))},
			want:     []string{"mf0", "mi0", "vf1", "vi0"},
		},
		"what does not match any more disappears, by path and phase": {
			existing: held,
			calls:    map[slot][]finding{mutFail: nil, valFail: nil},
			want:     []string{"mi0", "vi0"},
		},
		"mutating alone leaves validated results": {
			existing: held,
			calls:    map[slot][]finding{mutFail: nil, mutIgnore: nil},
			want:     []string{"vf0", "vi0"},
		},
		"a creation replaces nothing that another call of it wrote": {
			existing: []reports.PolicyReportResult{mf("mf0")},
			calls:    map[slot][]finding{mutFail: found(false, mf("mf1"))},
			created:  true,
			want:     []string{"mf0"},
		},
		"a creation without the result keeps it too": {
			existing: []reports.PolicyReportResult{mf("mf0")},
			calls:    map[slot][]finding{mutFail: nil},
			created:  true,
			want:     []string{"mf0"},
		},
		"policies and rules that are gone": {
			existing: []reports.PolicyReportResult{brief("gone", "r", "a"), brief("v-fail", "gone", "b"), vf("vf0")},
			calls:    map[slot][]finding{mutIgnore: found(true, brief("gone", "r2", "c")), valIgnore: found(true, brief("gone", "r3", "d"))},
			want:     []string{"vf0"},
		},
		"unknown policies keep everything": {
			existing: []reports.PolicyReportResult{brief("gone", "r", "a")},
			calls:    map[slot][]finding{mutIgnore: nil},
			rules:    rules(nil),
			want:     []string{"a"},
		},
		"results of other engines stay": {
			existing: []reports.PolicyReportResult{foreign, vf("vf0")},
			calls:    map[slot][]finding{valFail: found(true, vf("vf1"))},
			want:     []string{"foreign", "vf1"},
		},
		"images keep their order": {
			calls: map[slot][]finding{valFail: found(true, vf("2"), vf("1"), vf("3")), mutFail: found(false, mf("0"))},
			want:  []string{"0", "2", "1", "3"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := all
			if name == "unknown policies keep everything" {
				in = tc.rules
			}
			got := merge(tc.existing, tc.calls, tc.created, in)
			if diff := cmp.Diff(tc.want, messages(got)); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// Reviews of one request that reach two replicas lead to the same report in either order.
func TestMergeAcrossReplicas(t *testing.T) {
	t.Parallel()
	all := reported(inForce(newRule(policy.Key{Name: "v"}, "r", policy.Fail), newRule(policy.Key{Name: "m"}, "r", policy.Fail, onlyMutates)).snapshot)
	mutated := map[slot][]finding{mutFail: append(found(false, brief("m", "r", "mutated")), found(true, brief("v", "r", "mutated"))...)}
	validated := map[slot][]finding{valFail: found(true, brief("v", "r", "validated"))}
	want := []string{"mutated", "validated"}
	for _, created := range []bool{true, false} {
		a := merge(merge(nil, mutated, created, all), validated, created, all)
		b := merge(merge(nil, validated, created, all), mutated, created, all)
		for _, got := range [][]reports.PolicyReportResult{a, b} {
			if diff := cmp.Diff(want, messages(got)); diff != "" {
				t.Errorf("created %t: messages (-want +got):\n%s", created, diff)
			}
		}
	}
}

// VI 8.1(3): of the two calls of a request the worse result for an image stands, and a pass keeps the message of the
// verification, though the second call has it from the cache.
func TestMergePhases(t *testing.T) {
	t.Parallel()
	all := reported(inForce(newRule(policy.Key{Name: "v"}, "r", policy.Fail)).snapshot)
	result := func(outcome reports.PolicyResult, message, ref, digest, path string) reports.PolicyReportResult {
		r := brief("v", "r", message)
		r.Result, r.Properties = outcome, map[string]string{"image": ref, "path": path}
		if digest != "" {
			r.Properties["digest"] = digest
		}
		return r
	}
	tagged := result("pass", "verified image signatures for nginx:1", "nginx:1", "sha256:a", "/a")
	cached := result("pass", engine.FromCache, "nginx@sha256:a", "sha256:a", "/a")
	validated := result("pass", engine.FromCache+"; verifyImages validation is passed in r rule", "nginx@sha256:a", "sha256:a", "/a")
	down := result("fail", "timed out", "nginx:1", "", "/a")
	elsewhere := result("pass", "verified image signatures for nginx:1", "nginx:1", "sha256:a", "/b")
	moved := result("fail", "unsigned", "nginx:1", "sha256:b", "/a")
	again := result("pass", "verified image signatures for nginx:1", "nginx:1", "sha256:a", "/a")
	forged := tagged
	forged.Source = "another engine"
	type list = []reports.PolicyReportResult
	tests := map[string]struct {
		existing           list
		mutated, validated list
		want               string
	}{
		"the cache in the second call":      {mutated: list{tagged}, validated: list{cached}, want: tagged.Message},
		"with more to say":                  {mutated: list{tagged}, validated: list{validated}, want: tagged.Message},
		"the cache in both":                 {mutated: list{cached}, validated: list{cached}, want: cached.Message},
		"the first call in another replica": {existing: list{tagged}, validated: list{cached}, want: tagged.Message},
		"the second one there, before":      {existing: list{cached}, mutated: list{tagged}, want: tagged.Message},
		"a later update":                    {existing: list{tagged}, mutated: list{cached}, validated: list{cached}, want: tagged.Message},
		"another engine's word":             {existing: list{forged}, validated: list{cached}, want: cached.Message},
		"another place":                     {mutated: list{elsewhere}, validated: list{cached}, want: cached.Message},
		"verified anew":                     {existing: list{cached}, validated: list{again}, want: again.Message},
		"worse in the first call":           {mutated: list{down}, validated: list{again}, want: down.Message},
		"worse in the second call":          {mutated: list{again}, validated: list{down}, want: down.Message},
		"worse, of an image that is gone":   {mutated: list{moved}, validated: list{cached}, want: cached.Message},
		"not worse than another fail":       {mutated: list{moved}, validated: list{down}, want: down.Message},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := map[slot][]finding{}
			if tc.mutated != nil {
				calls[mutFail] = found(true, tc.mutated...)
			}
			if tc.validated != nil {
				calls[valFail] = found(true, tc.validated...)
			}
			got := messages(slices.DeleteFunc(merge(tc.existing, calls, false, all), func(r reports.PolicyReportResult) bool { return r.Source != source }))
			if diff := cmp.Diff([]string{tc.want}, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	var results []reports.PolicyReportResult
	for i := range 2000 {
		r := brief("p", "r", strings.Repeat("x", textLimit))
		if i%10 == 0 {
			r.Result = reports.ResultFail
		}
		results = append(results, r)
	}
	got := fit(results)
	total := 0
	for i := range got {
		total += size(&got[i])
	}
	if total > sizeLimit || len(got) < 500 {
		t.Errorf("%d results of %d bytes", len(got), total)
	}
	if s := summarize(got); s.Fail != 200 || s.Pass != len(got)-200 {
		t.Errorf("summary %+v: violations must come first", s)
	}
	small := results[:10]
	if diff := cmp.Diff(small, fit(small)); diff != "" {
		t.Errorf("a small report changed:\n%s", diff)
	}
}

func TestSameResults(t *testing.T) {
	t.Parallel()
	a, b, c := brief("p", "r", "m"), brief("p", "r", "m"), brief("p", "r", "other")
	b.Timestamp.Seconds++
	type list = []reports.PolicyReportResult
	if !sameResults(list{a}, list{b}) {
		t.Error("a timestamp is a difference")
	}
	if sameResults(list{a}, list{c}) || sameResults(list{a}, nil) {
		t.Error("different results are the same")
	}
}
