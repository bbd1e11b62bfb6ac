// Package policy compiles ClusterPolicy and Policy objects and publishes them as immutable snapshots.
//
// A policy that does not compile is never half-published: the previous generation stays in force. What a request reads
// is one Snapshot, taken once.
package policy

import (
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/extract"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/wildcard"
)

// Action says what a violation does. There is no zero action.
type Action int

// The actions.
const (
	Enforce Action = iota + 1
	Audit
)

func (a Action) String() string {
	if a == Audit {
		return "Audit"
	}
	return "Enforce"
}

// FailurePolicy says what an error does. There is no zero value.
type FailurePolicy int

// The failure policies.
const (
	Fail FailurePolicy = iota + 1
	Ignore
)

func (f FailurePolicy) String() string {
	if f == Ignore {
		return "Ignore"
	}
	return "Fail"
}

// Key names a policy; Namespace is empty for a ClusterPolicy.
type Key struct {
	Namespace, Name string
}

// String is the name that reports carry: "name", or "namespace/name".
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Scoped is the key of the scoped annotation: "/name", or "namespace/name".
func (k Key) Scoped() string { return k.Namespace + "/" + k.Name }

// Policy is one compiled policy.
type Policy struct {
	Key
	UID        types.UID
	Generation int64
	// FailurePolicy and TimeoutSeconds are the effective ones; TimeoutSeconds is 0 where the flag's default holds.
	FailurePolicy  FailurePolicy
	TimeoutSeconds int32
	// MatchConditions are CEL expressions by which the API server chooses the requests that it asks about; with some, the
	// policy has webhooks of its own.
	MatchConditions []admissionregistrationv1.MatchCondition
	// Moved says why the policy is judged on another path than it asks for: ForcedIgnore, NoConditions. That is not the policy's
	// doing but the flags', so that its generation does not tell of it.
	Moved []string
	// ApplyOne stops after the first rule that produced pass or fail.
	ApplyOne   bool
	Background bool
	// Report says how results are presented.
	Report Report
	// Rules are the computed rules: each authored one followed by what was generated from it.
	Rules []*Rule
	// Generated are the rules generated for pod controllers, as the status shows them.
	Generated []v1.Rule
	// Authored is the number of rules as written.
	Authored int
	// NotEvaluated names what a stored policy holds beyond verifyImages rules; its Ready condition says so.
	NotEvaluated []string
}

// What may move a policy to another path.
const (
	ForcedIgnore = "failure policy Ignore is forced by a flag"
	NoConditions = "matchConditions are left out by a flag"
)

// FineGrained tells whether the policy has webhooks of its own (VI 3.4).
func (p *Policy) FineGrained() bool { return len(p.MatchConditions) > 0 }

// AuthoredRules are the rules as written, without generated ones.
func (p *Policy) AuthoredRules() []*Rule {
	generated := map[string]bool{}
	for i := range p.Generated {
		generated[p.Generated[i].Name] = true
	}
	return slices.DeleteFunc(slices.Clone(p.Rules), func(r *Rule) bool { return generated[r.Name] })
}

// Report is what the policy's annotations say about its report results.
type Report struct {
	Severity, Category string
	Unscored, Disabled bool
}

// Rule is one compiled rule, authored or generated.
type Rule struct {
	Policy *Policy
	Name   string
	Filter match.Filter
	// Entries are the verifyImages entries in order; never empty unless Broken is set.
	Entries []*Entry
	// Broken says why the policy cannot be evaluated; empty for every policy that compiled. Its filter is as wide as
	// what could be read of it.
	Broken string
	// ReportProperties are copied into report results, unless Properties gives others.
	ReportProperties map[string]string
	// Extractors are the places of images that the rule names itself, by kind; nil for the usual ones.
	Extractors extract.Custom
	// Context are what variables of the rule can read besides the request, each of those before it.
	Context []ContextEntry
	// Preconditions skip the rule when they do not hold; nil for none.
	Preconditions *expr.Conditions
	// Kinds are all kinds that match names.
	Kinds []match.Kind

	action         Action // of the entries; 0 when none has one
	fallback       actions
	needsNamespace bool
	needsRoles     bool
	readsRoles     bool           // in variables
	properties     *expr.Template // report properties with variables
}

// actions is the policy-wide part of a rule's effective action.
type actions struct {
	overrides []override
	spec      Action
}

type override struct {
	namespaces []wildcard.Pattern
	selector   *match.Selector
	action     Action
}

// of is the action for a request. The error is that of the labels of its namespace, if an override depends on them; the
// action then is the strictest one.
func (a *actions) of(attributes *match.Attributes) (Action, error) {
	for i := range a.overrides {
		o := &a.overrides[i]
		if len(o.namespaces) > 0 && !wildcard.Any(o.namespaces, attributes.Namespace) {
			continue
		}
		if o.selector != nil {
			selected, err := attributes.InNamespace(o.selector)
			if err != nil {
				return Enforce, err
			}
			if !selected {
				continue
			}
		}
		if len(o.namespaces) > 0 || o.selector != nil {
			return o.action, nil
		}
	}
	return a.spec, nil
}

func (a *actions) needNamespace() bool {
	return slices.ContainsFunc(a.overrides, func(o override) bool { return o.selector != nil })
}

// Action is the rule's effective action for a request: Enforce where that cannot be told, which Undecided says.
func (r *Rule) Action(a *match.Attributes) Action {
	if r.action != 0 {
		return r.action
	}
	action, _ := r.fallback.of(a)
	return action
}

// NeedsNamespace tells whether what the rule says may depend on the labels of the request's namespace.
func (r *Rule) NeedsNamespace() bool { return r.needsNamespace }

// NeedsRoles tells whether what the rule says may depend on the roles of the request's user.
func (r *Rule) NeedsRoles() bool { return r.needsRoles || r.readsRoles }

// Undecided says why it cannot be told whether the rule is about the request, or with which action: the labels of the
// namespace or the roles of the user cannot be had. It is nil for a rule of which that can be told without them.
func (r *Rule) Undecided(a *match.Attributes) error {
	if !r.needsNamespace && !r.NeedsRoles() {
		return nil
	}
	if _, err := r.Filter.Matches(a); err != nil {
		return err
	}
	depends := r.action == 0
	for _, e := range r.Entries {
		depends = depends || e.action == 0 && e.MutateDigest
	}
	if r.readsRoles && r.Broken == "" {
		if err := a.RolesKnown(); err != nil {
			return err
		}
	}
	if r.Broken != "" || !depends || !r.needsNamespace { // a broken rule refuses, whatever its action
		return nil
	}
	_, err := r.fallback.of(a)
	return err
}

// Validates tells whether the rule has something to check in the validating phase.
func (r *Rule) Validates() bool {
	for _, e := range r.Entries {
		if e.VerifyDigest || e.Required {
			return true
		}
	}
	return r.Broken != ""
}

// Entry is one compiled verifyImages entry.
type Entry struct {
	Images []image.Pattern
	Skip   []image.Pattern
	// Requirement is nil for an entry without attestors and attestations.
	Requirement                                    *verify.Requirement
	MutateDigest, VerifyDigest, Required, UseCache bool
	// Credentials are what the entry reads registries with; nil for what the process has.
	Credentials *Credentials
	// Conditions are those of the requirement's attestations, in their order.
	Conditions []*expr.Conditions
	// Deny is what refuses an image across its attestations; nil for nothing.
	Deny *Deny
	// Deferred is set on an entry that holds variables: it judges nothing before Rule.Substituted gave what it demands.
	Deferred *substitution
	// Invalid says why no image can satisfy the entry: the values of its variables are of no use. Nil for all others.
	Invalid *reason.Error

	action   Action // 0 when the entry has none
	fallback actions
}

// Action is the entry's own effective action for a request: it decides whether digests are mutated.
func (e *Entry) Action(a *match.Attributes) Action {
	if e.action != 0 {
		return e.action
	}
	action, _ := e.fallback.of(a)
	return action
}

// readsRoles tells whether a condition of the entry reads the roles of the user.
func (e *Entry) readsRoles() bool {
	if e.Deny != nil && ReadsRoles(e.Deny.Conditions.Variables()) {
		return true
	}
	return slices.ContainsFunc(e.Conditions, func(c *expr.Conditions) bool { return ReadsRoles(c.Variables()) })
}

// ReadsRoles tells whether one of these expressions reads the roles of the user.
func ReadsRoles(expressions []string) bool {
	return slices.ContainsFunc(expressions, func(s string) bool {
		return strings.Contains(s, "request.roles") || strings.Contains(s, "request.clusterRoles")
	})
}

// Judges tells whether the entry looks at an image, and whether it skips it.
func (e *Entry) Judges(f *image.Forms) (judges, skips bool) {
	if !matchesAny(e.Images, f) {
		return false, false
	}
	for i := range e.Skip {
		if e.Skip[i].Skips(f) {
			return false, true
		}
	}
	return true, false
}

func matchesAny(patterns []image.Pattern, f *image.Forms) bool {
	for i := range patterns {
		if patterns[i].Matches(f) {
			return true
		}
	}
	return false
}
