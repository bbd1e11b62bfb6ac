package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-policy/signet/controllers"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/registry"
)

// serveFlags are the flags of signet serve, under the names that users of Kyverno know where there are such.
type serveFlags struct {
	kubeconfig string
	verbosity  int

	serverIP          string
	webhookServerPort int
	servicePort       int
	metricsPort       int

	webhookTimeout           int
	autoUpdateWebhooks       bool
	forceFailurePolicyIgnore bool

	enablePolicyException bool
	exceptionNamespace    string

	caSecretName, tlsSecretName string
	tlsKeyAlgorithm             string
	renewBefore                 time.Duration

	trustedRootFile, trustedRootConfigMap string
	enableTUF                             bool
	tufMirror, tufRoot, tufRootRaw        string

	registryConfigDir string
	allowInsecure     bool
	imagePullSecrets  string
	credentialHelpers string
	pullSecrets       []policy.SecretName // from imagePullSecrets
	tokenRealms       string
	realms            registry.Realms // from tokenRealms

	cacheEnabled bool
	cacheSize    int
	cacheTTL     time.Duration

	apiCallTimeout           time.Duration
	maxAPICallResponseLength int64
	deferredLoading          bool

	admissionReports      bool
	policyReports         bool
	enableReporting       string
	allowedResults        string
	omitEvents            string
	maxQueuedEvents       int
	generateSuccessEvents bool

	dumpPayload bool
	accepted    acceptedFlags
}

// parseServeFlags reads the arguments. For flag.ErrHelp it writes the list of flags.
func parseServeFlags(args []string, help io.Writer) (*serveFlags, error) {
	f := &serveFlags{}
	fs := f.flags()
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(help, serveUsage)
		fs.SetOutput(help)
		fs.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w (see signet serve --help)", err)
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %.64q (see signet serve --help)", fs.Arg(0))
	}
	return f, f.check()
}

// flags are the flags with their defaults, which are written to f. They print nothing by themselves.
func (f *serveFlags) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("signet serve", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "path of a kubeconfig file; without it the in-cluster configuration")
	fs.IntVar(&f.verbosity, "v", 0, "log verbosity; 0 logs decisions against images and changes of state")
	fs.StringVar(&f.serverIP, "serverIP", "", "address of this process when it runs outside the cluster; webhooks then use it instead of the Service, and it is what the ports are bound to")
	fs.IntVar(&f.webhookServerPort, "webhookServerPort", 9443, "port of the webhooks and health checks (HTTPS)")
	fs.IntVar(&f.servicePort, "servicePort", 443, "port of the Service that the webhooks are called by")
	fs.IntVar(&f.metricsPort, "metricsPort", 8000, "port of the metrics (HTTP); 0 turns them off")
	fs.IntVar(&f.webhookTimeout, "webhookTimeout", 10, "seconds for a request whose policies set no timeout, 1 to 30")
	fs.BoolVar(&f.autoUpdateWebhooks, "autoUpdateWebhooks", true, "register only what the policies need; false registers every kind and leaves matchConditions of policies without effect")
	fs.BoolVar(&f.forceFailurePolicyIgnore, "forceFailurePolicyIgnore", false, "treat every policy's failure policy as Ignore")
	fs.BoolVar(&f.enablePolicyException, "enablePolicyException", false, "let PolicyExceptions take rules away from what they match, in the namespace of -exceptionNamespace")
	fs.StringVar(&f.exceptionNamespace, "exceptionNamespace", "", "the one namespace whose PolicyExceptions count, or * for all; empty for none")
	fs.StringVar(&f.caSecretName, "caSecretName", "", "Secret of the webhook CA; empty for the default name")
	fs.StringVar(&f.tlsSecretName, "tlsSecretName", "", "Secret of the webhook certificate; empty for the default name")
	fs.StringVar(&f.tlsKeyAlgorithm, "tlsKeyAlgorithm", "ECDSA", "key algorithm of the webhook certificate: RSA, ECDSA or Ed25519")
	fs.DurationVar(&f.renewBefore, "renewBefore", 15*24*time.Hour, "how long before its end a webhook certificate is renewed")
	fs.StringVar(&f.trustedRootFile, "trustedRootFile", "", "trusted_root.json with authorities and logs; empty for the public Sigstore instance's, which is in the program")
	fs.StringVar(&f.trustedRootConfigMap, "trustedRootConfigMap", "", "namespace/name of a ConfigMap with the key trusted_root.json, which is followed; instead of a file")
	fs.BoolVar(&f.enableTUF, "enableTuf", false, "fetch the trusted root by TUF, once a policy needs it, and refresh it")
	fs.StringVar(&f.tufMirror, "tufMirror", "", "URL of the TUF repository; empty for the public Sigstore instance's")
	fs.StringVar(&f.tufRoot, "tufRoot", "", "file or https URL of the repository's initial root.json; empty for the public instance's")
	fs.StringVar(&f.tufRootRaw, "tufRootRaw", "", "that root.json itself, as base64")
	fs.StringVar(&f.registryConfigDir, "registryConfigDir", "", "directory with <host>/hosts.toml files, as containerd reads them, for mirrors and private CAs")
	fs.BoolVar(&f.allowInsecure, "allowInsecureRegistry", false, "allow plain HTTP to registries that do not speak TLS")
	fs.StringVar(&f.imagePullSecrets, "imagePullSecrets", "", "Secrets with registry credentials, divided by commas: name (in the system namespace) or namespace/name; for objects and rules without credentials of their own")
	fs.StringVar(&f.credentialHelpers, "registryCredentialHelpers", "", "credential providers, divided by commas: default (the docker configuration), google, amazon, azure, github; default alone when neither these nor pull secrets are named")
	fs.StringVar(&f.tokenRealms, "registryTokenRealms", "", "registry=realm, divided by commas: hosts of token services that get a registry's credentials, in place of those in its own domain")
	fs.BoolVar(&f.cacheEnabled, "imageVerifyCacheEnabled", true, "keep positive verifications in memory")
	fs.IntVar(&f.cacheSize, "imageVerifyCacheMaxSize", 1000, "entries of that cache; 0 means 1000")
	fs.DurationVar(&f.cacheTTL, "imageVerifyCacheTTLDuration", time.Hour, "how long an entry lives; 0 means 1h")
	fs.DurationVar(&f.apiCallTimeout, "apiCallTimeout", 30*time.Second, "time for one apiCall of a context entry; a request's own time is a limit as well")
	fs.Int64Var(&f.maxAPICallResponseLength, "maxAPICallResponseLength", 2_000_000, "bytes that the answer to an apiCall may have")
	fs.BoolVar(&f.deferredLoading, "enableDeferredLoading", true, "load a context entry when a variable first reads it; false loads all entries of a rule that matches an image")
	fs.BoolVar(&f.admissionReports, "admissionReports", true, "write policy reports of admitted objects")
	fs.BoolVar(&f.policyReports, "policyReports", true, "write policy reports; false is the same as -admissionReports=false")
	fs.StringVar(&f.enableReporting, "enableReporting", "validate,mutate,mutateExisting,generate,imageVerify", "rule types that are reported; of these Signet has imageVerify")
	fs.StringVar(&f.allowedResults, "allowedResults", "pass,fail,error,warn,skip", "results that are reported")
	fs.StringVar(&f.omitEvents, "omitEvents", "", "event reasons that are not sent, such as PolicyApplied,PolicySkipped")
	fs.IntVar(&f.maxQueuedEvents, "maxQueuedEvents", 1000, "reviews that may wait to be published, and events of one type that are sent at once, beyond which 20 a second are; more are dropped and counted; 0 means 1000")
	fs.BoolVar(&f.generateSuccessEvents, "generateSuccessEvents", false, "send an event for every pass")
	fs.BoolVar(&f.dumpPayload, "dumpPayload", false, "log every admission request about objects, with what its object holds; not for longer than a search for a fault")
	f.accepted.register(fs)
	return fs
}

func (f *serveFlags) check() error {
	errs := []error{f.accepted.check(f.autoUpdateWebhooks), f.checkPorts(), f.checkLists(), f.checkCertificates(), f.checkNumbers()}
	if f.webhookTimeout < 1 || f.webhookTimeout > 30 {
		errs = append(errs, fmt.Errorf("--webhookTimeout=%d: must be 1 to 30 seconds", f.webhookTimeout))
	}
	if f.serverIP != "" && net.ParseIP(f.serverIP) == nil {
		errs = append(errs, fmt.Errorf("--serverIP=%.64q: not an IP address", f.serverIP))
	}
	if n := f.exceptionNamespace; n != "" && n != "*" && len(validation.IsDNS1123Label(n)) > 0 {
		errs = append(errs, fmt.Errorf("--exceptionNamespace=%.64q: must be a namespace or *", n))
	}
	if f.apiCallTimeout <= 0 {
		errs = append(errs, fmt.Errorf("--apiCallTimeout=%s: must be more than nothing", f.apiCallTimeout))
	}
	if f.maxAPICallResponseLength < 1 || f.maxAPICallResponseLength > 64<<20 {
		errs = append(errs, fmt.Errorf("--maxAPICallResponseLength=%d: must be 1 to %d", f.maxAPICallResponseLength, 64<<20))
	}
	if f.trustedRootFile != "" && f.trustedRootConfigMap != "" {
		errs = append(errs, errors.New("--trustedRootFile and --trustedRootConfigMap: only one can be given"))
	}
	if namespace, name, ok := strings.Cut(f.trustedRootConfigMap, "/"); f.trustedRootConfigMap != "" &&
		(!ok || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0) {
		errs = append(errs, fmt.Errorf("--trustedRootConfigMap=%.300q: must be namespace/name", f.trustedRootConfigMap))
	}
	if f.tufRoot != "" && f.tufRootRaw != "" {
		errs = append(errs, errors.New("--tufRoot and --tufRootRaw: only one can be given"))
	}
	for _, s := range list(f.imagePullSecrets) {
		n, err := policy.ParseSecretName(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("--imagePullSecrets: %w", err))
		}
		f.pullSecrets = append(f.pullSecrets, n)
	}
	realms, err := registry.ParseRealms(f.tokenRealms)
	if err != nil {
		errs = append(errs, fmt.Errorf("--registryTokenRealms: %w", err))
	}
	f.realms = realms
	for _, p := range list(f.credentialHelpers) {
		if _, err := policy.ParseProvider(p); err != nil {
			errs = append(errs, fmt.Errorf("--registryCredentialHelpers: %w", err))
		}
	}
	return errors.Join(errs...)
}

// reports tells whether policy reports are written.
func (f *serveFlags) reports() bool { return f.admissionReports && f.policyReports }

func (f *serveFlags) exceptions() controllers.Exceptions {
	return controllers.Exceptions{Enabled: f.enablePolicyException, Namespace: f.exceptionNamespace}
}

// list splits a comma-separated flag; an empty one is an empty list, which means none.
func list(s string) []string {
	out := []string{}
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// systemNamespace is the namespace that Signet is installed in.
func systemNamespace() string {
	if ns := os.Getenv("KYVERNO_NAMESPACE"); ns != "" {
		return ns
	}
	return "kyverno"
}
