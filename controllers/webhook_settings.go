package controllers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// configMapName names the ConfigMap in the system namespace that settles what no policy says.
const configMapName = "kyverno"

// namespaceLabel is the label by which the API server names a namespace.
const namespaceLabel = "kubernetes.io/metadata.name"

// webhookSettings are what the ConfigMap says about webhook configurations.
type webhookSettings struct {
	namespaceSelector *metav1.LabelSelector
	objectSelector    *metav1.LabelSelector
	matchConditions   []admissionregistrationv1.MatchCondition
	annotations       map[string]string
	labels            map[string]string
}

func defaultSettings(systemNamespace string) webhookSettings {
	return webhookSettings{
		namespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: namespaceLabel, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"kube-system", systemNamespace},
		}}},
		objectSelector: &metav1.LabelSelector{},
	}
}

// selectors is what the key webhooks holds.
type selectors struct {
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	ObjectSelector    *metav1.LabelSelector `json:"objectSelector,omitempty"`
}

// readSettings reads the data of the ConfigMap. A key that is not understood keeps what it had before, or without that its
// default, as a whole and gives an error: half of a selector might leave out namespaces that the whole of it does not.
func readSettings(data map[string]string, systemNamespace string, before *webhookSettings) (webhookSettings, []error) {
	out := defaultSettings(systemNamespace)
	if before == nil {
		before = &webhookSettings{namespaceSelector: out.namespaceSelector, objectSelector: out.objectSelector}
	}
	var errs []error
	read := func(key string, apply func(raw []byte) error, keep func()) {
		text := strings.TrimSpace(data[key])
		if text == "" {
			return
		}
		raw, err := yaml.YAMLToJSONStrict([]byte(text))
		if err == nil {
			err = apply(raw)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("key %s: %w", key, err))
			keep()
		}
	}
	read("webhooks", func(raw []byte) error {
		s, err := readSelectors(raw)
		if err != nil {
			return err
		}
		if s.NamespaceSelector != nil {
			out.namespaceSelector = s.NamespaceSelector
		}
		if s.ObjectSelector != nil {
			out.objectSelector = s.ObjectSelector
		}
		return nil
	}, func() { out.namespaceSelector, out.objectSelector = before.namespaceSelector, before.objectSelector })
	read("matchConditions", func(raw []byte) error {
		var conditions []admissionregistrationv1.MatchCondition
		if err := strict(raw, &conditions); err != nil {
			return err
		}
		out.matchConditions = conditions
		return nil
	}, func() { out.matchConditions = before.matchConditions })
	for key, target := range map[string][2]*map[string]string{
		"webhookAnnotations": {&out.annotations, &before.annotations}, "webhookLabels": {&out.labels, &before.labels},
	} {
		read(key, func(raw []byte) error {
			m := map[string]string{}
			if err := strict(raw, &m); err != nil {
				return err
			}
			*target[0] = m
			return nil
		}, func() { *target[0] = *target[1] })
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return out, errs
}

// readSelectors reads one object, or a list of exactly one, with selectors that the API server accepts.
func readSelectors(raw []byte) (selectors, error) {
	var list []json.RawMessage
	if raw[0] == '[' {
		if err := json.Unmarshal(raw, &list); err != nil {
			return selectors{}, err
		}
		if len(list) != 1 {
			return selectors{}, fmt.Errorf("a list of %d, want one object", len(list))
		}
		raw = list[0]
	}
	var s selectors
	if err := strict(raw, &s); err != nil {
		return selectors{}, err
	}
	for _, l := range []*metav1.LabelSelector{s.NamespaceSelector, s.ObjectSelector} {
		if errs := validation.ValidateLabelSelector(l, validation.LabelSelectorValidationOptions{}, field.NewPath("selector")); len(errs) > 0 {
			return selectors{}, errs.ToAggregate()
		}
	}
	return s, nil
}

func strict(raw []byte, into any) error { return yaml.UnmarshalStrict(raw, into) }
