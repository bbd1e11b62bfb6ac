package globalcontext_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/globalcontext"
	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
)

// source is what entries read: a call whose answer is set, and resources whose lists are sent.
type source struct {
	mu     sync.Mutex
	answer any
	err    error
	calls  int
	feeds  map[policy.Resource]func(expr.Prepared, error)
	begun  int
}

func (s *source) Load(context.Context, *policy.ContextEntry, *expr.Scope, loader.Describe) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.answer == "panic" {
		panic("a bug")
	}
	return s.answer, s.err
}

func (s *source) set(answer any, err error) (calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls, s.calls, s.answer, s.err = s.calls, 0, answer, err
	return calls
}

func (s *source) Follow(ctx context.Context, r policy.Resource, report func(expr.Prepared, error)) {
	s.mu.Lock()
	s.feeds[r] = report
	s.begun++
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	delete(s.feeds, r)
	s.mu.Unlock()
}

// send reports a list of names, or an error, to whoever follows a resource.
func (s *source) send(t *testing.T, r policy.Resource, err error, names ...string) {
	t.Helper()
	s.mu.Lock()
	report := s.feeds[r]
	s.mu.Unlock()
	if report == nil {
		t.Fatalf("nobody follows %s", r)
	}
	list := []any{}
	for _, n := range names {
		list = append(list, map[string]any{"metadata": map[string]any{"name": n}})
	}
	data, failed := expr.Prepare(list, expr.Limits{})
	if failed != nil {
		t.Fatal(failed)
	}
	report(data, err)
}

func compile(t *testing.T, name string, generation int64, spec string) *policy.Global {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(`{apiVersion: kyverno.io/v2, kind: GlobalContextEntry, metadata: {name: ` + name + `}, spec: ` + spec + `}`))
	if err != nil {
		t.Fatal(err)
	}
	g, err := policy.ReadGlobal(raw)
	if err != nil {
		t.Fatal(err)
	}
	g.Generation = generation
	out, errs := policy.CompileGlobal(g)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return out
}

// bench is a Keeper that runs, in the time of a bubble.
type bench struct {
	*source
	*globalcontext.Keeper
	told map[string]int
}

func newBench(t *testing.T) *bench {
	s := &source{feeds: map[policy.Resource]func(expr.Prepared, error){}}
	b := &bench{source: s, Keeper: globalcontext.New(globalcontext.Options{Caller: s, Resources: s}), told: map[string]int{}}
	var mu sync.Mutex
	b.OnChange(func(name string) {
		mu.Lock()
		defer mu.Unlock()
		b.told[name]++
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return b
}

// want reads an entry as a policy does.
func (b *bench) want(t *testing.T, reference, query string, want any) {
	t.Helper()
	name, projection, _ := strings.Cut(reference, ".")
	value, err := b.Global(name, projection)
	if err != nil {
		t.Errorf("%s: %v", reference, err)
		return
	}
	q, err := expr.CompileQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.On(t.Context(), expr.NewScope(expr.Env{}), value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", reference, diff)
	}
}

func (b *bench) wantError(t *testing.T, reference, want string) {
	t.Helper()
	name, projection, _ := strings.Cut(reference, ".")
	value, err := b.Global(name, projection)
	if err == nil || !strings.Contains(err.Error(), want) || value != nil {
		t.Errorf("%s: %v, %v, want %s", reference, value, err, want)
	}
}

// VI 9(4): the answer of a call is kept for the interval, and its projections with it.
func TestCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.set(map[string]any{"on": true, "list": []any{"a", "b"}}, nil)
		b.wantError(t, "call", "it does not exist")
		b.Put(compile(t, "call", 1, `{apiCall: {urlPath: /a, refreshInterval: 60s, retryLimit: 2},
			projections: [{name: first, jmesPath: "list[0]"}, {name: none, jmesPath: "list[7]"}]}`))
		synctest.Wait()
		b.want(t, "call", "list", []any{"a", "b"})
		b.want(t, "call.first", "@", "a")
		b.wantError(t, "call.other", `no projection of the name "other"`)
		b.wantError(t, "call.none", "it holds no data")
		o, ok := b.Outcome("call")
		if !ok || !o.Tried || o.Problem != "" || o.Refreshed.IsZero() || o.Generation != 1 {
			t.Errorf("%+v", o)
		}

		// Nobody asks before the interval is over.
		if calls := b.set(map[string]any{"list": []any{"c"}}, nil); calls != 1 {
			t.Errorf("%d calls", calls)
		}
		time.Sleep(59 * time.Second)
		b.want(t, "call.first", "@", "a")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		b.want(t, "call.first", "@", "c")

		// A call that fails is made as often as the entry says; then there is no data, the old one neither.
		b.set(nil, errors.New("HTTP status 500"))
		time.Sleep(70 * time.Second)
		b.wantError(t, "call", "it is not ready: HTTP status 500")
		b.wantError(t, "call.first", "it is not ready: HTTP status 500")
		if o, _ := b.Outcome("call"); o.Problem != "HTTP status 500" || o.Refreshed.IsZero() {
			t.Errorf("%+v", o)
		}
		if calls := b.set(map[string]any{"list": []any{"d"}}, nil); calls != 2 {
			t.Errorf("%d calls", calls)
		}
		// It is tried again sooner than the interval says.
		time.Sleep(30 * time.Second)
		synctest.Wait()
		b.want(t, "call.first", "@", "d")

		// A projection that cannot be worked out leaves nothing to read.
		b.set(map[string]any{"lists": 1}, nil)
		time.Sleep(61 * time.Second)
		b.wantError(t, "call", "it is not ready: projection first: ")
		b.set(strings.Repeat("a", 17<<20), nil)
		time.Sleep(61 * time.Second)
		b.wantError(t, "call", "it is not ready: the answer cannot be used: ")
		b.set("panic", nil)
		time.Sleep(61 * time.Second)
		b.wantError(t, "call", "it is not ready: panic: a bug")
		b.Delete("call")
		synctest.Wait()
		b.wantError(t, "call", "it does not exist")
		b.set(nil, nil)
		time.Sleep(time.Hour)
		if calls := b.set(nil, nil); calls != 0 {
			t.Errorf("%d calls for an entry that is gone", calls)
		}
	})
}

// What projections make together has a limit.
func TestProjectionLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.set(map[string]any{"text": strings.Repeat("a", 15<<20)}, nil)
		b.Put(compile(t, "two", 1, `{apiCall: {urlPath: /a}, projections: [{name: a, jmesPath: text}, {name: b, jmesPath: text}]}`))
		b.Put(compile(t, "three", 1, `{apiCall: {urlPath: /a}, projections: [{name: a, jmesPath: text}, {name: b, jmesPath: text}, {name: c, jmesPath: text}]}`))
		synctest.Wait()
		b.want(t, "two.b", "length(@)", float64(15<<20))
		b.wantError(t, "three.a", "it is not ready: projection c: ")
	})
}

// A change of an entry leaves nothing of the one before; the same generation changes nothing.
func TestGenerations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.set("one", nil)
		one := compile(t, "call", 1, `{apiCall: {urlPath: /a}}`)
		b.Put(one)
		synctest.Wait()
		b.Put(one)
		synctest.Wait()
		if calls := b.set("two", errors.New("down")); calls != 1 {
			t.Errorf("%d calls", calls)
		}
		b.want(t, "call", "@", "one")
		b.Put(compile(t, "call", 2, `{apiCall: {urlPath: /b, retryLimit: 1}}`))
		b.wantError(t, "call", "it is not ready")
		synctest.Wait()
		b.wantError(t, "call", "it is not ready: down")
		b.Refuse("call", "", 3, errors.New("spec: wrong"))
		b.wantError(t, "call", "it is not ready: spec: wrong")
		if o, _ := b.Outcome("call"); !o.Tried || o.Problem != "spec: wrong" || o.Generation != 3 {
			t.Errorf("%+v", o)
		}
		b.set("four", nil)
		b.Put(compile(t, "call", 4, `{apiCall: {urlPath: /b}}`))
		synctest.Wait()
		b.want(t, "call", "@", "four")
		if b.told["call"] < 6 {
			t.Errorf("told of %d changes", b.told["call"])
		}
	})
}

// One resource is followed once, as long as an entry names it.
func TestResources(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		pods := policy.Resource{Version: "v1", Name: "pods", Namespace: "team"}
		const spec = `{kubernetesResource: {version: v1, resource: pods, namespace: team}`
		b.Put(compile(t, "one", 1, spec+`}`))
		b.Put(compile(t, "two", 1, spec+`, projections: [{name: names, jmesPath: "[].metadata.name"}]}`))
		b.Put(compile(t, "other", 1, `{kubernetesResource: {group: apps, version: v1, resource: deployments}}`))
		synctest.Wait()
		b.wantError(t, "one", "it is not ready: it has not been read yet")
		b.send(t, pods, nil, "a", "b")
		b.want(t, "one", "length(@)", 2.0)
		b.want(t, "two.names", "@", []any{"a", "b"})
		b.wantError(t, "other", "it has not been read yet")
		b.send(t, pods, errors.New("forbidden"))
		b.wantError(t, "one", "it is not ready: forbidden")
		b.wantError(t, "two.names", "it is not ready: forbidden")
		b.send(t, pods, nil, "c")
		b.want(t, "two.names", "@", []any{"c"})
		// An empty list is data.
		b.send(t, pods, nil)
		b.want(t, "two.names", "@", []any{})
		if o, _ := b.Outcome("one"); !o.Tried || o.Problem != "" || !o.Refreshed.IsZero() {
			t.Errorf("%+v", o)
		}

		// Another projection needs no other reading, and no time.
		b.send(t, pods, nil, "c")
		b.Put(compile(t, "two", 2, spec+`, projections: [{name: first, jmesPath: "[0].metadata.name"}]}`))
		b.want(t, "two.first", "@", "c")
		b.Delete("one")
		synctest.Wait()
		b.send(t, pods, nil, "d")
		b.want(t, "two.first", "@", "d")
		if b.begun != 2 {
			t.Errorf("%d resources were followed", b.begun)
		}
		b.Delete("two")
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.feeds[pods] != nil || len(b.feeds) != 1 {
			t.Errorf("%d resources are followed", len(b.feeds))
		}
	})
}

// The process is not ready before the entries that there are have been read, but it waits for none for ever.
func TestSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Put(compile(t, "one", 1, `{kubernetesResource: {version: v1, resource: pods}}`))
		b.Refuse("two", "", 1, errors.New("wrong"))
		if b.Settled() {
			t.Error("settled before there is a list")
		}
		b.Listed()
		if b.Settled() {
			t.Error("settled before an entry is read")
		}
		synctest.Wait()
		b.send(t, policy.Resource{Version: "v1", Name: "pods"}, errors.New("forbidden"))
		if !b.Settled() {
			t.Error("an entry that cannot be read is waited for")
		}
		// What comes later does not take that back.
		b.Put(compile(t, "three", 1, `{kubernetesResource: {version: v1, resource: nodes}}`))
		if !b.Settled() {
			t.Error("a later entry is waited for")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Put(compile(t, "one", 1, `{kubernetesResource: {version: v1, resource: pods}}`))
		b.Listed()
		time.Sleep(9 * time.Second)
		if b.Settled() {
			t.Error("settled too soon")
		}
		time.Sleep(2 * time.Second)
		if !b.Settled() {
			t.Error("an entry is waited for without end")
		}
	})
}

// Entries that are there before the Keeper runs are read as soon as it does.
func TestBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: "data", feeds: map[policy.Resource]func(expr.Prepared, error){}}
		k := globalcontext.New(globalcontext.Options{Caller: s, Resources: s})
		k.Put(compile(t, "call", 1, `{apiCall: {urlPath: /a}}`))
		if _, err := k.Global("call", ""); err == nil {
			t.Error("there is data before anybody was asked")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Start(ctx) }()
		synctest.Wait()
		if _, err := k.Global("call", ""); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// Requests that are still on their way read what was there.
		if _, err := k.Global("call", ""); err != nil {
			t.Error(err)
		}
		k.Put(compile(t, "late", 1, `{apiCall: {urlPath: /a}}`))
		if _, err := k.Global("late", ""); err == nil {
			t.Error("there is data after the end")
		}
	})
}
