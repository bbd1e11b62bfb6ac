package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/verify"
)

// attestations compiles an entry's attestations: what has to be verified, and the conditions on what was. Sets beyond
// the first authored ones of an attestation stand for deprecated fields, of which there is one set or none.
func (c *compiler) attestations(r *verify.Requirement, in *v1.ImageVerification, path *field.Path, shortcut bool) []*expr.Conditions {
	var conditions []*expr.Conditions
	names := map[string]bool{}
	for i := range in.Attestations {
		a, at := &in.Attestations[i], path.Child("attestations").Index(i)
		compiled := c.conditions(a.Conditions, at.Child("conditions"))
		out := verify.Attestation{
			Path: fmt.Sprintf(".attestations[%d]", i), Name: a.Name, Type: c.predicateType(a, at),
			Read: a.Name != "" || !compiled.Empty(),
		}
		if a.Name != "" && names[a.Name] {
			c.warn("%s: two attestations of one entry are named %q, and conditions see the last one", at.Child("name"), clip(a.Name))
		}
		names[a.Name] = true
		for k := range a.Attestors {
			sc := scope{entry: in, entryPath: path, path: at.Child("attestors").Index(k), shown: fmt.Sprintf("%s.attestors[%d]", out.Path, k),
				shortcut: shortcut && k == len(a.Attestors)-1}
			out.Sets = append(out.Sets, c.set(&a.Attestors[k], sc))
		}
		if len(out.Sets) == 0 && in.Type == v1.Notary {
			c.errs = append(c.errs, field.Required(at.Child("attestors"), notaryCertificates))
		} else if len(out.Sets) == 0 {
			c.warn("%s: without attestors any identity certified by the trust root is accepted", at)
			out.Sets = []verify.Set{c.anybody(in, path, at, out.Path)}
		}
		r.Attestations = append(r.Attestations, out)
		conditions = append(conditions, compiled)
	}
	return conditions
}

// predicateType reads the type of the statements, which has a deprecated name.
func (c *compiler) predicateType(a *v1.Attestation, at *field.Path) string {
	if a.PredicateType != "" {
		c.warn("%s: predicateType has been deprecated use 'type: %s' instead of 'predicateType: %s'",
			at.Child("predicateType"), clip(a.PredicateType), clip(a.PredicateType))
	}
	kind := a.Type
	if kind == "" {
		kind = a.PredicateType
	}
	if kind == "" {
		c.warn("%s: missing type, so that no image can pass", at)
	}
	return kind
}

// anybody is the set that an attestation without attestors stands for (VI 6.6(3)). The entry's own roots and extensions
// narrow it (VI 6.5(8)).
func (c *compiler) anybody(in *v1.ImageVerification, path, at *field.Path, shown string) verify.Set {
	a := c.base(&v1.Attestor{}, scope{entry: in, entryPath: path}, at)
	extensions := path.Child("additionalExtensions")
	a.Keyless = &verify.Keyless{
		Identity: c.identity(verify.IdentityText{AdditionalExtensions: in.AdditionalExtensions}, extensions, extensions),
		Roots:    c.authorities(in.Roots, path.Child("roots")),
	}
	a.LogURL, a.IgnoreSCT, c.keylessSeen = publicRekor, true, true
	return verify.Set{Count: 1, Entries: []verify.Entry{{Path: shown + ".attestors[0].entries[0].keyless", Attestor: &a}}}
}

// conditions compiles the conditions of an attestation. Fields of the predicate are not known in advance, so variables
// are checked only for being expressions.
func (c *compiler) conditions(in []v1.AnyAllConditions, path *field.Path) *expr.Conditions {
	if len(in) == 0 {
		return &expr.Conditions{}
	}
	for i := range in {
		for _, list := range [][]v1.Condition{in[i].Any, in[i].All} {
			for k := range list {
				c.deprecatedOperator(path.Index(i), list[k].Operator)
			}
		}
	}
	raw, err := json.Marshal(in)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return &expr.Conditions{}
	}
	compiled, err := expr.Compile(raw)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return &expr.Conditions{}
	}
	return compiled
}

func (c *compiler) deprecatedOperator(path *field.Path, operator string) {
	if strings.EqualFold(operator, "In") || strings.EqualFold(operator, "NotIn") {
		c.warn("%s: the operators In and NotIn are deprecated, use AnyIn, AllIn, AnyNotIn or AllNotIn", path)
	}
}

// Deny is the compiled validate block of an entry: what refuses an image across its attestations.
type Deny struct {
	Conditions *expr.Conditions
	// Message is shown when the image is refused; nil for none.
	Message *expr.Template
}

// deny compiles an entry's validate block; nil when it refuses nothing.
func (c *compiler) deny(in *v1.ImageValidation, path *field.Path) *Deny {
	if in == nil {
		return nil
	}
	out := &Deny{}
	if in.Message != "" {
		message, err := expr.CompileTemplate(in.Message)
		if err != nil {
			c.errs = append(c.errs, field.Invalid(path.Child("message"), clip(in.Message), err.Error()))
		}
		out.Message = message
	}
	if in.Deny == nil {
		return nil
	}
	at := path.Child("deny", "conditions")
	if in.Deny.Conditions == nil || len(in.Deny.Conditions.Raw) == 0 || string(in.Deny.Conditions.Raw) == "null" {
		c.errs = append(c.errs, field.Required(at, "say what is denied"))
		return nil
	}
	raw := in.Deny.Conditions.Raw
	compiled, err := expr.Compile(raw)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(at, "", err.Error()))
		return nil
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		c.errs = append(c.errs, field.Invalid(at, "", err.Error()))
		return nil
	}
	c.checkConditions(doc, at, true)
	out.Conditions = compiled
	return out
}

// operations are those of admission requests.
var operations = []string{"CREATE", "UPDATE", "DELETE", "CONNECT"}

// checkConditions checks what conditions have to be beyond well-formed: comparing the operation with one that exists, and
// complete where they deny, since one that was misspelled would deny nothing.
func (c *compiler) checkConditions(value any, at *field.Path, complete bool) {
	switch v := value.(type) {
	case []any:
		for i := range v {
			c.checkConditions(v[i], at.Index(i), complete)
		}
	case map[string]any:
		_, isAny := v["any"]
		_, isAll := v["all"]
		if isAny || isAll || len(v) == 0 {
			c.checkConditions(v["any"], at.Child("any"), complete)
			c.checkConditions(v["all"], at.Child("all"), complete)
			return
		}
		operator, _ := v["operator"].(string)
		if complete && (v["key"] == nil || operator == "" || v["value"] == nil) {
			c.errs = append(c.errs, field.Invalid(at, "", "entered value of key, value or operator is missing or misspelled"))
			return
		}
		c.deprecatedOperator(at, operator)
		if key, _ := v["key"].(string); !strings.Contains(strings.ReplaceAll(key, " ", ""), "{{request.operation}}") {
			return
		}
		values, ok := v["value"].([]any)
		if !ok {
			values = []any{v["value"]}
		}
		for _, one := range values {
			if text, ok := one.(string); ok && !hasVariable(text) && !strings.ContainsAny(text, "*?") && !slices.Contains(operations, text) {
				c.errs = append(c.errs, field.NotSupported(at.Child("value"), clip(text), operations))
			}
		}
	}
}
