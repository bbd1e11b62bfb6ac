package controllers

import (
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/settings"
)

// configMapName names the ConfigMap in the system namespace that settles what no policy says.
const configMapName = "kyverno"

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
		namespaceSelector: settings.DefaultNamespaces(systemNamespace), objectSelector: &metav1.LabelSelector{},
	}
}

// readSettings reads the data of the ConfigMap. A key that is not understood keeps what it had before, or without that its
// default, as a whole and gives an error: half of a selector might leave out namespaces that the whole of it does not.
func readSettings(data map[string]string, systemNamespace string, before *webhookSettings) (webhookSettings, []error) {
	out := defaultSettings(systemNamespace)
	if before == nil {
		before = &webhookSettings{namespaceSelector: out.namespaceSelector, objectSelector: out.objectSelector}
	}
	var errs []error
	read := func(key string, apply func(text string) error, keep func()) {
		text := strings.TrimSpace(data[key])
		if text == "" {
			return
		}
		if err := apply(text); err != nil {
			errs = append(errs, fmt.Errorf("key %s: %w", key, err))
			keep()
		}
	}
	read("webhooks", func(text string) error {
		s, err := settings.ReadSelectors(text)
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
	read("matchConditions", func(text string) (err error) {
		out.matchConditions, err = settings.ReadConditions(text)
		return err
	}, func() { out.matchConditions = before.matchConditions })
	marks := func(key string, target, kept *map[string]string, objections func(map[string]string, *field.Path) field.ErrorList) {
		read(key, func(text string) error {
			m := map[string]string{}
			raw, err := yaml.YAMLToJSONStrict([]byte(text))
			if err != nil {
				return err
			}
			if err := yaml.UnmarshalStrict(raw, &m); err != nil {
				return err
			}
			// What the API server would not store keeps every webhook from being written.
			if errs := objections(m, field.NewPath(key)); len(errs) > 0 {
				return errs.ToAggregate()
			}
			*target = m
			return nil
		}, func() { *target = *kept })
	}
	marks("webhookAnnotations", &out.annotations, &before.annotations, apivalidation.ValidateAnnotations)
	marks("webhookLabels", &out.labels, &before.labels, metav1validation.ValidateLabels)
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return out, errs
}
