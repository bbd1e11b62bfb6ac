package report

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
)

const (
	managedByLabel = "app.kubernetes.io/managed-by"
	managedBy      = "kyverno"
)

// document is a PolicyReport or a ClusterPolicyReport.
type document struct {
	client.Object
	scope   **corev1.ObjectReference
	summary *reports.PolicyReportSummary
	results *[]reports.PolicyReportResult
}

func namespacedDocument(r *reports.PolicyReport) document {
	return document{r, &r.Scope, &r.Summary, &r.Results}
}

func clusterDocument(r *reports.ClusterPolicyReport) document {
	return document{r, &r.Scope, &r.Summary, &r.Results}
}

// newDocument is an empty report for objects of a namespace, or for objects without one.
func newDocument(namespace string) document {
	if namespace == "" {
		return clusterDocument(&reports.ClusterPolicyReport{})
	}
	return namespacedDocument(&reports.PolicyReport{})
}

// fill gives a report its results, and reports whether that changed anything but timestamps.
func (d document) fill(results []reports.PolicyReportResult) (changed bool) {
	summary := summarize(results)
	if sameResults(*d.results, results) && *d.summary == summary {
		return false
	}
	*d.results, *d.summary = results, summary
	return true
}

// about names the object of a report, and reports whether that changed anything.
func (d document) about(scope corev1.ObjectReference) (changed bool) {
	owner := metav1.OwnerReference{APIVersion: scope.APIVersion, Kind: scope.Kind, Name: scope.Name, UID: scope.UID}
	if *d.scope == nil || **d.scope != scope {
		*d.scope, changed = &scope, true
	}
	if owners := []metav1.OwnerReference{owner}; !equality.Semantic.DeepEqual(d.GetOwnerReferences(), owners) {
		d.SetOwnerReferences(owners)
		changed = true
	}
	if labels := d.GetLabels(); labels[managedByLabel] != managedBy {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[managedByLabel] = managedBy
		d.SetLabels(labels)
		changed = true
	}
	return changed
}

// errWait says that the object is not there yet, or not yet as it was admitted.
var errWait = errors.New("the object is not stored yet")

// write brings an object's report up to date. It returns errWait when that has to be tried again later.
func (r *Recorder) write(ctx context.Context, key objectKey, p *pending, last bool) error {
	if uid, ok := p.nothingNew(); ok {
		d, err := r.read(ctx, key.namespace, uid)
		if err != nil || d.GetResourceVersion() == "" {
			return err
		}
	}
	live, err := r.lookUp(ctx, key, p.version)
	if err != nil {
		return err
	}
	v := p.settle(live, last)
	if v.request != nil {
		if err := r.update(ctx, key, p.version, live.UID, v.request); err != nil {
			return err
		}
	}
	if v.wait {
		return errWait
	}
	return nil
}

// nothingNew tells whether all that is pending are updates without results, and for which object: then the report
// needs a look only if there is one.
func (p *pending) nothingNew() (types.UID, bool) {
	var uid types.UID
	for _, r := range p.requests {
		if r.created || r.uid == "" || uid != "" && r.uid != uid || !r.empty() {
			return "", false
		}
		uid = r.uid
	}
	return uid, uid != ""
}

// lookUp reads the object's metadata as they are stored now, nil when there is no such object.
func (r *Recorder) lookUp(ctx context.Context, key objectKey, version string) (*metav1.PartialObjectMetadata, error) {
	live := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion(key.group, version), Kind: key.kind}}
	err := r.o.Reader.Get(ctx, client.ObjectKey{Namespace: key.namespace, Name: key.name}, live)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("looking up %s %s/%s: %w", key.kind, key.namespace, key.name, err)
	}
	return live, nil
}

// read reads a report; one that does not exist is a document without resource version.
func (r *Recorder) read(ctx context.Context, namespace string, uid types.UID) (document, error) {
	d := newDocument(namespace)
	err := r.o.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: string(uid)}, d.Object)
	if apierrors.IsNotFound(err) {
		return newDocument(namespace), nil
	}
	if err != nil {
		return d, fmt.Errorf("reading report %s/%s: %w", namespace, uid, err)
	}
	return d, nil
}

func (r *Recorder) update(ctx context.Context, key objectKey, version string, uid types.UID, from *request) error {
	d, err := r.read(ctx, key.namespace, uid)
	if err != nil {
		return err
	}
	exists := d.GetResourceVersion() != ""
	results := merge(*d.results, from.calls, from.created, reported(r.snapshot()))
	if len(results) == 0 {
		return r.remove(ctx, d, exists)
	}
	d.SetNamespace(key.namespace)
	d.SetName(string(uid))
	about := d.about(corev1.ObjectReference{APIVersion: apiVersion(key.group, version), Kind: key.kind, Namespace: key.namespace,
		Name: key.name, UID: uid})
	if filled := d.fill(results); !filled && !about {
		return nil
	}
	return r.store(ctx, d, exists)
}

// store creates a report or replaces the version that was read.
func (r *Recorder) store(ctx context.Context, d document, exists bool) error {
	if err := r.limiter.Wait(ctx); err != nil {
		return fmt.Errorf("waiting to write report %s/%s: %w", d.GetNamespace(), d.GetName(), err)
	}
	write := func() error { return r.o.Client.Create(ctx, d.Object) }
	if exists {
		write = func() error { return r.o.Client.Update(ctx, d.Object) }
	}
	if err := write(); err != nil {
		return fmt.Errorf("writing report %s/%s: %w", d.GetNamespace(), d.GetName(), err)
	}
	return nil
}

// remove deletes a report that has nothing left to say, in the version that was read.
func (r *Recorder) remove(ctx context.Context, d document, exists bool) error {
	if !exists {
		return nil
	}
	if err := r.limiter.Wait(ctx); err != nil {
		return fmt.Errorf("waiting to delete report %s/%s: %w", d.GetNamespace(), d.GetName(), err)
	}
	version := d.GetResourceVersion()
	err := r.o.Client.Delete(ctx, d.Object, client.Preconditions{ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting report %s/%s: %w", d.GetNamespace(), d.GetName(), err)
	}
	return nil
}

func apiVersion(group, version string) string { return strings.TrimPrefix(group+"/"+version, "/") }
