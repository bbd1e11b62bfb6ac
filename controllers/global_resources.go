package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/policy"
)

const (
	// globalObjects and globalBytes are what is held of one resource: objects, and what expr.Prepared weighs; in memory
	// that is several times as much. globalTotal is what is held of all.
	globalObjects = 20_000
	globalBytes   = 16 << 20
	globalTotal   = 32 << 20
	// globalPage is how many objects one answer to a list may have.
	globalPage = 100
	// globalBody is the longest answer to a list that is read, in bytes.
	globalBody = 32 << 20
	// globalStale is how long the last list stands while the API server cannot be asked whether it has changed.
	globalStale = 30 * time.Second
	// globalRetry is the longest time between two tries, and globalTooLarge that after there was too much to hold.
	globalRetry    = 15 * time.Second
	globalTooLarge = 5 * time.Minute
	// globalShare is how much longer than making the list takes it is left alone.
	globalShare = 9
)

// GlobalResources follows the resources that GlobalContextEntries name, with Signet's own permissions. Of objects
// everything is held but who manages their fields.
type GlobalResources struct {
	client          dynamic.Interface
	systemNamespace string
	held            atomic.Int64 // the bytes of all that is held
	limits          globalLimits
}

type globalLimits struct {
	objects      int
	bytes, total int64
	page         int64
}

// NewGlobalResources returns what follows resources. The Secrets of the system namespace are not for policies.
func NewGlobalResources(config *rest.Config, systemNamespace string) (*GlobalResources, error) {
	bounded := rest.CopyConfig(config)
	bounded.Wrap(func(next http.RoundTripper) http.RoundTripper { return boundedAnswers{next: next, limit: globalBody} })
	c, err := dynamic.NewForConfig(bounded)
	if err != nil {
		return nil, fmt.Errorf("resources of global context entries: %w", err)
	}
	return &GlobalResources{client: c, systemNamespace: systemNamespace,
		limits: globalLimits{objects: globalObjects, bytes: globalBytes, total: globalTotal, page: globalPage}}, nil
}

// boundedAnswers reads no more of an answer than a limit, but for those of watches, whose events are objects.
type boundedAnswers struct {
	next  http.RoundTripper
	limit int64
}

// RoundTrip makes a request.
func (b boundedAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil && r.URL.Query().Get("watch") == "" {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: b.limit}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read reads until there is too much.
func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: %d objects of more than the %d bytes that are read at once", errTooLarge, globalPage, globalBody)
	}
	return n, err
}

// errTooLarge is wrapped by the error of a resource that has more than is held, and errUnusable by that of one with an object
// that expressions cannot be evaluated on.
var (
	errTooLarge = errors.New("too much to hold")
	errUnusable = errors.New("an object that cannot be used")
)

// Follow reports the list of all objects, in the order of their namespaces and names, and the list after every change,
// until ctx ends; or the error in its place.
func (g *GlobalResources) Follow(ctx context.Context, r policy.Resource, report func(expr.Prepared, error)) {
	if r.Group == "" && r.Name == string(corev1.ResourceSecrets) && (r.Namespace == "" || r.Namespace == g.systemNamespace) {
		report(expr.Prepared{}, fmt.Errorf("the Secrets of the namespace %s are not for policies", g.systemNamespace))
		return
	}
	f := &followedResource{resources: g, resource: r, report: report}
	gvr := schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Name}
	if f.client = g.client.Resource(gvr); r.Namespace != "" {
		f.client = g.client.Resource(gvr).Namespace(r.Namespace)
	}
	defer f.forget()
	f.run(ctx)
}

// followedResource is one resource that is followed. It belongs to one goroutine.
type followedResource struct {
	resources *GlobalResources
	resource  policy.Resource
	client    dynamic.ResourceInterface
	report    func(expr.Prepared, error)

	version string // from where to watch; empty when the list has to be read
	objects map[types.NamespacedName]expr.Prepared
	bytes   int64
	news    bool      // whether something has changed since the list was reported
	failing time.Time // since when the API server cannot be asked; zero while it can
	next    time.Time // not before then the list is made again
}

func (f *followedResource) run(ctx context.Context) {
	for wait := time.Second; ; {
		begun := time.Now()
		err := f.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			if err != nil {
				f.version = ""
			}
			if wait = time.Second; time.Since(begun) > 5*time.Second {
				continue
			}
		default:
			f.failed(err)
		}
		if errors.Is(err, errTooLarge) {
			wait = globalTooLarge
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, globalRetry)
	}
}

// failed takes note of an error. That the API server cannot be asked for a moment leaves the list in force that was there:
// the watch goes on where it stopped.
func (f *followedResource) failed(err error) {
	final := errors.Is(err, errTooLarge) || errors.Is(err, errUnusable) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err)
	if f.failing.IsZero() {
		f.failing = time.Now()
	}
	if !final && f.objects != nil && time.Since(f.failing) < globalStale {
		return
	}
	f.forget()
	f.report(expr.Prepared{}, fmt.Errorf("%s: %s", f.resource, cut(err.Error(), maxMessage/4)))
}

// forget lets go of all objects.
func (f *followedResource) forget() {
	f.resources.held.Add(-f.bytes)
	f.objects, f.bytes, f.version, f.news = nil, 0, "", false
}

// round reads the list, if it is not known, and follows it until the API server ends that.
func (f *followedResource) round(ctx context.Context) error {
	if f.version == "" {
		if err := f.list(ctx); err != nil {
			return err
		}
	}
	seconds := int64(280)
	events, err := f.client.Watch(ctx, metav1.ListOptions{ResourceVersion: f.version, AllowWatchBookmarks: true, TimeoutSeconds: &seconds})
	if err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	defer events.Stop()
	f.failing = time.Time{}
	if f.news {
		// A list is not reported before: who may list and not watch would see one that grows old. Nor are changes forgotten
		// that came before a watch failed, since the next one goes on behind them.
		f.publish()
	}
	return f.follow(ctx, events.ResultChan())
}

func (f *followedResource) follow(ctx context.Context, events <-chan watch.Event) error {
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-due:
			due = nil
			f.publish()
		case e, ok := <-events:
			if !ok {
				if due != nil {
					f.publish()
				}
				return nil
			}
			changed, err := f.take(e)
			switch {
			case err != nil:
				return err
			case !changed || due != nil:
			case time.Now().Before(f.next):
				due = time.After(time.Until(f.next))
			default:
				f.publish()
			}
		}
	}
}

// list reads all objects, page by page.
func (f *followedResource) list(ctx context.Context) error {
	old := f.bytes
	objects, bytes := map[types.NamespacedName]expr.Prepared{}, int64(0)
	defer func() { f.resources.held.Add(f.bytes - old) }()
	for opts := (metav1.ListOptions{Limit: f.resources.limits.page}); ; {
		page, err := f.client.List(ctx, opts)
		switch {
		case apierrors.IsResourceExpired(err):
			// Unlike that of a watch, which is as it should be, this means that the list takes longer than the API server allows.
			return fmt.Errorf("listing: %s", err.Error())
		case err != nil:
			return fmt.Errorf("listing: %w", err)
		}
		for i := range page.Items {
			o, err := prepareObject(&page.Items[i])
			if err != nil {
				return err
			}
			objects[nameOf(&page.Items[i])] = o
			if bytes += o.Bytes(); f.tooLarge(len(objects), bytes-old, bytes) {
				return f.tooMuch()
			}
		}
		if opts.Continue = page.GetContinue(); opts.Continue == "" {
			f.version = page.GetResourceVersion()
			break
		}
	}
	f.objects, f.bytes, f.news = objects, bytes, true
	return nil
}

// take applies one event. It tells whether an object has changed.
func (f *followedResource) take(e watch.Event) (changed bool, err error) {
	o, ok := e.Object.(*unstructured.Unstructured)
	if e.Type == watch.Error || !ok {
		return false, fmt.Errorf("watching: %w", apierrors.FromObject(e.Object))
	}
	f.version = o.GetResourceVersion()
	key := nameOf(o)
	before := f.objects[key].Bytes()
	switch e.Type {
	case watch.Added, watch.Modified:
		prepared, err := prepareObject(o)
		if err != nil {
			return false, err
		}
		f.objects[key] = prepared
		grown := prepared.Bytes() - before
		f.bytes += grown
		f.resources.held.Add(grown)
		if f.tooLarge(len(f.objects), 0, f.bytes) {
			return false, f.tooMuch()
		}
	case watch.Deleted:
		delete(f.objects, key)
		f.bytes -= before
		f.resources.held.Add(-before)
	default:
		return false, nil
	}
	f.news = true
	return true, nil
}

// tooLarge tells whether there is more than is held: of this resource, or of all with what is about to be added.
func (f *followedResource) tooLarge(objects int, added, bytes int64) bool {
	l := &f.resources.limits
	return objects > l.objects || bytes > l.bytes || f.resources.held.Load()+added > l.total
}

func (f *followedResource) tooMuch() error {
	l := &f.resources.limits
	return fmt.Errorf("%w: at most %d objects and %d bytes of a resource, and %d bytes of all, are kept", errTooLarge, l.objects, l.bytes, l.total)
}

// publish makes the list and reports it. The larger it is, the longer it is left alone then.
func (f *followedResource) publish() {
	begun := time.Now()
	keys := make([]types.NamespacedName, 0, len(f.objects))
	for k := range f.objects {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	items := make([]expr.Prepared, len(keys))
	for i, k := range keys {
		items[i] = f.objects[k]
	}
	f.report(expr.PrepareList(items), nil)
	f.news = false
	now := time.Now()
	f.next = now.Add(globalShare * now.Sub(begun))
}

func nameOf(o *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func prepareObject(o *unstructured.Unstructured) (expr.Prepared, error) {
	unstructured.RemoveNestedField(o.Object, "metadata", "managedFields")
	out, err := expr.Prepare(o.Object, expr.Limits{Bytes: globalBytes})
	if err != nil {
		return out, fmt.Errorf("%w: %s: %w", errUnusable, nameOf(o), err)
	}
	return out, nil
}
