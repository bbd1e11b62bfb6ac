package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/match"
)

// VI 4.5: which rules are generated, under which names, for which kinds.
func TestAutogen(t *testing.T) {
	t.Parallel()
	const all = "apps/v1/DaemonSet apps/v1/Deployment batch/v1/Job apps/v1/StatefulSet apps/v1/ReplicaSet v1/ReplicationController"
	both := []string{"r: Pod", "autogen-r: " + all, "autogen-cronjob-r: batch/v1/CronJob"}
	base := entries(t, `{imageReferences: ["*"]}`)
	pods := "match: {any: [{resources: {kinds: [Pod]}}]}"
	in := func(m string) string { return strings.Replace(base, pods, m, 1) }
	annotated := func(v string) string {
		return strings.Replace(base, "name: p", `name: p, annotations: {pod-policies.kyverno.io/autogen-controllers: "`+v+`"}`, 1)
	}
	long := strings.Repeat("n", 63)
	for name, c := range map[string]struct {
		policy string
		want   []string
	}{
		"pod":                {base, both},
		"inline":             {in("match: {resources: {kinds: [Pod]}}"), both},
		"namespaces":         {in("match: {any: [{resources: {kinds: [Pod], namespaces: [a]}}]}"), both},
		"none":               {annotated("none"), both[:1]},
		"subset":             {annotated("Deployment, CronJob"), []string{"r: Pod", "autogen-r: apps/v1/Deployment", "autogen-cronjob-r: batch/v1/CronJob"}},
		"one":                {annotated("StatefulSet"), []string{"r: Pod", "autogen-r: apps/v1/StatefulSet"}},
		"cron jobs alone":    {annotated("CronJob"), []string{"r: Pod", "autogen-cronjob-r: batch/v1/CronJob"}},
		"unknown controller": {annotated("Rollout"), both[:1]},
		"order is ours":      {annotated("Job,DaemonSet"), []string{"r: Pod", "autogen-r: apps/v1/DaemonSet batch/v1/Job"}},
		"name":               {in("match: {any: [{resources: {kinds: [Pod], name: a}}]}"), both[:1]},
		"names":              {in("match: {any: [{resources: {kinds: [Pod], names: [a]}}]}"), both[:1]},
		"names excluded":     {in(pods + "\n    exclude: {any: [{resources: {kinds: [Pod], names: [a]}}]}"), both[:1]},
		"several kinds":      {in("match: {any: [{resources: {kinds: [Pod, Job]}}]}"), []string{"r: Pod Job"}},
		"versioned pod":      {in("match: {any: [{resources: {kinds: [v1/Pod]}}]}"), []string{"r: v1/Pod"}},
		"controllers only":   {in("match: {any: [{resources: {kinds: [Deployment, Job]}}]}"), []string{"r: Deployment Job"}},
		"two filters": {in("match: {any: [{resources: {kinds: [Pod]}}, {resources: {kinds: [Knative]}}]}"),
			[]string{"r: Pod Knative", "autogen-r: " + all + " Knative", "autogen-cronjob-r: batch/v1/CronJob Knative"}},
		"all":                    {in("match: {all: [{resources: {kinds: [Pod]}}, {resources: {kinds: [Pod], namespaces: [a]}}]}"), []string{"r: Pod Pod", "autogen-r: " + all + " " + all, "autogen-cronjob-r: batch/v1/CronJob batch/v1/CronJob"}},
		"exclude of other kinds": {in(pods + "\n    exclude: {any: [{resources: {kinds: [Job]}}]}"), both[:1]},
		"exclude without kinds":  {in(pods + "\n    exclude: {any: [{resources: {namespaces: [a]}}]}"), both},
		"already generated":      {strings.Replace(base, "name: r\n", "name: autogen-r\n", 1), []string{"autogen-r: Pod"}},
		"long name":              {strings.Replace(base, "name: r\n", "name: "+long+"\n", 1), []string{long + ": Pod", ("autogen-" + long)[:63] + ": " + all, ("autogen-cronjob-" + long)[:63] + ": batch/v1/CronJob"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, c.policy)
			var got []string
			for _, r := range p.Rules {
				var kinds []string
				for i := range r.Kinds {
					kinds = append(kinds, r.Kinds[i].String())
				}
				got = append(got, r.Name+": "+strings.Join(kinds, " "))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if len(p.Generated) != len(p.Rules)-1 {
				t.Errorf("%d rules in the status", len(p.Generated))
			}
		})
	}
}

// One rule that cannot be generated from prevents it for the whole policy; rules that are not about Pods get none.
func TestAutogenOfPolicy(t *testing.T) {
	t.Parallel()
	two := func(second string) string {
		return entries(t, `{imageReferences: ["*"]}`) + "  - {name: s, " + second + ", verifyImages: [{imageReferences: [a]}]}\n"
	}
	names := func(text string) string {
		var out []string
		for _, r := range compile(t, text).Rules {
			out = append(out, r.Name)
		}
		return strings.Join(out, " ")
	}
	for text, want := range map[string]string{
		two("match: {any: [{resources: {kinds: [Pod], names: [a]}}]}"): "r s",
		two("match: {any: [{resources: {kinds: [Pod, Job]}}]}"):        "r s",
		two("match: {any: [{resources: {kinds: [Job]}}]}"):             "r autogen-r autogen-cronjob-r s",
		two("match: {any: [{resources: {kinds: [v1/Pod]}}]}"):          "r autogen-r autogen-cronjob-r s",
		two("match: {any: [{resources: {kinds: [Pod]}}]}"):             "r autogen-r autogen-cronjob-r s autogen-s autogen-cronjob-s",
	} {
		if got := names(text); got != want {
			t.Errorf("%s\n%s, want %s", text, got, want)
		}
	}
}

// A generated rule excludes what the authored one excludes, in its own kinds, and carries its action and entries.
func TestGeneratedRule(t *testing.T) {
	t.Parallel()
	text := strings.Replace(entries(t, `{imageReferences: ["a"], failureAction: Enforce}`), "    verifyImages:", "    exclude: {any: [{resources: {kinds: [Pod], namespaces: [free]}}]}\n    reportProperties: {a: b}\n    verifyImages:", 1)
	r := compile(t, text).Rules[1]
	deployment := match.Attributes{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "prod"}
	if got, _ := r.Filter.Matches(&deployment); !got {
		t.Error("does not match a Deployment")
	}
	deployment.Namespace = "free"
	if got, _ := r.Filter.Matches(&deployment); got {
		t.Error("matches what is excluded")
	}
	deployment = match.Attributes{Group: "x.io", Version: "v1", Kind: "Deployment", Namespace: "prod"}
	if got, _ := r.Filter.Matches(&deployment); got {
		t.Error("matches a Deployment of another group")
	}
	if r.Action(&deployment).String() != "Enforce" || len(r.Entries) != 1 || r.ReportProperties["a"] != "b" {
		t.Errorf("%+v", r)
	}
}
