package cli

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"
)

// cliVersion is the version of the files that only the command line reads.
const cliVersion = "cli.kyverno.io/v1alpha1"

// valuesSpec is what a file of kind Values says (VI 10.2(1)), and a test file where it holds values itself.
type valuesSpec struct {
	GlobalValues map[string]any `json:"globalValues"`
	Policies     []struct {
		Name  string `json:"name"`
		Rules []struct {
			Name    string         `json:"name"`
			Values  map[string]any `json:"values"`
			Foreach any            `json:"foreachValues"`
		} `json:"rules"`
		Resources []struct {
			Name   string         `json:"name"`
			Values map[string]any `json:"values"`
		} `json:"resources"`
	} `json:"policies"`
	NamespaceSelector []struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"namespaceSelector"`
	Namespaces   any `json:"namespaces"`
	Subresources []struct {
		Subresource    apiResource `json:"subresource"`
		ParentResource apiResource `json:"parentResource"`
	} `json:"subresources"`
}

// apiResource is how an API server describes what it serves. Only the kind and its version are of interest.
type apiResource struct {
	Name         string   `json:"name"`
	SingularName string   `json:"singularName"`
	Namespaced   any      `json:"namespaced"`
	Group        string   `json:"group"`
	Version      string   `json:"version"`
	Kind         string   `json:"kind"`
	Verbs        []string `json:"verbs"`
	ShortNames   []string `json:"shortNames"`
	Categories   []string `json:"categories"`
	Hash         string   `json:"storageVersionHash"`
}

type valuesFile struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	valuesSpec `json:",inline"`
}

// values are what somebody says in place of a request and of a cluster. A value with a longer reach comes before one with a
// shorter reach: global ones, those of rules, those of resources.
type values struct {
	global     []*assignment
	policies   []policyValues
	namespaces map[string]map[string]string
	// subresources are the parents of objects that are written to a subresource, by group/version/kind.
	subresources map[string]subresource
}

// policyValues are those of one policy.
type policyValues struct {
	name             string
	rules, resources []namedValues
}

type namedValues struct {
	name   string
	values []*assignment
}

// subresource is where an object is written to.
type subresource struct{ group, version, kind, name string }

// assignment is one value at a path of names, such as request.operation.
type assignment struct {
	where string // in the file, for messages
	path  []string
	value any
	used  bool
}

// readValues reads a file of kind Values.
func readValues(path string) (*values, error) {
	file := &valuesFile{}
	if err := readOnly(path, file); err != nil {
		return nil, err
	}
	if err := checkKind(file.APIVersion, file.Kind, "Values"); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	v, err := file.compile("")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// readOnly reads the only document of a file. Fields that it must not have, and fields that stand there twice, are errors.
func readOnly(path string, into any) error {
	n := 0
	return errors.Join(eachDocument(path, bytes.NewReader(nil), func(where string, raw []byte) error {
		if n++; n > 1 {
			return fmt.Errorf("%s: the file has more than one document", where)
		}
		unknown, err := kjson.UnmarshalStrict(raw, into)
		if err := errors.Join(append(unknown, err)...); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}))
}

// checkKind looks at what a file says that it is. Files of old say nothing.
func checkKind(version, kind, want string) error {
	if version != "" && version != cliVersion || kind != "" && kind != want {
		return fmt.Errorf("%.60q of %.60q: %s of %s is expected", kind, version, want, cliVersion)
	}
	return nil
}

// compile checks what is said and puts it into order. Prefix is where the values stand in their file.
func (s *valuesSpec) compile(prefix string) (*values, error) {
	v := &values{namespaces: map[string]map[string]string{}, subresources: map[string]subresource{}}
	var errs []error
	read := func(where string, m map[string]any, rule bool) []*assignment {
		list, err := assignments(prefix+where+".", m, rule)
		errs = append(errs, err)
		return list
	}
	v.global = read("globalValues", s.GlobalValues, false)
	for i, p := range s.Policies {
		at := fmt.Sprintf("policies[%d]", i)
		if p.Name == "" {
			errs = append(errs, fmt.Errorf("%s%s.name is missing", prefix, at))
		}
		out := policyValues{name: p.Name}
		for k, r := range p.Rules {
			here := fmt.Sprintf("%s.rules[%d]", at, k)
			if r.Foreach != nil {
				errs = append(errs, fmt.Errorf("%s%s.foreachValues: rules that verify images have no foreach", prefix, here))
			}
			out.rules = append(out.rules, namedValues{r.Name, read(here+".values", r.Values, true)})
		}
		for k, r := range p.Resources {
			out.resources = append(out.resources, namedValues{r.Name, read(fmt.Sprintf("%s.resources[%d].values", at, k), r.Values, false)})
		}
		v.policies = append(v.policies, out)
	}
	for i, n := range s.NamespaceSelector {
		if _, twice := v.namespaces[n.Name]; twice || n.Name == "" {
			errs = append(errs, fmt.Errorf("%snamespaceSelector[%d].name: every namespace is named once", prefix, i))
		}
		labels := maps.Clone(n.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		v.namespaces[n.Name] = labels
	}
	if s.Namespaces != nil {
		errs = append(errs, fmt.Errorf("%snamespaces is not read: put the Namespaces among the resources, or their labels into namespaceSelector", prefix))
	}
	for i, r := range s.Subresources {
		name, sub, found := strings.Cut(r.Subresource.Name, "/")
		if !found || sub == "" || name == "" || r.Subresource.Kind == "" || r.ParentResource.Kind == "" {
			errs = append(errs, fmt.Errorf("%ssubresources[%d]: a subresource with a kind and a name such as pods/ephemeralcontainers, and its parentResource with a kind, are expected", prefix, i))
			continue
		}
		v.subresources[gvk(r.Subresource.Group, r.Subresource.Version, r.Subresource.Kind)] =
			subresource{r.ParentResource.Group, r.ParentResource.Version, r.ParentResource.Kind, sub}
	}
	return v, errors.Join(errs...)
}

func gvk(group, version, kind string) string { return group + "/" + version + "/" + kind }

// assignments reads the values of one place. Prefix is what stands before their names in messages.
func assignments(prefix string, m map[string]any, rule bool) ([]*assignment, error) {
	var list []*assignment
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(m)) {
		a := &assignment{where: prefix + name, value: m[name]}
		var err error
		if a.path, err = valuePath(name); err == nil {
			err = settable(a, rule)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.where, err))
			continue
		}
		for _, other := range list {
			if n := min(len(a.path), len(other.path)); slices.Equal(a.path[:n], other.path[:n]) {
				errs = append(errs, fmt.Errorf("%s and %s say the same", other.where, a.where))
			}
		}
		list = append(list, a)
	}
	return list, errors.Join(errs...)
}

// valuePath takes a path such as dictionary.data."a.b" apart.
func valuePath(s string) ([]string, error) {
	var path []string
	for rest := s; ; {
		var name string
		if strings.HasPrefix(rest, `"`) {
			var closed bool
			if name, rest, closed = strings.Cut(rest[1:], `"`); !closed || rest != "" && rest[0] != '.' {
				return nil, errors.New("a quotation mark is not closed")
			}
		} else {
			i := strings.IndexByte(rest, '.')
			if i < 0 {
				i = len(rest)
			}
			name, rest = rest[:i], rest[i:]
			if strings.ContainsAny(name, "[]{}()|*@\"' ") {
				return nil, errors.New("names with dots between them are expected")
			}
		}
		if name == "" {
			return nil, errors.New("names with dots between them are expected")
		}
		path = append(path, name)
		if rest == "" {
			return path, nil
		}
		rest = rest[1:]
	}
}

// The fields of a request that values may set, those that also decide which rules match among them.
var requestValues = []string{
	"clusterRoles", "dryRun", "name", "namespace", "object", "oldObject", "operation", "options", "requestKind",
	"requestResource", "requestSubResource", "resource", "roles", "uid", "userInfo",
}

// settable refuses what a value has no effect on, or an effect on the variables only.
func settable(a *assignment, rule bool) error {
	switch root := a.path[0]; {
	case root == "images" || root == "image":
		return errors.New("the images are those of the resource")
	case root == "serviceAccountName" || root == "serviceAccountNamespace":
		return errors.New("it follows from request.userInfo.username, such as system:serviceaccount:<namespace>:<name>")
	case root != "request":
		return nil
	case rule:
		return errors.New("rules of a policy see the same request; set it for resources or globally")
	case len(a.path) == 1:
		return errors.New("set fields of the request, such as request.operation")
	case a.path[1] == "subResource":
		return errors.New("it follows from subresources")
	case a.path[1] == "kind":
		return errors.New("it follows from the resource")
	case slices.Contains([]string{"operation", "name", "namespace", "uid", "dryRun", "roles", "clusterRoles"}, a.path[1]) && len(a.path) > 2:
		return errors.New("it has no fields")
	case !slices.Contains(requestValues, a.path[1]):
		return errors.New("a request has no such field, and a policy that reads it is refused")
	}
	if len(a.path) > 3 && a.path[1] == "userInfo" && (a.path[2] == "username" || a.path[2] == "groups") {
		return errors.New("it has no fields")
	}
	switch name := strings.Join(a.path[1:], "."); name {
	case "object", "oldObject":
		if _, ok := a.value.(map[string]any); !ok {
			return errors.New("an object is expected")
		}
	case "operation":
		if a.value != "CREATE" && a.value != "UPDATE" {
			return errors.New("images are judged when something is created or updated: CREATE or UPDATE is expected")
		}
	case "userInfo.username":
		if _, ok := a.value.(string); !ok {
			return errors.New("a text is expected")
		}
	case "userInfo.groups", "roles", "clusterRoles":
		if _, err := textsOf(a.value); err != nil {
			return err
		}
	case "userInfo":
		return errors.New("set its fields, such as request.userInfo.username")
	}
	return nil
}

// textsOf reads a list of texts.
func textsOf(v any) ([]string, error) {
	list, ok := v.([]any)
	out := make([]string, 0, len(list))
	for _, item := range list {
		s, isText := item.(string)
		ok = ok && isText
		out = append(out, s)
	}
	if !ok {
		return nil, errors.New("a list of texts is expected")
	}
	return out, nil
}

// readSet reads the texts of --set, each of which is name=value. They are global values.
func readSet(list []string) (*values, error) {
	m := make(map[string]any, len(list))
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		name = strings.TrimSpace(name)
		if _, twice := m[name]; !ok || twice || name == "" {
			return nil, fmt.Errorf("--set %.80q: name=value is expected, each name once", text)
		}
		m[name] = value
	}
	v := &values{}
	var err error
	v.global, err = assignments("--set ", m, false)
	return v, err
}
