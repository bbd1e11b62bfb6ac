package policy

import (
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxMatchConditions is the API server's own limit for one webhook.
const maxMatchConditions = 64

// matchConditions reads the conditions of the policy's own webhooks. Only the API server knows its CEL; what is checked here
// is what it asks of them besides.
func (c *compiler) matchConditions(in []admissionregistrationv1.MatchCondition, path *field.Path) {
	if len(in) == 0 {
		return
	}
	if len(in) > maxMatchConditions {
		c.errs = append(c.errs, field.TooMany(path, len(in), maxMatchConditions))
	}
	seen := map[string]bool{}
	for i := range in {
		at, name := path.Index(i), in[i].Name
		problems := validation.IsQualifiedName(name)
		switch {
		case name == "":
			c.errs = append(c.errs, field.Required(at.Child("name"), "a condition needs a name"))
		case len(problems) > 0:
			c.errs = append(c.errs, field.Invalid(at.Child("name"), clip(name), strings.Join(problems, "; ")))
		case seen[name]:
			c.errs = append(c.errs, field.Duplicate(at.Child("name"), clip(name)))
		}
		seen[name] = true
		if strings.TrimSpace(in[i].Expression) == "" {
			c.errs = append(c.errs, field.Required(at.Child("expression"), "a condition needs an expression"))
		}
	}
	if c.opts.CommonPaths {
		c.out.Moved = append(c.out.Moved, NoConditions)
		c.warn("%s: without effect here, the policy is about every request that its rules match", path)
		return
	}
	c.out.MatchConditions = in
}

// Webhook is the part of a fine-grained webhook's name and path that names the policy: "policy" or "namespace-policy" in a
// name, and the same with a slash in a path.
func (k Key) Webhook(separator string) string {
	if k.Namespace == "" {
		return k.Name
	}
	return fmt.Sprint(k.Namespace, separator, k.Name)
}
