package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/discovery"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/globalcontext"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/settings"
)

// LeaderElectionID names the lease by which replicas elect the leader; the role grants no other.
const LeaderElectionID = "kyverno"

// How long the lead may not be renewed until the leader ends its process, and until another replica takes it. The usual ten seconds
// are less than an API server takes to start anew or to work off a rush: the process would end, and with it what it knows, while it
// may still answer.
const (
	LeaderRenew = replicaLapse
	LeaderLease = 30 * time.Second
)

const (
	defaultService     = "kyverno-svc"
	defaultServicePort = 443
	defaultServerPort  = 9443
	defaultTimeout     = 10
)

// Options say how the controllers work. SystemNamespace, Store and Certificates are required.
type Options struct {
	// SystemNamespace is the namespace that Signet is installed in.
	SystemNamespace string
	// ServiceName and ServicePort are the Service that the API server asks; they default to kyverno-svc and 443.
	ServiceName string
	ServicePort int32
	// ServerIP makes the API server ask this address directly, at ServerPort (9443) where it has no port of its own.
	ServerIP   string
	ServerPort int32
	// WebhookTimeout is the timeout of webhooks whose policies set none, in seconds; it defaults to 10.
	WebhookTimeout int32
	// StaticWebhooks registers for everything instead of for what the policies need.
	StaticWebhooks bool
	// NoAdmissionReports is set when judging an object leaves no report.
	NoAdmissionReports bool
	// Namespaces have to be read before the process is ready; nil when nobody needs them.
	Namespaces *Namespaces
	// Exceptions say which PolicyExceptions count.
	Exceptions Exceptions
	// Globals keeps the data of GlobalContextEntries, which has to be there before the process is ready; nil when nobody needs
	// it.
	Globals *globalcontext.Keeper
	// Roles are watched while a policy in force needs them; nil when nobody does.
	Roles *Roles
	// Settings are put in force as the ConfigMap says; nil when nobody needs them. UnreadKeys is told how many of its keys
	// cannot be read.
	Settings   *settings.Live
	UnreadKeys func(keys int)
	// Changed is told whenever policies were loaded or taken out of force; it may be nil.
	Changed func()
	// Policies are how policies are compiled.
	Policies policy.Options
	// Store is where compiled policies go.
	Store *policy.Store
	// Certificates are those that the server serves with.
	Certificates *Certificates
	// Replica is this process among others; without one it is made for a process outside a Pod.
	Replica *Replica
	// Troubles are told in conditions of the policies; nil for none.
	Troubles *Troubles
	// Now defaults to time.Now.
	Now func() time.Time
}

func (o *Options) complete() error {
	if o.SystemNamespace == "" || o.Store == nil || o.Certificates == nil {
		return errors.New("controllers need a system namespace, a store and certificates")
	}
	if o.ServiceName == "" {
		o.ServiceName = defaultService
	}
	if o.ServicePort == 0 {
		o.ServicePort = defaultServicePort
	}
	if o.ServerPort == 0 {
		o.ServerPort = defaultServerPort
	}
	if o.WebhookTimeout <= 0 {
		o.WebhookTimeout = defaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// Set is what was set up.
type Set struct {
	loader     *loader
	replica    *Replica
	namespaces *Namespaces
	globals    *globalcontext.Keeper
	conditions *conditionChecker
	settings   *settings.Live
	system     string
	mu         sync.Mutex // covers kinds
	kinds      *kinds
}

// Unserved returns the kinds, as written, that the API server does not serve; none when it cannot be asked. It is for
// advice to people, so what was true half a minute ago is good enough.
func (s *Set) Unserved(ctx context.Context, selectors []match.Kind) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.kinds.refresh(ctx, movingInterval); err != nil {
		return nil
	}
	var out []string
	for i := range selectors {
		targets, err := s.kinds.resolve(&selectors[i])
		if text := selectors[i].String(); err == nil && len(targets) == 0 && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// CheckConditions asks the API server what it makes of the matchConditions of a policy. Its objections name the policy's fields;
// the error is that of asking.
func (s *Set) CheckConditions(ctx context.Context, conditions []admissionregistrationv1.MatchCondition) (field.ErrorList, error) {
	return s.conditions.check(ctx, conditions)
}

// LetThrough says which requests that a policy is about do not reach it, because of what the ConfigMap says.
func (s *Set) LetThrough(p *policy.Policy) []string { return letThrough(s.settings, s.system, p) }

// Synced tells whether this replica is known to the others, and whether every policy, every exception, every namespace, the
// data of global context entries and the settings have been read once: before that the process is not ready.
func (s *Set) Synced() bool {
	return (s.replica == nil || s.replica.Current()) && s.loader.store.Snapshot() != nil && s.namespaces.synced() &&
		(s.settings == nil || s.settings.Loaded()) && (s.globals == nil || s.globals.Settled())
}

// LoadAll reads every policy and lets the store publish its first snapshot. The manager does that by itself, from its
// cache; this is for those who cannot wait for it. A policy that does not compile is no error.
func (s *Set) LoadAll(ctx context.Context, reader client.Reader) error {
	return s.loader.loadAll(ctx, reader)
}

// Setup adds all controllers to a manager. The manager's cache has to be made with CacheOptions, and its scheme with
// AddToScheme.
func Setup(mgr ctrl.Manager, opts Options) (*Set, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	live, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("setting up controllers: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("setting up controllers: %w", err)
	}
	var askWebhooks trigger[webhooks]
	var askStatus trigger[policy.Key]
	if opts.Replica == nil {
		if opts.Replica, err = NewReplica(live, opts.SystemNamespace, Identity{Host: "outside"}); err != nil {
			return nil, fmt.Errorf("setting up controllers: %w", err)
		}
	}
	replica := opts.Replica
	l := newLoader(opts.Store, mgr.GetCache(), opts.Policies, func(k policy.Key) {
		askWebhooks.add(webhooks{})
		askStatus.add(k)
		replica.poke()
		if opts.Changed != nil {
			opts.Changed()
		}
	})
	l.exceptions = &exceptionLoader{store: opts.Store, reader: mgr.GetCache(), exceptions: opts.Exceptions}
	l.replica, l.live = replica, live
	replica.holds = func() []string { return holding(opts.Store.Snapshot(), l.settled) }
	replica.troubles = func() string { return opts.Troubles.tell(opts.Store.Snapshot()) }
	replica.load = func(ctx context.Context) error { return l.loadAll(ctx, live) }
	cover := &coverage{now: opts.Now, spread: spreading}
	conditions := &conditionChecker{client: live}
	watch := &health{client: live, namespace: opts.SystemNamespace, now: opts.Now}
	w := &webhookController{
		reader: mgr.GetCache(), client: live, store: opts.Store, options: &opts, bundle: opts.Certificates.CABundle,
		kinds: &kinds{client: disco, now: opts.Now}, health: watch, coverage: cover, covered: askStatus.add,
		conditions: conditions, settled: l.settled, current: replica.Current,
		replicas: &replicas{client: live, namespace: opts.SystemNamespace, self: replica.name, now: opts.Now},
		again:    func(d time.Duration) { askWebhooks.after(webhooks{replicas: true}, d) },
	}
	status := &statusWriter{reader: mgr.GetCache(), writer: live, store: opts.Store, loader: l, coverage: cover, settings: opts.Settings, system: opts.SystemNamespace, now: opts.Now,
		lacks: &fold{client: live, namespace: opts.SystemNamespace, now: opts.Now, store: opts.Store, changed: askStatus.add}}
	opts.Store.OnPublish(func(s *policy.Snapshot) { opts.Roles.want(byPolicies, s.NeedsRoles()) })
	opts.Certificates.onChange(func() { askWebhooks.add(webhooks{}) })

	if opts.Settings != nil {
		err := addSettingsController(mgr, &settingsLoader{reader: mgr.GetCache(), namespace: opts.SystemNamespace, live: opts.Settings,
			unread: opts.UnreadKeys, changed: func(s *settings.Settings) {
				opts.Roles.want(bySettings, s.NeedRoles())
				if snapshot := opts.Store.Snapshot(); snapshot != nil {
					for _, p := range snapshot.Policies() {
						askStatus.add(p.Key)
					}
				}
			}})
		if err != nil {
			return nil, fmt.Errorf("setting up controllers: %w", err)
		}
	}
	if opts.Globals != nil {
		err := addGlobalControllers(mgr, &globalLoader{keeper: opts.Globals, reader: mgr.GetCache(), retry: time.Second},
			&globalStatus{keeper: opts.Globals, reader: mgr.GetCache(), writer: live, now: opts.Now})
		if err != nil {
			return nil, fmt.Errorf("setting up controllers: %w", err)
		}
	}
	for _, err := range []error{
		addPolicyController(mgr, "policy", l, everyReplica, predicate.Or(edited(), settles())),
		addPolicyController(mgr, "policy-status", status, leader, nil, askStatus.source()),
		addExceptionController(mgr, l.exceptions),
		addWebhookController(mgr, w, opts.SystemNamespace, &askWebhooks),
		mgr.Add(replica),
		mgr.Add(status.lacks),
		mgr.Add(opts.Certificates),
		mgr.Add(watch),
	} {
		if err != nil {
			return nil, fmt.Errorf("setting up controllers: %w", err)
		}
	}
	return &Set{loader: l, replica: replica, namespaces: opts.Namespaces, globals: opts.Globals, settings: opts.Settings, system: opts.SystemNamespace, conditions: conditions, kinds: &kinds{client: disco, now: opts.Now}}, nil
}

// who runs a controller.
type who bool

const (
	everyReplica who = false
	leader       who = true
)

// edited lets through what can change what a policy demands, and not what is written into its status.
func edited() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.LabelChangedPredicate{})
}

// addPolicyController adds a controller of ClusterPolicies and Policies alike.
func addPolicyController(mgr ctrl.Manager, name string, r reconcile.TypedReconciler[policy.Key], runs who, filter predicate.Predicate, more ...source.TypedSource[policy.Key]) error {
	leads := bool(runs)
	c, err := controller.NewTyped(name, mgr, controller.TypedOptions[policy.Key]{Reconciler: r, NeedLeaderElection: &leads})
	if err != nil {
		return err
	}
	var filters []predicate.Predicate
	if filter != nil {
		filters = append(filters, filter)
	}
	enqueue := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []policy.Key { return []policy.Key{keyOf(o)} })
	for _, kind := range []client.Object{&v1.ClusterPolicy{}, &v1.Policy{}} {
		more = append(more, source.TypedKind(mgr.GetCache(), kind, enqueue, filters...))
	}
	for _, s := range more {
		if err := c.Watch(s); err != nil {
			return err
		}
	}
	return nil
}

// addWebhookController adds the controller of webhook configurations. It looks when policies change, when somebody
// else changes its configurations or the ConfigMap, and from time to time.
func addWebhookController(mgr ctrl.Manager, r *webhookController, systemNamespace string, ask *trigger[webhooks]) error {
	leads := true
	c, err := controller.NewTyped("webhook-configuration", mgr, controller.TypedOptions[webhooks]{Reconciler: r, NeedLeaderElection: &leads})
	if err != nil {
		return err
	}
	sources := []source.TypedSource[webhooks]{ask.source(webhooks{})}
	enqueue := handler.TypedEnqueueRequestsFromMapFunc(func(context.Context, client.Object) []webhooks { return []webhooks{{}} })
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		// What they hold is read when it is compared; the cache holds only the news that they have changed.
		o := &metav1.PartialObjectMetadata{}
		o.SetGroupVersionKind(admissionregistrationv1.SchemeGroupVersion.WithKind(kind))
		sources = append(sources, source.TypedKind[client.Object](mgr.GetCache(), o, enqueue))
	}
	own := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetNamespace() == systemNamespace && o.GetName() == configMapName
	})
	sources = append(sources, source.TypedKind[client.Object](mgr.GetCache(), &corev1.ConfigMap{}, enqueue, own))
	for _, s := range sources {
		if err := c.Watch(s); err != nil {
			return err
		}
	}
	return nil
}
