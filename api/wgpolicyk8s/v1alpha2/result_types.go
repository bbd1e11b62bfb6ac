package v1alpha2

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicyReportSummary counts results by outcome.
type PolicyReportSummary struct {
	// Pass counts rules that hold.
	// +optional
	Pass int `json:"pass"`

	// Fail counts rules that do not hold.
	// +optional
	Fail int `json:"fail"`

	// Warn counts unscored rules that do not hold.
	// +optional
	Warn int `json:"warn"`

	// Error counts rules that could not be judged.
	// +optional
	Error int `json:"error"`

	// Skip counts rules that were not applied.
	// +optional
	Skip int `json:"skip"`
}

// PolicyResult is the outcome of a rule.
// +kubebuilder:validation:Enum=pass;fail;warn;error;skip
type PolicyResult string

// The outcomes.
const (
	ResultPass  PolicyResult = "pass"
	ResultFail  PolicyResult = "fail"
	ResultWarn  PolicyResult = "warn"
	ResultError PolicyResult = "error"
	ResultSkip  PolicyResult = "skip"
)

// PolicySeverity is how bad it is when a rule does not hold.
// +kubebuilder:validation:Enum=critical;high;low;medium;info
type PolicySeverity string

// The severities.
const (
	SeverityCritical PolicySeverity = "critical"
	SeverityHigh     PolicySeverity = "high"
	SeverityMedium   PolicySeverity = "medium"
	SeverityLow      PolicySeverity = "low"
	SeverityInfo     PolicySeverity = "info"
)

// PolicyReportResult is the outcome of one rule for one subject; Signet writes one for each rule and image.
type PolicyReportResult struct {
	// Source is the engine that found the result.
	// +optional
	Source string `json:"source,omitempty"`

	// Policy by name, or by namespace/name.
	Policy string `json:"policy"`

	// Rule of the policy.
	// +optional
	Rule string `json:"rule,omitempty"`

	// Category of the policy, from its annotations.
	// +optional
	Category string `json:"category,omitempty"`

	// Severity of the policy, from its annotations.
	// +optional
	Severity PolicySeverity `json:"severity,omitempty"`

	// Timestamp of the result, UTC.
	// +optional
	Timestamp metav1.Timestamp `json:"timestamp,omitzero"`

	// Result is the outcome.
	// +optional
	Result PolicyResult `json:"result,omitempty"`

	// Scored is false when a failure is only a warning.
	// +optional
	Scored bool `json:"scored,omitempty"`

	// Resources that the result is about, when the report has no scope.
	// +optional
	Resources []corev1.ObjectReference `json:"resources,omitempty"`

	// ResourceSelector selects what the result is about. Not together with resources.
	// +optional
	ResourceSelector *metav1.LabelSelector `json:"resourceSelector,omitempty"`

	// Message for people.
	// +optional
	Message string `json:"message,omitempty"`

	// Properties are further facts, such as image, digest and reason.
	// +optional
	Properties map[string]string `json:"properties,omitempty"`
}
