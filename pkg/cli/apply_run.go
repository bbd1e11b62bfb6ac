package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/keyring/kms"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// applied is one call of signet apply.
type applied struct {
	flags      *applyFlags
	policies   []*policy.Policy
	exceptions []*policy.Exception
	resources  []*resource
	// invalid are policies that were refused, each with the reason.
	invalid []string
	// unread is how much could not be read with --continue-on-fail.
	unread  int
	objects *objects
	user    userInfo
	values  *values // nil for none
	outcome []response
}

// resource is an object to judge. Its last form is the one with the digests of every policy.
type resource struct {
	object, last map[string]any
	kind         match.Attributes
	// stored is the object as each policy alone would store it.
	stored map[*policy.Policy]map[string]any
}

// shown is how the resource is named in the output.
func (r *resource) shown() string {
	return strings.TrimPrefix(r.kind.Namespace+"/"+r.kind.Kind+"/"+r.kind.Name, "/")
}

// userInfo is who makes the request, in the form that the files of --userinfo have.
type userInfo struct {
	Kind         string   `json:"kind"`
	APIVersion   string   `json:"apiVersion"`
	Metadata     any      `json:"metadata"`
	Roles        []string `json:"roles"`
	ClusterRoles []string `json:"clusterRoles"`
	UserInfo     struct {
		Username string   `json:"username"`
		UID      string   `json:"uid"`
		Groups   []string `json:"groups"`
		Extra    any      `json:"extra"`
	} `json:"userInfo"`
}

// Of gives the roles that the file names, to whoever asks.
func (u *userInfo) Of(context.Context, match.User) (match.Bound, error) {
	return match.Bound{Roles: u.Roles, ClusterRoles: u.ClusterRoles}, nil
}

// response is what one phase says of a rule.
type response struct {
	policy   *policy.Policy
	resource *resource
	phase    engine.Phase
	result   engine.Result
}

func (a *applied) run(ctx context.Context, stdin io.Reader, o Options) error {
	defer func() { a.known().cluster.close() }()
	for _, step := range []func(io.Reader, io.Writer) error{a.readValues, a.readPolicies, a.readExceptions,
		func(stdin io.Reader, _ io.Writer) error { return a.gather(ctx, stdin, o) }, a.readUser} {
		if err := step(stdin, o.Stderr); err != nil {
			return err
		}
	}
	return a.judgeAll(ctx, o)
}

// judgeAll judges every resource by every policy.
func (a *applied) judgeAll(ctx context.Context, o Options) error {
	seen, err := connect(&a.flags.flags, a.known(), o)
	if err != nil {
		return err
	}
	defer seen.images.close()
	secrets := &keys{services: &keyring.Services{Open: kms.Open}, objects: a.known()}
	for _, r := range a.resources {
		if r.kind.Kind == "Pod" && r.kind.Group == "" {
			a.known().complete(r.object, r.kind.Namespace)
		}
		for _, p := range a.policies {
			if err := a.judge(ctx, seen, secrets, p, r); err != nil {
				return err
			}
		}
		if a.flags.results == "" && !a.flags.toPipe {
			continue
		}
		if err := a.together(ctx, seen, secrets, r); err != nil {
			return err
		}
	}
	for _, n := range seen.notes {
		fmt.Fprintln(o.Stderr, "warning:", clean(n))
	}
	for _, where := range a.values.unused() {
		fmt.Fprintln(o.Stderr, "warning:", clean(where+": no policy here reads it"))
	}
	return nil
}

// known are the Secrets and the like that serve the judging.
func (a *applied) known() *objects {
	if a.objects == nil {
		a.objects = newObjects()
	}
	return a.objects
}

// judge plays an API server for one resource and one policy: the mutating phase, its patches, and the validating phase,
// whatever the first said (VI 10.1(1)).
func (a *applied) judge(ctx context.Context, seen *recorder, secrets *keys, p *policy.Policy, r *resource) error {
	told := a.values.of(p, r, a.flags.registry, a.known().context())
	user := told.user(a.user)
	review := a.reviewer(seen, secrets, told, &user, p)
	object := r.object
	for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
		d, err := review.Review(ctx, request(phase, r, object, told, &user))
		if err != nil {
			return err
		}
		for i := range d.Responses {
			a.outcome = append(a.outcome, response{p, r, phase, d.Responses[i]})
		}
		if object, err = patched(object, d.Patches); err != nil {
			return fmt.Errorf("%s: %w", r.shown(), err)
		}
		if phase == engine.Mutating {
			r.stored[p] = object
		}
	}
	return nil
}

// patched is the object after a JSON patch.
func patched(object map[string]any, patches []engine.Patch) (map[string]any, error) {
	if len(patches) == 0 {
		return object, nil
	}
	before, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(patches)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return nil, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return nil, fmt.Errorf("applying the patch: %w", err)
	}
	var out map[string]any
	return out, kjson.UnmarshalCaseSensitivePreserveInts(after, &out)
}

// Labels gives the labels of a namespace, as the values say or as it is among the resources or in the cluster. An API server
// gives every namespace its name as a label.
func (a *applied) Labels(ctx context.Context, name string) (map[string]string, error) {
	if a.values != nil {
		if labels, ok := a.values.namespaces[name]; ok {
			labels = maps.Clone(labels)
			labels[corev1.LabelMetadataName] = name
			return labels, nil
		}
	}
	for _, r := range a.resources {
		if r.kind.Kind == "Namespace" && r.kind.Group == "" && r.kind.Name == name {
			labels := map[string]string{}
			for k := range r.kind.Labels {
				labels[k] = r.kind.Labels.Get(k)
			}
			labels[corev1.LabelMetadataName] = name
			return labels, nil
		}
	}
	if c := a.known().cluster; c != nil {
		return c.Labels(ctx, name)
	}
	return nil, errors.New("the namespace is not among the resources")
}

func (a *applied) readPolicies(stdin io.Reader, stderr io.Writer) error {
	schema, err := readDefaults()
	if err != nil {
		return err
	}
	l := &loaded{admitting: true, namespace: a.flags.namespace}
	err = a.each(a.flags.paths, stdin, stderr, func(where string, raw []byte) error {
		if err := l.document(where, raw, schema); err != nil {
			a.invalid = append(a.invalid, err.Error())
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, w := range l.warnings {
		fmt.Fprintln(stderr, "warning:", clean(w))
	}
	a.policies = l.policies
	if len(a.policies)+len(a.invalid) == 0 {
		return fmt.Errorf("no ClusterPolicy and no Policy in %s", strings.Join(a.flags.paths, ", "))
	}
	return nil
}

func (a *applied) readExceptions(stdin io.Reader, stderr io.Writer) error {
	return a.each(a.flags.exceptions, stdin, stderr, a.exception)
}

// clusterScoped are the kinds without a namespace that carry or select images' resources; of others a file says it by
// naming a namespace or not.
var clusterScoped = []string{"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "PersistentVolume", "CustomResourceDefinition"}

func (a *applied) readResources(stdin io.Reader, stderr io.Writer) error {
	return a.each(a.flags.resources, stdin, stderr, func(where string, raw []byte) error {
		var object map[string]any
		if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if object["kind"] == nil {
			return fmt.Errorf("%s: no resource: it has no kind", where)
		}
		if err := a.among(object); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		return nil
	})
}

func (a *applied) resource(object map[string]any) error {
	kind, _ := object["kind"].(string)
	return a.resourceIn(object, slices.Contains(clusterScoped, kind))
}

// resourceIn takes a resource that is in a namespace, or of the cluster as a whole.
func (a *applied) resourceIn(object map[string]any, clusterWide bool) error {
	version, _ := object["apiVersion"].(string)
	group, version, found := strings.Cut(version, "/")
	if !found {
		group, version = "", group
	}
	kind, _ := object["kind"].(string)
	if err := a.known().add(object); err != nil {
		return err
	}
	meta, _ := object["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if name == "" {
		name, _ = meta["generateName"].(string)
	}
	namespace, _ := meta["namespace"].(string)
	if namespace == "" && !clusterWide {
		if namespace = a.flags.namespace; namespace == "" {
			namespace = defaultNamespace
		}
		if meta != nil {
			meta["namespace"] = namespace // as the API server would
		}
	}
	r := &resource{object: object, last: object, stored: map[*policy.Policy]map[string]any{}, kind: match.Attributes{
		Group: group, Version: version, Kind: kind, Namespace: namespace, Name: name, Operation: match.Create,
	}}
	if err := r.kind.Describe(object); err != nil {
		return fmt.Errorf("%s/%s: %w", kind, name, err)
	}
	a.values.place(&r.kind)
	a.resources = append(a.resources, r)
	return nil
}

func (a *applied) readUser(_ io.Reader, _ io.Writer) error {
	if a.flags.userInfo == "" {
		return nil
	}
	b, err := readFile(a.flags.userInfo)
	if err == nil {
		err = yaml.UnmarshalStrict(b, &a.user)
	}
	if err == nil && a.user.Kind != "" && a.user.Kind != "UserInfo" {
		err = fmt.Errorf("%.60q: UserInfo is expected", a.user.Kind)
	}
	if err != nil {
		return fmt.Errorf("--userinfo: %w", err)
	}
	return nil
}

// each reads every document of files and of the YAML and JSON files below directories.
func (a *applied) each(paths []string, stdin io.Reader, stderr io.Writer, use func(where string, raw []byte) error) error {
	for _, path := range paths {
		files, err := manifests(path)
		if err == nil && len(files) == 0 {
			err = fmt.Errorf("%s: no files", path)
		}
		if err != nil {
			if !a.missed(stderr, err) {
				return err
			}
			continue
		}
		for _, file := range files {
			if err := eachDocument(file, stdin, use); err != nil && !a.missed(stderr, err) {
				return err
			}
		}
	}
	return nil
}

// missed tells of what could not be read and counts it as an error, if the rest is to be judged all the same.
func (a *applied) missed(stderr io.Writer, err error) bool {
	if a.flags.continueOnFail {
		a.unread++
		fmt.Fprintln(stderr, "error:", oneLine(err.Error()))
	}
	return a.flags.continueOnFail
}
