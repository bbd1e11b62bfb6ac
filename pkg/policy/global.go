package policy

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	v1 "github.com/signet-policy/signet/api/v1"
	v2 "github.com/signet-policy/signet/api/v2"
	"github.com/signet-policy/signet/pkg/expr"
)

// Global is one compiled GlobalContextEntry (VI 9(4)). Exactly one of Resource and Call is set.
type Global struct {
	Name       string
	UID        types.UID
	Generation int64

	Resource *Resource
	// Call is what is asked again and again; it reads no variables.
	Call *ContextEntry
	// Interval is the time between two calls, and Tries how often one that fails is made.
	Interval time.Duration
	Tries    int

	Projections []Projection
}

// Resource names the objects of the API server that are followed: those of one namespace, or all.
type Resource struct {
	Group, Version, Name, Namespace string
}

// String is the resource as people write it.
func (r Resource) String() string {
	out := r.Version + "/" + r.Name
	if r.Group != "" {
		out = r.Group + "/" + out
	}
	if r.Namespace != "" {
		out += " in " + r.Namespace
	}
	return out
}

// Projection is a part of an entry's data.
type Projection struct {
	Name  string
	Query *expr.Query
}

// Limits and defaults of GlobalContextEntries.
const (
	maxProjections  = 64
	defaultInterval = 10 * time.Minute
	// minInterval keeps an entry from asking without a pause.
	minInterval  = time.Second
	defaultTries = 3
	maxTries     = 10
)

// ReadGlobal reads a GlobalContextEntry, of whichever version, from JSON. A field that is not known is an error: it may
// have been meant to narrow what the entry holds.
func ReadGlobal(raw []byte) (*v2.GlobalContextEntry, error) {
	var g v2.GlobalContextEntry
	strict, err := kjson.UnmarshalStrict(raw, &g)
	if err == nil {
		err = errors.Join(strict...)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the global context entry: %w", err)
	}
	return &g, nil
}

// CompileGlobal compiles a GlobalContextEntry. With errors there is none.
func CompileGlobal(g *v2.GlobalContextEntry) (*Global, field.ErrorList) {
	out := &Global{Name: g.Name, UID: g.UID, Generation: g.Generation}
	spec := field.NewPath("spec")
	var errs field.ErrorList
	switch resource, call := g.Spec.KubernetesResource, g.Spec.APICall; {
	case (resource == nil) == (call == nil):
		errs = append(errs, field.Forbidden(spec.Child("kubernetesResource"), "a global context entry has either kubernetesResource or apiCall"))
	case resource != nil:
		out.Resource = &Resource{Group: resource.Group, Version: resource.Version, Name: resource.Resource, Namespace: resource.Namespace}
		errs = append(errs, checkResource(out.Resource, spec.Child("kubernetesResource"))...)
	default:
		errs = append(errs, out.call(call, spec.Child("apiCall"))...)
	}
	if n := len(g.Spec.Projections); n > maxProjections {
		return nil, append(errs, field.TooMany(spec.Child("projections"), n, maxProjections))
	}
	known := map[string]bool{}
	for i := range g.Spec.Projections {
		p, found := compileProjection(&g.Spec.Projections[i], g.Name, known, spec.Child("projections").Index(i))
		out.Projections, errs = append(out.Projections, p), append(errs, found...)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return out, nil
}

var (
	apiVersion  = regexp.MustCompile(`^v[0-9]+((alpha|beta)[0-9]+)?$`)
	apiResource = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

func checkResource(r *Resource, at *field.Path) (errs field.ErrorList) {
	switch {
	case r.Group == "" && r.Version != "" && r.Version != "v1":
		errs = append(errs, field.Required(at.Child("group"), "only version v1 has no group"))
	case r.Group != "" && len(validation.IsDNS1123Subdomain(r.Group)) > 0:
		errs = append(errs, field.Invalid(at.Child("group"), clip(r.Group), "not the name of an API group"))
	}
	for _, part := range []struct {
		name, value, what string
		form              *regexp.Regexp
	}{{"version", r.Version, "not a version, such as v1", apiVersion}, {"resource", r.Name, "not the plural name of a resource in lower case, such as deployments", apiResource}} {
		switch {
		case part.value == "":
			errs = append(errs, field.Required(at.Child(part.name), "must be set"))
		case len(part.value) > validation.DNS1123LabelMaxLength || !part.form.MatchString(part.value):
			errs = append(errs, field.Invalid(at.Child(part.name), clip(part.value), part.what))
		}
	}
	if r.Namespace != "" && len(validation.IsDNS1123Label(r.Namespace)) > 0 {
		errs = append(errs, field.Invalid(at.Child("namespace"), clip(r.Namespace), "not the name of a namespace"))
	}
	return errs
}

// call compiles an apiCall as that of a context entry. There is no request whose data it could read.
func (g *Global) call(in *v2.ExternalAPICall, at *field.Path) field.ErrorList {
	if errs := withVariables(in, at); len(errs) > 0 {
		return errs
	}
	c := newCompiler(metav1.ObjectMeta{}, &v1.Spec{}, Options{})
	r := reader{c: c, known: map[string]bool{}}
	g.Call = &ContextEntry{Name: g.Name}
	r.call(g.Call, &v1.ContextAPICall{URLPath: in.URLPath, Method: in.Method, Data: in.Data, Service: in.Service}, at)
	errs := c.errs
	g.Interval, g.Tries = defaultInterval, defaultTries
	if in.RefreshInterval != nil {
		g.Interval = in.RefreshInterval.Duration
	}
	if g.Interval <= 0 {
		errs = append(errs, field.Invalid(at.Child("refreshInterval"), in.RefreshInterval.Duration.String(), "must be more than nothing"))
	}
	g.Interval = max(g.Interval, minInterval)
	if in.RetryLimit < 0 {
		errs = append(errs, field.Invalid(at.Child("retryLimit"), in.RetryLimit, "must be 1 or more"))
	}
	if in.RetryLimit > 0 {
		g.Tries = min(in.RetryLimit, maxTries)
	}
	return errs
}

// withVariables refuses variables, wherever they are written.
func withVariables(in *v2.ExternalAPICall, at *field.Path) (errs field.ErrorList) {
	refuse := func(text string, at *field.Path) {
		if hasVariable(text) {
			errs = append(errs, field.Forbidden(at, "there is no request that a variable could read: "+clip(text)))
		}
	}
	refuse(in.URLPath, at.Child("urlPath"))
	for i, d := range in.Data {
		refuse(d.Key, at.Child("data").Index(i).Child("key"))
		if d.Value != nil {
			refuse(string(d.Value.Raw), at.Child("data").Index(i).Child("value"))
		}
	}
	if s := in.Service; s != nil {
		refuse(s.URL, at.Child("service", "url"))
		refuse(s.CABundle, at.Child("service", "caBundle"))
		for i, h := range s.Headers {
			refuse(h.Key+h.Value, at.Child("service", "headers").Index(i))
		}
	}
	return errs
}

// compileProjection compiles a projection of an entry whose other ones are known.
func compileProjection(in *v2.GlobalContextEntryProjection, entry string, known map[string]bool, at *field.Path) (out Projection, errs field.ErrorList) {
	switch {
	case in.Name == "":
		errs = append(errs, field.Required(at.Child("name"), "must be set"))
	case in.Name == entry:
		errs = append(errs, field.Invalid(at.Child("name"), clip(in.Name), "must differ from the name of the entry"))
	case hasVariable(in.Name) || len(in.Name) > validation.DNS1123SubdomainMaxLength:
		errs = append(errs, field.Invalid(at.Child("name"), clip(in.Name), "a reference could not name it"))
	case known[in.Name]:
		errs = append(errs, field.Duplicate(at.Child("name"), in.Name))
	}
	known[in.Name] = true
	out.Name = in.Name
	switch {
	case in.JMESPath == "":
		return out, append(errs, field.Required(at.Child("jmesPath"), "must be set"))
	case hasVariable(in.JMESPath):
		return out, append(errs, field.Forbidden(at.Child("jmesPath"), "there is no request that a variable could read: "+clip(in.JMESPath)))
	}
	q, err := expr.CompileQuery(in.JMESPath)
	if err != nil {
		return out, append(errs, field.Invalid(at.Child("jmesPath"), clip(in.JMESPath), err.Error()))
	}
	out.Query = q
	return out, errs
}
