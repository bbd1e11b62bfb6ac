// Package loader gets what context entries name: config maps, answers of the API server and of services, images, and what
// GlobalContextEntries keep.
//
// It holds the limits on such data and who may read what: an entry of a namespaced Policy reads only its own namespace, a
// service is never at a loopback, link-local or metadata address, and the API server's credentials go to the API server
// alone. What cannot be had is an error, unless the entry has a default; what must not be had always is one.
package loader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/policy"
)

// ConfigMaps reads config maps.
type ConfigMaps interface {
	// ConfigMap is the config map as {metadata, data}. One that does not exist is an error.
	ConfigMap(ctx context.Context, namespace, name string) (map[string]any, error)
}

// Globals gives what GlobalContextEntries keep.
type Globals interface {
	// Global is the data of an entry, or of one of its projections if that is not empty. The error is that of an entry which
	// does not exist (ErrNoEntry), has no such projection, or has no data now.
	Global(name, projection string) (any, error)
}

// Options are where a loader reads. What is nil cannot be read.
type Options struct {
	ConfigMaps ConfigMaps
	API        *API
	Globals    Globals
	// CallTimeout bounds one call of the API server or a service; 30 s.
	CallTimeout time.Duration
	// MaxResponse bounds the answer of a call in bytes; 2,000,000.
	MaxResponse int64
	// UserAgent is sent to services. Empty means "signet".
	UserAgent string
	// Resolver replaces the system's for services; for tests.
	Resolver Resolver
	// Dial replaces connecting to an address of a service that was looked at; for tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Loader loads context entries. It is safe for concurrent use.
type Loader struct {
	opts     Options
	services *services
}

// New returns a loader.
func New(o Options) *Loader {
	if o.CallTimeout <= 0 {
		o.CallTimeout = 30 * time.Second
	}
	if o.MaxResponse <= 0 {
		o.MaxResponse = 2_000_000
	}
	if o.UserAgent == "" {
		o.UserAgent = "signet"
	}
	return &Loader{opts: o, services: newServices(o)}
}

// errNoCluster says that a source of the entry is not there, as without a cluster.
var errNoCluster = errors.New("there is no cluster to ask")

// refusal is an error about what an entry must not read, for which no default stands.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// Describe reads what a registry holds of an image, with the credentials that an entry has.
type Describe = func(ctx context.Context, entry *policy.ContextEntry, reference string) (*image.Description, error)

// Load gives the value of an entry, which may read scope. Images are read by describe.
func (l *Loader) Load(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope, describe Describe) (any, error) {
	value, err := l.source(ctx, entry, scope, describe)
	if err == nil && entry.Query != nil && (entry.Variable == nil || entry.Variable.Value != nil) {
		value, err = entry.Query.On(ctx, scope, value)
	}
	var refused *refusal
	if entry.Default == nil || errors.As(err, &refused) || err == nil && value != nil || ctx.Err() != nil {
		return value, err
	}
	return entry.Default.Eval(ctx, scope)
}

func (l *Loader) source(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope, describe Describe) (any, error) {
	switch {
	case entry.ConfigMap != nil:
		return l.configMap(ctx, entry, scope)
	case entry.Call != nil:
		return l.call(ctx, entry, scope)
	case entry.Image != nil:
		return l.image(ctx, entry, scope, describe)
	case entry.Global != nil:
		return l.global(ctx, entry, scope)
	case entry.Variable != nil && entry.Variable.Value != nil:
		return entry.Variable.Value.Eval(ctx, scope)
	case entry.Variable != nil && entry.Query != nil:
		return entry.Query.Eval(ctx, scope)
	}
	return nil, errors.New("the entry names no source")
}

// text evaluates a template that has to be a text.
func text(ctx context.Context, scope *expr.Scope, t *expr.Template, what string) (string, error) {
	if t == nil {
		return "", fmt.Errorf("%s is missing", what)
	}
	value, err := t.Eval(ctx, scope)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	s, ok := value.(string)
	if !ok || s == "" {
		return "", fmt.Errorf("%s is no text", what)
	}
	return s, nil
}

func (l *Loader) configMap(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope) (any, error) {
	namespace, err := text(ctx, scope, entry.ConfigMap.Namespace, "namespace")
	if err != nil {
		return nil, err
	}
	name, err := text(ctx, scope, entry.ConfigMap.Name, "name")
	if err != nil {
		return nil, err
	}
	switch {
	case entry.Namespace != "" && namespace != entry.Namespace:
		return nil, refuse("config map %s/%s: a Policy reads only its own namespace %s", clip(namespace), clip(name), entry.Namespace)
	case !isName(namespace) || !isName(name):
		return nil, fmt.Errorf("%q is no namespace and name of a config map", clip(namespace+"/"+name))
	case l.opts.ConfigMaps == nil:
		return nil, fmt.Errorf("config map %s/%s: %w", namespace, name, errNoCluster)
	}
	found, err := l.opts.ConfigMaps.ConfigMap(ctx, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("config map %s/%s: %w", namespace, name, err)
	}
	return found, nil
}

func (l *Loader) global(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope) (any, error) {
	name, err := text(ctx, scope, entry.Global, "name")
	if err != nil {
		return nil, err
	}
	if l.opts.Globals == nil {
		return nil, fmt.Errorf("global context entry %s: %w", clip(name), errNoCluster)
	}
	value, err := l.lookup(name)
	if err != nil {
		return nil, fmt.Errorf("global context entry %s: %w", clip(name), err)
	}
	return value, nil
}

// lookup reads name, or name.projection. Names of objects may hold dots, so the longest name that exists counts.
func (l *Loader) lookup(name string) (any, error) {
	value, err := l.opts.Globals.Global(name, "")
	for i := len(name) - 1; errors.Is(err, ErrNoEntry) && i > 0; i-- {
		if name[i] == '.' {
			value, err = l.opts.Globals.Global(name[:i], name[i+1:])
		}
	}
	return value, err
}

// ErrNoEntry is wrapped by the error of a GlobalContextEntry that does not exist.
var ErrNoEntry = errors.New("it does not exist")

// isName tells whether s can be the name of an object: one segment of a path.
func isName(s string) bool {
	if s == "" || len(s) > 253 || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// clip keeps a value in an error message short.
func clip(s string) string {
	const most = 128
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
