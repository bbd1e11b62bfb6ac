package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	eventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/controllers"
	"github.com/signet-policy/signet/pkg/credentials"
	"github.com/signet-policy/signet/pkg/egress"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/globalcontext"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/cloud"
	"github.com/signet-policy/signet/pkg/rekor"
	"github.com/signet-policy/signet/pkg/report"
	"github.com/signet-policy/signet/pkg/settings"
	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/notary"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
	"github.com/signet-policy/signet/webhook"
)

const serveUsage = `Runs the admission webhooks and what keeps the cluster in step with the policies.

Flags:
`

func serveCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f, err := parseServeFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "signet serve:", err)
		return 2
	}
	log := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(stderr), textlogger.Verbosity(f.verbosity)))
	klog.SetLogger(log)
	ctrl.SetLogger(log)
	told := ctx.Done()
	if f.serverIP == "" { // else there is no Service, and who asks has the address of this process
		var cancel context.CancelFunc
		ctx, cancel = linger(ctx, lingering)
		defer cancel()
	}
	if err := serve(logr.NewContext(ctx, log), told, f, log); err != nil {
		log.Error(err, "signet stops")
		return 1
	}
	return 0
}

// serve runs until the context ends; leaving is closed when that is near.
func serve(ctx context.Context, leaving <-chan struct{}, f *serveFlags, log logr.Logger) error {
	config, err := restConfig(f.kubeconfig)
	if err != nil {
		return fmt.Errorf("no cluster: %w", err)
	}
	namespace := systemNamespace()
	mgr, err := newManager(config, f, namespace, log)
	if err != nil {
		return err
	}
	store, live := policy.NewStore(), settings.NewLive()
	recorder, err := newRecorder(config, mgr, f, store, live, log)
	if err != nil {
		return err
	}
	roots, refreshers, err := newRoots(ctx, config, f, os.Getenv, log)
	if err != nil {
		return fmt.Errorf("trusted root: %w", err)
	}
	namespaces, err := controllers.NewNamespaces(ctx, mgr)
	if err != nil {
		return err
	}
	roles := controllers.NewRoles(mgr)
	images, err := newRegistries(f, recorder, controllers.NewPullSecrets(mgr.GetAPIReader()), namespace, log)
	if err != nil {
		return err
	}
	troubles := controllers.NewTroubles()
	keys, err := newKeys(config, recorder, troubles)
	if err != nil {
		return err
	}
	configMaps, err := controllers.NewConfigMaps(config)
	if err != nil {
		return err
	}
	api, err := newAPI(config, namespace)
	if err != nil {
		return err
	}
	load := loader.Options{ConfigMaps: configMaps, API: api, UserAgent: "signet/" + version, CallTimeout: f.apiCallTimeout, MaxResponse: f.maxAPICallResponseLength}
	resources, err := controllers.NewGlobalResources(config, namespace)
	if err != nil {
		return err
	}
	globals := globalcontext.New(globalcontext.Options{Caller: loader.New(load), Resources: resources})
	load.Globals = globals
	replica, err := newReplica(config, namespace)
	if err != nil {
		return err
	}
	review := newEngine(f, store, replica, images, roots, namespaces, roles, live, keys, loader.New(load))
	compile := policy.Options{ForceIgnore: f.forceFailurePolicyIgnore, CommonPaths: !f.autoUpdateWebhooks}
	certificates, err := newCertificates(ctx, config, f, namespace)
	if err != nil {
		return err
	}
	set, err := controllers.Setup(mgr, controllers.Options{
		SystemNamespace: namespace, Store: store, Policies: compile, Certificates: certificates, Replica: replica, Troubles: troubles,
		ServicePort: int32(f.servicePort), ServerIP: f.serverIP, ServerPort: int32(f.webhookServerPort), //nolint:gosec // ports, checked
		WebhookTimeout: int32(f.webhookTimeout), StaticWebhooks: !f.autoUpdateWebhooks, //nolint:gosec // at most 30
		NoAdmissionReports: !f.reports(), Namespaces: namespaces, Roles: roles, Exceptions: f.exceptions(), Globals: globals,
		Settings: live, UnreadKeys: recorder.UnreadKeys,
		Changed: func() {
			followKeys(keys, store)
			recorder.PoliciesChanged()
		},
	})
	if err != nil {
		return err
	}
	server := newServer(webhook.NewServer(address(f, f.webhookServerPort), certificates.TLSConfig(), ready(set), log.WithName("webhook")),
		&webhook.Resources{
			Engine: review, Record: record(recorder, troubles), Settings: live, Roles: roles,
			Unjudged:   recorder.Unjudged,
			LetThrough: func(why settings.Reason, kind string) { recorder.LetThrough(string(why), kind) },
			Dump:       f.dumpPayload,
		}, compile, set, f.exceptions(), namespace)
	server.Leaving, server.Unjudged = leaving, recorder.Unjudged
	for _, r := range append(refreshers, keys, recorder, &report.Pruner{Recorder: recorder}, configMaps, server) {
		if err := mgr.Add(r); err != nil {
			return err
		}
	}
	log.Info("signet starts", "version", version, "namespace", namespace, "port", f.webhookServerPort)
	return mgr.Start(ctx)
}

// restConfig reads the cluster's address and credentials. Requests are not throttled here: the API server's own
// priority and fairness is the judge of that.
func restConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	var config *rest.Config
	var err error
	if kubeconfig == "" {
		config, err = rest.InClusterConfig()
	} else {
		rules.ExplicitPath = kubeconfig
		config, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	}
	switch {
	case errors.Is(err, rest.ErrNotInCluster):
		return nil, fmt.Errorf("%w (outside of a cluster, --kubeconfig and --serverIP are needed)", err)
	case err != nil:
		return nil, err
	}
	config.QPS = -1
	config.UserAgent = "signet/" + version
	return config, nil
}

func newManager(config *rest.Config, f *serveFlags, namespace string, log logr.Logger) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{controllers.AddToScheme, reports.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	metricsAddress := "0"
	if f.metricsPort != 0 {
		metricsAddress = address(f, f.metricsPort)
	}
	drain, renew, lease := finishing, controllers.LeaderRenew, controllers.LeaderLease
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Logger: log, Cache: controllers.CacheOptions(namespace),
		Metrics:        metricsserver.Options{BindAddress: metricsAddress},
		LeaderElection: true, LeaderElectionID: controllers.LeaderElectionID, LeaderElectionNamespace: namespace,
		LeaderElectionReleaseOnCancel: true, RenewDeadline: &renew, LeaseDuration: &lease, GracefulShutdownTimeout: &drain,
	})
	if err != nil {
		return nil, fmt.Errorf("manager: %w", err)
	}
	return mgr, nil
}

// finishing is how long what is in progress may take when the process ends.
const finishing = 40 * time.Second

// address is where a port is bound: everywhere, or where the process was told that it is.
func address(f *serveFlags, port int) string { return net.JoinHostPort(f.serverIP, strconv.Itoa(port)) }

// newCertificates makes or reads the serving certificate, which everything that follows needs.
func newCertificates(ctx context.Context, config *rest.Config, f *serveFlags, namespace string) (*controllers.Certificates, error) {
	c, err := controllers.NewClient(config)
	if err != nil {
		return nil, err
	}
	certificates := controllers.NewCertificates(c, controllers.CertificateOptions{
		SystemNamespace: namespace, ServerIP: f.serverIP, CASecretName: f.caSecretName, TLSSecretName: f.tlsSecretName,
		KeyAlgorithm: controllers.KeyAlgorithm(f.tlsKeyAlgorithm), RenewBefore: f.renewBefore,
	})
	if err := certificates.Ensure(ctx); err != nil {
		return nil, fmt.Errorf("serving certificate: %w", err)
	}
	return certificates, nil
}

// newReplica makes this process known to the other replicas, by the name of its Pod if the manifest tells that.
func newReplica(config *rest.Config, namespace string) (*controllers.Replica, error) {
	c, err := controllers.NewClient(config)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed"
	}
	return controllers.NewReplica(c, namespace, controllers.Identity{Pod: os.Getenv("POD_NAME"), PodUID: os.Getenv("POD_UID"), Host: host})
}

func newRecorder(config *rest.Config, mgr manager.Manager, f *serveFlags, store *policy.Store, live *settings.Live, log logr.Logger) (*report.Recorder, error) {
	clients, err := eventsv1.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: clients})
	if err := mgr.Add(everyReplica(func(ctx context.Context) error {
		if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
			return fmt.Errorf("events: %w", err)
		}
		<-ctx.Done()
		broadcaster.Shutdown()
		return nil
	})); err != nil {
		return nil, err
	}
	return report.New(report.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Policies: store,
		Events:     broadcaster.NewRecorder(mgr.GetScheme(), "kyverno-admission"),
		Registerer: metrics.Registry, Version: version,
		AdmissionReports: f.reports(), EnableReporting: list(f.enableReporting), AllowedResults: list(f.allowedResults),
		OmitEvents: list(f.omitEvents), MaxQueued: f.maxQueuedEvents, GenerateSuccessEvents: f.generateSuccessEvents,
		SuccessEvents: func() (bool, []string) { return live.Current().SuccessEvents() },
		Logger:        log.WithName("report"),
	}), nil
}

// newRegistries makes what opens registries, by the process' own credentials or others.
func newRegistries(f *serveFlags, recorder *report.Recorder, secrets credentials.Secrets, namespace string, log logr.Logger) (*credentials.Source, error) {
	client, err := registry.New(registry.Options{
		ConfigDir: f.registryConfigDir, Realms: f.realms, UserAgent: "signet/" + version,
		Observe: func(r registry.Request) {
			status := "none"
			if r.Status != 0 {
				status = strconv.Itoa(r.Status)
			}
			recorder.RegistryRequests(r.Host, string(r.Kind), status)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("--registryConfigDir: %w", err)
	}
	return credentials.New(credentials.Options{
		Client: client, Secrets: secrets, SystemNamespace: namespace,
		PullSecrets: f.pullSecrets, Providers: list(f.credentialHelpers), AllowInsecure: f.allowInsecure,
		Keychains: cloud.Keychains(cloud.Options{Failed: func(provider string, err error) {
			log.Info("no registry credentials from a provider; registries are asked without", "provider", provider, "cause", err.Error())
		}}),
	}), nil
}

func newEngine(f *serveFlags, store *policy.Store, replica *controllers.Replica, images engine.Accesses, roots trust.Root, namespaces engine.Namespaces,
	roles engine.Roles, live *settings.Live, keys verify.Keys, context *loader.Loader) *engine.Engine {
	return engine.New(engine.Options{
		Loader: context, EagerContext: !f.deferredLoading,
		Accesses: images, Verifier: sigstore.New(roots).Searching(rekor.New()), Store: store, Namespaces: namespaces, Roles: roles,
		Keys:          keys,
		Resolve:       egress.Addresses,
		Current:       replica.Current,
		Notary:        notary.New(registry.Outside("signet/" + version)),
		Parser:        func() *image.Parser { return live.Current().Images() },
		CacheDisabled: !f.cacheEnabled, CacheSize: f.cacheSize, CacheTTL: f.cacheTTL,
		Timeout: time.Duration(f.webhookTimeout) * time.Second,
	})
}

// newAPI is the API server for context entries.
func newAPI(config *rest.Config, systemNamespace string) (*loader.API, error) {
	client, base, err := controllers.NewAPIClient(config)
	if err != nil {
		return nil, err
	}
	return &loader.API{Client: client, Base: base, SystemNamespace: systemNamespace}, nil
}

// everyReplica is a Runnable that does not wait to become the leader.
type everyReplica func(context.Context) error

func (f everyReplica) Start(ctx context.Context) error { return f(ctx) }
func (f everyReplica) NeedLeaderElection() bool        { return false }

// ready tells the readiness check whether requests can be judged.
func ready(set *controllers.Set) func() error {
	return func() error {
		if !set.Synced() {
			return engine.ErrNotReady
		}
		return nil
	}
}

func record(recorder *report.Recorder, troubles *controllers.Troubles) func(*webhook.Reviewed) {
	return func(r *webhook.Reviewed) {
		troubles.Judged(r.Decision.Results)
		recorder.Record(&report.Review{
			Request: r.Request, Decision: r.Decision, Operation: string(r.Admission.Operation),
			DryRun: r.Admission.DryRun != nil && *r.Admission.DryRun, UID: r.UID, Duration: r.Duration,
		})
	}
}

func newServer(server *webhook.Server, resources *webhook.Resources, compile policy.Options,
	set *controllers.Set, exceptions controllers.Exceptions, namespace string) *webhook.Server {
	for _, p := range []struct {
		path    string
		phase   engine.Phase
		failure policy.FailurePolicy
	}{
		{webhook.MutateFail, engine.Mutating, policy.Fail}, {webhook.MutateIgnore, engine.Mutating, policy.Ignore},
		{webhook.ValidateFail, engine.Validating, policy.Fail}, {webhook.ValidateIgnore, engine.Validating, policy.Ignore},
	} {
		server.Handle(p.path, p.failure == policy.Ignore, resources.Review(p.phase, p.failure))
		server.HandleEach(p.path, p.failure == policy.Ignore, func(k policy.Key) webhook.Review { return resources.ReviewOf(p.phase, p.failure, k) })
	}
	server.Handle(webhook.PolicyValidate, false, webhook.ReviewPolicy(compile, set.Unserved, set.CheckConditions, set.LetThrough))
	server.Handle(webhook.ExceptionValidate, true, webhook.ReviewException(exceptions.Warnings))
	server.Handle(webhook.GlobalContextValidate, true, webhook.ReviewGlobalContext)
	server.Handle(webhook.PolicyMutate, true, webhook.Unchanged)
	server.Handle(webhook.VerifyMutate, true, webhook.Patch(func(object []byte) ([]byte, error) {
		return controllers.HealthPatch(namespace, object, time.Now())
	}))
	return server
}
