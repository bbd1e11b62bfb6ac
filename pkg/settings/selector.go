package settings

import (
	"encoding/json"
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// Selectors is what the key webhooks holds: about which namespaces and objects the API server asks. Nil is not said.
type Selectors struct {
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	ObjectSelector    *metav1.LabelSelector `json:"objectSelector,omitempty"`
}

// ReadSelectors reads the key webhooks: one object, or a list of exactly one, with selectors that the API server accepts.
func ReadSelectors(text string) (Selectors, error) {
	raw, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return Selectors{}, err
	}
	var list []json.RawMessage
	if raw[0] == '[' {
		if err := json.Unmarshal(raw, &list); err != nil {
			return Selectors{}, err
		}
		if len(list) != 1 {
			return Selectors{}, fmt.Errorf("a list of %d, want one object", len(list))
		}
		raw = list[0]
	}
	var s Selectors
	if err := yaml.UnmarshalStrict(raw, &s); err != nil {
		return Selectors{}, err
	}
	for _, l := range []*metav1.LabelSelector{s.NamespaceSelector, s.ObjectSelector} {
		if errs := validation.ValidateLabelSelector(l, validation.LabelSelectorValidationOptions{}, field.NewPath("selector")); len(errs) > 0 {
			return Selectors{}, errs.ToAggregate()
		}
	}
	return s, nil
}

// ReadConditions reads the key matchConditions. What their CEL says is for the API server to judge.
func ReadConditions(text string) ([]admissionregistrationv1.MatchCondition, error) {
	raw, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return nil, err
	}
	var conditions []admissionregistrationv1.MatchCondition
	return conditions, yaml.UnmarshalStrict(raw, &conditions)
}

// asked is about which objects the API server asks. The zero value is about all.
type asked struct {
	objects labels.Selector // nil for all
	// namespaces is the selector as written; nil when nothing is said.
	namespaces *metav1.LabelSelector
	// unknown is set when conditions read the object, which only the API server evaluates.
	unknown bool
}

func (a *asked) selectors(text string) error {
	s, err := ReadSelectors(text)
	if err != nil {
		return err
	}
	a.namespaces = s.NamespaceSelector
	if s.ObjectSelector == nil {
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(s.ObjectSelector)
	if err == nil && !selector.Empty() {
		a.objects = selector
	}
	return err
}

func (a *asked) conditions(text string) error {
	conditions, err := ReadConditions(text)
	for _, c := range conditions {
		// CEL has no other way to an object than the variables object and oldObject.
		a.unknown = a.unknown || strings.Contains(strings.ToLower(c.Expression), "object")
	}
	return err
}

// NamespaceLabel is the label by which the API server names a namespace.
const NamespaceLabel = "kubernetes.io/metadata.name"

// DefaultNamespaces selects the namespaces that the API server asks about where nothing is said: all but the cluster's own and
// Signet's.
func DefaultNamespaces(system string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: NamespaceLabel, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"kube-system", system},
	}}}
}

// AsksIn tells whether the API server may ask about objects in a namespace, as far as its name decides. The system namespace is
// Signet's.
func (s *Settings) AsksIn(namespace, system string) bool {
	written := s.asked.namespaces
	if written == nil {
		written = DefaultNamespaces(system)
	}
	named := &metav1.LabelSelector{}
	if name, ok := written.MatchLabels[NamespaceLabel]; ok {
		named.MatchLabels = map[string]string{NamespaceLabel: name}
	}
	for _, e := range written.MatchExpressions {
		if e.Key == NamespaceLabel {
			named.MatchExpressions = append(named.MatchExpressions, e)
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(named)
	return err != nil || selector.Matches(labels.Set{NamespaceLabel: namespace})
}

// Asks tells whether the API server is known to ask about an object, as far as that rests on the object itself.
func (s *Settings) Asks(object map[string]any) bool {
	switch {
	case s.asked.unknown:
		return false
	case s.asked.objects == nil:
		return true
	}
	metadata, _ := object["metadata"].(map[string]any)
	written, _ := metadata["labels"].(map[string]any)
	set := make(labels.Set, len(written))
	for name, value := range written {
		text, ok := value.(string)
		if !ok {
			return false
		}
		set[name] = text
	}
	return s.asked.objects.Matches(set)
}
