package policy

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/wildcard"
)

// Limits of names, as the API server's own.
const (
	maxRuleName   = 63
	maxPolicyName = 63
)

// The timeouts that a webhook may have, in seconds.
const minTimeout, maxTimeout = 1, 30

// autogenControllers names the annotation that selects what rules are generated for.
const autogenControllers = "pod-policies.kyverno.io/autogen-controllers"

// Options change how policies are compiled. The zero value is the product's.
type Options struct {
	// ForceIgnore makes every failure policy Ignore (--forceFailurePolicyIgnore).
	ForceIgnore bool
	// CommonPaths leaves policies without webhooks of their own: what has matchConditions is judged with all the others,
	// as if its conditions always held. It is for where the API server is not told what to ask.
	CommonPaths bool
}

// CompileCluster compiles a ClusterPolicy. Each error names a field.
//
// With errors the policy that is returned has Broken rules: it refuses what it matches. That is for a stored policy of
// which no earlier generation is in force, because one that cannot be evaluated must not admit everything.
//
// Rules of other kinds than verifyImages are not errors here: a stored policy that holds some is loaded without them,
// and Policy.NotEvaluated names them. Policy admission refuses what is not evaluated.
func CompileCluster(p *v1.ClusterPolicy, opts Options) (*Policy, field.ErrorList) {
	c := newCompiler(p.ObjectMeta, &p.Spec, opts)
	if p.Namespace != "" {
		c.errs = append(c.errs, field.Forbidden(field.NewPath("metadata", "namespace"), "a ClusterPolicy has no namespace"))
	}
	return c.compile("")
}

// CompileNamespaced compiles a Policy, which matches only its own namespace.
func CompileNamespaced(p *v1.Policy, opts Options) (*Policy, field.ErrorList) {
	return newCompiler(p.ObjectMeta, &p.Spec, opts).compile(p.Namespace)
}

// AdmitCluster judges a ClusterPolicy that somebody wants to store: everything that is not evaluated is an error, and
// what deserves a second thought a warning.
func AdmitCluster(p *v1.ClusterPolicy, opts Options) (warnings []string, errs field.ErrorList) {
	c := newCompiler(p.ObjectMeta, &p.Spec, opts)
	if p.Namespace != "" {
		c.errs = append(c.errs, field.Forbidden(field.NewPath("metadata", "namespace"), "a ClusterPolicy has no namespace"))
	}
	_, errs = c.compile("")
	return c.warnings, append(errs, c.others...)
}

// AdmitNamespaced judges a Policy that somebody wants to store.
func AdmitNamespaced(p *v1.Policy, opts Options) (warnings []string, errs field.ErrorList) {
	c := newCompiler(p.ObjectMeta, &p.Spec, opts)
	_, errs = c.compile(p.Namespace)
	return c.warnings, append(errs, c.others...)
}

// compiler collects the errors and warnings of one policy on the way.
type compiler struct {
	meta     metav1.ObjectMeta
	spec     *v1.Spec
	opts     Options
	out      *Policy
	errs     field.ErrorList
	others   field.ErrorList // rules of other kinds than verifyImages
	warnings []string
	// keylessSeen says that an attestor of the entry at hand is keyless.
	keylessSeen bool
	// literal is set when variables have been substituted: what looks like one is text.
	literal bool
	// readsRoles says that a variable of the rule at hand reads the roles of the user.
	readsRoles bool
	// extracting says that the rule at hand names the places of images itself.
	extracting bool
	// excluding says that the block at hand is an exclude block.
	excluding bool
}

func newCompiler(meta metav1.ObjectMeta, spec *v1.Spec, opts Options) *compiler {
	return &compiler{meta: meta, spec: spec, opts: opts, out: &Policy{
		UID: meta.UID, Generation: meta.Generation,
		Report: Report{
			Severity: meta.Annotations["policies.kyverno.io/severity"],
			Category: meta.Annotations["policies.kyverno.io/category"],
			Unscored: meta.Annotations["policies.kyverno.io/scored"] == "false",
			Disabled: hasKey(meta.Labels, "reports.kyverno.io/disabled"),
		},
	}}
}

func hasKey(m map[string]string, k string) bool { _, ok := m[k]; return ok }

func (c *compiler) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(c.warnings, w) {
		c.warnings = append(c.warnings, w)
	}
}

func (c *compiler) compile(namespace string) (*Policy, field.ErrorList) {
	c.out.Key = Key{Namespace: namespace, Name: c.meta.Name}
	spec := field.NewPath("spec")
	if len(c.meta.Name) > maxPolicyName {
		c.errs = append(c.errs, field.TooLong(field.NewPath("metadata", "name"), c.meta.Name, maxPolicyName))
	}
	c.switches(spec)
	c.webhook(spec)
	fallback := c.actions(spec)

	computed := c.autogen()
	if len(c.spec.Rules) == 0 {
		c.errs = append(c.errs, field.Required(spec.Child("rules"), "a policy needs rules"))
	}
	names := map[string]bool{}
	c.out.Authored = len(c.spec.Rules)
	for i := range c.spec.Rules {
		rule, path := &c.spec.Rules[i], spec.Child("rules").Index(i)
		if names[rule.Name] {
			c.errs = append(c.errs, field.Invalid(path.Child("name"), rule.Name, fmt.Sprintf("Duplicate rule name: '%s'", rule.Name)))
		}
		names[rule.Name] = true
		before := len(c.errs)
		c.rule(rule, path, fallback)
		after := len(c.errs)
		for j := range computed[i] {
			c.rule(&computed[i][j], path, fallback)
			if after > before {
				c.errs = c.errs[:after] // the same again, under another rule name
			}
			c.out.Generated = append(c.out.Generated, computed[i][j])
		}
	}
	if len(c.errs) > 0 {
		c.errs = dedupe(c.errs)
		for _, r := range c.out.Rules {
			r.Broken = c.errs.ToAggregate().Error()
		}
		return c.out, c.errs
	}
	for _, other := range c.others {
		c.out.NotEvaluated = append(c.out.NotEvaluated, other.Error())
	}
	return c.out, nil
}

// dedupe drops the errors that a generated rule repeats.
func dedupe(errs field.ErrorList) field.ErrorList {
	seen := map[string]bool{}
	return slices.DeleteFunc(errs, func(e *field.Error) bool {
		text := e.Error()
		defer func() { seen[text] = true }()
		return seen[text]
	})
}

func (c *compiler) switches(spec *field.Path) {
	admission, background := isTrue(c.spec.Admission), isTrue(c.spec.Background)
	switch {
	case !admission && !background:
		c.errs = append(c.errs, field.Invalid(spec.Child("admission"), admission, "disabling both admission and background processing is not allowed"))
	case !admission:
		c.errs = append(c.errs, field.Invalid(spec.Child("admission"), admission, "disabling admission processing is only allowed with validation policies"))
	}
	c.out.Background = background
	switch c.spec.ApplyRules {
	case "", v1.ApplyAll:
	case v1.ApplyOne:
		c.out.ApplyOne = true
	default:
		c.errs = append(c.errs, field.NotSupported(spec.Child("applyRules"), c.spec.ApplyRules, []v1.ApplyRulesType{v1.ApplyAll, v1.ApplyOne}))
	}
	if strings.Contains(c.meta.Annotations[autogenControllers], "all") {
		c.errs = append(c.errs, field.Invalid(field.NewPath("metadata", "annotations").Key(autogenControllers),
			c.meta.Annotations[autogenControllers], "Autogen annotation does not support 'all' anymore, list the controllers or use none"))
	}
}

// isTrue reads a switch whose default is true.
func isTrue(b *bool) bool { return b == nil || *b }

// webhook works out the effective failure policy and timeout.
func (c *compiler) webhook(spec *field.Path) {
	policy, timeout := c.spec.FailurePolicy, c.spec.WebhookTimeoutSeconds
	at := spec.Child("webhookTimeoutSeconds")
	if w := c.spec.WebhookConfiguration; w != nil {
		path := spec.Child("webhookConfiguration")
		if w.FailurePolicy != "" {
			if policy != "" {
				c.errs = append(c.errs, field.Forbidden(spec.Child("failurePolicy"), "use spec.webhookConfiguration.failurePolicy instead"))
			}
			policy = w.FailurePolicy
		}
		if w.TimeoutSeconds != nil {
			if timeout != nil {
				c.errs = append(c.errs, field.Forbidden(spec.Child("webhookTimeoutSeconds"), "use spec.webhookConfiguration.timeoutSeconds instead"))
			}
			timeout, at = w.TimeoutSeconds, path.Child("timeoutSeconds")
		}
		c.matchConditions(w.MatchConditions, path.Child("matchConditions"))
	}
	switch {
	case policy == v1.Ignore:
		c.out.FailurePolicy = Ignore
	case c.opts.ForceIgnore:
		c.out.FailurePolicy = Ignore
		c.out.Moved = append(c.out.Moved, ForcedIgnore)
	case policy == v1.Fail, policy == "":
		c.out.FailurePolicy = Fail
	default:
		c.out.FailurePolicy = Fail
		c.errs = append(c.errs, field.NotSupported(spec.Child("failurePolicy"), policy, []v1.FailurePolicy{v1.Ignore, v1.Fail}))
	}
	switch {
	case timeout == nil:
	case *timeout < minTimeout || *timeout > maxTimeout:
		// The webhooks of a stored policy keep the default: the API server would refuse those of everybody for this one.
		c.errs = append(c.errs, field.Invalid(at, *timeout, "must be between 1 and 30 seconds"))
	default:
		c.out.TimeoutSeconds = *timeout
	}
}

// actions reads the policy-wide failure action and its overrides.
func (c *compiler) actions(spec *field.Path) actions {
	a := actions{spec: c.action(spec.Child("validationFailureAction"), string(c.spec.ValidationFailureAction))}
	if a.spec == 0 {
		a.spec = Audit
	}
	for i, o := range c.spec.ValidationFailureActionOverrides {
		path := spec.Child("validationFailureActionOverrides").Index(i)
		compiled := override{action: c.action(path.Child("action"), string(o.Action)),
			namespaces: c.wildcards(path.Child("namespaces"), o.Namespaces),
			selector:   c.selector(path.Child("namespaceSelector"), o.NamespaceSelector)}
		if compiled.action == 0 {
			c.errs = append(c.errs, field.Required(path.Child("action"), "Audit or Enforce"))
		}
		if len(o.Namespaces) == 0 && o.NamespaceSelector == nil {
			c.warn("%s: without namespaces and namespaceSelector it holds nowhere", path)
		}
		a.overrides = append(a.overrides, compiled)
	}
	return a
}

// action reads a failure action without regard to case; 0 for none.
func (c *compiler) action(path *field.Path, s string) Action {
	switch s {
	case "":
		return 0
	case "audit", "enforce":
		c.warn("Validation failure actions enforce/audit are deprecated, use Enforce/Audit instead.")
	}
	switch strings.ToLower(s) {
	case "enforce":
		return Enforce
	case "audit":
		return Audit
	}
	c.errs = append(c.errs, field.NotSupported(path, s, []string{"Audit", "Enforce"}))
	return 0
}

func (c *compiler) wildcards(path *field.Path, texts []string) []wildcard.Pattern {
	var out []wildcard.Pattern
	for i, s := range texts {
		c.noVariable(path.Index(i), s)
		p, err := wildcard.Compile(s)
		if err != nil {
			c.errs = append(c.errs, field.Invalid(path.Index(i), s, err.Error()))
			continue
		}
		out = append(out, p)
	}
	return out
}

// noVariable refuses a text that holds a variable where none can be substituted: what decides whether a rule is about a
// request is known before there is any data.
func (c *compiler) noVariable(path *field.Path, s string) {
	if hasVariable(s) {
		c.errs = append(c.errs, field.Invalid(path, clip(s), "policy contains invalid variables: variables cannot be used here"))
	}
}

// later tells whether a text holds variables and is to be read when they have values.
func (c *compiler) later(s string) bool { return !c.literal && hasVariable(s) }

func hasVariable(s string) bool { return strings.Contains(s, "{{") || strings.Contains(s, "$(") }
