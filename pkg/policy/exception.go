package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	v1 "github.com/signet-policy/signet/api/v1"
	v2 "github.com/signet-policy/signet/api/v2"
	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/wildcard"
)

// Exception is one compiled PolicyException: rules that do not apply to the requests it matches (VI 9(1)).
type Exception struct {
	Key
	UID types.UID
	// Filter and Conditions say for which requests. An exception of which either cannot be told does not apply.
	Filter     match.Filter
	Conditions *expr.Conditions
	// Background tells that it holds for background scans as well.
	Background bool

	named []named
}

// named are rules of one policy.
type named struct {
	policy Key
	rules  []wildcard.Pattern
}

// Names tells whether the exception names a rule.
func (x *Exception) Names(r *Rule) bool {
	for i := range x.named {
		if x.named[i].policy == r.Policy.Key && wildcard.Any(x.named[i].rules, r.Name) {
			return true
		}
	}
	return false
}

// ReadException reads a PolicyException, of whichever version, from JSON. A field that is not known is an error: it may
// have been meant to narrow the exception.
func ReadException(raw []byte) (*v2.PolicyException, error) {
	var x v2.PolicyException
	strict, err := kjson.UnmarshalStrict(raw, &x)
	if err == nil {
		err = errors.Join(strict...)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the exception: %w", err)
	}
	return &x, nil
}

// CompileException compiles a PolicyException. With errors there is none: half of an exception might be a wider one.
func CompileException(x *v2.PolicyException) (*Exception, field.ErrorList) {
	// Filters are those of policies: the same compiler reads them, for a policy without a namespace.
	c := newCompiler(metav1.ObjectMeta{}, &v1.Spec{Background: x.Spec.Background}, Options{})
	out := &Exception{Key: Key{Namespace: x.Namespace, Name: x.Name}, UID: x.UID, Background: isTrue(x.Spec.Background)}
	spec := field.NewPath("spec")
	out.Filter.Match = c.block(&v1.MatchResources{Any: x.Spec.Match.Any, All: x.Spec.Match.All}, spec.Child("match"), false)
	if len(x.Spec.Match.Any)+len(x.Spec.Match.All) == 0 {
		c.errs = append(c.errs, field.Required(spec.Child("match"), "an exception needs any or all"))
	}
	out.Conditions = c.exceptionConditions(x.Spec.Conditions, spec.Child("conditions"))
	if len(x.Spec.Exceptions) == 0 {
		c.errs = append(c.errs, field.Required(spec.Child("exceptions"), "name the rules that do not apply"))
	}
	for i := range x.Spec.Exceptions {
		out.named = append(out.named, c.named(&x.Spec.Exceptions[i], spec.Child("exceptions").Index(i)))
	}
	if len(c.errs) > 0 {
		return nil, dedupe(c.errs)
	}
	return out, nil
}

func (c *compiler) named(in *v2.Exception, path *field.Path) named {
	at := path.Child("policyName")
	namespace, name, namespaced := strings.Cut(in.PolicyName, "/")
	if !namespaced {
		namespace, name = "", in.PolicyName
	}
	switch {
	case in.PolicyName == "":
		c.errs = append(c.errs, field.Required(at, "name a ClusterPolicy, or a Policy as namespace/name"))
	case name == "" || namespaced && namespace == "" || strings.Contains(name, "/"):
		c.errs = append(c.errs, field.Invalid(at, clip(in.PolicyName), "must be the name of a ClusterPolicy, or namespace/name of a Policy"))
	case strings.ContainsAny(in.PolicyName, "*?"):
		c.errs = append(c.errs, field.Invalid(at, clip(in.PolicyName), "wildcards are for ruleNames only: an exception names its policy"))
	}
	c.noVariable(at, in.PolicyName)
	if len(in.RuleNames) == 0 {
		c.errs = append(c.errs, field.Required(path.Child("ruleNames"), "name the rules that do not apply"))
	}
	for i, s := range in.RuleNames {
		if s == "" {
			c.errs = append(c.errs, field.Required(path.Child("ruleNames").Index(i), "a rule has a name"))
		}
	}
	return named{policy: Key{Namespace: namespace, Name: name}, rules: c.wildcards(path.Child("ruleNames"), in.RuleNames)}
}

// userVariables are what a background scan, which nobody asks for, does not know.
var userVariables = []string{"request.userInfo", "request.roles", "request.clusterRoles", "serviceAccountName", "serviceAccountNamespace"}

func (c *compiler) exceptionConditions(in *v1.AnyAllConditions, path *field.Path) *expr.Conditions {
	if in == nil {
		return &expr.Conditions{}
	}
	for _, list := range [][]v1.Condition{in.Any, in.All} {
		for i := range list {
			c.deprecatedOperator(path, list[i].Operator)
		}
	}
	raw, err := json.Marshal(in)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return nil
	}
	compiled, err := expr.Compile(raw)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return nil
	}
	for _, v := range compiled.Variables() {
		if isTrue(c.spec.Background) && slices.ContainsFunc(userVariables, func(u string) bool { return strings.Contains(v, u) }) {
			c.errs = append(c.errs, field.Invalid(path, clip(v), userInBackground))
		}
	}
	return compiled
}
