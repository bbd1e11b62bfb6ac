package match

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/signet-policy/signet/pkg/wildcard"
)

// Pair is a key with a value, both with wildcards: some key and its value have to fit.
type Pair struct {
	Key, Value wildcard.Pattern
}

func (p *Pair) in(t Texts) bool {
	if key, ok := p.Key.Literal(); ok {
		value, ok := t.Lookup(key)
		return ok && p.Value.Matches(value)
	}
	for key, v := range t {
		if value, ok := v.(string); ok && p.Key.Matches(key) && p.Value.Matches(value) {
			return true
		}
	}
	return false
}

// CompilePair compiles a key and a value that may hold wildcards.
func CompilePair(key, value string) (Pair, error) {
	k, err := wildcard.Compile(key)
	if err != nil {
		return Pair{}, err
	}
	v, err := wildcard.Compile(value)
	return Pair{Key: k, Value: v}, err
}

// The verification annotations are output: what somebody wrote under their names is never looked at.
const (
	verified       = "kyverno.io/verify-images"
	verifiedScoped = "kyverno.io/verify-images-scoped"
)

func allAnnotations(wanted []Pair, annotations Texts) bool {
	if len(wanted) == 0 {
		return true
	}
	if annotations.Has(verified) || annotations.Has(verifiedScoped) {
		others := make(Texts, len(annotations))
		for k, v := range annotations {
			if k != verified && k != verifiedScoped {
				others[k] = v
			}
		}
		annotations = others
	}
	for i := range wanted {
		if !wanted[i].in(annotations) {
			return false
		}
	}
	return true
}

// Selector is a compiled label selector. An empty one selects everything.
type Selector struct {
	exact labels.Requirements
	pairs []Pair
}

// SelectorError is what is wrong with a label selector: Field is a path in it, such as matchLabels[app], Value what
// stands there.
type SelectorError struct {
	Field, Value string
	Err          error
}

func (e *SelectorError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *SelectorError) Unwrap() error { return e.Err }

// CompileSelector compiles a label selector, in which keys and values of matchLabels may hold wildcards. Every error is a
// *SelectorError.
func CompileSelector(in *metav1.LabelSelector) (*Selector, error) {
	out := &Selector{}
	for _, key := range slices.Sorted(maps.Keys(in.MatchLabels)) {
		value := in.MatchLabels[key]
		fail := func(err error) error {
			return &SelectorError{Field: "matchLabels[" + key + "]", Value: value, Err: err}
		}
		// With a letter for each wildcard it has to be what a label can be.
		if _, err := labels.NewRequirement(plain(key), selection.Equals, []string{plain(value)}); err != nil {
			return nil, fail(err)
		}
		pair, err := CompilePair(key, value)
		if err != nil {
			return nil, fail(err)
		}
		out.pairs = append(out.pairs, pair)
	}
	for i, e := range in.MatchExpressions {
		fail := func(err error) error {
			return &SelectorError{Field: fmt.Sprintf("matchExpressions[%d]", i), Value: e.Key, Err: err}
		}
		operator, ok := operators[e.Operator]
		if !ok {
			return nil, fail(fmt.Errorf("%q is no operator: In, NotIn, Exists or DoesNotExist", e.Operator))
		}
		r, err := labels.NewRequirement(e.Key, operator, e.Values)
		if err != nil {
			return nil, fail(err)
		}
		out.exact = append(out.exact, *r)
	}
	return out, nil
}

var operators = map[metav1.LabelSelectorOperator]selection.Operator{
	metav1.LabelSelectorOpIn: selection.In, metav1.LabelSelectorOpNotIn: selection.NotIn,
	metav1.LabelSelectorOpExists: selection.Exists, metav1.LabelSelectorOpDoesNotExist: selection.DoesNotExist,
}

func plain(s string) string { return strings.NewReplacer("*", "x", "?", "x").Replace(s) }

// Matches tells whether the selector selects these labels.
func (s *Selector) Matches(t Texts) bool {
	for i := range s.pairs {
		if !s.pairs[i].in(t) {
			return false
		}
	}
	for i := range s.exact {
		if !s.exact[i].Matches(t) {
			return false
		}
	}
	return true
}
