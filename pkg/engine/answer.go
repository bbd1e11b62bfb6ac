package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
)

// The annotations are output only: nothing in this program reads them.
const (
	annotation       = "kyverno.io/verify-images"
	scopedAnnotation = "kyverno.io/verify-images-scoped"

	annotationPath       = "/metadata/annotations/kyverno.io~1verify-images"
	scopedAnnotationPath = "/metadata/annotations/kyverno.io~1verify-images-scoped"

	// annotationsLimit is Kubernetes' own limit on the sum of an object's annotations, in bytes.
	annotationsLimit = 256 * 1024
)

// answer applies the decision to the client: a denial text, or warnings and patches.
func (r *review) answer(d *Decision, records *records, patched map[string]string) {
	for i := range d.Responses {
		if d.Responses[i].Blocks {
			d.Allowed = false
		}
	}
	if !d.Allowed {
		d.Message = denial(r.req, d.Responses)
		return
	}
	for i := range d.Responses {
		resp := &d.Responses[i]
		if resp.Status.bad() || resp.Skipped {
			d.Warnings = append(d.Warnings, fmt.Sprintf("policy %s.%s: %s", resp.Rule.Policy.Name, resp.Rule.Name, resp.Message))
		}
	}
	if r.req.Phase == Mutating {
		d.Warnings = append(d.Warnings, oddHosts(r.plan)...)
		d.Patches = append(annotationPatches(r.req, records.render(patched)), digestPatches(r.plan, patched)...)
	}
}

// oddHosts warns about images that are named by the address behind Docker Hub.
func oddHosts(p *plan.Plan) []string {
	var out []string
	for _, img := range p.Images {
		host, _, _ := strings.Cut(strings.ToLower(img.Ref.Registry()), ":")
		if host == "registry-1.docker.io" {
			out = append(out, fmt.Sprintf("image %s: registry-1.docker.io is judged as docker.io; name the image so", img.Ref))
		}
	}
	return out
}

// denial is the text of a refusal: a line that names the object, and a YAML document of everything that objects.
func denial(req *Request, responses []Result) string {
	doc := map[string]map[string]string{}
	said := map[[3]string]bool{}
	for i := range responses {
		resp := &responses[i]
		if !resp.Status.bad() {
			continue
		}
		rules := doc[resp.Rule.Policy.Name]
		if rules == nil {
			rules = map[string]string{}
			doc[resp.Rule.Policy.Name] = rules
		}
		key := [3]string{resp.Rule.Policy.Name, resp.Rule.Name, resp.Message}
		if said[key] {
			continue
		}
		said[key] = true
		if before, ok := rules[resp.Rule.Name]; ok {
			rules[resp.Rule.Name] = before + "; " + resp.Message
		} else {
			rules[resp.Rule.Name] = resp.Message
		}
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		text = []byte(err.Error()) // cannot happen for maps of strings; the denial stands
	}
	return fmt.Sprintf("\n\nresource %s/%s/%s was blocked due to the following policies \n\n%s",
		req.Attributes.Kind, req.Attributes.Namespace, req.Name, text)
}

// digestPatches pins images, each place only while the string there is still the one that was judged.
func digestPatches(p *plan.Plan, patched map[string]string) []Patch {
	var out []Patch
	p.Places(func(u *plan.Use) bool {
		if pin, ok := patched[u.Pointer]; ok {
			out = append(out, Patch{Op: "test", Path: u.Pointer, Value: cmp.Or(u.From, u.Value)}, Patch{Op: "replace", Path: u.Pointer, Value: pin})
		}
		return len(out) < 2*len(patched)
	})
	return out
}

// records are the verification results of one request, for the annotations.
type records struct {
	list []record
}

type record struct {
	policy, rule string
	image        *plan.Image
	digest       image.Digest
	status       Status
}

func newRecords() *records { return &records{} }

// add records the images of a rule that an entry with attestors or attestations matched.
func (r *records) add(planned *plan.Rule, results []Result) {
	recorded := map[*plan.Image]bool{}
	for _, ri := range planned.Images {
		for _, e := range slices.Concat(ri.Entries, ri.Skipping) {
			recorded[ri.Image] = recorded[ri.Image] || e.Requirement != nil
		}
	}
	for i := range results {
		res := &results[i]
		if res.Image == nil || !recorded[res.Image] {
			continue
		}
		r.list = append(r.list, record{policy: res.Rule.Policy.Scoped(), rule: res.Rule.Name, image: res.Image,
			digest: res.Digest, status: res.Status})
	}
}

// rendered are the two annotation values.
type rendered struct {
	plain, scoped string
}

func (r *records) render(patched map[string]string) *rendered {
	if len(r.list) == 0 {
		return nil
	}
	worst := map[string]Status{}
	scoped := map[string]map[string]map[string]string{}
	// Two references may be shown alike once they have digests: each map keeps the worst.
	worstOf := map[[3]string]Status{}
	for _, rec := range r.list {
		shown := shownAfter(rec.image, rec.digest, patched)
		worst[shown] = max(worst[shown], rec.status)
		if scoped[rec.policy] == nil {
			scoped[rec.policy] = map[string]map[string]string{}
		}
		if scoped[rec.policy][rec.rule] == nil {
			scoped[rec.policy][rec.rule] = map[string]string{}
		}
		place := [3]string{rec.policy, rec.rule, shown}
		worstOf[place] = max(worstOf[place], rec.status)
		scoped[rec.policy][rec.rule][shown] = recorded(worstOf[place])
	}
	plain := make(map[string]string, len(worst))
	for shown, status := range worst {
		plain[shown] = recorded(status)
	}
	return &rendered{
		plain:  mustJSON(plain),
		scoped: mustJSON(scopedValue{Version: 1, Policies: scoped}),
	}
}

// scopedValue is the scoped annotation: policy to rule to image to status.
type scopedValue struct {
	Version  int                                     `json:"version"`
	Policies map[string]map[string]map[string]string `json:"policies"`
}

// recorded is a status as the annotations spell it.
func recorded(s Status) string {
	if s.bad() {
		return Fail.String()
	}
	return s.String()
}

// mustJSON marshals maps of strings, which cannot fail.
func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}"
	}
	return string(b)
}

// annotationPatches writes what was recorded, or takes away what somebody else wrote under our names.
func annotationPatches(req *Request, values *rendered) []Patch {
	if req.Attributes.Subresource != "" {
		return nil
	}
	metadata, _ := req.Object["metadata"].(map[string]any)
	annotations, exist := metadata["annotations"].(map[string]any)
	size := 0
	for k, v := range annotations {
		if k != annotation && k != scopedAnnotation {
			s, _ := v.(string)
			size += len(k) + len(s)
		}
	}
	var patches []Patch
	set := func(name, path, value string) {
		if value == "" || size+len(name)+len(value) > annotationsLimit {
			if _, ok := annotations[name]; ok {
				patches = append(patches, Patch{Op: "remove", Path: path})
			}
			return
		}
		size += len(name) + len(value)
		patches = append(patches, Patch{Op: "add", Path: path, Value: value})
	}
	if values == nil {
		values = &rendered{}
	}
	set(annotation, annotationPath, values.plain)
	set(scopedAnnotation, scopedAnnotationPath, values.scoped)
	if len(patches) > 0 && !exist {
		patches = append([]Patch{{Op: "add", Path: "/metadata/annotations", Value: map[string]string{}}}, patches...)
	}
	return patches
}
