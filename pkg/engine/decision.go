package engine

import (
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
)

// Status is the outcome of one check. There is no zero status.
type Status int

// The statuses, from the best to the worst.
const (
	Skip Status = iota + 1
	Pass
	Error
	Fail
)

func (s Status) String() string {
	switch s {
	case Skip:
		return "skip"
	case Pass:
		return "pass"
	case Error:
		return "error"
	default:
		return "fail"
	}
}

// bad tells whether the status is neither pass nor skip.
func (s Status) bad() bool { return s != Skip && s != Pass }

// Result is what one rule says of one image, or of the object as a whole when Image is nil.
type Result struct {
	Rule    *policy.Rule
	Image   *plan.Image
	Digest  image.Digest // empty when it is not known
	Status  Status
	Reason  reason.Code
	Message string
	// Unchanged results concern images that an update leaves as they were: they are reported and do not block.
	Unchanged bool
	// Skipped is set on a skip by skipImageReferences, which warns the client.
	Skipped bool
	// Exceptions are the PolicyExceptions that take the rule away.
	Exceptions []policy.Key
	// Properties are the rule's report properties with their variables replaced; nil for those of the policy.
	Properties map[string]string
	// unknown is set on a fail beside which something else could not be checked: that is for the failure policy.
	unknown bool
	// Blocks is set on a result that blocks the request.
	Blocks bool
}

// Patch is one operation of a JSON patch (RFC 6902).
type Patch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Decision is the outcome of a review.
type Decision struct {
	Allowed bool
	// Message is the denial text; empty when the request is allowed.
	Message string
	// Warnings are shown to the client of an allowed request.
	Warnings []string
	// Patches are for the mutating phase of an allowed request.
	Patches []Patch
	// Results are one for each rule and image, by policy, rule and image order, for reports and events.
	Results []Result
	// Responses are what the client is told: in the mutating phase the results, in the validating phase one a rule.
	Responses []Result
}
