package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/globalcontext"
	contextloader "github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
)

// answers are what calls of entries give: by the name of the entry, until it is changed.
type answers struct {
	values chan any
}

func (a *answers) Load(ctx context.Context, _ *policy.ContextEntry, _ *expr.Scope, _ contextloader.Describe) (any, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case v := <-a.values:
		if err, ok := v.(error); ok {
			return nil, err
		}
		return v, nil
	}
}

func (a *answers) Follow(context.Context, policy.Resource, func(expr.Prepared, error)) {}

func contextEntry(t *testing.T, name string, generation int64, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(`{apiVersion: kyverno.io/v2, kind: GlobalContextEntry, metadata: {name: `+name+`}, spec: `+spec+`}`), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetGeneration(generation)
	o.SetUID(types.UID("uid-" + name))
	return o
}

func newEntryAPI(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	s := runtime.NewScheme()
	if err := AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithStatusSubresource(globalObject()).Build()
}

// VI 9(4): entries are read as they are stored; what is wrong with one, or with its data, is said in its status.
func TestGlobalContext(t *testing.T) {
	t.Parallel()
	const call = `{apiCall: {urlPath: /a, refreshInterval: 1h, retryLimit: 1}}`
	api := newEntryAPI(t, contextEntry(t, "one", 1, call), contextEntry(t, "broken", 1, `{apiCall: {urlPath: /a, jmesPath: b}}`))
	source, told := &answers{values: make(chan any)}, make(chan string, 100)
	keeper := globalcontext.New(globalcontext.Options{Caller: source, Resources: source})
	keeper.OnChange(func(name string) { told <- name })
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := &globalLoader{keeper: keeper, reader: api}
	w := &globalStatus{keeper: keeper, reader: api, writer: api, now: func() time.Time { return clock }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- keeper.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if err := l.Start(ctx); err != nil {
		t.Fatal(err)
	}
	status := func(name string) (condition map[string]any, refreshed string) {
		t.Helper()
		if _, err := w.Reconcile(ctx, name); err != nil {
			t.Fatal(err)
		}
		o := globalObject()
		if err := api.Get(ctx, client.ObjectKey{Name: name}, o); err != nil {
			t.Fatal(err)
		}
		list, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
		if err != nil {
			t.Fatal(err)
		}
		refreshed, _, _ = unstructured.NestedString(o.Object, "status", "lastRefreshTime")
		if len(list) == 1 {
			condition, _ = list[0].(map[string]any)
		}
		return condition, refreshed
	}
	answer := func(value any) {
		t.Helper()
		for len(told) > 0 {
			<-told
		}
		source.values <- value
		<-told
	}

	if c, _ := status("one"); c != nil {
		t.Errorf("a status before anything is known: %v", c)
	}
	if c, _ := status("broken"); c["status"] != "False" || !strings.Contains(c["message"].(string), `unknown field "spec.apiCall.jmesPath"`) {
		t.Errorf("%v", c)
	}
	if keeper.Settled() {
		t.Error("settled before the entry was read")
	}
	answer("data")
	if !keeper.Settled() {
		t.Error("not settled")
	}
	c, refreshed := status("one")
	want := map[string]any{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "Ready",
		"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": int64(1)}
	if diff := cmp.Diff(want, c); diff != "" || refreshed == "" {
		t.Error(diff, refreshed)
	}

	// Another generation is tried anew; until then the status says what it said.
	two := contextEntry(t, "one", 2, strings.Replace(call, "/a", "/b", 1))
	o := globalObject()
	if err := api.Get(ctx, client.ObjectKey{Name: "one"}, o); err != nil {
		t.Fatal(err)
	}
	o.Object["spec"] = two.Object["spec"]
	o.SetGeneration(2)
	if err := api.Update(ctx, o); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reconcile(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := keeper.Global("one", ""); err == nil {
		t.Error("the data of another generation is read")
	}
	if c, _ := status("one"); c["observedGeneration"] != int64(1) {
		t.Errorf("%v", c)
	}
	answer(errors.New("HTTP status 500"))
	if c, _ := status("one"); c["status"] != "False" || c["message"] != "HTTP status 500" || c["reason"] != "Failed" || c["observedGeneration"] != int64(2) {
		t.Errorf("%v", c)
	}

	if err := api.Delete(ctx, o); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reconcile(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := keeper.Global("one", ""); !errors.Is(err, contextloader.ErrNoEntry) {
		t.Error(err)
	}
	if _, err := w.Reconcile(ctx, "one"); err != nil {
		t.Error(err)
	}
}

// A refresh that changes nothing else is written now and then.
func TestGlobalContextRefreshes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, refreshes)
}

func refreshes(t *testing.T) {
	api := newEntryAPI(t, contextEntry(t, "one", 1, `{apiCall: {urlPath: /a, refreshInterval: 1s}}`))
	source, told := &answers{values: make(chan any, 1)}, make(chan string, 100)
	keeper := globalcontext.New(globalcontext.Options{Caller: source, Resources: source})
	keeper.OnChange(func(name string) { told <- name })
	now := time.Now()
	w := &globalStatus{keeper: keeper, reader: api, writer: api, now: func() time.Time { return now }}
	l := &globalLoader{keeper: keeper, reader: api}
	if _, err := l.Reconcile(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	<-told
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- keeper.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	reconcile := func() time.Duration {
		t.Helper()
		r, err := w.Reconcile(ctx, "one")
		if err != nil {
			t.Fatal(err)
		}
		return r.RequeueAfter
	}
	refreshed := func() string {
		o := globalObject()
		if err := api.Get(ctx, client.ObjectKey{Name: "one"}, o); err != nil {
			t.Fatal(err)
		}
		text, _, _ := unstructured.NestedString(o.Object, "status", "lastRefreshTime")
		return text
	}
	source.values <- "a"
	<-told
	if after := reconcile(); after != 0 {
		t.Errorf("comes back after %s", after)
	}
	first := refreshed()
	source.values <- "b" // the next refresh, a second later
	<-told
	if after := reconcile(); after <= 0 || after > refreshNews || refreshed() != first {
		t.Errorf("comes back after %s, the status says %s", after, refreshed())
	}
	now = now.Add(time.Minute)
	if after := reconcile(); after != 0 || refreshed() == first {
		t.Errorf("comes back after %s, the status says %s", after, refreshed())
	}
}
