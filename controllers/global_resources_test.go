package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/policy"
)

// resourceAPI is the API server's part about one resource: pages of a list, and a watch that the test feeds.
type resourceAPI struct {
	dynamic.NamespaceableResourceInterface

	mu                    sync.Mutex
	pages                 [][]string // "namespace/name" of objects
	listError, watchError error
	events                *watch.FakeWatcher
	asked                 []string
	namespace             string
}

func (a *resourceAPI) Resource(r schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return a
}

func (a *resourceAPI) Namespace(n string) dynamic.ResourceInterface {
	a.namespace = n
	return a
}

func (a *resourceAPI) note(format string, args ...any) {
	a.asked = append(a.asked, fmt.Sprintf(format, args...))
}

func (a *resourceAPI) List(_ context.Context, o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.note("list %s", o.Continue)
	if a.listError != nil {
		return nil, a.listError
	}
	page := 0
	if o.Continue != "" {
		page = int(o.Continue[0] - '0')
	}
	out := &unstructured.UnstructuredList{Object: map[string]any{}}
	out.SetResourceVersion("10")
	if page+1 < len(a.pages) {
		out.SetContinue(fmt.Sprint(page + 1))
	}
	if page < len(a.pages) {
		for _, name := range a.pages[page] {
			out.Items = append(out.Items, *thing(name, "1"))
		}
	}
	return out, nil
}

func (a *resourceAPI) Watch(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.note("watch %s", o.ResourceVersion)
	if a.watchError != nil {
		return nil, a.watchError
	}
	a.events = watch.NewFakeWithChanSize(10, false)
	return a.events, nil
}

func (a *resourceAPI) set(list, watch error, pages ...[]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listError, a.watchError, a.pages = list, watch, pages
}

// requests are those since the last look.
func (a *resourceAPI) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.asked
	a.asked = nil
	return out
}

func thing(name, version string) *unstructured.Unstructured {
	namespace, name, _ := strings.Cut(name, "/")
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Thing", "spec": map[string]any{"count": int64(1)},
		"metadata": map[string]any{"namespace": namespace, "name": name, "resourceVersion": version,
			"managedFields": []any{map[string]any{"manager": "somebody"}}},
	}}
}

// followedThings follows a resource in the time of a bubble, and keeps what was reported last.
type followedThings struct {
	api *resourceAPI
	all *GlobalResources

	mu      sync.Mutex
	last    expr.Prepared
	err     error
	reports int
}

func followThings(t *testing.T, limits globalLimits, api *resourceAPI) *followedThings {
	f := &followedThings{api: api, all: &GlobalResources{client: api, systemNamespace: "kyverno", limits: limits}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.all.Follow(ctx, policy.Resource{Group: "example.com", Version: "v1", Name: "things"}, func(p expr.Prepared, err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.last, f.err = p, err
			f.reports++
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if held := f.all.held.Load(); held != 0 {
			t.Errorf("%d bytes are still held", held)
		}
	})
	synctest.Wait()
	return f
}

func (f *followedThings) want(t *testing.T, names ...any) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		t.Error(f.err)
		return
	}
	q, err := expr.CompileQuery("[].join('/', [metadata.namespace, metadata.name])")
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.On(t.Context(), expr.NewScope(expr.Env{}), f.last)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append([]any{}, names...), got); diff != "" {
		t.Error(diff)
	}
}

// seen is how many reports there were.
func (f *followedThings) seen() int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reports
}

func (f *followedThings) wantError(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil || !strings.Contains(f.err.Error(), want) {
		t.Errorf("got %v, want %s", f.err, want)
	}
}

var someLimits = globalLimits{objects: 5, bytes: 10_000, total: 10_000, page: 2}

func forbiddenThings() error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "", errors.New("no role"))
}

// VI 9(4): a resource is listed once, in pages, and followed from there.
func TestGlobalResources(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := &resourceAPI{pages: [][]string{{"b/x", "a/y"}, {"a/x"}}}
		f := followThings(t, someLimits, api)
		f.want(t, "a/x", "a/y", "b/x")
		api.events.Add(thing("a/z", "11"))
		f.want(t, "a/x", "a/y", "a/z", "b/x")
		api.events.Delete(thing("a/x", "12"))
		api.events.Modify(thing("a/y", "13"))
		f.want(t, "a/y", "a/z", "b/x")
		reports := f.seen()
		api.events.Action(watch.Bookmark, thing("/", "20"))
		f.want(t, "a/y", "a/z", "b/x")
		if f.seen() != reports {
			t.Error("a bookmark made a list")
		}
		for _, query := range []string{"[?metadata.managedFields]", "[?spec.count != `1`]"} {
			q, err := expr.CompileQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			f.mu.Lock()
			last := f.last
			f.mu.Unlock()
			if got, err := q.On(t.Context(), expr.NewScope(expr.Env{}), last); err != nil || cmp.Diff([]any{}, got) != "" {
				t.Errorf("%s: %v, %v", query, got, err)
			}
		}

		// A watch that ends goes on where it was; one whose beginning is forgotten does not.
		if diff := cmp.Diff([]string{"list ", "list 1", "watch 10"}, api.requests()); diff != "" {
			t.Error(diff)
		}
		api.events.Stop()
		time.Sleep(2 * time.Second)
		f.want(t, "a/y", "a/z", "b/x")
		if diff := cmp.Diff([]string{"watch 20"}, api.requests()); diff != "" {
			t.Error(diff)
		}
		api.set(nil, nil, []string{"c/x"})
		api.events.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		time.Sleep(2 * time.Second)
		f.want(t, "c/x")
		if diff := cmp.Diff([]string{"list ", "watch 10"}, api.requests()); diff != "" {
			t.Error(diff)
		}
	})
}

// What may not be read is an error at once; what cannot be read for a moment stands for that long.
func TestGlobalResourcesTrouble(t *testing.T) {
	t.Parallel()
	down := apierrors.NewServiceUnavailable("down")
	synctest.Test(t, func(t *testing.T) {
		api := &resourceAPI{listError: forbiddenThings()}
		f := followThings(t, someLimits, api)
		f.wantError(t, "example.com/v1/things: listing: things is forbidden: no role")
		// Who may list and not watch gets nothing that would grow old.
		api.set(nil, forbiddenThings(), []string{"a/x"})
		reports := f.seen()
		time.Sleep(time.Minute)
		f.wantError(t, "watching: things is forbidden: no role")
		api.set(nil, nil, []string{"a/x"})
		time.Sleep(globalRetry + time.Second)
		f.want(t, "a/x")
		if f.seen() <= reports {
			t.Error("nothing was reported")
		}

		api.set(down, down)
		api.events.Stop()
		time.Sleep(20 * time.Second)
		f.want(t, "a/x")
		time.Sleep(40 * time.Second)
		f.wantError(t, "listing: down")
		api.set(nil, nil, []string{"b/x"})
		time.Sleep(globalRetry + time.Second)
		f.want(t, "b/x")

		api.set(forbiddenThings(), forbiddenThings())
		api.events.Stop()
		time.Sleep(2 * time.Second)
		f.wantError(t, "watching: things is forbidden: no role")
	})
	for name, err := range map[string]error{
		"not served":    apierrors.NewNotFound(schema.GroupResource{Resource: "things"}, ""),
		"down":          down,
		"list too long": apierrors.NewResourceExpired("the list took too long"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := followThings(t, someLimits, &resourceAPI{listError: err})
				f.wantError(t, "example.com/v1/things: listing: ")
			})
		})
	}
}

// Too much is an error, and nothing of it is kept.
func TestGlobalResourcesLimits(t *testing.T) {
	t.Parallel()
	names := []string{"a/1", "a/2", "a/3"}
	size, err := prepareObject(thing("a/1", "1"))
	if err != nil {
		t.Fatal(err)
	}
	for name, limits := range map[string]globalLimits{
		"objects": {objects: 3, bytes: 10_000, total: 10_000},
		"bytes":   {objects: 10, bytes: 3*size.Bytes() + 10, total: 10_000},
		"total":   {objects: 10, bytes: 10_000, total: 3*size.Bytes() + 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &resourceAPI{pages: [][]string{append([]string{"a/4"}, names...)}}
				f := followThings(t, limits, api)
				f.wantError(t, "too much to hold")
				if held := f.all.held.Load(); held != 0 {
					t.Errorf("%d bytes are held", held)
				}
				// It is looked at again after a while, and as it grows.
				api.set(nil, nil, names)
				time.Sleep(globalTooLarge - time.Second)
				f.wantError(t, "too much to hold")
				time.Sleep(2 * time.Second)
				f.want(t, "a/1", "a/2", "a/3")
				if held := f.all.held.Load(); held != 3*size.Bytes() {
					t.Errorf("%d bytes are held", held)
				}
				api.events.Modify(thing("a/1", "2"))
				f.want(t, "a/1", "a/2", "a/3")
				api.events.Add(thing("a/4", "3"))
				f.wantError(t, "too much to hold")
				api.set(nil, nil, names)
				time.Sleep(globalTooLarge + time.Second)
				f.want(t, "a/1", "a/2", "a/3")
			})
		})
	}
}

// What a list or an event has brought is reported even if the watch fails at first; an object that cannot be used is an error at
// once, and does not leave what it was before in force.
func TestGlobalResourcesNews(t *testing.T) {
	t.Parallel()
	down := apierrors.NewServiceUnavailable("down")
	synctest.Test(t, func(t *testing.T) {
		api := &resourceAPI{pages: [][]string{{"a/x"}}, watchError: down}
		f := followThings(t, someLimits, api)
		if f.seen() != 0 {
			t.Error("a list without a watch was reported")
		}
		api.set(nil, nil, []string{"a/x"})
		time.Sleep(2 * time.Second)
		f.want(t, "a/x")
		// The same with what is listed anew.
		api.set(nil, down, []string{"b/x"})
		api.events.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		time.Sleep(2 * time.Second)
		f.want(t, "a/x")
		api.set(nil, nil, []string{"b/x"})
		time.Sleep(5 * time.Second)
		f.want(t, "b/x")

		deep := thing("b/x", "11")
		for range 100 {
			deep.Object["spec"] = map[string]any{"more": deep.Object["spec"]}
		}
		api.set(nil, down, []string{"c/x"})
		api.events.Modify(deep)
		f.wantError(t, "an object that cannot be used: b/x")
		api.set(nil, nil, []string{"c/x"})
		time.Sleep(5 * time.Second)
		f.want(t, "c/x")
	})
}

// An answer that is longer than what is read is too much, and not a failure that is tried again at once.
func TestGlobalResourcesAnswer(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a", 1<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		n := 3
		if r.URL.Path == "/apis/example.com/v1/namespaces/large/things" {
			n = 40
		}
		_, _ = io.WriteString(w, `{"kind":"ThingList","apiVersion":"example.com/v1","metadata":{"resourceVersion":"1"},"items":[`)
		for i := range n {
			if i > 0 {
				_, _ = io.WriteString(w, ",")
			}
			_, _ = fmt.Fprintf(w, `{"kind":"Thing","apiVersion":"example.com/v1","metadata":{"name":"t%d","namespace":"n"},"data":%q}`, i, text)
		}
		_, _ = io.WriteString(w, `]}`)
	}))
	t.Cleanup(server.Close)
	g, err := NewGlobalResources(&rest.Config{Host: server.URL}, "kyverno")
	if err != nil {
		t.Fatal(err)
	}
	for name, tooLarge := range map[string]bool{"small": false, "large": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			things := g.client.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "things"}).Namespace(name)
			list, err := things.List(t.Context(), metav1.ListOptions{})
			if errors.Is(err, errTooLarge) != tooLarge || !tooLarge && (err != nil || len(list.Items) != 3) {
				t.Error(err)
			}
		})
	}
}

// The Secrets of Signet's namespace are read by nobody this way.
func TestGlobalResourcesSecrets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		resource policy.Resource
		refused  bool
	}{
		"own":       {policy.Resource{Version: "v1", Name: "secrets", Namespace: "kyverno"}, true},
		"all":       {policy.Resource{Version: "v1", Name: "secrets"}, true},
		"elsewhere": {policy.Resource{Version: "v1", Name: "secrets", Namespace: "team"}, false},
		"group":     {policy.Resource{Group: "example.com", Version: "v1", Name: "secrets"}, false},
		"others":    {policy.Resource{Version: "v1", Name: "configmaps", Namespace: "kyverno"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &resourceAPI{listError: apierrors.NewGenericServerResponse(http.StatusTeapot, "list", schema.GroupResource{}, "", "", 0, false)}
				g := &GlobalResources{client: api, systemNamespace: "kyverno", limits: someLimits}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				told := make(chan error, 1)
				go g.Follow(ctx, c.resource, func(_ expr.Prepared, err error) {
					select {
					case told <- err:
					default:
					}
				})
				err := <-told
				if refused := strings.Contains(err.Error(), "the Secrets of the namespace kyverno are not for policies"); refused != c.refused {
					t.Error(err)
				}
				if asked := len(api.requests()) > 0; asked == c.refused {
					t.Errorf("the API server was asked: %v", asked)
				}
				if !c.refused && api.namespace != c.resource.Namespace {
					t.Errorf("asked about the namespace %q", api.namespace)
				}
			})
		})
	}
}
