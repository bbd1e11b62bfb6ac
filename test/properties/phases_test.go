package properties

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/signet-policy/signet/webhook"
)

// What a rule with required objects to when objects are changed it objects to when they are judged as well, so that losing
// the first call, or what it left, admits nothing (VI 3.6). An annotation that says otherwise is only that.
func TestPhasesAgree(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.replica(t, true, true)
	rapid.Check(t, func(rt *rapid.T) {
		policies := l.material.policies(1, 2).Draw(rt, "policies")
		for _, one := range policies {
			one.One = false // the phases may end at different rules
			for i := range one.Rules {
				for j := range one.Rules[i].Entries {
					one.Rules[i].Entries[j].Required = true
				}
			}
		}
		o := l.material.object().Draw(rt, "object")
		p.force(rt, policies)
		forged := o.forged()
		for mutate, validate := range map[string]string{webhook.MutateFail: webhook.ValidateFail, webhook.MutateIgnore: webhook.ValidateIgnore} {
			first, then, lied := p.ask(rt, mutate, o), p.ask(rt, validate, o), p.ask(rt, validate, forged)
			if !first.Allowed && then.Allowed {
				rt.Fatalf("%s denied it, and %s does not: %s", mutate, validate, first.Result.Message)
			}
			if then.Allowed != lied.Allowed {
				rt.Fatalf("%s: allowed %v, and %v with an annotation of the client's", validate, then.Allowed, lied.Allowed)
			}
			outcomes, believed := then.outcomes(), lied.outcomes()
			for of, status := range first.outcomes() {
				if (status == fail || status == unknown) && outcomes[of] != fail && outcomes[of] != unknown {
					rt.Fatalf("%s is %s for %s, and %q for %s", of, status, mutate, outcomes[of], validate)
				}
				if outcomes[of] != believed[of] {
					rt.Fatalf("%s: %s is %q, and %q with an annotation of the client's", validate, of, outcomes[of], believed[of])
				}
			}
		}
	})
}

// forged is the object with annotations that call every image of the registry verified.
func (o *madeObject) forged() *madeObject {
	object := map[string]any{}
	for k, v := range o.object {
		object[k] = v
	}
	metadata := map[string]any{}
	for k, v := range o.object["metadata"].(map[string]any) {
		metadata[k] = v
	}
	var all []string
	for text := range strings.SplitSeq(o.String(), `"`) {
		if strings.HasPrefix(text, host+"/") || strings.HasPrefix(text, deadHost+"/") {
			all = append(all, `"`+text+`":"pass"`)
		}
	}
	metadata["annotations"] = map[string]any{"kyverno.io/verify-images": "{" + strings.Join(all, ",") + "}"}
	object["metadata"] = metadata
	return &madeObject{object: object, old: o.old}
}
