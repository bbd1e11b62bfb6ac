package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/api/v2beta1"
	"github.com/signet-policy/signet/pkg/policy"
)

// loaded are the policies in force for one call.
type loaded struct {
	policies []*policy.Policy
	warnings []string
	// admitting refuses what an API server would not store, such as rules of other kinds; otherwise they are left out with
	// a warning.
	admitting bool
	// namespace is that of Policies that name none; empty for the default one.
	namespace string
}

// load reads the policies of the files, or makes the one that the flags stand for. No policy at all is fine for explain.
func load(f *flags) (*loaded, error) {
	l := &loaded{}
	if len(f.policies) == 0 {
		p, err := f.authored()
		if err != nil || p == nil {
			return l, err
		}
		err = l.cluster(p, "the policy that the flags stand for")
		l.warnings = nil // they are for authors of policies
		return l, err
	}
	schema, err := readDefaults()
	if err != nil {
		return nil, err
	}
	for _, path := range f.policies {
		err := eachDocument(path, os.Stdin, func(where string, raw []byte) error { return l.document(where, raw, schema) })
		if err != nil {
			return nil, fmt.Errorf("--policy: %w", err)
		}
	}
	if len(l.policies) == 0 {
		return nil, fmt.Errorf("--policy: no ClusterPolicy and no Policy in %s", strings.Join(f.policies, ", "))
	}
	return l, nil
}

// document reads one object. What belongs to others is left out with a warning; what is meant for this engine and not
// understood is an error.
func (l *loaded) document(where string, raw []byte, schema *defaults) error {
	var object map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	var strict []any // what must know every field
	switch {
	case kind != "ClusterPolicy" && kind != "Policy" || !strings.HasPrefix(version, "kyverno.io/"):
		l.warnings = append(l.warnings, fmt.Sprintf("%s: %.60q of %.60q is no policy that is read here", where, kind, version))
		return nil
	case version == "kyverno.io/v1":
	case version == "kyverno.io/v2beta1" && kind == "ClusterPolicy":
		strict = append(strict, &v2beta1.ClusterPolicy{})
	case version == "kyverno.io/v2beta1":
		strict = append(strict, &v2beta1.Policy{})
	default:
		return fmt.Errorf("%s: %s of %.60q is not supported; use kyverno.io/v1", where, kind, version)
	}
	cluster, namespaced := &v1.ClusterPolicy{}, &v1.Policy{}
	if kind == "ClusterPolicy" {
		strict = append(strict, cluster)
	} else {
		strict = append(strict, namespaced)
	}
	for i, into := range strict {
		// The fields that this version of the API has are looked at before defaults of the stored one come in.
		if i == len(strict)-1 {
			schema.fill(object)
			var err error
			if raw, err = json.Marshal(object); err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
		}
		unknown, err := kjson.UnmarshalStrict(raw, into)
		if err := errors.Join(append(unknown, err)...); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	if kind == "ClusterPolicy" {
		return l.cluster(cluster, where)
	}
	if namespaced.Namespace == "" {
		namespaced.Namespace = cmp.Or(l.namespace, defaultNamespace)
	}
	compiled, errs := policy.CompileNamespaced(namespaced, compileOptions)
	warnings, refused := policy.AdmitNamespaced(namespaced, policy.Options{CommonPaths: true})
	return l.add(compiled, warnings, l.either(errs, refused), where)
}

// compileOptions make every failure policy the same, because one call judges everything at once. A result says what
// happened either way.
var compileOptions = policy.Options{ForceIgnore: true, CommonPaths: true}

func (l *loaded) cluster(p *v1.ClusterPolicy, where string) error {
	compiled, errs := policy.CompileCluster(p, compileOptions)
	warnings, refused := policy.AdmitCluster(p, policy.Options{CommonPaths: true})
	return l.add(compiled, warnings, l.either(errs, refused), where)
}

// either are the errors that count: of compiling a policy, or of storing it.
func (l *loaded) either(compiling, storing field.ErrorList) field.ErrorList {
	if l.admitting {
		return storing
	}
	return compiling
}

func (l *loaded) add(p *policy.Policy, warnings []string, errs field.ErrorList, where string) error {
	if err := errs.ToAggregate(); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if p.Name == "" {
		return fmt.Errorf("%s: the policy has no name", where)
	}
	if slices.ContainsFunc(l.policies, func(other *policy.Policy) bool { return other.Key == p.Key }) {
		return fmt.Errorf("%s: the policy %s is given twice", where, p.Key)
	}
	l.policies = append(l.policies, p)
	for _, w := range append(warnings, p.NotEvaluated...) {
		l.warnings = append(l.warnings, where+": "+w)
	}
	return nil
}

const defaultNamespace = "default"

// podNamespace is where the Pod stands: where the flag says, else where the Policy documents are.
func (l *loaded) podNamespace(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	found := ""
	for _, p := range l.policies {
		switch {
		case p.Namespace == "" || p.Namespace == found:
		case found == "":
			found = p.Namespace
		default:
			return "", errors.New("the policies belong to several namespaces; say which one the Pod is in by --namespace")
		}
	}
	if found == "" {
		return defaultNamespace, nil
	}
	return found, nil
}
