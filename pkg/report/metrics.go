package report

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
)

// Metric describes one metric, for its registration and for the documentation.
type Metric struct {
	Name, Type, Help string
	Labels           []string
}

var (
	ruleLabels = []string{"policy_validation_mode", "policy_type", "policy_background_mode", "policy_namespace", "policy_name",
		"resource_kind", "resource_namespace", "resource_request_operation", "rule_name", "rule_result", "rule_type",
		"rule_execution_cause", "dry_run", "reason"}
	requestLabels = []string{"resource_kind", "resource_namespace", "resource_request_operation", "request_allowed"}
)

// The metrics, in the order of their documentation. No label holds text that the owner of an image controls.
var (
	resultsMetric = Metric{"kyverno_policy_results_total", "counter",
		"Rules judged, by their worst result over the images of one webhook call.", ruleLabels}
	executionMetric = Metric{"kyverno_policy_execution_duration_seconds", "histogram",
		"Time of the webhook calls that judged a rule. The rules of a call are judged together, so each has the call's time.", ruleLabels}
	requestsMetric = Metric{"kyverno_admission_requests_total", "counter",
		"Webhook calls reviewed.", requestLabels}
	reviewMetric = Metric{"kyverno_admission_review_duration_seconds", "histogram",
		"Time of the reviews of webhook calls.", requestLabels}
	letThroughMetric = Metric{"kyverno_admission_requests_filtered_total", "counter",
		"Webhook calls that were let through unjudged because the ConfigMap says so: by resource_filter, username, group, role or cluster_role.",
		[]string{"reason", "resource_kind"}}
	unjudgedMetric = Metric{"kyverno_admission_requests_unjudged_total", "counter",
		"Webhook calls that could not be judged: policies not read yet, the Lease of the replica lapsed, an object that is none, a review that is too large to be read (its kind is other), or a defect. The log says why.",
		[]string{"resource_kind", "request_allowed"}}
	unreadMetric = Metric{"kyverno_config_unread_keys", "gauge",
		"Keys of the ConfigMap that cannot be read; what they held before stays in force.", nil}
	droppedMetric = Metric{"kyverno_events_dropped_total", "counter",
		"Reviews whose events and reports were dropped because too many waited, and events of one type beyond 20 a second and --maxQueuedEvents at once.", nil}
	registryMetric = Metric{"kyverno_registry_requests_total", "counter",
		"Requests to image registries. From the 65th host on, the host is other.", []string{"host", "kind", "status"}}
	keysMetric = Metric{"kyverno_key_references",
		"gauge", "Public keys that policies refer to, by where they are kept (k8s, awskms, …) and whether they can be used (ready, invalid, unavailable).",
		[]string{"source", "status"}}
	infoMetric = Metric{"kyverno_info", "gauge",
		"Always 1; the label tells the version of the program.", []string{"version"}}
)

// Metrics lists what the recorder exports.
func Metrics() []Metric {
	return []Metric{resultsMetric, executionMetric, requestsMetric, reviewMetric, letThroughMetric, unjudgedMetric, unreadMetric, droppedMetric, registryMetric, keysMetric, ruleInfoMetric, changesMetric, infoMetric}
}

// buckets reach from a cached verdict to the longest timeout of a webhook, in seconds.
var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 20, 25, 30}

// metrics holds the collectors.
type metrics struct {
	results   *prometheus.CounterVec
	execution *prometheus.HistogramVec
	requests  *prometheus.CounterVec
	review    *prometheus.HistogramVec
	through   *prometheus.CounterVec
	unjudged  *prometheus.CounterVec
	unread    prometheus.Gauge
	dropped   prometheus.Counter
	registry  *prometheus.CounterVec
	keys      *prometheus.GaugeVec
	changes   *prometheus.CounterVec
	info      *prometheus.GaugeVec

	hosts, kinds, statuses, objects bounded
	places                          bounded
}

func newMetrics() *metrics {
	counter := func(m Metric) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
	}
	histogram := func(m Metric) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: buckets}, m.Labels)
	}
	return &metrics{
		results: counter(resultsMetric), execution: histogram(executionMetric), requests: counter(requestsMetric),
		review: histogram(reviewMetric), through: counter(letThroughMetric), unjudged: counter(unjudgedMetric),
		unread:   prometheus.NewGauge(prometheus.GaugeOpts{Name: unreadMetric.Name, Help: unreadMetric.Help}),
		registry: counter(registryMetric),
		keys:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: keysMetric.Name, Help: keysMetric.Help}, keysMetric.Labels),
		changes:  counter(changesMetric),
		dropped:  prometheus.NewCounter(prometheus.CounterOpts{Name: droppedMetric.Name, Help: droppedMetric.Help}),
		info:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: infoMetric.Name, Help: infoMetric.Help}, infoMetric.Labels),
		hosts:    bounded{limit: 64}, kinds: bounded{limit: 16}, statuses: bounded{limit: 64}, objects: bounded{limit: 256},
		places: bounded{limit: placesLimit},
	}
}

// register registers the collectors. One that is refused is not exported, which stops nobody's admission.
func (m *metrics) register(to prometheus.Registerer, more prometheus.Collector, log logr.Logger) {
	if to == nil {
		return
	}
	for _, c := range []prometheus.Collector{m.results, m.execution, m.requests, m.review, m.through, m.unjudged, m.unread, m.dropped, m.registry, m.keys, m.changes, m.info, more} {
		if err := to.Register(c); err != nil {
			var twice prometheus.AlreadyRegisteredError
			log.Error(err, "A metric is not exported", "registeredTwice", errors.As(err, &twice))
		}
	}
}

// placesLimit bounds the pairs of kind and namespace that have series of their own: whoever reaches the webhook's port can make
// up any number of them, and series are never given back.
const placesLimit = 4096

// other stands for values beyond a limit, and for those that no name has.
const other = "other"

// place is a kind and a namespace as labels.
func (m *metrics) place(kind, namespace string) (string, string) {
	if m.places.value(kind+":"+namespace) == other {
		return other, other
	}
	return kind, namespace
}

// observe counts one webhook call.
func (m *metrics) observe(rv *Review) {
	a := &rv.Request.Attributes
	operation := strings.ToLower(rv.Operation)
	kind, namespace := m.place(a.Kind, a.Namespace)
	request := []string{kind, namespace, label(operation), strconv.FormatBool(rv.Decision.Allowed)}
	m.requests.WithLabelValues(request...).Inc()
	m.review.WithLabelValues(request...).Observe(rv.Duration.Seconds())
	for _, o := range outcomes(rv.Decision.Results) {
		values := ruleValues(rv, &o, kind, namespace, operation)
		m.results.WithLabelValues(values...).Inc()
		m.execution.WithLabelValues(values...).Observe(rv.Duration.Seconds())
	}
}

// ruleValues are the values of ruleLabels, for an object of a kind in a namespace.
func ruleValues(rv *Review, o *ruleOutcome, kind, namespace, operation string) []string {
	p, scope, home := o.rule.Policy, "cluster", "-"
	if p.Namespace != "" {
		scope, home = "namespaced", p.Namespace
	}
	return []string{
		strings.ToLower(o.rule.Action(&rv.Request.Attributes).String()), scope, strconv.FormatBool(p.Background), label(home), label(p.Name),
		kind, namespace, label(operation), label(o.rule.Name), o.status.String(), "imageVerify",
		"admission_request", strconv.FormatBool(rv.DryRun), label(string(o.code)),
	}
}

// LetThrough counts one request that was let through unjudged, and why.
func (r *Recorder) LetThrough(reason, kind string) {
	r.metrics.through.WithLabelValues(label(reason), r.metrics.objects.value(kind)).Inc()
}

// Unjudged counts one request that could not be judged, and how it was answered. The kind is empty where it is not known.
func (r *Recorder) Unjudged(kind string, allowed bool) {
	r.metrics.unjudged.WithLabelValues(r.metrics.objects.value(cmp.Or(kind, other)), strconv.FormatBool(allowed)).Inc()
}

// UnreadKeys says how many keys of the ConfigMap cannot be read.
func (r *Recorder) UnreadKeys(n int) { r.metrics.unread.Set(float64(n)) }

// RegistryRequests counts one request to a registry: the host, what was asked for (manifest, blob, …) and how it ended
// (an HTTP status or a word). Values beyond a bounded number, and those that no host name holds, are counted as other.
func (r *Recorder) RegistryRequests(host, kind, status string) {
	m := r.metrics
	m.registry.WithLabelValues(m.hosts.value(host), m.kinds.value(kind), m.statuses.value(status)).Inc()
}

// label makes a value fit for a label: the library panics on bytes that are not UTF-8.
func label(s string) string {
	if !utf8.ValidString(s) {
		return other
	}
	return s
}

// bounded lets through the first values that it sees, up to a limit.
type bounded struct {
	limit int
	mu    sync.Mutex
	seen  map[string]bool
}

// valueLimit is the longest value, that of a DNS name with a port.
const valueLimit = 260

func (b *bounded) value(s string) string {
	if len(s) > valueLimit || strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-_:[]", c)
	}) {
		return other
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen[s] {
		return s
	}
	if len(b.seen) >= b.limit {
		return other
	}
	if b.seen == nil {
		b.seen = map[string]bool{}
	}
	b.seen[s] = true
	return s
}
