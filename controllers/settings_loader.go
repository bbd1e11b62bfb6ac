package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/signet-policy/signet/pkg/settings"
)

// settled is the request of the settings loader: there is one ConfigMap.
type settled struct{}

// settingsLoader puts what the ConfigMap says in force, on every replica. What of it cannot be read keeps what it was.
type settingsLoader struct {
	reader    client.Reader
	namespace string
	live      *settings.Live
	// unread is told how many keys cannot be read; nil for nobody.
	unread func(keys int)
	// changed is told of settings that were put in force.
	changed func(*settings.Settings)

	told []string // what was logged last, so that it is logged once
}

// Reconcile reads the ConfigMap. Without one the defaults hold, by which nothing is let through.
func (l *settingsLoader) Reconcile(ctx context.Context, _ settled) (reconcile.Result, error) {
	var m corev1.ConfigMap
	if err := l.reader.Get(ctx, client.ObjectKey{Namespace: l.namespace, Name: settings.ConfigMap}, &m); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("reading ConfigMap %s: %w", settings.ConfigMap, err)
	}
	s, errs := settings.Read(m.Data, l.live.Current())
	notes := make([]string, 0, len(errs))
	for _, err := range errs {
		notes = append(notes, err.Error())
	}
	_, others := readSettings(m.Data, l.namespace, nil)
	for _, err := range others {
		// Both read the keys that decide about which objects Signet is asked.
		if !slices.Contains(notes, err.Error()) {
			notes = append(notes, err.Error())
		}
	}
	if l.unread != nil {
		l.unread(len(notes))
	}
	if !slices.Equal(notes, l.told) {
		l.told = notes
		for _, n := range notes {
			log.FromContext(ctx).Info("the ConfigMap is not understood, what held before holds", "configMap", settings.ConfigMap, "cause", n)
		}
	}
	l.live.Set(s)
	l.changed(s)
	return reconcile.Result{}, nil
}

// addSettingsController has the ConfigMap read when the process starts and whenever it changes.
func addSettingsController(mgr ctrl.Manager, l *settingsLoader) error {
	everywhere := false
	c, err := controller.NewTyped("settings", mgr, controller.TypedOptions[settled]{Reconciler: l, NeedLeaderElection: &everywhere})
	if err != nil {
		return err
	}
	enqueue := handler.TypedEnqueueRequestsFromMapFunc(func(context.Context, client.Object) []settled { return []settled{{}} })
	own := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetNamespace() == l.namespace && o.GetName() == settings.ConfigMap
	})
	var first trigger[settled]
	for _, s := range []source.TypedSource[settled]{
		source.TypedKind[client.Object](mgr.GetCache(), &corev1.ConfigMap{}, enqueue, own), first.source(settled{}),
	} {
		if err := c.Watch(s); err != nil {
			return err
		}
	}
	return nil
}
