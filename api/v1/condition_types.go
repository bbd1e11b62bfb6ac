package v1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// AnyAllConditions holds when one condition of any and every condition of all does.
type AnyAllConditions struct {
	// Any needs one condition to hold. A list that is present and empty never holds.
	// +optional
	Any []Condition `json:"any,omitzero"`

	// All needs every condition to hold.
	// +optional
	All []Condition `json:"all,omitzero"`
}

// Condition compares a key with a value.
type Condition struct {
	// Key is any JSON, usually a variable.
	// +optional
	Key *apiextensionsv1.JSON `json:"key,omitempty"`

	// Operator is one of Equals, NotEquals, AnyIn, AllIn, AnyNotIn, AllNotIn, GreaterThan, GreaterThanOrEquals, LessThan,
	// LessThanOrEquals and the last four with Duration before them. Case does not matter.
	// +optional
	Operator string `json:"operator,omitempty"`

	// Value is any JSON.
	// +optional
	Value *apiextensionsv1.JSON `json:"value,omitempty"`

	// Message is shown when the condition decides against the image.
	// +optional
	Message string `json:"message,omitempty"`
}
