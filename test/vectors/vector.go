// Package vectors reads the test vectors of testdata/vectors: each is a policy, an object, what the registry holds, and
// what comes of it. One corpus serves every runner, in process and against a real API server.
//
// A vector is a txtar archive. Its comment says what it proves and which clauses; its files are:
//
//	policy*.yaml    the policies in force, in the order of their names
//	exception*.yaml the PolicyExceptions in force
//	global*.yaml    the GlobalContextEntries that there are; what they read is in request.yaml
//	object.yaml     the object under review; absent in vectors of refused policies
//	old.yaml        the object before an update
//	final.yaml      the object as another webhook leaves it between the two phases
//	warm.yaml       an object that is created before, so that the cache is warm
//	later*.yaml     policies that are applied after warm.yaml was reviewed
//	request.yaml    a Request
//	registry.yaml   a Registry
//	config.yaml     what the ConfigMap kyverno holds: its data, or {shipped: "true"} for that of config/
//	want.yaml       a Want
//
// In all files ${key:cosign.pub} is a file of the corpus' trust directory as a quoted text (several, divided by commas,
// are joined), in objects, faults and want.yaml ${digest:acme/app:v1} is the digest of what the registry holds there, and
// ${sig:acme/app:v1} the tag of its signatures. ${ca} is the certificate of the vector's own authority, see Signature.
package vectors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
)

// Vector is one vector, as written: its objects and its Want still hold ${digest:…}.
type Vector struct {
	// Name is the name of the file without .txtar, and Comment the text before its first file.
	Name    string
	Comment string
	// Policies are in force from the beginning, Later from after the warm object on. Each is a YAML document of a
	// ClusterPolicy or a Policy.
	Policies, Later []string
	// Exceptions are PolicyExceptions in force, as YAML documents.
	Exceptions []string
	// Globals are GlobalContextEntries, as YAML documents.
	Globals []string
	// Object, Old, Final and Warm are YAML documents; empty when there is none.
	Object, Old, Final, Warm string
	// Config is the data of the ConfigMap.
	Config   map[string]string
	Request  Request
	Registry Registry
	want     string
}

// Request says what happens to the object.
type Request struct {
	// Operation is CREATE, UPDATE or DELETE; by default UPDATE with an old object and CREATE without.
	Operation   string `json:"operation"`
	Subresource string `json:"subresource"`
	// Timeout is what the API server would give; by default 10 s.
	Timeout string `json:"timeout"`
	// TrustedRoot is a file of the corpus; empty for none.
	TrustedRoot string `json:"trustedRoot"`
	// NotReady asks for a process that has not read its policies yet.
	NotReady bool `json:"notReady"`
	// User and Groups are who makes the request; empty for somebody without a name.
	User   string   `json:"user"`
	Groups []string `json:"groups"`
	// Roles (namespace:name) and ClusterRoles are what is bound to the user.
	Roles        []string `json:"roles"`
	ClusterRoles []string `json:"clusterRoles"`
	// RolesDown is why no roles can be had; empty when they can.
	RolesDown string `json:"rolesDown"`
	// Namespaces are the namespaces that exist, with their labels.
	Namespaces map[string]map[string]string `json:"namespaces"`
	// NamespacesDown is why no labels of namespaces can be had; empty when they can.
	NamespacesDown string `json:"namespacesDown"`
	// PullSecrets are Secrets, "namespace/name", with the user of the registry that they hold, "name:password"; a text
	// without a colon is what the Secret holds in place of a docker configuration.
	PullSecrets map[string]string `json:"pullSecrets"`
	// ServiceAccounts are the names of the pull secrets of service accounts, "namespace/name".
	ServiceAccounts map[string][]string `json:"serviceAccounts"`
	// SecretsDown is why no Secret can be read; empty when they can.
	SecretsDown string `json:"secretsDown"`
	// Keys are what keys that are kept elsewhere stand for: a PEM text, or "Reason: text" for why there is none, with an
	// exclamation mark behind the reason when nobody could be reached. KeysLater replace them after the warm object.
	Keys      map[string]string `json:"keys"`
	KeysLater map[string]string `json:"keysLater"`
	// ConfigMaps are the config maps that exist, "namespace/name", with their data. All others are not found.
	// ConfigMapsLater replace them after the warm object.
	ConfigMaps      map[string]map[string]string `json:"configMaps"`
	ConfigMapsLater map[string]map[string]string `json:"configMapsLater"`
	// API are the answers of the API server by the method, path and query that is asked for, as JSON; ${body} is what was
	// sent. All others are not found.
	API map[string]string `json:"api"`
}

// ConfigMap is a config map as context entries see it.
func (r *Request) ConfigMap(_ context.Context, namespace, name string) (map[string]any, error) {
	found, ok := r.ConfigMaps[namespace+"/"+name]
	if !ok {
		return nil, fmt.Errorf("configmaps %q not found", name)
	}
	data := make(map[string]any, len(found))
	for k, v := range found {
		data[k] = v
	}
	return map[string]any{"metadata": map[string]any{"name": name, "namespace": namespace}, "data": data}, nil
}

// Follow reports what the API server has of a resource that a GlobalContextEntry names: the config maps, or nothing.
func (r *Request) Follow(ctx context.Context, resource policy.Resource, report func(expr.Prepared, error)) {
	var items []expr.Prepared
	for _, name := range slices.Sorted(maps.Keys(r.ConfigMaps)) {
		namespace, name, _ := strings.Cut(name, "/")
		if resource.Namespace != "" && resource.Namespace != namespace {
			continue
		}
		found, err := r.ConfigMap(ctx, namespace, name)
		if err == nil {
			var one expr.Prepared
			one, err = expr.Prepare(found, expr.Limits{})
			items = append(items, one)
		}
		if err != nil {
			report(expr.Prepared{}, err)
			return
		}
	}
	if resource.Group != "" || resource.Version != "v1" || resource.Name != "configmaps" {
		report(expr.Prepared{}, fmt.Errorf("%s: listing: the server could not find the requested resource", resource))
		return
	}
	report(expr.PrepareList(items), nil)
}

// ServeHTTP is the API server.
func (r *Request) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	answer, ok := r.API[req.Method+" "+req.URL.RequestURI()]
	body, err := io.ReadAll(req.Body)
	if !ok || err != nil {
		w.WriteHeader(http.StatusNotFound)
		answer = `{"kind": "Status", "message": "the server could not find the requested resource"}`
	}
	answer = strings.ReplaceAll(answer, "${body}", string(body))
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, answer) // a client that went away is not our trouble
}

// Key is what a reference stands for.
func (r *Request) Key(_ context.Context, ref verify.Reference) (*verify.Key, error) {
	text, ok := r.Keys[string(ref)]
	if !ok {
		return nil, fmt.Errorf("the vector has no key %s", ref)
	}
	if code, why, ok := strings.Cut(text, ": "); ok && !strings.HasPrefix(text, "-----BEGIN") {
		code, unreachable := strings.CutSuffix(code, "!")
		return nil, &reason.Error{Code: reason.Code(code), Unreachable: unreachable, Text: why}
	}
	keys, err := verify.ParseKeys(text)
	if err != nil || len(keys) != 1 {
		return nil, fmt.Errorf("the vector's key %s: %d keys, %w", ref, len(keys), err)
	}
	return verify.NewKey(keys[0])
}

// Labels are the labels of a namespace.
func (r *Request) Labels(_ context.Context, name string) (map[string]string, error) {
	labels, ok := r.Namespaces[name]
	switch {
	case r.NamespacesDown != "":
		return nil, errors.New(r.NamespacesDown)
	case !ok:
		return nil, fmt.Errorf("namespaces %q not found", name)
	}
	return labels, nil
}

// Of are the roles of the user.
func (r *Request) Of(context.Context, match.User) (match.Bound, error) {
	if r.RolesDown != "" {
		return match.Bound{}, errors.New(r.RolesDown)
	}
	return match.Bound{Roles: r.Roles, ClusterRoles: r.ClusterRoles}, nil
}

// Duration is the timeout.
func (r *Request) Duration() time.Duration {
	if d, err := time.ParseDuration(r.Timeout); err == nil {
		return d
	}
	return 10 * time.Second
}

// Want is the outcome.
type Want struct {
	// Refused is the exact denial of the first entry, policy or exception that is refused; nothing else is looked at then.
	Refused string `json:"refused"`
	// PolicyWarnings are those of all policies, in order.
	PolicyWarnings []string `json:"policyWarnings"`
	// Allowed is the outcome of both phases.
	Allowed bool `json:"allowed"`
	// DeniedBy is the path of the webhook that denies, such as /mutate/fail; not looked at when empty.
	DeniedBy string `json:"deniedBy"`
	// Message is the exact denial, Contains are parts of it or of a warning, Lacks are texts that stand nowhere.
	Message  string   `json:"message"`
	Contains []string `json:"contains"`
	Lacks    []string `json:"lacks"`
	// Warnings are those of an allowed request, of all webhooks in order. Not looked at when absent.
	Warnings *[]string `json:"warnings"`
	// Patches are the JSON patches of the mutating webhooks, one operation each. Not looked at when absent.
	Patches *[]Patch `json:"patches"`
	// Results are "policy/rule image status Reason" of the mutating webhooks, Validated those of the validating ones.
	// Not looked at when absent.
	Results   *[]string `json:"results"`
	Validated *[]string `json:"validated"`
	// Messages are "policy/rule: message" of the mutating webhooks' results, Properties the report properties of the rules
	// that name some, by "policy/rule". Not looked at when absent.
	Messages   *[]string                    `json:"messages"`
	Properties map[string]map[string]string `json:"properties"`
	// Annotations are the two verification annotations of the object as it is admitted: the plain one and the scoped
	// one; absent ones are null. Not looked at when the map is absent.
	Annotations map[string]*string `json:"annotations"`
	// Images are strings of the admitted object by their JSON pointer.
	Images map[string]string `json:"images"`
	// Calls are the numbers of requests that the registry saw for the object, by kind. Kinds that are not listed are not
	// looked at.
	Calls map[string]int `json:"calls"`
}

// Patch is one JSON patch operation.
type Patch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Dir is the directory of the vectors.
func Dir() string { return filepath.Join(filepath.Dir(corpus.Dir()), "vectors") }

// Load reads every vector of a directory, in the order of their names.
func Load(dir string) ([]*Vector, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("vectors: none in %s: %w", dir, err)
	}
	var out []*Vector
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("vectors: %w", err)
		}
		v, err := Parse(strings.TrimSuffix(filepath.Base(file), ".txtar"), raw)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Parse reads one vector. Unknown files and fields are errors.
func Parse(name string, raw []byte) (*Vector, error) {
	archive := txtar.Parse(raw)
	v := &Vector{Name: name, Comment: strings.TrimSpace(string(archive.Comment))}
	if v.Comment == "" {
		return nil, fmt.Errorf("vector %s: no comment", name)
	}
	slices.SortStableFunc(archive.Files, func(a, b txtar.File) int {
		return strings.Compare(strings.TrimSuffix(a.Name, ".yaml"), strings.TrimSuffix(b.Name, ".yaml"))
	})
	own, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("vector %s: %w", name, err)
	}
	for _, f := range archive.Files {
		text, err := expandKeys(strings.ReplaceAll(string(f.Data), "${ca}", strconv.Quote(own.pem())))
		if err != nil {
			return nil, fmt.Errorf("vector %s: %s: %w", name, f.Name, err)
		}
		switch base := strings.TrimSuffix(f.Name, ".yaml"); {
		case strings.HasPrefix(base, "policy"):
			v.Policies = append(v.Policies, text)
		case strings.HasPrefix(base, "exception"):
			v.Exceptions = append(v.Exceptions, text)
		case strings.HasPrefix(base, "global"):
			v.Globals = append(v.Globals, text)
		case strings.HasPrefix(base, "later"):
			v.Later = append(v.Later, text)
		case base == "object":
			v.Object = text
		case base == "old":
			v.Old = text
		case base == "final":
			v.Final = text
		case base == "warm":
			v.Warm = text
		case base == "request":
			err = yaml.UnmarshalStrict([]byte(text), &v.Request)
		case base == "config":
			v.Config, err = config(text)
		case base == "registry":
			err = yaml.UnmarshalStrict([]byte(text), &v.Registry)
		case base == "want":
			v.want = text
			_, err = v.Want(map[string]string{})
		default:
			err = fmt.Errorf("not a file of a vector")
		}
		if err != nil {
			return nil, fmt.Errorf("vector %s: %s: %w", name, f.Name, err)
		}
	}
	v.Registry.authority = own
	if v.Request.Operation == "" {
		v.Request.Operation = "CREATE"
		if v.Old != "" {
			v.Request.Operation = "UPDATE"
		}
	}
	if len(v.Policies) == 0 || v.want == "" {
		return nil, fmt.Errorf("vector %s: policy.yaml and want.yaml are needed", name)
	}
	return v, nil
}

// config reads the data of the ConfigMap.
func config(text string) (map[string]string, error) {
	var data map[string]string
	if err := yaml.UnmarshalStrict([]byte(text), &data); err != nil || data["shipped"] == "" {
		return data, err
	}
	raw, err := os.ReadFile(filepath.Join(Dir(), "..", "..", "config", "manager", "configmap.yaml"))
	if err != nil {
		return nil, err
	}
	var shipped struct{ Data map[string]string }
	err = yaml.Unmarshal(raw, &shipped)
	return shipped.Data, err
}

// Want is the outcome with the digests put in.
func (v *Vector) Want(digests map[string]string) (*Want, error) {
	var w Want
	if err := yaml.UnmarshalStrict([]byte(Expand(v.want, digests)), &w); err != nil {
		return nil, fmt.Errorf("vector %s: want.yaml: %w", v.Name, err)
	}
	return &w, nil
}

var (
	keyMark    = regexp.MustCompile(`\$\{key:([^}]+)\}`)
	digestMark = regexp.MustCompile(`\$\{(digest|sig):([^}]+)\}`)
)

func expandKeys(text string) (string, error) {
	var failed error
	out := keyMark.ReplaceAllStringFunc(text, func(mark string) string {
		var all strings.Builder
		for _, file := range strings.Split(keyMark.FindStringSubmatch(mark)[1], ",") {
			content, err := corpus.Read("trust/" + file)
			if err != nil {
				failed = err
			}
			all.WriteString(content)
		}
		return strconv.Quote(all.String())
	})
	return out, failed
}

// Expand puts the digests in.
func Expand(text string, digests map[string]string) string {
	return digestMark.ReplaceAllStringFunc(text, func(mark string) string {
		parts := digestMark.FindStringSubmatch(mark)
		d, ok := digests[parts[2]]
		switch {
		case !ok:
			return mark
		case parts[1] == "sig":
			return strings.Replace(d, ":", "-", 1) + ".sig"
		default:
			return d
		}
	})
}
