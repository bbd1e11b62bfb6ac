package controllers

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/settings"
)

// configReader holds the ConfigMap, and stands for the cache.
type configReader struct {
	client.Reader
	data map[string]string
	err  error
}

func (r *configReader) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	switch {
	case r.err != nil:
		return r.err
	case r.data == nil || key != client.ObjectKey{Namespace: "kyverno", Name: "kyverno"}:
		return apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, key.Name)
	}
	o.(*corev1.ConfigMap).Data = r.data
	return nil
}

// VI 3.5: what the ConfigMap says is followed; what of it cannot be read stays and is counted; without it nothing is let through.
func TestSettingsLoader(t *testing.T) {
	t.Parallel()
	reader, unread := &configReader{}, -1
	changes := 0
	l := &settingsLoader{reader: reader, namespace: "kyverno", live: settings.NewLive(), unread: func(n int) { unread = n }, changed: func(*settings.Settings) { changes++ }}
	set := &Set{loader: newLoader(policy.NewStore(), nil, policy.Options{}, nil), settings: l.live}
	set.loader.store.Sync()
	pod := &match.Attributes{Version: "v1", Kind: "Pod", Namespace: "a"}
	for i, step := range []struct {
		data   map[string]string
		err    error
		failed bool
		want   settings.Reason
		unread int
		synced bool
	}{
		{nil, errors.New("down"), true, "", -1, false},
		{nil, nil, false, "", 0, true},
		{map[string]string{"resourceFilters": "[Pod,a,*]", "webhooks": "{}"}, nil, false, settings.ByResource, 0, true},
		{map[string]string{"resourceFilters": "[Pod", "webhooks": "{namespaceSelector: 3}"}, nil, false, settings.ByResource, 2, true},
		{map[string]string{"resourceFilters": "[Pod"}, errors.New("down"), true, settings.ByResource, 2, true},
		{map[string]string{"webhookLabels": "[]"}, nil, false, "", 1, true},
		{map[string]string{"resourceFilters": "[Pod"}, nil, false, "", 1, true},
	} {
		reader.data, reader.err = step.data, step.err
		_, err := l.Reconcile(t.Context(), settled{})
		if got := l.live.Current().Through(pod, "x"); got != step.want || unread != step.unread || (err != nil) != step.failed || set.Synced() != step.synced {
			t.Errorf("step %d: %q, %d unread, synced %v, %v", i, got, unread, set.Synced(), err)
		}
	}
	if changes != 5 {
		t.Errorf("told of %d changes", changes)
	}
}

// VI 3.1, 3.2(1)(2): the keys of webhooks keep what they had as a whole where they cannot be read.
func TestWebhookSettingsKeepTheLastGood(t *testing.T) {
	t.Parallel()
	good := map[string]string{"webhooks": `{"namespaceSelector":{"matchLabels":{"a":"b"}}}`, "webhookLabels": "a: b", "webhookAnnotations": "c: d", "matchConditions": `[{name: x, expression: "true"}]`}
	first, errs := readSettings(good, "kyverno", nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	second, errs := readSettings(map[string]string{"webhooks": "[", "webhookLabels": "[]", "webhookAnnotations": "3", "matchConditions": "{}"}, "kyverno", &first)
	if d := cmp.Diff(first, second, cmp.AllowUnexported(webhookSettings{})); d != "" || len(errs) != 4 {
		t.Errorf("%v %s", errs, d)
	}
	if gone, errs := readSettings(nil, "kyverno", &first); len(errs) > 0 || cmp.Diff(defaultSettings("kyverno"), gone, cmp.AllowUnexported(webhookSettings{})) != "" {
		t.Errorf("%v %v", gone, errs)
	}
}
