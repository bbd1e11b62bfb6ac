package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-policy/signet/pkg/policy"
)

// namespaceReader holds namespaces, and stands for the cache or the API server.
type namespaceReader struct {
	client.Reader
	labels map[string]map[string]string
	err    error
	asked  int
}

func (r *namespaceReader) Get(ctx context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	r.asked++
	labels, ok := r.labels[key.Name]
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r.err != nil:
		return r.err
	case !ok:
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, key.Name)
	}
	o.SetLabels(labels)
	return nil
}

// T-007: labels come from the cache, or else from the API server, or there are none and that is an error.
func TestNamespaceLabels(t *testing.T) {
	t.Parallel()
	down := errors.New("the API server does not answer")
	known := map[string]map[string]string{"a": {"env": "prod"}, "bare": nil}
	type want struct {
		Labels map[string]string
		Err    string
		Live   int
	}
	for name, tt := range map[string]struct {
		cached, live namespaceReader
		cold         bool
		namespace    string
		want         want
	}{
		"cached":                        {namespaceReader{labels: known}, namespaceReader{err: down}, false, "a", want{Labels: known["a"]}},
		"cached, without labels":        {namespaceReader{labels: known}, namespaceReader{err: down}, false, "bare", want{}},
		"just created":                  {namespaceReader{}, namespaceReader{labels: known}, false, "a", want{Labels: known["a"], Live: 1}},
		"cold cache":                    {namespaceReader{}, namespaceReader{labels: known}, true, "a", want{Labels: known["a"], Live: 1}},
		"cold cache, no API server":     {namespaceReader{labels: known}, namespaceReader{err: down}, true, "a", want{Err: "does not answer", Live: 1}},
		"nowhere":                       {namespaceReader{labels: known}, namespaceReader{labels: known}, false, "b", want{Err: `"b" not found`, Live: 1}},
		"a cache that fails":            {namespaceReader{err: down}, namespaceReader{labels: known}, false, "a", want{Err: "does not answer"}},
		"just created, no API server":   {namespaceReader{}, namespaceReader{err: down}, false, "a", want{Err: "does not answer", Live: 1}},
		"just created, may not be read": {namespaceReader{}, namespaceReader{err: apierrors.NewForbidden(schema.GroupResource{}, "a", nil)}, false, "a", want{Err: "forbidden", Live: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := &Namespaces{cached: &tt.cached, live: &tt.live, filled: func() bool { return !tt.cold }}
			labels, err := n.Labels(t.Context(), tt.namespace)
			if diff := cmp.Diff(tt.want.Labels, labels); diff != "" || tt.want.Live != tt.live.asked || tt.cold && tt.cached.asked > 0 {
				t.Errorf("asked %d times: %s", tt.live.asked, diff)
			}
			if (err != nil) != (tt.want.Err != "") || err != nil && !strings.Contains(err.Error(), tt.want.Err) {
				t.Errorf("%v", err)
			}
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n := &Namespaces{cached: &namespaceReader{}, live: &namespaceReader{labels: known}, filled: func() bool { return true }}
	if labels, err := n.Labels(ended, "a"); err == nil {
		t.Errorf("%v after the request ended", labels)
	}
}

// What the cache keeps of a namespace.
func TestOnlyLabels(t *testing.T) {
	t.Parallel()
	o := namespaceMetadata()
	o.ObjectMeta = metav1.ObjectMeta{Name: "a", UID: "u", ResourceVersion: "7", Labels: map[string]string{"a": "b"},
		Annotations: map[string]string{"large": "x"}, Finalizers: []string{"f"}, ManagedFields: []metav1.ManagedFieldsEntry{{}}}
	out, err := onlyLabels(o)
	if err != nil {
		t.Fatal(err)
	}
	want := namespaceMetadata()
	want.ObjectMeta = metav1.ObjectMeta{Name: "a", UID: "u", ResourceVersion: "7", Labels: map[string]string{"a": "b"}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if out, err := onlyLabels("tombstone"); out != "tombstone" || err != nil {
		t.Errorf("%v, %v", out, err)
	}
}

// VI 3.6(1): a process is not ready before it has read the namespaces.
func TestSyncedWithNamespaces(t *testing.T) {
	t.Parallel()
	filled, store := false, policy.NewStore()
	store.Sync()
	s := &Set{loader: newLoader(store, nil, policy.Options{}, nil), namespaces: &Namespaces{filled: func() bool { return filled }}}
	if s.Synced() {
		t.Error("ready without namespaces")
	}
	if filled = true; !s.Synced() {
		t.Error("not ready with them")
	}
	if s.namespaces = nil; !s.Synced() {
		t.Error("not ready although nobody needs namespaces")
	}
}
