package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	ctrlevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/signet-policy/signet/api/v1"
	v2 "github.com/signet-policy/signet/api/v2"
	"github.com/signet-policy/signet/pkg/globalcontext"
	"github.com/signet-policy/signet/pkg/policy"
)

// refreshNews is how long the status of an entry keeps still about a refresh that changed nothing else.
const refreshNews = 30 * time.Second

// globalLoader puts GlobalContextEntries into the keeper. They are read with every field that was stored, known or not; one
// that does not compile gives nothing.
type globalLoader struct {
	keeper *globalcontext.Keeper
	reader client.Reader
	retry  time.Duration

	// mu covers reading an entry together with what follows from it.
	mu sync.Mutex
}

func globalObject() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(v2.GroupVersion.WithKind("GlobalContextEntry"))
	return o
}

// Reconcile loads one entry, or takes it away.
func (l *globalLoader) Reconcile(ctx context.Context, name string) (reconcile.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	obj := globalObject()
	err := l.reader.Get(ctx, client.ObjectKey{Name: name}, obj)
	switch {
	case apierrors.IsNotFound(err):
		l.keeper.Delete(name)
		log.FromContext(ctx).Info("global context entry removed", "entry", name)
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("reading GlobalContextEntry %s: %w", name, err)
	default:
		l.load(ctx, obj)
	}
	return reconcile.Result{}, nil
}

// Start loads all entries once, as soon as they can be listed: until then the process is not ready.
func (l *globalLoader) Start(ctx context.Context) error {
	for {
		err := l.loadAll(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		log.FromContext(ctx).Error(err, "cannot load global context entries yet")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(l.retry):
		}
	}
}

// NeedLeaderElection says that every replica reads entries.
func (l *globalLoader) NeedLeaderElection() bool { return false }

func (l *globalLoader) loadAll(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v2.GroupVersion.WithKind("GlobalContextEntryList"))
	if err := l.reader.List(ctx, list); err != nil {
		return fmt.Errorf("listing GlobalContextEntries: %w", err)
	}
	for i := range list.Items {
		l.load(ctx, &list.Items[i])
	}
	l.keeper.Listed()
	return nil
}

func (l *globalLoader) load(ctx context.Context, obj *unstructured.Unstructured) {
	compiled, err := compileGlobal(obj)
	if err != nil {
		l.keeper.Refuse(obj.GetName(), obj.GetUID(), obj.GetGeneration(), err)
		log.FromContext(ctx).Info("global context entry refused, rules that refer to it are errors", "entry", obj.GetName(), "cause", err.Error())
		return
	}
	l.keeper.Put(compiled)
	log.FromContext(ctx).Info("global context entry loaded", "entry", obj.GetName())
}

// compileGlobal compiles an entry. A panic in the compiler is an error of this entry alone.
func compileGlobal(obj *unstructured.Unstructured) (compiled *policy.Global, err error) {
	defer func() {
		if r := recover(); r != nil {
			compiled, err = nil, field.InternalError(field.NewPath("spec"), fmt.Errorf("compiling the global context entry: %v", r))
		}
	}()
	raw, err := json.Marshal(obj.Object)
	if err != nil {
		return nil, err
	}
	g, err := policy.ReadGlobal(raw)
	if err != nil {
		return nil, err
	}
	compiled, errs := policy.CompileGlobal(g)
	return compiled, errs.ToAggregate()
}

// globalStatus writes what became of entries into their status.
type globalStatus struct {
	keeper *globalcontext.Keeper
	reader client.Reader
	writer client.Client
	now    func() time.Time
}

// Reconcile brings the status of one entry up to date. It writes only when something differs.
func (w *globalStatus) Reconcile(ctx context.Context, name string) (reconcile.Result, error) {
	obj := globalObject()
	if err := w.reader.Get(ctx, client.ObjectKey{Name: name}, obj); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	o, ok := w.keeper.Outcome(name)
	if !ok || !o.Tried || o.UID != obj.GetUID() || o.Generation != obj.GetGeneration() {
		return reconcile.Result{}, nil // the keeper tells when there is something to say
	}
	var before v2.GlobalContextEntryStatus
	if fields, ok := obj.Object["status"].(map[string]any); ok {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &before); err != nil {
			before = v2.GlobalContextEntryStatus{} // what cannot be read is written anew
		}
	}
	now := w.now()
	after := globalStatusOf(&before, o, obj.GetGeneration(), metav1.NewTime(now))
	if apiequality.Semantic.DeepEqual(before, after) {
		return reconcile.Result{}, nil
	}
	if wait := refreshNews - now.Sub(timeOf(before.LastRefreshTime)); wait > 0 && wait <= refreshNews && apiequality.Semantic.DeepEqual(before.Conditions, after.Conditions) {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&after)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("the status of GlobalContextEntry %s: %w", name, err)
	}
	changed := obj.DeepCopy()
	changed.Object["status"] = fields
	patch := client.MergeFromWithOptions(obj, client.MergeFromWithOptimisticLock{})
	if err := w.writer.Status().Patch(ctx, changed, patch); err != nil {
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return reconcile.Result{}, nil // gone, or changed meanwhile: the change is on its way here and asks again
		}
		return reconcile.Result{}, fmt.Errorf("writing the status of GlobalContextEntry %s: %w", name, err)
	}
	return reconcile.Result{}, nil
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// globalStatusOf is the whole status that an entry should have.
func globalStatusOf(before *v2.GlobalContextEntryStatus, o globalcontext.Outcome, generation int64, now metav1.Time) v2.GlobalContextEntryStatus {
	out := *before.DeepCopy()
	out.Ready = nil
	condition := metav1.Condition{Type: v1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1.ReasonSucceeded, Message: messageReady,
		ObservedGeneration: generation, LastTransitionTime: now}
	if o.Problem != "" {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, v1.ReasonFailed, cut(o.Problem, maxMessage)
	}
	meta.SetStatusCondition(&out.Conditions, condition)
	if !o.Refreshed.IsZero() {
		// The API server keeps seconds.
		refreshed := metav1.NewTime(o.Refreshed.Truncate(time.Second))
		out.LastRefreshTime = &refreshed
	}
	return out
}

// otherGeneration lets through what is not the generation that was there before, or is another object of the same name.
func otherGeneration() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e ctrlevent.UpdateEvent) bool {
		return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() || e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration()
	}}
}

// addGlobalControllers adds the controllers of GlobalContextEntries: every replica reads them, the leader writes their status.
func addGlobalControllers(mgr ctrl.Manager, l *globalLoader, w *globalStatus) error {
	var ask trigger[string]
	l.keeper.OnChange(ask.add)
	enqueue := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []string { return []string{o.GetName()} })
	for _, c := range []struct {
		name    string
		r       reconcile.TypedReconciler[string]
		runs    who
		sources []source.TypedSource[string]
	}{
		{"global-context", l, everyReplica, []source.TypedSource[string]{
			source.TypedKind[client.Object](mgr.GetCache(), globalObject(), enqueue, otherGeneration())}},
		{"global-context-status", w, leader, []source.TypedSource[string]{
			source.TypedKind[client.Object](mgr.GetCache(), globalObject(), enqueue), ask.source()}},
	} {
		leads := bool(c.runs)
		added, err := controller.NewTyped(c.name, mgr, controller.TypedOptions[string]{Reconciler: c.r, NeedLeaderElection: &leads})
		if err != nil {
			return err
		}
		for _, s := range c.sources {
			if err := added.Watch(s); err != nil {
				return err
			}
		}
	}
	if err := mgr.Add(l); err != nil {
		return err
	}
	return mgr.Add(l.keeper)
}

// ReadGlobals puts all GlobalContextEntries that there are now into a keeper, for a process without a manager.
func ReadGlobals(ctx context.Context, reader client.Reader, keeper *globalcontext.Keeper) error {
	return (&globalLoader{keeper: keeper, reader: reader}).loadAll(log.IntoContext(ctx, logr.Discard()))
}
