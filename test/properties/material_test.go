package properties

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/testdata/corpus"
)

const (
	host = "registry.test"
	// deadHost is one where nobody listens.
	deadHost = "dead.test"

	unsignedRepository, forbiddenRepository = "acme/unsigned", "acme/forbidden"

	// twoKeys is the signer of two keys in one text.
	twoKeys = "both"

	objectNamespace                   = "shop"
	exceptionNamespace, exceptionName = "exceptions", "leave-out"
)

// madeImage is an image as objects name it, with its digest if it has one.
type madeImage struct{ name, digest string }

// material is what policies and objects are made of.
type material struct {
	repositories map[string]bool // of the corpus
	images       []madeImage
	// attestors are entries of attestor sets, by a short name.
	attestors map[string]map[string]any
	names     []string // of the attestors, in order
}

func newMaterial(t *testing.T) *material {
	t.Helper()
	m := &material{repositories: map[string]bool{}, attestors: map[string]map[string]any{}}
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, repository := range []string{
		"acme/key-notlog-v3-bundle", "acme/two-keys-v2-legacy", "acme/two-keys-v3-bundle", "acme/key-rekor1-v3-bundle",
		"acme/keyless-rekor1-v2-legacy", "acme/keyless-rekor2-tsa-v3-bundle", "acme/cert-v2-legacy", "acme/annotated-v3-bundle",
		"acme/signed-and-attested-v3-bundle", "acme/att-v3-bundle", "acme/garbage-referrer", "acme/tampered-signature",
	} {
		for i := range cases {
			if cases[i].Image == repository+":v1" && !m.repositories[repository] {
				m.repositories[repository] = true
				m.images = append(m.images, madeImage{host + "/" + cases[i].Image, cases[i].Digest})
			}
		}
		if !m.repositories[repository] {
			t.Fatalf("the corpus has no %s", repository)
		}
	}
	for _, name := range []string{host + "/" + unsignedRepository, host + "/" + forbiddenRepository, host + "/acme/missing", deadHost + "/acme/app"} {
		m.images = append(m.images, madeImage{name: name + ":v1"})
	}
	m.signers(t)
	return m
}

// signers are whose signatures can be asked for.
func (m *material) signers(t *testing.T) {
	t.Helper()
	file := func(name string) string {
		text, err := corpus.Read("trust/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	unlogged := map[string]any{"ignoreTlog": true}
	key := func(text string, rekor map[string]any) map[string]any {
		return map[string]any{"keys": map[string]any{"publicKeys": text, "rekor": rekor, "ctlog": map[string]any{"ignoreSCT": true}}}
	}
	keyless := func(subject string) map[string]any {
		return map[string]any{"keyless": map[string]any{
			"issuer": "https://oidc.example.test", "subject": subject, "rekor": map[string]any{"url": "https://rekor.example.test"},
		}}
	}
	with := func(entry map[string]any, name string, value any) map[string]any {
		entry[name] = value
		return entry
	}
	add := func(name string, entry map[string]any) {
		m.attestors[name] = entry
		m.names = append(m.names, name)
	}
	add("key", key(file("cosign.pub"), unlogged))
	add("other", key(file("other.pub"), unlogged))
	add("third", key(file("third.pub"), unlogged))
	add("logged", key(file("cosign.pub"), map[string]any{"url": "https://rekor.example.test"}))
	add(twoKeys, key(file("cosign.pub")+file("other.pub"), unlogged))
	add("certificate", map[string]any{"certificates": map[string]any{
		"cert": file("leaf.crt"), "rekor": unlogged, "ctlog": map[string]any{"ignoreSCT": true},
	}})
	add("developer", keyless("dev@example.test"))
	add("anybody", keyless("*"))
	add("stranger", keyless("mallory@example.test"))
	add("annotated", with(key(file("cosign.pub"), unlogged), "annotations", map[string]any{"env": "prod"}))
	add("elsewhere", with(key(file("cosign.pub"), unlogged), "repository", deadHost+"/acme/signatures"))
}

// madeAttestor is an entry of a set: one of the material, or a set of its own.
type madeAttestor struct {
	Signer string   `json:"signer,omitempty"`
	Nested *madeSet `json:"nested,omitempty"`
}

func (a madeAttestor) String() string {
	if a.Nested != nil {
		return a.Nested.String()
	}
	return a.Signer
}

// madeSet is an attestor set. A count of zero is none: all.
type madeSet struct {
	Count   int            `json:"count,omitempty"`
	Entries []madeAttestor `json:"entries"`
}

func (s madeSet) String() string { return fmt.Sprintf("%d of %v", s.Count, s.Entries) }

func (s madeSet) GoString() string { return s.String() }

// madeEntry is an element of verifyImages.
type madeEntry struct {
	Images         []string          `json:"images"`
	Skip           []string          `json:"skip,omitempty"`
	Sets           []madeSet         `json:"sets,omitempty"`
	Attestations   []madeAttestation `json:"attestations,omitempty"`
	Action         string            `json:"action"`
	Mutate, Digest bool
	Required       bool
}

// madeAttestation asks for a statement; Holds says whether its condition holds on those of the corpus.
type madeAttestation struct {
	Signer string
	Holds  bool
}

// madeRule is a rule about Pods, and about what makes Pods.
type madeRule struct {
	Name    string      `json:"name"`
	Entries []madeEntry `json:"entries"`
}

// madePolicy is a policy as a test makes it.
type madePolicy struct {
	Namespace, Name string
	Failure         string
	One             bool // applyRules
	Rules           []madeRule

	material *material
}

// madeException takes rules of a policy away.
type madeException struct{ Policy, Rule string }

// madeObject is an object under review; old is what it was, nil for a new one.
type madeObject struct{ object, old map[string]any }

func (o *madeObject) name() string { return (&unstructured.Unstructured{Object: o.object}).GetName() }

func (o *madeObject) gvk() metav1.GroupVersionKind {
	gvk := (&unstructured.Unstructured{Object: o.object}).GroupVersionKind()
	return metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}
}

func (o *madeObject) String() string {
	text, err := json.Marshal(map[string]any{"new": o.object, "old": o.old})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// GoString is how a counterexample is printed.
func (o *madeObject) GoString() string { return o.String() }

// GoString is how a counterexample is printed.
func (p *madePolicy) GoString() string { return p.String() }

func (p *madePolicy) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (m *material) set(s *madeSet) map[string]any {
	entries := []any{}
	for _, a := range s.Entries {
		if a.Nested != nil {
			entries = append(entries, map[string]any{"attestor": m.set(a.Nested)})
		} else {
			entries = append(entries, m.attestors[a.Signer])
		}
	}
	set := map[string]any{"entries": entries}
	if s.Count > 0 {
		set["count"] = s.Count
	}
	return set
}

func (m *material) sets(list []madeSet) []any {
	out := []any{}
	for i := range list {
		out = append(out, m.set(&list[i]))
	}
	return out
}

func (m *material) entry(e *madeEntry) map[string]any {
	out := map[string]any{
		"imageReferences": e.Images, "failureAction": e.Action, "mutateDigest": e.Mutate, "verifyDigest": e.Digest, "required": e.Required,
		"attestors": m.sets(e.Sets),
	}
	if len(e.Skip) > 0 {
		out["skipImageReferences"] = e.Skip
	}
	var statements []any
	for _, a := range e.Attestations {
		builder := "https://github.com/acme/builder@refs/tags/v1"
		if !a.Holds {
			builder = "https://elsewhere.test/builder"
		}
		statements = append(statements, map[string]any{
			"type": "https://slsa.dev/provenance/v0.2", "attestors": []any{m.set(&madeSet{Entries: []madeAttestor{{Signer: a.Signer}}})},
			"conditions": []any{map[string]any{"all": []any{map[string]any{"key": "{{ builder.id }}", "operator": "Equals", "value": builder}}}},
		})
	}
	if statements != nil {
		out["attestations"] = statements
	}
	return out
}

// compile makes the policy one that can be put in force.
func (p *madePolicy) compile(t fataler) *policy.Policy {
	t.Helper()
	rules := []any{}
	for i := range p.Rules {
		entries := []any{}
		for j := range p.Rules[i].Entries {
			entries = append(entries, p.material.entry(&p.Rules[i].Entries[j]))
		}
		rules = append(rules, map[string]any{
			"name": p.Rules[i].Name, "verifyImages": entries,
			"match": map[string]any{"any": []any{map[string]any{"resources": map[string]any{"kinds": []any{"Pod"}}}}},
		})
	}
	spec := map[string]any{"background": false, "webhookConfiguration": map[string]any{"failurePolicy": p.Failure, "timeoutSeconds": 30}, "rules": rules}
	if p.One {
		spec["applyRules"] = "One"
	}
	metadata := map[string]any{"name": p.Name}
	kind := "ClusterPolicy"
	if p.Namespace != "" {
		kind, metadata["namespace"] = "Policy", p.Namespace
	}
	text, err := json.Marshal(map[string]any{"apiVersion": "kyverno.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	var cluster v1.ClusterPolicy
	var namespaced v1.Policy
	into := any(&cluster)
	if kind == "Policy" {
		into = &namespaced
	}
	if strict, err := kjson.UnmarshalStrict(text, into); err != nil || len(strict) > 0 {
		t.Fatalf("%s: %v %v", text, strict, err)
	}
	compiled, errs := policy.CompileNamespaced(&namespaced, policy.Options{})
	if kind == "ClusterPolicy" {
		compiled, errs = policy.CompileCluster(&cluster, policy.Options{})
	}
	if len(errs) > 0 {
		t.Fatalf("%s: %v", text, errs.ToAggregate())
	}
	return compiled
}

func (x *madeException) compile(t fataler) *policy.Exception {
	t.Helper()
	text := fmt.Sprintf(`{"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"namespace": %q, "name": %q}, "spec": {
		"match": {"any": [{"resources": {"kinds": ["*"]}}]}, "exceptions": [{"policyName": %q, "ruleNames": [%q]}]}}`,
		exceptionNamespace, exceptionName, x.Policy, x.Rule)
	read, err := policy.ReadException([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	compiled, errs := policy.CompileException(read)
	if len(errs) > 0 {
		t.Fatalf("%s: %v", text, errs.ToAggregate())
	}
	return compiled
}

// repository is an image without its tag or digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		image = image[:i]
	}
	return image
}
