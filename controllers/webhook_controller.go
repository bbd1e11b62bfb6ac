package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-policy/signet/pkg/policy"
)

// How long to wait before looking again although nobody asked.
const (
	unreadyRetry   = 250 * time.Millisecond
	brokenRetry    = 5 * time.Second
	movingInterval = 30 * time.Second

	waitingRetry     = 500 * time.Millisecond
	longWaitingRetry = 5 * time.Second
	longWaiting      = 2 * replicaExpiry
	idleInterval     = 5 * time.Minute

	// spreading is how long API servers are given to learn of a webhook configuration that was written. It takes them
	// milliseconds, and more when they are busy.
	spreading = 500 * time.Millisecond
)

// webhooks is the request of the webhook controller: it looks at everything, or only whether replicas that it waits for have
// caught up.
type webhooks struct{ replicas bool }

// webhookController makes the webhook configurations follow the policies in force.
type webhookController struct {
	reader   client.Reader // cached
	client   client.Client // live
	store    *policy.Store
	options  *Options
	bundle   func() []byte
	kinds    *kinds
	health   *health
	coverage *coverage
	// conditions checks those of policies with webhooks of their own.
	conditions *conditionChecker
	// replicas are the others, and settled tells of which policies they need not be asked; nil when there are none.
	replicas *replicas
	settled  func(*policy.Policy) bool
	// current tells whether this replica still may change what others rely on; nil when it always may.
	current func() bool
	// again has the replicas looked at after a while.
	again func(time.Duration)
	// covered is told after each round, for every policy in force.
	covered func(policy.Key)

	last *webhookSettings // what the ConfigMap said before
	// accepted are the conditions that the API server accepted last.
	accepted []admissionregistrationv1.MatchCondition
	told     []string // what was logged last about settings and kinds, so that it is logged once
	// waiting are the policies that some replica does not hold yet, with what there is to say about it.
	waiting map[policy.Key]string
	failed  bool // the last round
}

// Reconcile writes all webhook configurations that differ from what the policies in force need.
func (c *webhookController) Reconcile(ctx context.Context, what webhooks) (reconcile.Result, error) {
	snapshot, bundle := c.store.Snapshot(), c.bundle()
	if snapshot == nil || len(bundle) == 0 {
		return reconcile.Result{RequeueAfter: unreadyRetry}, nil
	}
	before := c.waiting
	c.wait(ctx, snapshot)
	if what.replicas && !c.failed && sameKeys(before, c.waiting) {
		for k, cause := range c.waiting {
			if cause != before[k] {
				c.covered(k)
			}
		}
		c.effects()
		return reconcile.Result{}, nil
	}
	result, err := c.round(ctx, snapshot.Policies(), bundle)
	if c.failed = err != nil; c.failed {
		c.coverage.failed(cut("webhooks could not be registered: "+err.Error(), maxMessage))
	}
	for _, p := range snapshot.Policies() {
		c.covered(p.Key)
	}
	c.effects()
	return result, err
}

// effects tells of the policies whose webhooks came into effect, and has the others looked at when theirs do.
func (c *webhookController) effects() {
	now, next := c.coverage.effects()
	for _, k := range now {
		c.covered(k)
	}
	if next > 0 {
		c.again(next)
	}
}

// wait finds out for which policies some replica is waited for. Until it knows, it is for all that are not settled.
func (c *webhookController) wait(ctx context.Context, snapshot *policy.Snapshot) {
	if c.replicas == nil {
		return
	}
	open := unsettled(snapshot, c.settled)
	waiting, err := c.replicas.waiting(ctx, open)
	if err != nil {
		waiting = map[policy.Key]string{}
		for _, p := range open {
			waiting[p.Key] = cut(err.Error(), maxMessage)
		}
	}
	c.waiting = waiting
	c.coverage.waits(waiting)
	switch {
	case len(waiting) == 0:
	case c.replicas.patient(longWaiting):
		c.again(longWaitingRetry)
	default:
		c.again(waitingRetry)
	}
}

func sameKeys(a, b map[policy.Key]string) bool {
	return len(a) == len(b) && maps.EqualFunc(a, b, func(_, _ string) bool { return true })
}

func (c *webhookController) round(ctx context.Context, policies []*policy.Policy, bundle []byte) (reconcile.Result, error) {
	settings, notes, err := c.settings(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	refused, err := c.judge(ctx, &settings)
	if err != nil {
		return reconcile.Result{}, err
	}
	owner, err := findOwner(ctx, c.client)
	if err != nil {
		return reconcile.Result{}, err
	}
	b := c.options.builder(settings, bundle)
	w := &writer{client: c.client, current: c.current, owner: owner, labels: settings.labels, notes: settings.annotations, wrote: c.coverage.wrote}
	// These come first: without them policies are not checked when they are applied, and the health lease says nothing.
	if err := w.validating(ctx, PolicyValidating, b.policyValidating()); err != nil {
		return reconcile.Result{}, err
	}
	if err := w.validating(ctx, ExceptionValidating, b.exceptionValidating()); err != nil {
		return reconcile.Result{}, err
	}
	if err := w.validating(ctx, GlobalContextValidating, b.globalContextValidating()); err != nil {
		return reconcile.Result{}, err
	}
	if err := w.mutating(ctx, PolicyMutating, b.policyMutating()); err != nil {
		return reconcile.Result{}, err
	}
	if err := w.mutating(ctx, VerifyMutating, b.monitor()); err != nil {
		return reconcile.Result{}, err
	}
	age, broken, err := c.health.check(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if broken {
		log.FromContext(ctx).Info("the API server does not reach this webhook, its configurations stay as they are", "since", age.Round(time.Second).String())
		c.coverage.failed(fmt.Sprintf("webhooks are not registered while the API server does not reach them; the last request came %s ago", age.Round(time.Second)))
		return reconcile.Result{RequeueAfter: brokenRetry}, nil
	}
	operations := validatingOperations
	if len(settings.matchConditions) > 0 {
		operations = conditionedOperations
	}
	r := everything(b.timeout, operations)
	if !c.options.StaticWebhooks {
		if len(policies) > 0 {
			if err := c.kinds.refresh(ctx, movingInterval/2); err != nil {
				return reconcile.Result{}, err
			}
		}
		if r = register(policies, c.kinds, b.timeout, operations); len(r.unknown) > 0 {
			// The kind may have come with the policy, in one manifest.
			if err := c.kinds.refresh(ctx, time.Second); err != nil {
				return reconcile.Result{}, err
			}
			r = register(policies, c.kinds, b.timeout, operations)
		}
	}
	r.bounded()
	if err := r.checkConditions(ctx, c.conditions); err != nil {
		return reconcile.Result{}, err
	}
	c.tell(ctx, slices.Concat(notes, refused, r.notes()))
	if err := c.write(ctx, w, b, &r); err != nil {
		return reconcile.Result{}, err
	}
	c.coverage.succeeded(policies, r.problems)
	if r.moving {
		return reconcile.Result{RequeueAfter: movingInterval}, nil
	}
	return reconcile.Result{RequeueAfter: idleInterval}, nil
}

// write writes the webhooks of resources.
func (c *webhookController) write(ctx context.Context, w *writer, b *builder, r *registrations) error {
	keep := &keeper{waiting: c.waiting, endpoint: &b.endpoint}
	mutating := b.allMutating(r)
	err := w.merging(ctx, ResourceMutating, func(stored []admissionregistrationv1.MutatingWebhook) []admissionregistrationv1.MutatingWebhook {
		return keepMutating(keep, mutating, stored)
	})
	if err != nil {
		return err
	}
	validating := b.allValidating(r)
	return w.mergingValidating(ctx, ResourceValidating, func(stored []admissionregistrationv1.ValidatingWebhook) []admissionregistrationv1.ValidatingWebhook {
		return keepValidating(keep, validating, stored)
	})
}

// judge asks the API server about the conditions of the ConfigMap. Those that it refuses are replaced by those that it accepted
// last, since policies are not to wait for somebody who repairs them; that is said in notes. It is asked even when no webhook
// would hold them now: the next policy brings one.
func (c *webhookController) judge(ctx context.Context, s *webhookSettings) (notes []string, err error) {
	if apiequality.Semantic.DeepEqual(s.matchConditions, c.accepted) {
		return nil, nil
	}
	errs, err := c.conditions.check(ctx, s.matchConditions)
	if err != nil {
		return nil, fmt.Errorf("checking the ConfigMap's matchConditions: %w", err)
	}
	if len(errs) > 0 {
		s.matchConditions = c.accepted
		return []string{"the API server refuses the ConfigMap's matchConditions, those before hold: " + strings.ReplaceAll(errs.ToAggregate().Error(), conditionsPath().String(), "matchConditions")}, nil
	}
	c.accepted = s.matchConditions
	return nil, nil
}

// settings reads the ConfigMap, and says in notes what of it is not understood.
func (c *webhookController) settings(ctx context.Context) (out webhookSettings, notes []string, err error) {
	var m corev1.ConfigMap
	err = c.reader.Get(ctx, client.ObjectKey{Namespace: c.options.SystemNamespace, Name: configMapName}, &m)
	if client.IgnoreNotFound(err) != nil {
		return webhookSettings{}, nil, fmt.Errorf("reading ConfigMap %s: %w", configMapName, err)
	}
	out, errs := readSettings(m.Data, c.options.SystemNamespace, c.last)
	c.last = &out
	for _, err := range errs {
		notes = append(notes, "the ConfigMap is not understood, what held before holds: "+err.Error())
	}
	return out, notes, nil
}

func (r *registrations) notes() []string {
	var out []string
	for _, u := range r.unknown {
		out = append(out, "kind not served, left out: "+u)
	}
	for k, cause := range r.problems {
		out = append(out, "webhooks of policy "+k.String()+" are not complete: "+cause)
	}
	return out
}

// tell logs what an operator should know, once until it changes.
func (c *webhookController) tell(ctx context.Context, notes []string) {
	slices.Sort(notes)
	if slices.Equal(notes, c.told) {
		return
	}
	c.told = notes
	for _, n := range notes {
		log.FromContext(ctx).Info("webhook configurations", "note", n)
	}
}

// builder returns the builder for these options.
func (o *Options) builder(s webhookSettings, bundle []byte) *builder {
	effects := admissionregistrationv1.SideEffectClassNoneOnDryRun
	if o.NoAdmissionReports {
		effects = admissionregistrationv1.SideEffectClassNone
	}
	return &builder{
		settings: s, timeout: min(o.WebhookTimeout, maxTimeout), validatingEffects: effects,
		endpoint: endpoint{
			namespace: o.SystemNamespace, service: o.ServiceName, servicePort: o.ServicePort,
			server: o.ServerIP, serverPort: o.ServerPort, bundle: bundle,
		},
	}
}
