package controllers

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"k8s.io/apimachinery/pkg/runtime"
)

func newAPIWithStatus(t *testing.T, o client.Object) client.Client {
	t.Helper()
	s := runtime.NewScheme()
	if err := AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(s).WithObjects(o).WithStatusSubresource(o).Build()
}

func TestHealthPatch(t *testing.T) {
	t.Parallel()
	now := newClock().now()
	tests := map[string]struct {
		lease string
		want  string
		fails bool
	}{
		"without annotations": {
			lease: `{"metadata":{"name":"kyverno-health","namespace":"kyverno"}}`,
			want:  `[{"op":"add","path":"/metadata/annotations","value":{"kyverno.io/last-request-time":"2025-03-01T12:00:00Z"}}]`,
		},
		"with annotations": {
			lease: `{"metadata":{"name":"kyverno-health","namespace":"kyverno","annotations":{"kyverno.io/last-request-time":"x"}}}`,
			want:  `[{"op":"add","path":"/metadata/annotations/kyverno.io~1last-request-time","value":"2025-03-01T12:00:00Z"}]`,
		},
		"another lease":     {lease: `{"metadata":{"name":"kyverno","namespace":"kyverno"}}`},
		"another namespace": {lease: `{"metadata":{"name":"kyverno-health","namespace":"team"}}`},
		"not JSON":          {lease: `{`, fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := HealthPatch("kyverno", []byte(tt.lease), now)
			if (err != nil) != tt.fails {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if got != nil && !json.Valid(got) {
				t.Error("not JSON")
			}
		})
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	marked := func(text string) []client.Object {
		return []client.Object{&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Name: HealthLease, Namespace: "kyverno", Annotations: map[string]string{lastRequestAnnotation: text},
		}}}
	}
	ago := func(d time.Duration) string { return newClock().now().Add(-d).Format(time.RFC3339) }
	tests := map[string]struct {
		stored []client.Object
		broken bool
	}{
		"no lease yet":            {},
		"never got through":       {stored: []client.Object{&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: HealthLease, Namespace: "kyverno"}}}},
		"just got through":        {stored: marked(ago(0))},
		"got through in time":     {stored: marked(ago(healthLimit))},
		"no longer gets through":  {stored: marked(ago(healthLimit + time.Second)), broken: true},
		"a mark that is no time":  {stored: marked("yesterday"), broken: true},
		"a mark of another clock": {stored: marked(ago(-time.Minute))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newAPI(t, tt.stored...)
			h := &health{client: api, namespace: "kyverno", now: newClock().now}
			_, broken, err := h.check(t.Context())
			if err != nil || broken != tt.broken {
				t.Errorf("broken %v, %v", broken, err)
			}
			var lease coordinationv1.Lease
			if err := api.Get(t.Context(), client.ObjectKey{Namespace: "kyverno", Name: HealthLease}, &lease); err != nil {
				t.Fatal(err)
			}
			if lease.Labels[nameLabel] != nameLabelValue || !lease.Spec.RenewTime.Time.Equal(newClock().now()) {
				t.Errorf("lease %+v", lease)
			}
		})
	}
}
