package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-policy/signet/pkg/match"
)

// rolesWait bounds the wait for bindings that are being read: most of a request's time belongs to its images.
const rolesWait = 2 * time.Second

// Roles knows which roles are bound to whom. It watches role bindings while somebody needs them, through the manager's
// cache, and keeps of each who it is about and what it gives.
type Roles struct {
	cache informers
	log   logr.Logger

	mu       sync.RWMutex
	wanted   [2]bool // by wanter
	watching bool
	round    int // of watching, so that what comes late from an earlier one is told apart
	synced   []func() bool
	bindings map[bindingKey]binding
	// bySubject are the bindings of each subject: a user may be in many groups, and there may be many bindings.
	bySubject map[subject]map[bindingKey]struct{}
}

// informers is the part of a cache that starts and ends watches.
type informers interface {
	GetInformer(ctx context.Context, obj client.Object, opts ...cache.InformerGetOption) (cache.Informer, error)
	RemoveInformer(ctx context.Context, obj client.Object) error
}

// bindingKey names a RoleBinding, or without a namespace a ClusterRoleBinding.
type bindingKey struct{ namespace, name string }

// binding is what one binding gives: a role as namespace:name, or a cluster role.
type binding struct {
	role, clusterRole string
	subjects          []subject
}

// subject is a user, a group or a service account.
type subject struct{ kind, namespace, name string }

// NewRoles returns roles that watch nothing yet. The manager's cache has to be made with CacheOptions.
func NewRoles(mgr ctrl.Manager) *Roles { return &Roles{cache: mgr.GetCache(), log: mgr.GetLogger()} }

var errBindings = errors.New("role bindings have not been read")

// Of gives the roles of a user, in order. Bindings that have not all been read are an error: nobody is without roles
// because nobody knows them.
func (r *Roles) Of(ctx context.Context, user match.User) (match.Bound, error) {
	if r == nil {
		return match.Bound{}, errBindings
	}
	round, err := r.await(ctx)
	if err != nil {
		return match.Bound{}, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.watching || r.round != round {
		return match.Bound{}, errBindings // watching has ended meanwhile, and what was known is forgotten
	}
	var out match.Bound
	for _, s := range subjectsOf(user) {
		for key := range r.bySubject[s] {
			b := r.bindings[key]
			if b.role != "" {
				out.Roles = append(out.Roles, b.role)
			}
			if b.clusterRole != "" {
				out.ClusterRoles = append(out.ClusterRoles, b.clusterRole)
			}
		}
	}
	for _, list := range []*[]string{&out.Roles, &out.ClusterRoles} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return out, nil
}

// await waits a little for bindings that are being read, and tells in which round of watching they have been.
func (r *Roles) await(ctx context.Context) (round int, err error) {
	ready, round, ok := r.state()
	if !ok {
		return 0, errBindings
	}
	if ready() {
		return round, nil
	}
	ctx, cancel := context.WithTimeout(ctx, rolesWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", errBindings, ctx.Err())
		case <-tick.C:
		}
	}
	return round, nil
}

func (r *Roles) state() (ready func() bool, round int, watching bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	synced := r.synced
	return func() bool { return !slices.ContainsFunc(synced, func(f func() bool) bool { return !f() }) }, r.round, r.watching
}

const accountPrefix = "system:serviceaccount:"

// subjectsOf are all that a binding may name to mean the user.
func subjectsOf(user match.User) []subject {
	out := []subject{{kind: rbacv1.UserKind, name: user.Name}}
	if account, ok := strings.CutPrefix(user.Name, accountPrefix); ok {
		if namespace, name, ok := strings.Cut(account, ":"); ok {
			out = append(out, subject{rbacv1.ServiceAccountKind, namespace, name})
		}
	}
	for _, g := range user.Groups {
		out = append(out, subject{kind: rbacv1.GroupKind, name: g})
	}
	return out
}

// wanter is who asks for roles.
type wanter int

const (
	byPolicies wanter = iota
	bySettings
)

// want begins watching when the first asks for it, and ends when nobody does any more.
func (r *Roles) want(by wanter, asked bool) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted[by] = asked
	wanted := r.wanted[byPolicies] || r.wanted[bySettings]
	if wanted == r.watching {
		return
	}
	ctx := context.Background() // the cache outlives whoever asks
	if !wanted {
		r.watching, r.synced, r.bindings, r.bySubject = false, nil, nil, nil
		for _, kind := range bindingKinds() {
			if err := r.cache.RemoveInformer(ctx, kind); err != nil {
				r.log.Error(err, "cannot stop watching role bindings")
			}
		}
		return
	}
	r.bindings, r.bySubject = map[bindingKey]binding{}, map[subject]map[bindingKey]struct{}{}
	r.round++
	var synced []func() bool
	for _, kind := range bindingKinds() {
		informer, err := r.cache.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err == nil {
			var handler toolscache.ResourceEventHandlerRegistration
			if handler, err = informer.AddEventHandler(r.handler(r.round)); err == nil {
				synced = append(synced, handler.HasSynced)
			}
		}
		if err != nil {
			// Whoever needs roles gets an error, and the next policy that changes tries again.
			r.log.Error(err, "cannot watch role bindings")
			return
		}
	}
	r.watching, r.synced = true, synced
}

func bindingKinds() []client.Object {
	return []client.Object{&rbacv1.RoleBinding{}, &rbacv1.ClusterRoleBinding{}}
}

// handler keeps the bindings of one round of watching.
func (r *Roles) handler(round int) toolscache.ResourceEventHandler {
	apply := func(o any, change func(bindingKey, binding)) {
		if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		key, b, ok := readBinding(o)
		if !ok {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.round == round && r.bindings != nil {
			change(key, b)
		}
	}
	put := func(key bindingKey, b binding) {
		r.drop(key)
		r.bindings[key] = b
		for _, s := range b.subjects {
			if r.bySubject[s] == nil {
				r.bySubject[s] = map[bindingKey]struct{}{}
			}
			r.bySubject[s][key] = struct{}{}
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { apply(o, put) },
		UpdateFunc: func(_, o any) { apply(o, put) },
		DeleteFunc: func(o any) { apply(o, func(key bindingKey, _ binding) { r.drop(key) }) },
	}
}

// drop forgets a binding. The caller holds mu.
func (r *Roles) drop(key bindingKey) {
	for _, s := range r.bindings[key].subjects {
		delete(r.bySubject[s], key)
		if len(r.bySubject[s]) == 0 {
			delete(r.bySubject, s)
		}
	}
	delete(r.bindings, key)
}

func readBinding(o any) (key bindingKey, b binding, ok bool) {
	var ref rbacv1.RoleRef
	var subjects []rbacv1.Subject
	switch o := o.(type) {
	case *rbacv1.RoleBinding:
		key, ref, subjects = bindingKey{o.Namespace, o.Name}, o.RoleRef, o.Subjects
	case *rbacv1.ClusterRoleBinding:
		key, ref, subjects = bindingKey{"", o.Name}, o.RoleRef, o.Subjects
	default:
		return bindingKey{}, binding{}, false
	}
	switch ref.Kind {
	case "Role":
		b.role = key.namespace + ":" + ref.Name
	case "ClusterRole":
		b.clusterRole = ref.Name
	}
	for _, s := range subjects {
		is := subject{kind: s.Kind, name: s.Name}
		if s.Kind == rbacv1.ServiceAccountKind {
			is.namespace = s.Namespace
		}
		b.subjects = append(b.subjects, is)
	}
	return key, b, true
}

// onlyBinding leaves the cache what readBinding needs.
func onlyBinding(in any) (any, error) {
	if o, ok := in.(client.Object); ok {
		meta := metav1.ObjectMeta{Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()}
		switch o := in.(type) {
		case *rbacv1.RoleBinding:
			o.ObjectMeta = meta
		case *rbacv1.ClusterRoleBinding:
			o.ObjectMeta = meta
		}
	}
	return in, nil
}
