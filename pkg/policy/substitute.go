package policy

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// remembered is how many texts of one entry are kept compiled, so that a request with known values compiles nothing.
const remembered = 128

// substitution is an entry with variables: what is written, and what came of it for the values of late requests.
type substitution struct {
	template *expr.Template
	// texts are the places of texts with variables, which must not become empty: an identity that lost its subject would
	// be anybody's.
	texts    [][]string
	compile  func(entry []byte) (*Entry, error)
	compiled *lru.Cache[[sha256.Size]byte, *Entry]
}

// Substituted returns the entries of the rule with the variables replaced by their values. An entry whose values cannot be
// used is Invalid. The error is that of a variable that has no value.
func (r *Rule) Substituted(ctx context.Context, scope *expr.Scope) ([]*Entry, error) {
	out := make([]*Entry, len(r.Entries))
	for i, e := range r.Entries {
		out[i] = e
		if e.Deferred == nil {
			continue
		}
		value, err := e.Deferred.template.Eval(ctx, scope)
		if err != nil {
			return nil, fmt.Errorf("verifyImages[%d]: %w", i, err)
		}
		if out[i], err = e.Deferred.entry(value); err != nil {
			out[i] = e.invalid(fmt.Sprintf("verifyImages[%d]: %s", i, err))
		}
	}
	return out, nil
}

// Properties returns the report properties of the rule with the variables replaced by their values; nil for those that are
// written in the policy.
func (r *Rule) Properties(ctx context.Context, scope *expr.Scope) (map[string]string, error) {
	if r.properties == nil {
		return nil, nil
	}
	value, err := r.properties.Eval(ctx, scope)
	if err != nil {
		return nil, fmt.Errorf("reportProperties: %w", err)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("reportProperties: not an object")
	}
	out := make(map[string]string, len(object))
	for k, v := range object {
		text, isText := v.(string)
		if !isText {
			raw, err := json.Marshal(v)
			if err != nil {
				return nil, fmt.Errorf("reportProperties: %w", err)
			}
			text = string(raw)
		}
		out[k] = text
	}
	return out, nil
}

// Prepares tells whether the rule has to load or evaluate something before its entries can judge.
func (r *Rule) Prepares() bool {
	return len(r.Context) > 0 || r.Preconditions != nil || r.Substitutes()
}

// Substitutes tells whether entries or report properties of the rule hold variables.
func (r *Rule) Substitutes() bool {
	if r.properties != nil {
		return true
	}
	for _, e := range r.Entries {
		if e.Deferred != nil {
			return true
		}
	}
	return false
}

// entry compiles the entry with the values in it, or finds it compiled.
func (s *substitution) entry(value any) (*Entry, error) {
	for _, place := range s.texts {
		if text, ok := at(value, place).(string); !ok || text == "" {
			return nil, fmt.Errorf("%s has no text after substitution", strings.Join(place, "."))
		}
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(raw)
	if known, ok := s.compiled.Get(key); ok {
		return known, nil
	}
	e, err := s.compile(raw)
	if err != nil {
		return nil, err
	}
	s.compiled.Add(key, e)
	return e, nil
}

// at follows the names of fields and the indexes of lists.
func at(v any, place []string) any {
	for _, step := range place {
		switch t := v.(type) {
		case map[string]any:
			v = t[step]
		case []any:
			var i int
			if _, err := fmt.Sscanf(step, "[%d]", &i); err != nil || i < 0 || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

// nobody is a requirement that no signature satisfies: one of no attestors.
func nobody(fingerprint string) *verify.Requirement {
	return &verify.Requirement{Fingerprint: fingerprint, Sets: []verify.Set{{Count: 1}}}
}

// invalid is the entry as one that no image satisfies.
func (e *Entry) invalid(why string) *Entry {
	out := *e
	out.Deferred, out.Conditions, out.Skip = nil, nil, nil
	out.Invalid = reason.New(reason.TrustMaterialInvalid, why)
	out.Requirement = nobody("invalid")
	return &out
}

// written are the parts of a rule in which variables are replaced before anything else, references between them resolved.
type written struct {
	entries    []any
	properties any
}

// written reads the rule as JSON without what is evaluated later, the conditions and messages (VI 6.2(2)); nil when no
// text has a variable.
func (c *compiler) written(in *v1.Rule, path *field.Path) *written {
	copied := v1.Rule{ReportProperties: in.ReportProperties}
	for i := range in.VerifyImages {
		e := in.VerifyImages[i].DeepCopy()
		e.Validate = nil
		for k := range e.Attestations {
			e.Attestations[k].Conditions = nil
		}
		copied.VerifyImages = append(copied.VerifyImages, *e)
	}
	raw, err := json.Marshal(copied)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return nil
	}
	if !hasVariable(string(raw)) {
		return nil
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return nil
	}
	resolved, err := expr.ResolveReferences(doc)
	if err != nil {
		c.badVariable(in.Name, path, err)
		return nil
	}
	doc, _ = resolved.(map[string]any)
	out := &written{properties: doc["reportProperties"]}
	out.entries, _ = doc["verifyImages"].([]any)
	return out
}

// deferred compiles the template of an entry: nil and the entry as it is without its escapes when it holds no variable
// after all.
func (c *compiler) deferred(value any, original *v1.ImageVerification, rule *v1.Rule, known map[string]bool, path *field.Path, fallback actions) (*substitution, *v1.ImageVerification) {
	s := &substitution{}
	before := len(c.errs)
	c.variables(value, nil, rule.Name, known, path, s)
	if len(c.errs) > before {
		return nil, nil
	}
	t, err := expr.CompileResolved(value)
	if err != nil {
		c.badVariable(rule.Name, path, err)
		return nil, nil
	}
	s.template = t
	restore := func(raw []byte) (*v1.ImageVerification, error) {
		var in v1.ImageVerification
		strict, err := kjson.UnmarshalStrict(raw, &in)
		if err == nil && len(strict) > 0 {
			err = strict[0]
		}
		if err != nil {
			return nil, fmt.Errorf("not what the schema asks for: %w", err)
		}
		in.Validate = original.Validate
		for i := range in.Attestations {
			if i < len(original.Attestations) {
				in.Attestations[i].Conditions = original.Attestations[i].Conditions
			}
		}
		return &in, nil
	}
	if constant, ok := t.Constant(); ok {
		raw, err := json.Marshal(constant)
		if err == nil {
			var in *v1.ImageVerification
			if in, err = restore(raw); err == nil {
				return nil, in
			}
		}
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return nil, nil
	}
	meta, spec, opts, policy, name := c.meta, c.spec, c.opts, c.out, rule.Name
	s.compile = func(raw []byte) (*Entry, error) {
		in, err := restore(raw)
		if err != nil {
			return nil, err
		}
		// The compiler is a new one for each text, so that requests do not share it. Nothing of the policy is changed.
		c := &compiler{meta: meta, spec: spec, opts: opts, out: policy, literal: true}
		e := c.entry(in, path, name, fallback)
		if len(c.errs) > 0 {
			// The values themselves are not quoted: who reads the answer need not be one who may read them.
			return nil, fmt.Errorf("%s: %s", c.errs[0].Field, c.errs[0].Detail)
		}
		return e, nil
	}
	s.compiled, err = lru.New[[sha256.Size]byte, *Entry](remembered)
	if err != nil {
		c.errs = append(c.errs, field.InternalError(path, err))
	}
	return s, nil
}

// variables checks the texts of an entry one by one, so that a mistake is shown at its field, and remembers which of them
// hold variables.
func (c *compiler) variables(value any, place []string, rule string, known map[string]bool, path *field.Path, s *substitution) {
	switch t := value.(type) {
	case map[string]any:
		for k, v := range t {
			if compiled, err := expr.CompileResolved(k); err != nil || len(compiled.Variables()) > 0 {
				c.errs = append(c.errs, field.Invalid(path, clip(k), "variables cannot stand in the names of fields"))
				continue
			}
			c.variables(v, append(place[:len(place):len(place)], k), rule, known, path.Child(k), s)
		}
	case []any:
		for i, v := range t {
			c.variables(v, append(place[:len(place):len(place)], fmt.Sprintf("[%d]", i)), rule, known, path.Index(i), s)
		}
	case string:
		compiled, err := expr.CompileResolved(t)
		if err != nil {
			c.badVariable(rule, path, err)
			return
		}
		if len(compiled.Variables()) == 0 {
			return
		}
		if place[0] == "imageReferences" || place[0] == "image" {
			return // refused where they are compiled
		}
		c.resolvable(rule, compiled.Reads(), known, path)
		if !isType(place) { // those are judged by name (VI 6.6(1))
			s.texts = append(s.texts, place)
		}
	}
}

// isType tells whether a place is the type of the entry or of an attestation, and not an annotation of such a name.
func isType(place []string) bool {
	return len(place) == 1 && place[0] == "type" ||
		len(place) == 3 && place[0] == "attestations" && (place[2] == "type" || place[2] == "predicateType")
}

// reportProperties compiles report properties; nil when they hold no variable.
func (c *compiler) reportProperties(value any, rule string, known map[string]bool, path *field.Path) *expr.Template {
	if value == nil {
		return nil
	}
	t, err := expr.CompileResolved(value)
	if err != nil {
		c.badVariable(rule, path, err)
		return nil
	}
	c.resolvable(rule, t.Reads(), known, path)
	if _, constant := t.Constant(); constant && len(t.Variables()) == 0 {
		return nil
	}
	return t
}
