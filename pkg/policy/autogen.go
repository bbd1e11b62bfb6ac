package policy

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/expr"
)

// controllers are the kinds that rules for Pods are generated for, in order, as they are written into match blocks.
var controllers = []struct{ kind, selector string }{
	{"DaemonSet", "apps/v1/DaemonSet"},
	{"Deployment", "apps/v1/Deployment"},
	{"Job", "batch/v1/Job"},
	{"StatefulSet", "apps/v1/StatefulSet"},
	{"ReplicaSet", "apps/v1/ReplicaSet"},
	{"ReplicationController", "v1/ReplicationController"},
	{cronJob, "batch/v1/CronJob"},
}

const (
	pod     = "Pod"
	cronJob = "CronJob"

	autogenPrefix        = "autogen-"
	autogenCronJobPrefix = "autogen-cronjob-"
)

// autogen computes the rules generated from each authored rule, by its index. Whether any are is decided for the
// policy as a whole.
func (c *compiler) autogen() map[int][]v1.Rule {
	out := map[int][]v1.Rule{}
	selectors, cron := c.autogenTargets()
	c.warnOfControllers(selectors, cron)
	if len(selectors) == 0 && !cron {
		return out
	}
	for i := range c.spec.Rules {
		rule := &c.spec.Rules[i]
		if strings.HasPrefix(rule.Name, autogenPrefix) || len(rule.VerifyImages) == 0 || !aboutPods(rule) {
			continue
		}
		if len(selectors) > 0 {
			out[i] = append(out[i], generated(rule, autogenPrefix, "template", selectors))
		}
		if cron {
			out[i] = append(out[i], generated(rule, autogenCronJobPrefix, "jobTemplate.spec.template", []string{"batch/v1/CronJob"}))
		}
	}
	return out
}

// autogenTargets are the kinds to generate for: those of the annotation, or all; none where the policy forbids it.
func (c *compiler) autogenTargets() (selectors []string, cron bool) {
	wanted, annotated := c.meta.Annotations[autogenControllers]
	if annotated && strings.TrimSpace(wanted) == "none" || !c.autogenAllowed() {
		return nil, false
	}
	var names []string
	for _, n := range strings.Split(wanted, ",") {
		names = append(names, strings.TrimSpace(n))
	}
	for _, k := range controllers {
		switch {
		case annotated && !slices.Contains(names, k.kind):
		case k.kind == cronJob:
			cron = true
		default:
			selectors = append(selectors, k.selector)
		}
	}
	return selectors, cron
}

// warnOfControllers warns of an annotation that leaves controllers out: their Pods are judged all the same.
func (c *compiler) warnOfControllers(selectors []string, cron bool) {
	wanted, annotated := c.meta.Annotations[autogenControllers]
	if !annotated || strings.TrimSpace(wanted) == "none" || !c.autogenAllowed() {
		return
	}
	at := field.NewPath("metadata", "annotations").Key(autogenControllers)
	for _, n := range strings.Split(wanted, ",") {
		if n = strings.TrimSpace(n); n != "" && (n == pod || !bareKind(n)) {
			c.warn("%s: rules are not generated for %q", at, clip(n))
		}
	}
	if given := len(selectors); (!cron || given < len(controllers)-1) && slices.ContainsFunc(c.spec.Rules, func(r v1.Rule) bool { return aboutPods(&r) }) {
		c.warn("%s: the Pods of controllers that are left out are judged all the same", at)
	}
}

// autogenAllowed tells whether the match and exclude blocks of the policy leave room for generated rules.
func (c *compiler) autogenAllowed() bool {
	listed := false
	for i := range c.spec.Rules {
		blocks := []*v1.MatchResources{&c.spec.Rules[i].Match}
		if x := c.spec.Rules[i].Exclude; x != nil {
			blocks = append(blocks, x)
		}
		for _, b := range blocks {
			for _, r := range descriptions(b) {
				if r.Name != "" || len(r.Names) > 0 || r.Selector != nil || len(r.Annotations) > 0 {
					return false
				}
				if len(r.Kinds) > 1 && slices.Contains(r.Kinds, pod) {
					return false
				}
			}
		}
		for _, r := range descriptions(blocks[0]) {
			listed = listed || slices.ContainsFunc(r.Kinds, bareKind)
		}
	}
	return listed
}

// bareKind tells whether a kind is Pod or one of the controllers, without group and version.
func bareKind(kind string) bool {
	if kind == pod {
		return true
	}
	for _, k := range controllers {
		if k.kind == kind {
			return true
		}
	}
	return false
}

func descriptions(b *v1.MatchResources) []*v1.ResourceDescription {
	out := []*v1.ResourceDescription{&b.Resources}
	for _, list := range []v1.ResourceFilters{b.Any, b.All} {
		for i := range list {
			out = append(out, &list[i].Resources)
		}
	}
	return out
}

// aboutPods tells whether a rule's match names Pod, and its exclude names Pod or no kinds.
func aboutPods(rule *v1.Rule) bool {
	matches := false
	for _, r := range descriptions(&rule.Match) {
		matches = matches || slices.Contains(r.Kinds, pod)
	}
	if !matches || rule.Exclude == nil {
		return matches
	}
	var kinds []string
	for _, r := range descriptions(rule.Exclude) {
		kinds = append(kinds, r.Kinds...)
	}
	return len(kinds) == 0 || slices.Contains(kinds, pod)
}

// generated copies a rule for other kinds, whose Pod template is at the path below spec. The image extractors stay behind:
// they speak of Pods.
func generated(rule *v1.Rule, prefix, template string, kinds []string) v1.Rule {
	out := *rule.DeepCopy()
	out.Name = prefix + rule.Name
	if len(out.Name) > maxRuleName {
		out.Name = out.Name[:maxRuleName]
	}
	out.ImageExtractors = nil
	out.Validate, out.Mutate, out.Generate = nil, nil, nil // named once, for the authored rule
	retarget(&out, template)
	blocks := []*v1.MatchResources{&out.Match}
	if out.Exclude != nil {
		blocks = append(blocks, out.Exclude)
	}
	for _, b := range blocks {
		for _, r := range descriptions(b) {
			if slices.Contains(r.Kinds, pod) {
				r.Kinds = slices.Clone(kinds)
			}
		}
	}
	return out
}

// retarget has the variables of a rule that read the Pod read the Pod template (VI 4.5(5)). Texts without variables stay as
// they are.
func retarget(rule *v1.Rule, template string) {
	parts := struct {
		Context          []v1.ContextEntry
		Preconditions    *apiextensionsv1.JSON
		VerifyImages     []v1.ImageVerification
		ReportProperties map[string]string
	}{rule.Context, rule.Preconditions, rule.VerifyImages, rule.ReportProperties}
	raw, err := json.Marshal(parts)
	if err != nil || !strings.Contains(string(raw), "request.") {
		return // what is no JSON is refused where it is compiled
	}
	var doc any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if decoder.Decode(&doc) != nil {
		return
	}
	if raw, err = json.Marshal(retargeted(doc, template, "")); err != nil {
		return
	}
	rewritten := parts
	rewritten.Context, rewritten.Preconditions, rewritten.VerifyImages, rewritten.ReportProperties = nil, nil, nil, nil
	if json.Unmarshal(raw, &rewritten) != nil {
		return
	}
	rule.Context, rule.Preconditions = rewritten.Context, rewritten.Preconditions
	rule.VerifyImages, rule.ReportProperties = rewritten.VerifyImages, rewritten.ReportProperties
}

// retargeted rewrites the texts of a value that hold variables, and those that are expressions as a whole.
func retargeted(value any, template, name string) any {
	switch t := value.(type) {
	case map[string]any:
		for k, v := range t {
			t[k] = retargeted(v, template, k)
		}
	case []any:
		for i, v := range t {
			t[i] = retargeted(v, template, name)
		}
	case string:
		if hasVariable(t) || name == "jmesPath" {
			return expr.Retarget(t, template)
		}
	}
	return value
}
