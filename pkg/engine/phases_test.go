package engine_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
)

// VI 6.9, seeds 12, 14, 25: the validating phase.
func TestValidating(t *testing.T) {
	t.Parallel()
	const at = "@sha256:"
	signed := `, skipImageReferences: ["r.io/skip*"]`
	for name, c := range map[string]struct {
		entries []string
		images  []string
		want    string // the rule's one response
		allowed bool
	}{
		"signed by digest":                             {[]string{by("*", "Enforce", "", "$cosign")}, []string{"r.io/a" + at}, "pass Verified image verified", true},
		"signed by tag":                                {[]string{by("*", "Enforce", "", "$cosign")}, []string{"r.io/a:1"}, "fail MissingDigest missing digest for r.io/a:1", false},
		"digest not asked for":                         {[]string{by("*", "Enforce", ", verifyDigest: false", "$cosign")}, []string{"r.io/a:1"}, "pass Verified image verified", true},
		"unsigned by digest":                           {[]string{by("*", "Enforce", "", "$cosign")}, []string{"r.io/u" + at}, "fail Unsigned unverified image r.io/u@D", false},
		"not required":                                 {[]string{by("*", "Enforce", ", required: false", "$cosign")}, []string{"r.io/u" + at}, "pass Verified image verified", true},
		"digest only, tag":                             {[]string{by("*", "Enforce", ", required: false")}, []string{"r.io/a:1"}, "fail MissingDigest missing digest for r.io/a:1", false},
		"digest only, digest":                          {[]string{by("*", "Enforce", ", required: false")}, []string{"r.io/a" + at}, "pass Verified image verified", true},
		"required without attestors":                   {[]string{by("*", "Enforce", "")}, []string{"r.io/a" + at}, "fail NotVerified unverified image r.io/a@D", false},
		"skipped":                                      {[]string{by("*", "Enforce", signed, "$cosign")}, []string{"r.io/skip:1", "r.io/skipped:2"}, "skip SkippedByPolicy image skipped, skipped images: r.io/skip:1 r.io/skipped:2", true},
		"some skipped":                                 {[]string{by("*", "Enforce", signed, "$cosign")}, []string{"r.io/skip:1", "r.io/a" + at}, "pass Verified image verified, skipped images: r.io/skip:1", true},
		"skipped and bad":                              {[]string{by("*", "Enforce", signed, "$cosign")}, []string{"r.io/skip:1", "r.io/u" + at}, "fail Unsigned unverified image r.io/u@D", false},
		"another entry's skip is no verification":      {[]string{by("*", "Enforce", ", verifyDigest: false"), by("*", "Enforce", signed, "$cosign")}, []string{"r.io/skip:1"}, "fail NotVerified unverified image r.io/skip:1", false},
		"required is met by another entry of the rule": {[]string{by("*", "Enforce", ", verifyDigest: false"), by("r.io/*", "Enforce", ", verifyDigest: false", "$cosign")}, []string{"r.io/a:1"}, "pass Verified image verified", true},
		"unresolvable":                                 {[]string{by("*", "Enforce", "", "$cosign")}, []string{"r.io/none:1"}, "fail ImageNotFound missing digest for r.io/none:1; unverified image r.io/none:1", false},
		"required in the second entry":                 {[]string{by("*", "Enforce", ", required: false, verifyDigest: false", "$cosign"), by("*", "Enforce", ", verifyDigest: false")}, []string{"r.io/u" + at}, "fail Unsigned unverified image r.io/u@D", false},
		"audited":                                      {[]string{by("*", "Audit", "", "$cosign")}, []string{"r.io/u" + at}, "fail Unsigned unverified image r.io/u@D", true},
		"bad image in the middle":                      {[]string{by("*", "Enforce", "", "$cosign")}, []string{"r.io/a" + at, "r.io/u" + at, "r.io/a" + at}, "fail Unsigned unverified image r.io/u@D", false},
		"image that nobody matches":                    {[]string{by("x/*", "Enforce", "", "$cosign")}, []string{"r.io/u:1"}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{}, clusterPolicy("p", "", c.entries...))
			a, u := string(f.push("r.io/a:1", "cosign.pub")), string(f.push("r.io/u:1"))
			f.push("r.io/skip:1")
			var images []string
			for _, i := range c.images {
				i = strings.Replace(i, "r.io/a"+at, "r.io/a@"+a, 1)
				images = append(images, strings.Replace(i, "r.io/u"+at, "r.io/u@"+u, 1))
			}
			d := f.review(t, pod(engine.Validating, images...))
			got := ""
			for _, r := range d.Responses {
				got += strings.NewReplacer(a, "D", u, "D").Replace(r.Status.String() + " " + string(r.Reason) + " " + r.Message)
			}
			if got != c.want || d.Allowed != c.allowed || len(d.Patches) > 0 {
				t.Errorf("allowed %v, %s", d.Allowed, got)
			}
			if warned := strings.HasPrefix(c.want, "fail") && c.allowed || strings.HasPrefix(c.want, "skip"); warned != (len(d.Warnings) == 1) {
				t.Errorf("warnings: %v", d.Warnings)
			}
		})
	}
}

// VI 6.9(6): a rule's verification counts for that rule alone.
func TestRequiredPerRule(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, "metadata: {name: p}\nspec:\n  rules:\n"+rule("a", by("*", "Enforce", "", "$cosign"))+rule("b", by("*", "Enforce", "")))
	d := f.review(t, pod(engine.Validating, "r.io/a@"+string(f.push("r.io/a:1", "cosign.pub"))))
	if len(d.Responses) != 2 || d.Responses[0].Status != engine.Pass || d.Responses[1].Reason != "NotVerified" || d.Allowed {
		t.Errorf("allowed %v, %+v", d.Allowed, d.Responses)
	}
}

// VI 3.3(1): rules that demand nothing of the validating phase are not looked at there.
func TestNothingToValidate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", ", required: false, verifyDigest: false", "$cosign")))
	f.push("r.io/u:1")
	if d := f.review(t, pod(engine.Validating, "r.io/u:1")); !d.Allowed || len(d.Results) > 0 || f.called("resolve") > 0 {
		t.Errorf("%+v", d)
	}
}

// Policies of the other failure policy are judged on their own path; here they only complete the annotations.
func TestPaths(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("strict", "", by("*", "Enforce", "", "$other")), clusterPolicy("lenient", ignore, by("*", "Enforce", "", "$cosign")))
	a := string(f.push("r.io/a:1", "cosign.pub"))
	if d := f.review(t, pod(engine.Mutating, "r.io/a:1")); d.Allowed || strings.Contains(d.Message, "lenient") {
		t.Errorf("%+v", d)
	}
	d := f.review(t, ignored(pod(engine.Mutating, "r.io/a:1")))
	want := []string{
		`{"op":"add","path":"/metadata/annotations","value":{}}`,
		`{"op":"add","path":"/metadata/annotations/kyverno.io~1verify-images","value":"{\"r.io/a@` + a + `\":\"fail\"}"}`,
		`{"op":"add","path":"/metadata/annotations/kyverno.io~1verify-images-scoped","value":"{\"version\":1,\"policies\":{\"/lenient\":{\"r\":{\"r.io/a@` + a + `\":\"pass\"}},\"/strict\":{\"r\":{\"r.io/a@` + a + `\":\"fail\"}}}}"}`,
		`{"op":"test","path":"/spec/containers/0/image","value":"r.io/a:1"}`,
		`{"op":"replace","path":"/spec/containers/0/image","value":"r.io/a:1@` + a + `"}`,
	}
	if diff := cmp.Diff(want, patches(t, d.Patches)); diff != "" || !d.Allowed || len(d.Results) != 1 {
		t.Errorf("%+v, %s", outcomes(d.Results), diff)
	}
	for failure, want := range map[policy.FailurePolicy]bool{policy.Fail: false, policy.Ignore: true} {
		req := pod(engine.Validating, "r.io/a@"+a)
		req.FailurePolicy = failure
		if d := f.review(t, req); d.Allowed != want || len(d.Responses) != 1 {
			t.Errorf("%v: %+v", failure, d)
		}
	}
}

// VI 6.15, A-16, A-87, T-025, seeds 16 to 18: what an update leaves as it was is reported and does not block.
func TestT025A87Update(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, now []string
		allowed  bool
	}{
		"unchanged":            {[]string{"app=r.io/u:1"}, []string{"app=r.io/u:1"}, true},
		"another image":        {[]string{"app=r.io/a:1"}, []string{"app=r.io/u:1"}, false},
		"another tag":          {[]string{"app=r.io/u:2"}, []string{"app=r.io/u:1"}, false},
		"new container":        {[]string{"app=r.io/a:1"}, []string{"app=r.io/a:1", "side=r.io/u:1"}, false},
		"new, same image":      {[]string{"app=r.io/u:1"}, []string{"app=r.io/u:1", "side=r.io/u:1"}, false},
		"renamed":              {[]string{"app=r.io/u:1"}, []string{"web=r.io/u:1"}, false},
		"reordered":            {[]string{"a=r.io/u:1", "b=r.io/a:1"}, []string{"b=r.io/a:1", "a=r.io/u:1"}, true},
		"swapped":              {[]string{"a=r.io/u:1", "b=r.io/a:1"}, []string{"a=r.io/a:1", "b=r.io/u:1"}, false},
		"removed":              {[]string{"a=r.io/u:1", "b=r.io/u:2"}, []string{"a=r.io/u:1"}, true},
		"good one added":       {[]string{"a=r.io/u:1"}, []string{"a=r.io/u:1", "b=r.io/a:1"}, true},
		"no name":              {[]string{"=r.io/u:1"}, []string{"=r.io/u:1"}, false},
		"spelled otherwise":    {[]string{"a=R.IO/u:1"}, []string{"a=r.io/u:1"}, false},
		"unreadable as before": {[]string{"a=UPPER"}, []string{"a=UPPER"}, true},
		"unreadable now":       {[]string{"a=r.io/a:1"}, []string{"a=UPPER"}, false},
		"unreadable before":    {[]string{"a=UPPER"}, []string{"a=r.io/u:1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
				f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", ", verifyDigest: false", "$cosign")))
				f.push("r.io/a:1", "cosign.pub")
				f.push("r.io/u:1")
				f.push("r.io/u:2")
				got := f.review(t, updated(pod(phase, c.now...), c.old...))
				if got.Allowed != c.allowed {
					t.Errorf("phase %d: allowed %v, %s", phase, got.Allowed, got.Message)
				}
				for i, r := range got.Results {
					if bad := r.Status == engine.Fail || r.Status == engine.Error; bad && r.Unchanged == r.Blocks {
						t.Errorf("phase %d: result %d: %+v", phase, i, r)
					}
				}
				if f.called("resolve") == 0 && !strings.Contains(strings.Join(c.now, ""), "UPPER") {
					t.Error("not judged at all")
				}
			}
		})
	}
}

// VI 6.15(1): images moved to another list are new, unchanged ones are not patched, and each use counts.
func TestUpdateLists(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")))
	a := string(f.push("r.io/a:1", "cosign.pub"))
	f.push("r.io/u:1")
	lists := func(list, img string) map[string]any {
		return map[string]any{"spec": map[string]any{list: []any{map[string]any{"name": "app", "image": img}}}}
	}
	req := pod(engine.Mutating)
	req.Object, req.Old = lists("initContainers", "r.io/u:1"), lists("containers", "r.io/u:1")
	if d := f.review(t, req); d.Allowed {
		t.Error("moved to another list and allowed")
	}
	d := f.review(t, updated(pod(engine.Mutating, "old=r.io/a:1", "new=r.io/a:1"), "old=r.io/a:1"))
	want := []string{
		`{"op":"test","path":"/spec/containers/1/image","value":"r.io/a:1"}`,
		`{"op":"replace","path":"/spec/containers/1/image","value":"r.io/a:1@` + a + `"}`,
	}
	got := patches(t, d.Patches)
	if diff := cmp.Diff(want, got[max(0, len(got)-2):]); diff != "" || len(got) != 5 {
		t.Errorf("%v", got)
	}
}

// VI 6.15(1): the rule must have matched before; what is not known of the old object did not.
func TestHeldBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", ", verifyDigest: false", "$cosign")))
	f.push("r.io/u:1")
	req := updated(pod(engine.Mutating, "a=r.io/u:1"), "a=r.io/u:1")
	req.Old["spec"] = "unreadable"
	if d := f.review(t, req); d.Allowed {
		t.Error("unreadable before, and allowed")
	}
	req.Old = map[string]any{}
	if d := f.review(t, req); d.Allowed {
		t.Error("empty before, and allowed")
	}
}

// VI 6.15(1), seed 17: a label that makes the API server ask a policy with matchConditions does not smuggle in what it was not
// asked about before.
func TestHeldBeforeConditions(t *testing.T) {
	t.Parallel()
	const conditions = "  webhookConfiguration: {matchConditions: [{name: production, expression: \"object.metadata.labels.env == 'production'\"}]}\n"
	for name, c := range map[string]struct {
		spec    string
		allowed bool
	}{
		"conditions": {conditions, false},
		"none":       {"", true},
	} {
		f := newFixture(t, engine.Options{}, clusterPolicy("p", c.spec, by("*", "Enforce", ", verifyDigest: false", "$cosign")))
		f.push("r.io/u:1")
		for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
			req := updated(pod(phase, "a=r.io/u:1"), "a=r.io/u:1")
			if c.spec != "" {
				req.Policy = policy.Key{Name: "p"}
			}
			req.Object["metadata"] = map[string]any{"name": "p", "labels": map[string]any{"env": "production"}}
			if d := f.review(t, req); d.Allowed != c.allowed {
				t.Errorf("%s, phase %v: allowed %v", name, phase, d.Allowed)
			}
		}
	}
}

// T-021, VI 6.15(5): of a Pod that gets an ephemeral container only the new one can block, and there are no annotations.
func TestEphemeralContainers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", "", "$cosign")))
	a := string(f.push("r.io/a:1", "cosign.pub"))
	f.push("r.io/u:1")
	review := func(img string) *engine.Decision {
		req := updated(pod(engine.Mutating, "app=r.io/u:1"), "app=r.io/u:1")
		req.Attributes.Subresource = "ephemeralcontainers"
		req.Object["spec"].(map[string]any)["ephemeralContainers"] = []any{map[string]any{"name": "debug", "image": img}}
		return f.review(t, req)
	}
	if d := review("r.io/u:1"); d.Allowed {
		t.Error("unsigned and allowed")
	}
	d := review("r.io/a:1")
	want := []string{
		`{"op":"test","path":"/spec/ephemeralContainers/0/image","value":"r.io/a:1"}`,
		`{"op":"replace","path":"/spec/ephemeralContainers/0/image","value":"r.io/a:1@` + a + `"}`,
	}
	if diff := cmp.Diff(want, patches(t, d.Patches)); diff != "" || !d.Allowed {
		t.Errorf("allowed %v, %s", d.Allowed, diff)
	}
}
