package controllers

import (
	"net"
	"strconv"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// The webhook configurations.
const (
	ResourceMutating   = "kyverno-resource-mutating-webhook-cfg"
	ResourceValidating = "kyverno-resource-validating-webhook-cfg"
	PolicyMutating     = "kyverno-policy-mutating-webhook-cfg"
	PolicyValidating   = "kyverno-policy-validating-webhook-cfg"
	VerifyMutating     = "kyverno-verify-mutating-webhook-cfg"

	ExceptionValidating = "kyverno-exception-validating-webhook-cfg"

	GlobalContextValidating = "kyverno-global-context-validating-webhook-cfg"
)

// The paths that the API server asks. Those of resources are followed by /fail or /ignore.
const (
	MutatePath         = "/mutate"
	ValidatePath       = "/validate"
	PolicyMutatePath   = "/policymutate"
	PolicyValidatePath = "/policyvalidate"
	VerifyMutatePath   = "/verifymutate"

	ExceptionValidatePath = "/exceptionvalidate"

	GlobalContextValidatePath = "/globalcontextvalidate"
)

// The label of everything that Signet writes and then owns.
const (
	managedByLabel = "webhook.kyverno.io/managed-by"
	managedBy      = "kyverno"
)

// endpoint is where the API server finds Signet.
type endpoint struct {
	namespace, service string
	servicePort        int32
	// server is set to be asked at an address instead of through the Service; serverPort is for one without a port.
	server     string
	serverPort int32
	bundle     []byte
}

func (e *endpoint) at(path string) admissionregistrationv1.WebhookClientConfig {
	out := admissionregistrationv1.WebhookClientConfig{CABundle: e.bundle}
	if e.server != "" {
		host := e.server
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(hostOf(host), strconv.Itoa(int(e.serverPort)))
		}
		out.URL = pointer("https://" + host + path)
		return out
	}
	port := e.servicePort
	out.Service = &admissionregistrationv1.ServiceReference{Namespace: e.namespace, Name: e.service, Path: &path, Port: &port}
	return out
}

// builder writes out webhooks in full, with every field that the API server would fill, so that what is wanted and what
// is stored can be compared as they are.
type builder struct {
	endpoint endpoint
	settings webhookSettings
	timeout  int32
	// validatingEffects are the side effects of judging an object; reports are one.
	validatingEffects admissionregistrationv1.SideEffectClass
}

// suffix is a failure policy in names and paths, in Signet and in the API.
type suffix struct {
	name   string
	policy policy.FailurePolicy
	api    admissionregistrationv1.FailurePolicyType
}

// suffixes are the two groups of resource webhooks, in the order of their names.
var suffixes = [...]suffix{
	{"fail", policy.Fail, admissionregistrationv1.Fail}, {"ignore", policy.Ignore, admissionregistrationv1.Ignore},
}

func (b *builder) resourceMutating(r map[policy.FailurePolicy]*registration) []admissionregistrationv1.MutatingWebhook {
	var out []admissionregistrationv1.MutatingWebhook
	for _, s := range suffixes {
		rules := r[s.policy].rules()
		if len(rules) == 0 {
			continue
		}
		w := b.mutating("mutate.kyverno.svc-"+s.name, MutatePath+"/"+s.name, s.api, rules)
		w.TimeoutSeconds = pointer(r[s.policy].timeout)
		w.NamespaceSelector, w.ObjectSelector = b.settings.namespaceSelector, b.settings.objectSelector
		w.MatchConditions = b.settings.matchConditions
		out = append(out, w)
	}
	return out
}

func (b *builder) resourceValidating(r map[policy.FailurePolicy]*registration) []admissionregistrationv1.ValidatingWebhook {
	var out []admissionregistrationv1.ValidatingWebhook
	for _, s := range suffixes {
		rules := r[s.policy].rules()
		if len(rules) == 0 {
			continue
		}
		w := b.validating("validate.kyverno.svc-"+s.name, ValidatePath+"/"+s.name, s.api, rules)
		w.SideEffects = pointer(b.validatingEffects)
		w.TimeoutSeconds = pointer(r[s.policy].timeout)
		w.NamespaceSelector, w.ObjectSelector = b.settings.namespaceSelector, b.settings.objectSelector
		w.MatchConditions = b.settings.matchConditions
		out = append(out, w)
	}
	return out
}

// policyMutating is there for those who look for it; it changes nothing, so that nothing is lost without it.
func (b *builder) policyMutating() []admissionregistrationv1.MutatingWebhook {
	w := b.mutating("mutate-policy.kyverno.svc", PolicyMutatePath, admissionregistrationv1.Ignore, policyRules())
	w.SideEffects = pointer(admissionregistrationv1.SideEffectClassNone)
	return []admissionregistrationv1.MutatingWebhook{w}
}

func (b *builder) policyValidating() []admissionregistrationv1.ValidatingWebhook {
	w := b.validating("validate-policy.kyverno.svc", PolicyValidatePath, admissionregistrationv1.Fail, policyRules())
	return []admissionregistrationv1.ValidatingWebhook{w}
}

// exceptionValidating warns and refuses. Nothing depends on it: an exception that does not compile has no effect, so that
// one may be stored while nobody answers.
func (b *builder) exceptionValidating() []admissionregistrationv1.ValidatingWebhook {
	w := b.validating("validate-exception.kyverno.svc", ExceptionValidatePath, admissionregistrationv1.Ignore,
		[]admissionregistrationv1.RuleWithOperations{{
			Operations: operationTypes(match.Create | match.Update),
			Rule: admissionregistrationv1.Rule{APIGroups: []string{"kyverno.io"}, APIVersions: []string{"v2", "v2beta1"},
				Resources: []string{"policyexceptions"}, Scope: pointer(admissionregistrationv1.NamespacedScope)},
		}})
	return []admissionregistrationv1.ValidatingWebhook{w}
}

// globalContextValidating refuses. Nothing depends on it: an entry that does not compile gives no data, so that one may be
// stored while nobody answers.
func (b *builder) globalContextValidating() []admissionregistrationv1.ValidatingWebhook {
	w := b.validating("validate-global-context.kyverno.svc", GlobalContextValidatePath, admissionregistrationv1.Ignore,
		[]admissionregistrationv1.RuleWithOperations{{
			Operations: operationTypes(match.Create | match.Update),
			Rule: admissionregistrationv1.Rule{APIGroups: []string{"kyverno.io"}, APIVersions: []string{"v2", "v2beta1", "v2alpha1"},
				Resources: []string{"globalcontextentries"}, Scope: pointer(admissionregistrationv1.ClusterScope)},
		}})
	return []admissionregistrationv1.ValidatingWebhook{w}
}

// monitor asks Signet to leave a mark on its own lease, which shows that the API server reaches it.
func (b *builder) monitor() []admissionregistrationv1.MutatingWebhook {
	w := b.mutating("monitor-webhooks.kyverno.svc", VerifyMutatePath, admissionregistrationv1.Ignore,
		[]admissionregistrationv1.RuleWithOperations{{
			Operations: operationTypes(match.Update),
			Rule: admissionregistrationv1.Rule{APIGroups: []string{"coordination.k8s.io"}, APIVersions: []string{"v1"},
				Resources: []string{"leases"}, Scope: pointer(admissionregistrationv1.NamespacedScope)},
		}})
	w.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{nameLabel: nameLabelValue}}
	return []admissionregistrationv1.MutatingWebhook{w}
}

func policyRules() []admissionregistrationv1.RuleWithOperations {
	return []admissionregistrationv1.RuleWithOperations{{
		Operations: operationTypes(match.Create | match.Update),
		Rule: admissionregistrationv1.Rule{APIGroups: []string{"kyverno.io"}, APIVersions: []string{"v1", "v2beta1"},
			Resources: []string{"clusterpolicies", "policies"}, Scope: pointer(admissionregistrationv1.AllScopes)},
	}}
}

func (b *builder) mutating(name, path string, onError admissionregistrationv1.FailurePolicyType, rules []admissionregistrationv1.RuleWithOperations) admissionregistrationv1.MutatingWebhook {
	return admissionregistrationv1.MutatingWebhook{
		Name: name, ClientConfig: b.endpoint.at(path), Rules: rules, FailurePolicy: &onError,
		MatchPolicy:       pointer(admissionregistrationv1.Equivalent),
		NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
		SideEffects:    pointer(admissionregistrationv1.SideEffectClassNoneOnDryRun),
		TimeoutSeconds: pointer(b.timeout), AdmissionReviewVersions: []string{"v1"},
		ReinvocationPolicy: pointer(admissionregistrationv1.IfNeededReinvocationPolicy),
	}
}

func (b *builder) validating(name, path string, onError admissionregistrationv1.FailurePolicyType, rules []admissionregistrationv1.RuleWithOperations) admissionregistrationv1.ValidatingWebhook {
	return admissionregistrationv1.ValidatingWebhook{
		Name: name, ClientConfig: b.endpoint.at(path), Rules: rules, FailurePolicy: &onError,
		MatchPolicy:       pointer(admissionregistrationv1.Equivalent),
		NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
		SideEffects:    pointer(admissionregistrationv1.SideEffectClassNone),
		TimeoutSeconds: pointer(b.timeout), AdmissionReviewVersions: []string{"v1"},
	}
}

func pointer[T any](v T) *T { return &v }
