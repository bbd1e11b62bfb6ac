package expr

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Env is what functions may ask of the world. A nil field stands for its default.
type Env struct {
	Now  func() time.Time // the clock of the time functions; time.Now
	Rand io.Reader        // the source of random(); crypto/rand
	// NormalizeImage writes out the registry and tag of an image reference for image_normalize(); by default the registry
	// is docker.io and the tag latest.
	NormalizeImage func(string) (string, error)
	// Resolve looks a host name up for is_external_url(). Without it names cannot be judged, only addresses.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Limits  Limits
}

// Loader supplies the value of an entry when an expression first reads it.
type Loader func(ctx context.Context) (any, error)

// Scope is the JSON object that the expressions of one evaluation see. It belongs to one goroutine at a time; Fork makes one
// for another goroutine. Values are never changed, and must not be changed by others while the Scope is in use.
type Scope struct {
	env     Env
	budget  budget
	entries map[string]*entry
	stored  error // the first value that could not be stored; every later evaluation reports it
}

type entry struct {
	value   any
	literal bool // text of this entry is data: braces in it are not looked for
	lazy    *lazy
}

type lazy struct {
	once  sync.Once
	load  Loader
	value any
	err   error
}

// NewScope returns an empty Scope.
func NewScope(env Env) *Scope {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Rand == nil {
		env.Rand = rand.Reader
	}
	if env.NormalizeImage == nil {
		env.NormalizeImage = normalizeImage
	}
	env.Limits = env.Limits.withDefaults()
	return &Scope{env: env, budget: budget{limits: env.Limits}, entries: map[string]*entry{}}
}

// Fork returns a Scope with the same entries that can be changed without changing s. It starts from what s has spent; what an
// entry loads, it loads once for all forks.
func (s *Scope) Fork() *Scope {
	f := *s
	f.entries = maps.Clone(s.entries)
	return &f
}

// Set stores the entry name, over one of the same name. In the entry "request" of a DELETE, object reads as oldObject.
//
// A value that is no JSON, or larger or deeper than the limits, makes every later evaluation fail.
func (s *Scope) Set(name string, value any) { s.set(name, value, false) }

// SetLazy stores the entry name, whose value is loaded by the first expression that reads it, at most once. An error of load is
// the error of every expression that reads the entry.
func (s *Scope) SetLazy(name string, load Loader) {
	s.entries[name] = &entry{lazy: &lazy{load: load}}
}

// SetLazyData stores the entry name like SetLazy; text in it is data from outside, as with Push.
func (s *Scope) SetLazyData(name string, load Loader) {
	s.entries[name] = &entry{lazy: &lazy{load: load}, literal: true}
}

// Load loads the entry name now, if nobody has read it yet.
func (s *Scope) Load(ctx context.Context, name string) error {
	_, _, err := s.read(ctx, name)
	return err
}

// Has tells whether the scope holds the entry name.
func (s *Scope) Has(name string) bool { return s.entries[name] != nil }

// Push merges fields over the entries of the scope, as the fields of a predicate are, and returns what undoes it and all other
// changes of entries since. Text in the fields is data from outside: variables written in it are not evaluated.
func (s *Scope) Push(fields map[string]any) (restore func()) {
	before, stored, bytes := s.entries, s.stored, s.budget.bytes
	s.entries = maps.Clone(before)
	for name, value := range fields {
		s.set(name, value, true)
	}
	pushed := s.budget.bytes - bytes
	return func() {
		s.entries, s.stored = before, stored
		s.budget.bytes -= pushed // the values are gone; what was made of them stays counted
	}
}

// SetData stores the entry name like Set; text in it is data from outside, as with Push.
func (s *Scope) SetData(name string, value any) { s.set(name, value, true) }

func (s *Scope) set(name string, value any, literal bool) {
	value, err := s.normalize(value)
	if err != nil {
		if s.stored == nil {
			s.stored = fmt.Errorf("the value of %s cannot be used: %w", clip(name), err)
		}
		value = nil
	}
	if name == "request" {
		value = deleted(value)
	}
	s.entries[name] = &entry{value: value, literal: literal}
}

func (s *Scope) normalize(value any) (any, error) {
	n := normalizer{budget: &s.budget}
	value, _, err := n.value(value, 0)
	return value, err
}

// deleted lets request.object of a DELETE read the object that goes away, as there is no other.
func deleted(request any) any {
	m, ok := request.(map[string]any)
	if !ok || m["operation"] != "DELETE" {
		return request
	}
	old, ok := m["oldObject"]
	if !ok {
		return request
	}
	m = maps.Clone(m)
	m["object"] = old
	return m
}

// read returns the value of the entry name, loading it when needed, and whether its text is data from outside.
func (s *Scope) read(ctx context.Context, name string) (value any, literal bool, err error) {
	e := s.entries[name]
	if e == nil {
		return nil, false, &MissingKeyError{Key: name}
	}
	if e.lazy == nil {
		return e.value, e.literal, nil
	}
	l := e.lazy
	l.once.Do(func() {
		defer func() {
			if p := recover(); p != nil {
				l.err = fmt.Errorf("panic: %v", p)
			}
		}()
		l.value, l.err = l.load(ctx)
	})
	if l.err != nil {
		return nil, false, fmt.Errorf("%s cannot be loaded: %w", clip(name), l.err)
	}
	value, err = s.normalize(l.value)
	if err != nil {
		return nil, false, fmt.Errorf("the value of %s cannot be used: %w", clip(name), err)
	}
	// The old entry may be shared with a fork, so it stays as it is.
	s.entries[name] = &entry{value: value, literal: e.literal}
	return value, e.literal, nil
}

// names returns the names of all entries, sorted.
func (s *Scope) names() []string { return slices.Sorted(maps.Keys(s.entries)) }

// normalizer brings JSON values to the six types that JMESPath knows, copying only where something must change: numbers of
// Kubernetes objects are int64, those of JMESPath float64.
type normalizer struct {
	budget  *budget
	deepest int // the deepest nesting that was seen
}

var errNotJSON = errors.New("not a JSON value")

// value returns v in JMESPath's types, and whether that is another value than v.
func (n *normalizer) value(v any, depth int) (any, bool, error) {
	if depth > n.budget.limits.Depth {
		return nil, false, fmt.Errorf("%w: nested deeper than %d", ErrLimit, n.budget.limits.Depth)
	}
	n.deepest = max(n.deepest, depth)
	switch t := v.(type) {
	case nil, bool:
		return v, false, nil
	case Prepared: // nothing is made here: its bytes count where they were
		if depth+t.depth > n.budget.limits.Depth {
			return nil, false, fmt.Errorf("%w: nested deeper than %d", ErrLimit, n.budget.limits.Depth)
		}
		n.deepest = max(n.deepest, depth+t.depth)
		return t.value, true, nil
	case string:
		return v, false, n.budget.grow(len(t))
	case float64:
		return v, false, finite(t)
	case map[string]any:
		return n.object(t, depth)
	case []any:
		return n.list(t, depth)
	case int64:
		return float64(t), true, nil
	case int:
		return float64(t), true, nil
	case int32:
		return float64(t), true, nil
	case float32:
		return float64(t), true, finite(float64(t))
	case json.Number:
		f, err := t.Float64()
		return f, true, err
	case map[string]string:
		m := make(map[string]any, len(t))
		for k, s := range t {
			m[k] = s
		}
		out, _, err := n.object(m, depth)
		return out, true, err
	case []string:
		l := make([]any, len(t))
		for i, s := range t {
			l[i] = s
		}
		out, _, err := n.list(l, depth)
		return out, true, err
	}
	return nil, false, fmt.Errorf("%w: %T", errNotJSON, v)
}

// overhead is what an element of a list or an object counts for besides its text.
const overhead = 16

func (n *normalizer) object(m map[string]any, depth int) (any, bool, error) {
	if m == nil {
		return nil, true, nil
	}
	if err := n.budget.grow(overhead * len(m)); err != nil {
		return nil, false, err
	}
	out, copied := m, false
	for k, v := range m {
		w, changed, err := n.value(v, depth+1)
		if err != nil {
			return nil, false, err
		}
		if err := n.budget.grow(len(k)); err != nil {
			return nil, false, err
		}
		if changed && !copied {
			out, copied = maps.Clone(m), true
		}
		if changed {
			out[k] = w
		}
	}
	return out, copied, nil
}

func (n *normalizer) list(l []any, depth int) (any, bool, error) {
	if l == nil {
		return nil, true, nil
	}
	if err := n.budget.grow(overhead * len(l)); err != nil {
		return nil, false, err
	}
	out, copied := l, false
	for i, v := range l {
		w, changed, err := n.value(v, depth+1)
		if err != nil {
			return nil, false, err
		}
		if changed && !copied {
			out, copied = slices.Clone(l), true
		}
		if changed {
			out[i] = w
		}
	}
	return out, copied, nil
}

var errNotFinite = errors.New("not a finite number")

func finite(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return errNotFinite
	}
	return nil
}
