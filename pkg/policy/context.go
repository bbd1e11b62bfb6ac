package policy

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/expr"
)

// ContextEntry is one compiled context entry: a name under which variables read what its source gives. Exactly one source
// is set. Templates read the entries before it.
type ContextEntry struct {
	Name string
	// Namespace is the only one that the entry may read of; empty for a ClusterPolicy's, which may read of all.
	Namespace string

	ConfigMap *ConfigMapSource
	Call      *CallSource
	// Image is the reference of an image whose manifest and configuration are read.
	Image *expr.Template
	// Credentials are what it is read with; nil for what the process has.
	Credentials *Credentials
	// Global is the name of a GlobalContextEntry, or name.projection.
	Global   *expr.Template
	Variable *VariableSource

	// Query is applied to what the source gives; nil for none.
	Query *expr.Query
	// Default stands for what cannot be had, and for null; nil for none.
	Default *expr.Template
	// Literal tells that the value is written in the policy, so that variables in it count.
	Literal bool
}

// ConfigMapSource names a config map.
type ConfigMapSource struct {
	Namespace, Name *expr.Template
}

// CallSource is a request to the API server (Path) or another service (URL).
type CallSource struct {
	Path, URL *expr.Template
	Post      bool
	// Data is the body of a POST.
	Data []Member
	// Headers are sent to the service, whose certificate is checked against CABundle, or the system's authorities if it is
	// nil.
	Headers  []Member
	CABundle *expr.Template
}

// Member is a named value.
type Member struct {
	Name  string
	Value *expr.Template
}

// VariableSource is a value; without one the query is applied to all data.
type VariableSource struct {
	Value *expr.Template
}

// Limits of what a rule may load.
const (
	maxContext = 64
	maxMembers = 64
)

// context compiles the context entries of a rule.
func (c *compiler) context(in []v1.ContextEntry, rule string, path *field.Path) []ContextEntry {
	if len(in) > maxContext {
		c.errs = append(c.errs, field.TooMany(path, len(in), maxContext))
		return nil
	}
	var out []ContextEntry
	known := builtin()
	for i := range in {
		e := c.contextEntry(&in[i], rule, known, path.Index(i))
		out = append(out, e)
		known[e.Name] = true
	}
	return out
}

// reader checks what the texts of one context entry read.
type reader struct {
	c     *compiler
	rule  string
	known map[string]bool
}

func (c *compiler) contextEntry(in *v1.ContextEntry, rule string, known map[string]bool, path *field.Path) ContextEntry {
	out := ContextEntry{Name: in.Name, Namespace: c.out.Namespace}
	switch {
	case in.Name == "":
		c.errs = append(c.errs, field.Required(path.Child("name"), "a context entry needs a name"))
	case !contextName.MatchString(in.Name):
		c.errs = append(c.errs, field.Invalid(path.Child("name"), clip(in.Name), "variables could not read it: letters, digits, underscores and dashes are expected"))
	case builtin()[in.Name]:
		c.errs = append(c.errs, field.Invalid(path.Child("name"), in.Name, "the name is taken by what every rule can read"))
	}
	var sources []string
	for _, s := range []struct {
		name string
		set  bool
	}{{"configMap", in.ConfigMap != nil}, {"apiCall", in.APICall != nil}, {"imageRegistry", in.ImageRegistry != nil},
		{"variable", in.Variable != nil}, {"globalReference", in.GlobalReference != nil}} {
		if s.set {
			sources = append(sources, s.name)
		}
	}
	if len(sources) != 1 {
		c.errs = append(c.errs, field.Invalid(path, in.Name, fmt.Sprintf("exactly one of configMap, apiCall, imageRegistry, variable, or globalReference is required for context entries, not %d", len(sources))))
		return out
	}
	r, at := reader{c, rule, known}, path.Child(sources[0])
	switch {
	case in.ConfigMap != nil:
		r.configMap(&out, in.ConfigMap, at)
	case in.APICall != nil:
		r.call(&out, in.APICall, at)
	case in.ImageRegistry != nil:
		if from := in.ImageRegistry.ImageRegistryCredentials; from != nil {
			for i, s := range from.Secrets {
				c.noVariable(at.Child("imageRegistryCredentials", "secrets").Index(i), s)
			}
		}
		out.Credentials = c.credentials(in.ImageRegistry.ImageRegistryCredentials, at.Child("imageRegistryCredentials"))
		out.Image = r.required(in.ImageRegistry.Reference, at.Child("reference"))
		out.Query = r.query(in.ImageRegistry.JMESPath, true, at.Child("jmesPath"))
	case in.Variable != nil:
		r.variable(&out, in.Variable, at)
	default:
		out.Global = r.required(in.GlobalReference.Name, at.Child("name"))
		out.Query = r.query(in.GlobalReference.JMESPath, true, at.Child("jmesPath"))
	}
	return out
}

func (r *reader) configMap(out *ContextEntry, in *v1.ConfigMapReference, at *field.Path) {
	namespace := in.Namespace
	if namespace == "" {
		if namespace = out.Namespace; namespace == "" {
			namespace = "default"
		}
	}
	if out.Namespace != "" && !hasVariable(namespace) && namespace != out.Namespace {
		r.c.errs = append(r.c.errs, field.Forbidden(at.Child("namespace"), "a Policy reads only its own namespace "+out.Namespace))
	}
	out.ConfigMap = &ConfigMapSource{Namespace: r.text(namespace, at.Child("namespace")), Name: r.required(in.Name, at.Child("name"))}
}

func (r *reader) call(out *ContextEntry, in *v1.ContextAPICall, at *field.Path) {
	c, call := r.c, &CallSource{}
	out.Call = call
	switch {
	case in.URLPath == "" && in.Service == nil:
		c.errs = append(c.errs, field.Required(at.Child("urlPath"), "an apiCall needs urlPath or service"))
	case in.URLPath != "" && in.Service != nil:
		c.errs = append(c.errs, field.Invalid(at, "urlPath, service", "use either urlPath or service, not both"))
	case in.URLPath != "":
		call.Path = r.text(in.URLPath, at.Child("urlPath"))
	default:
		r.service(call, in.Service, at.Child("service"))
	}
	switch in.Method {
	case "", v1.Get:
		if len(in.Data) > 0 {
			c.errs = append(c.errs, field.Forbidden(at.Child("data"), "only a POST request has data"))
		}
	case v1.Post:
		call.Post = true
	default:
		c.errs = append(c.errs, field.NotSupported(at.Child("method"), in.Method, []v1.HTTPMethod{v1.Get, v1.Post}))
	}
	if len(in.Data) > maxMembers {
		c.errs = append(c.errs, field.TooMany(at.Child("data"), len(in.Data), maxMembers))
		return
	}
	for i, d := range in.Data {
		here := at.Child("data").Index(i)
		if d.Key == "" || slices.ContainsFunc(call.Data, func(m Member) bool { return m.Name == d.Key }) {
			c.errs = append(c.errs, field.Invalid(here.Child("key"), clip(d.Key), "every key has a name of its own"))
		}
		call.Data = append(call.Data, Member{d.Key, r.json(d.Value, here.Child("value"))})
	}
	out.Query = r.query(in.JMESPath, true, at.Child("jmesPath"))
	out.Default = r.json(in.Default, at.Child("default"))
}

func (r *reader) service(call *CallSource, in *v1.ServiceCall, at *field.Path) {
	call.URL = r.required(in.URL, at.Child("url"))
	if len(in.Headers) > maxMembers {
		r.c.errs = append(r.c.errs, field.TooMany(at.Child("headers"), len(in.Headers), maxMembers))
		return
	}
	for i, h := range in.Headers {
		here := at.Child("headers").Index(i)
		if !headerName.MatchString(h.Key) {
			r.c.errs = append(r.c.errs, field.Invalid(here.Child("key"), clip(h.Key), "not the name of a header"))
		}
		call.Headers = append(call.Headers, Member{h.Key, r.text(h.Value, here.Child("value"))})
	}
	if in.CABundle == "" {
		return
	}
	call.CABundle = r.text(in.CABundle, at.Child("caBundle"))
	if !hasVariable(in.CABundle) && !x509.NewCertPool().AppendCertsFromPEM([]byte(in.CABundle)) {
		r.c.errs = append(r.c.errs, field.Invalid(at.Child("caBundle"), clip(in.CABundle), "no PEM certificates"))
	}
}

func (r *reader) variable(out *ContextEntry, in *v1.Variable, at *field.Path) {
	out.Variable = &VariableSource{Value: r.json(in.Value, at.Child("value"))}
	out.Query = r.query(in.JMESPath, out.Variable.Value != nil, at.Child("jmesPath"))
	out.Default = r.json(in.Default, at.Child("default"))
	if out.Variable.Value == nil && out.Query == nil {
		r.c.errs = append(r.c.errs, field.Required(at, "a variable needs a value or a jmesPath"))
	}
	if out.Variable.Value != nil {
		_, constant := out.Variable.Value.Constant()
		out.Literal = constant && out.Query == nil
	}
}

// required compiles a text that has to be there.
func (r *reader) required(s string, at *field.Path) *expr.Template {
	if s == "" {
		r.c.errs = append(r.c.errs, field.Required(at, "must be set"))
		return nil
	}
	return r.text(s, at)
}

// text compiles a text.
func (r *reader) text(s string, at *field.Path) *expr.Template { return r.template(s, at) }

// json compiles any JSON; nil for none.
func (r *reader) json(in *apiextensionsv1.JSON, at *field.Path) *expr.Template {
	if in == nil || len(in.Raw) == 0 {
		return nil
	}
	var value any
	if err := json.Unmarshal(in.Raw, &value); err != nil {
		r.c.errs = append(r.c.errs, field.Invalid(at, "", err.Error()))
		return nil
	}
	return r.template(value, at)
}

func (r *reader) template(value any, at *field.Path) *expr.Template {
	t, err := expr.CompileTemplate(value)
	if err != nil {
		r.c.badVariable(r.rule, at, err)
		return nil
	}
	r.c.resolvable(r.rule, t.Reads(), r.known, at)
	return t
}

// query compiles a JMESPath expression; nil for none. With on it is applied to the data of the entry, otherwise to all.
func (r *reader) query(s string, on bool, at *field.Path) *expr.Query {
	if s == "" {
		return nil
	}
	q, err := expr.CompileQuery(s)
	if err != nil {
		r.c.badVariable(r.rule, at, err)
		return nil
	}
	r.c.resolvable(r.rule, q.Reads(on), r.known, at)
	return q
}
