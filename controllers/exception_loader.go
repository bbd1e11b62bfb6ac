package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v2 "github.com/signet-policy/signet/api/v2"
	"github.com/signet-policy/signet/pkg/policy"
)

// Exceptions say whether PolicyExceptions are looked at, and in which namespace.
type Exceptions struct {
	Enabled bool
	// Namespace is the one namespace whose exceptions count, or * for all. Empty means none.
	Namespace string
}

func (e Exceptions) any() bool { return e.Enabled && e.Namespace != "" }

// in tells whether exceptions of a namespace count.
func (e Exceptions) in(namespace string) bool {
	return e.any() && (e.Namespace == "*" || e.Namespace == namespace)
}

// Warnings are what the author of an exception in a namespace should know (VI 9(1)).
func (e Exceptions) Warnings(namespace string) []string {
	switch {
	case !e.Enabled:
		return []string{"PolicyException resources would not be processed until it is enabled."}
	case e.Namespace == "":
		return []string{"The exceptionNamespace flag is not set"}
	case !e.in(namespace):
		return []string{"PolicyException resource namespace must match the defined namespace."}
	}
	return nil
}

// exceptionLoader compiles exceptions into the store. They are read with every field that was stored, known or not. One that
// does not compile is not in force, nor is its earlier generation: the rules that it names apply.
type exceptionLoader struct {
	store      *policy.Store
	reader     client.Reader
	exceptions Exceptions

	// mu covers reading an exception together with what follows from it.
	mu sync.Mutex
}

func exceptionObject() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(v2.GroupVersion.WithKind("PolicyException"))
	return o
}

// Reconcile loads one exception, or takes it out of force.
func (l *exceptionLoader) Reconcile(ctx context.Context, k policy.Key) (reconcile.Result, error) {
	if !l.exceptions.in(k.Namespace) {
		return reconcile.Result{}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	obj := exceptionObject()
	err := l.reader.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: k.Name}, obj)
	switch {
	case apierrors.IsNotFound(err):
		l.store.DeleteException(k)
		log.FromContext(ctx).Info("exception removed", "exception", k.String())
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("reading PolicyException %s: %w", k, err)
	default:
		l.load(ctx, obj)
	}
	return reconcile.Result{}, nil
}

// loadAll loads every exception that counts, and takes those out of force that are gone: while others did not wait for this
// replica, it may have missed that.
func (l *exceptionLoader) loadAll(ctx context.Context, reader client.Reader) error {
	if !l.exceptions.any() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v2.GroupVersion.WithKind("PolicyExceptionList"))
	if err := reader.List(ctx, list); err != nil {
		return fmt.Errorf("listing PolicyExceptions: %w", err)
	}
	there := map[policy.Key]bool{}
	for i := range list.Items {
		if obj := &list.Items[i]; l.exceptions.in(obj.GetNamespace()) {
			there[keyOf(obj)] = true
			l.load(ctx, obj)
		}
	}
	for _, k := range l.store.ExceptionKeys() {
		if !there[k] {
			l.store.DeleteException(k)
			log.FromContext(ctx).Info("exception removed", "exception", k.String())
		}
	}
	return nil
}

func (l *exceptionLoader) load(ctx context.Context, obj *unstructured.Unstructured) {
	k := keyOf(obj)
	compiled, err := compileException(obj)
	if err != nil {
		l.store.DeleteException(k)
		log.FromContext(ctx).Info("exception refused, the rules that it names apply", "exception", k.String(), "cause", err.Error())
		return
	}
	l.store.PutException(compiled)
	log.FromContext(ctx).Info("exception loaded", "exception", k.String())
}

// compileException compiles an exception. A panic in the compiler is an error of this exception alone.
func compileException(obj *unstructured.Unstructured) (compiled *policy.Exception, err error) {
	defer func() {
		if r := recover(); r != nil {
			compiled, err = nil, field.InternalError(field.NewPath("spec"), fmt.Errorf("compiling the exception: %v", r))
		}
	}()
	raw, err := json.Marshal(obj.Object)
	if err != nil {
		return nil, err
	}
	x, err := policy.ReadException(raw)
	if err != nil {
		return nil, err
	}
	compiled, errs := policy.CompileException(x)
	return compiled, errs.ToAggregate()
}

// addExceptionController adds the controller of exceptions, which runs on every replica.
func addExceptionController(mgr ctrl.Manager, l *exceptionLoader) error {
	if !l.exceptions.any() {
		return nil
	}
	leads := bool(everyReplica)
	c, err := controller.NewTyped("policy-exception", mgr, controller.TypedOptions[policy.Key]{Reconciler: l, NeedLeaderElection: &leads})
	if err != nil {
		return err
	}
	enqueue := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []policy.Key { return []policy.Key{keyOf(o)} })
	return c.Watch(source.TypedKind[client.Object](mgr.GetCache(), exceptionObject(), enqueue, predicate.GenerationChangedPredicate{}))
}
