package policy

import (
	"errors"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/wildcard"
)

// block compiles a match or exclude block.
func (c *compiler) block(in *v1.MatchResources, path *field.Path, matching bool) match.Block {
	var b match.Block
	legacy := v1.ResourceFilter{UserInfo: in.UserInfo, Resources: in.Resources}
	hasLegacy := !emptyFilter(&legacy)
	switch {
	case len(in.Any) > 0 && len(in.All) > 0:
		c.errs = append(c.errs, field.Invalid(path, "any, all", "use either any or all, not both"))
	case hasLegacy && len(in.Any)+len(in.All) > 0:
		c.errs = append(c.errs, field.Invalid(path, "resources", "use either any or all, or resources, not both"))
	case hasLegacy:
		b.Any = []match.Resource{c.filter(&legacy, path, matching)}
	}
	for i := range in.Any {
		if !c.nothing(&in.Any[i], path.Child("any").Index(i)) {
			b.Any = append(b.Any, c.filter(&in.Any[i], path.Child("any").Index(i), matching))
		}
	}
	never := false
	for i := range in.All {
		if c.nothing(&in.All[i], path.Child("all").Index(i)) {
			never = true
			continue
		}
		b.All = append(b.All, c.filter(&in.All[i], path.Child("all").Index(i), matching))
	}
	if never {
		b.All = nil
	}
	if matching && len(b.Any)+len(b.All) == 0 {
		c.errs = append(c.errs, field.Required(path, "Rule is matching an empty set"))
	}
	return b
}

// nothing tells of a filter that excludes nothing, for nothing is written in it: a template whose list of namespaces is
// empty, say. It does not exclude everything.
func (c *compiler) nothing(f *v1.ResourceFilter, path *field.Path) bool {
	if !c.excluding || !emptyFilter(f) {
		return false
	}
	c.warn("%s: nothing is written in it, so that it excludes nothing", path)
	return true
}

func emptyFilter(f *v1.ResourceFilter) bool {
	r := &f.Resources
	return len(f.Roles)+len(f.ClusterRoles)+len(f.Subjects) == 0 && len(r.Kinds)+len(r.Names)+len(r.Namespaces)+len(r.Annotations)+len(r.Operations) == 0 &&
		r.Name == "" && r.Selector == nil && r.NamespaceSelector == nil
}

// filter compiles one resource filter. What of it is not usable is an error and left out.
func (c *compiler) filter(in *v1.ResourceFilter, path *field.Path, matching bool) match.Resource {
	r, at := &in.Resources, path.Child("resources")
	var out match.Resource
	switch {
	case emptyFilter(in):
		c.errs = append(c.errs, field.Required(path, "Rule is matching an empty set"))
	case matching && len(r.Kinds) == 0:
		c.errs = append(c.errs, field.Required(at.Child("kinds"), "name the kinds that the rule is about"))
	}
	for i, s := range r.Kinds {
		if s == "*" && matching {
			c.errs = append(c.errs, field.Invalid(at.Child("kinds").Index(i), s, "wildcard policy does not support rule type"))
			continue
		}
		c.noVariable(at.Child("kinds").Index(i), s)
		k, err := match.ParseKind(s)
		if err != nil {
			c.errs = append(c.errs, field.Invalid(at.Child("kinds").Index(i), s, err.Error()))
			continue
		}
		out.Kinds = append(out.Kinds, k)
		if matching {
			c.withoutNamespace(at.Child("kinds").Index(i), &k)
			c.warnOfSubresource(at.Child("kinds").Index(i), s)
		}
	}
	names := r.Names
	if r.Name != "" {
		if len(names) > 0 {
			c.errs = append(c.errs, field.Forbidden(at.Child("name"), "use names instead, not both"))
		}
		names = []string{r.Name}
	}
	out.Names = c.wildcards(at.Child("names"), names)
	out.Namespaces = c.wildcards(at.Child("namespaces"), r.Namespaces)
	out.Operations = c.operations(at.Child("operations"), r.Operations)
	if matching && out.Operations != 0 && out.Operations&(match.Create|match.Update) == 0 {
		c.warn("%s: only CREATE and UPDATE are judged, others are allowed at once", at.Child("operations"))
	}
	out.Annotations = c.pairs(at.Child("annotations"), r.Annotations)
	out.Selector = c.selector(at.Child("selector"), r.Selector)
	out.NamespaceSelector = c.selector(at.Child("namespaceSelector"), r.NamespaceSelector)
	out.Subjects = c.subjects(path.Child("subjects"), in.Subjects)
	out.Roles = c.roles(path.Child("roles"), in.Roles)
	out.ClusterRoles = c.roles(path.Child("clusterRoles"), in.ClusterRoles)
	for i, s := range in.Roles {
		if !strings.ContainsAny(s, ":*") {
			c.warn("%s: %q matches no role: a role is written <namespace>:<name>", path.Child("roles").Index(i), s)
		}
	}
	if own := c.out.Namespace; own != "" && matching {
		for i, ns := range r.Namespaces {
			if ns != own {
				c.errs = append(c.errs, field.Invalid(at.Child("namespaces").Index(i), ns, "a Policy matches only its own namespace "+own))
			}
		}
	}
	return out
}

// warnOfSubresource warns of subresources by which no image comes into an object. Extractors may find images anywhere: those
// of a Tekton TaskRun's steps stand in its status.
func (c *compiler) warnOfSubresource(path *field.Path, kind string) {
	if c.extracting {
		return
	}
	switch last := kind[strings.LastIndexAny(kind, "/.")+1:]; last {
	case "scale":
		c.warn("%s: objects of the subresource scale have no images", path)
	case "status":
		c.warn("%s: requests of the subresource status change no images", path)
	}
}

func (c *compiler) operations(path *field.Path, list []v1.AdmissionOperation) match.Operations {
	var out match.Operations
	for i, s := range list {
		o := match.ParseOperation(string(s))
		if o == 0 {
			c.errs = append(c.errs, field.NotSupported(path.Index(i), s, []v1.AdmissionOperation{v1.Create, v1.Update, v1.Connect, v1.Delete}))
		}
		out |= o
	}
	return out
}

// pairs compiles annotations, in the order of their keys.
func (c *compiler) pairs(path *field.Path, texts map[string]string) []match.Pair {
	var out []match.Pair
	for _, k := range slices.Sorted(maps.Keys(texts)) {
		c.noVariable(path.Key(k), k)
		c.noVariable(path.Key(k), texts[k])
		pair, err := match.CompilePair(k, texts[k])
		if err != nil {
			c.errs = append(c.errs, field.Invalid(path.Key(k), texts[k], err.Error()))
			continue
		}
		out = append(out, pair)
	}
	return out
}

func (c *compiler) selector(path *field.Path, in *metav1.LabelSelector) *match.Selector {
	if in == nil {
		return nil
	}
	for _, k := range slices.Sorted(maps.Keys(in.MatchLabels)) {
		if text := k + ": " + in.MatchLabels[k]; hasVariable(text) {
			c.noVariable(path.Child("matchLabels"), text)
			return nil
		}
	}
	for i, e := range in.MatchExpressions {
		if text := strings.Join(append([]string{e.Key}, e.Values...), ", "); hasVariable(text) {
			c.noVariable(path.Child("matchExpressions").Index(i), text)
			return nil
		}
	}
	out, err := match.CompileSelector(in)
	var bad *match.SelectorError
	switch {
	case errors.As(err, &bad):
		c.errs = append(c.errs, field.Invalid(path.Child(bad.Field), bad.Value, bad.Err.Error()))
		return nil
	case err != nil:
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return nil
	}
	return out
}

// userInBackground begins the refusal of everything that asks who makes a request in a policy for background scans, in
// which nobody does.
const userInBackground = "only select variables are allowed in background mode. Set spec.background=false, because a background scan knows no user"

// roles compiles names of roles, for which the same holds as for subjects.
func (c *compiler) roles(path *field.Path, list []string) []wildcard.Pattern {
	if len(list) > 0 && isTrue(c.spec.Background) {
		c.errs = append(c.errs, field.Forbidden(path, userInBackground))
	}
	return c.wildcards(path, list)
}

func (c *compiler) subjects(path *field.Path, list []rbacv1.Subject) []match.Subject {
	if len(list) > 0 && isTrue(c.spec.Background) {
		c.errs = append(c.errs, field.Forbidden(path, userInBackground))
	}
	var out []match.Subject
	for i := range list {
		s, at := &list[i], path.Index(i)
		c.noVariable(at.Child("name"), s.Name)
		c.noVariable(at.Child("namespace"), s.Namespace)
		switch {
		case s.Kind != rbacv1.UserKind && s.Kind != rbacv1.GroupKind && s.Kind != rbacv1.ServiceAccountKind:
			c.errs = append(c.errs, field.NotSupported(at.Child("kind"), s.Kind, []string{rbacv1.UserKind, rbacv1.GroupKind, rbacv1.ServiceAccountKind}))
			continue
		case s.Name == "":
			c.errs = append(c.errs, field.Required(at.Child("name"), "a subject needs a name"))
			continue
		case s.Kind == rbacv1.ServiceAccountKind && s.Namespace == "":
			c.errs = append(c.errs, field.Required(at.Child("namespace"), "a service account needs a namespace"))
			continue
		}
		compiled, err := match.CompileSubject(s.Kind, s.Namespace, s.Name)
		if err != nil {
			c.errs = append(c.errs, field.Invalid(at, s.Name, err.Error()))
			continue
		}
		out = append(out, compiled)
	}
	return out
}

// clusterScoped are Kubernetes' own kinds whose objects are in no namespace. Of other kinds the compiler cannot know; those that
// the API server says are in none are left out of the webhooks of a Policy.
var clusterScoped = []string{
	"APIService", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding", "CSIDriver", "CSINode", "CustomResourceDefinition",
	"FlowSchema", "IngressClass", "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume", "PriorityClass",
	"PriorityLevelConfiguration", "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
	"ValidatingWebhookConfiguration", "VolumeAttachment", "ClusterPolicy",
}

// withoutNamespace refuses a kind of which a Policy, which is about its own namespace, can never see an object (VI 2.2(4)).
func (c *compiler) withoutNamespace(path *field.Path, k *match.Kind) {
	_, _, kind, _ := k.Parts()
	name, literal := kind.Literal()
	if c.out.Namespace == "" || !literal || !slices.Contains(clusterScoped, name) {
		return
	}
	err := field.Forbidden(path, "a Policy matches only its own namespace, and objects of kind "+name+" are in none")
	if !slices.ContainsFunc(c.others, func(e *field.Error) bool { return e.Error() == err.Error() }) {
		c.others = append(c.others, err)
	}
}
