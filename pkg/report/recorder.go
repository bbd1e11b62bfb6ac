package report

import (
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/extract"
	"github.com/signet-policy/signet/pkg/policy"
)

// Options configure a recorder. Client and Reader are required for reports; everything else has a default or can be
// left out.
type Options struct {
	// Client writes reports. Reader reads objects' metadata and reports from the API server itself, not from a cache.
	Client client.Client
	Reader client.Reader
	// Events sends events with reporting controller kyverno-admission; nil sends none.
	Events events.EventRecorder
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
	// Policies gives the policies in force, a *policy.Store; nil keeps the results of policies that are gone.
	Policies interface{ Snapshot() *policy.Snapshot }
	// Version of the program, for kyverno_info.
	Version string

	// AdmissionReports turns reports on.
	AdmissionReports bool
	// EnableReporting are the rule types that are reported; nil means all, otherwise imageVerify must be among them.
	EnableReporting []string
	// AllowedResults are the outcomes that are reported; nil means all.
	AllowedResults []string
	// OmitEvents are the event reasons that are not sent.
	OmitEvents []string
	// MaxQueued is the largest number of reviews waiting to be published; ten times as many objects may wait for
	// their report, and as many events are sent at once before further ones are dropped. It defaults to 1000.
	MaxQueued int
	// GenerateSuccessEvents sends events of passes too.
	GenerateSuccessEvents bool
	// SuccessEvents says the same as things are now, and of which actions, all when there are none; nil for no more.
	SuccessEvents func() (enabled bool, actions []string)
	// Debounce is the time in which the calls of a request are collected; it defaults to 1 s.
	Debounce time.Duration
	// WritesPerSecond bounds writes of reports; it defaults to 20.
	WritesPerSecond float32

	Logger logr.Logger
	Clock  clock.WithTicker
}

// Review is one webhook call and its outcome. It must not be changed after it was recorded.
type Review struct {
	Request  *engine.Request
	Decision *engine.Decision
	// Operation is the API server's: CREATE, UPDATE, DELETE or CONNECT.
	Operation string
	DryRun    bool
	// UID is the object's, empty in the mutating phase of a creation.
	UID types.UID
	// Duration is the time that the review took.
	Duration time.Duration
}

// Recorder publishes reviews. It is safe for concurrent use. It is a manager Runnable of every replica.
type Recorder struct {
	o       Options
	metrics *metrics
	intake  chan *item
	limiter flowcontrol.RateLimiter
	// events bounds what is sent, by type, so that passes take nothing from violations: what sends them keeps each for minutes
	// and the API server for an hour, and whoever may try to create objects causes one by each.
	events map[string]flowcontrol.PassiveRateLimiter

	keyStates keyStates
	changes   changes

	mu      sync.Mutex
	pending map[objectKey]*pending
	queue   workqueue.TypedDelayingInterface[objectKey]
}

// item is what is kept of a review while it waits: not the object.
type item struct {
	key        objectKey
	slot       slot
	version    string
	created    bool
	uid        types.UID
	oldVersion string
	at         time.Time
	allowed    bool
	reportable bool
	results    []engine.Result
}

// New returns a recorder, which takes reviews at once and publishes them while Start runs.
func New(o Options) *Recorder {
	if o.MaxQueued <= 0 {
		o.MaxQueued = 1000
	}
	if o.Debounce <= 0 {
		o.Debounce = time.Second
	}
	if o.WritesPerSecond <= 0 {
		o.WritesPerSecond = 20
	}
	if o.AllowedResults == nil {
		o.AllowedResults = []string{"pass", "fail", "error", "warn", "skip"}
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Logger.GetSink() == nil {
		o.Logger = logr.Discard()
	}
	r := &Recorder{
		o: o, metrics: newMetrics(), intake: make(chan *item, o.MaxQueued), pending: map[objectKey]*pending{},
		limiter: flowcontrol.NewTokenBucketRateLimiter(o.WritesPerSecond, int(2*o.WritesPerSecond)+1),
		events:  map[string]flowcontrol.PassiveRateLimiter{},
		queue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[objectKey]{
			Clock: o.Clock, Logger: &o.Logger}),
	}
	r.metrics.register(o.Registerer, newRuleInfo(r.snapshot), o.Logger)
	r.changes.names.limit = 1024
	for _, kind := range []string{corev1.EventTypeNormal, corev1.EventTypeWarning} {
		r.events[kind] = flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(eventsPerSecond, o.MaxQueued, o.Clock)
	}
	r.metrics.info.WithLabelValues(label(o.Version)).Set(1)
	return r
}

// reporting tells whether reports are written at all.
func (r *Recorder) reporting() bool {
	return r.o.AdmissionReports && r.o.Client != nil && r.o.Reader != nil &&
		(r.o.EnableReporting == nil || slices.Contains(r.o.EnableReporting, "imageVerify"))
}

func (r *Recorder) snapshot() *policy.Snapshot {
	if r.o.Policies == nil {
		return nil
	}
	return r.o.Policies.Snapshot()
}

// Record counts a review and queues it for events and reports. It never blocks: what does not fit into the queue is
// dropped and counted in kyverno_events_dropped_total.
func (r *Recorder) Record(rv *Review) {
	if rv == nil || rv.Request == nil || rv.Decision == nil {
		return
	}
	r.metrics.observe(rv)
	it := r.item(rv)
	if it == nil {
		return
	}
	select {
	case r.intake <- it:
	default:
		r.metrics.dropped.Inc()
	}
}

// item takes from a review what is published later, nil when nothing is. Dry runs leave no trace.
func (r *Recorder) item(rv *Review) *item {
	req, d := rv.Request, rv.Decision
	if rv.DryRun || rv.Operation != "CREATE" && rv.Operation != "UPDATE" {
		return nil
	}
	a := &req.Attributes
	it := &item{
		key:     objectKey{group: a.Group, kind: a.Kind, namespace: a.Namespace, name: req.Name},
		slot:    slot{phase: req.Phase, path: req.FailurePolicy, only: req.Policy},
		version: a.Version, created: rv.Operation == "CREATE", uid: rv.UID, at: r.o.Clock.Now(), allowed: d.Allowed,
		results: d.Results,
	}
	switch old := metadata(req.Old); {
	case !it.created:
		it.oldVersion = old["resourceVersion"]
		it.uid = types.UID(old["uid"])
	case req.Phase == engine.Mutating:
		it.uid = "" // whatever the client wrote there
	}
	// The API server always says what an object was before its update. Without that anybody could have made the call up.
	known := it.created || it.uid != "" && it.oldVersion != ""
	it.reportable = known && r.reporting() && a.Subresource == "" && req.Name != "" && (len(d.Results) > 0 || extract.Carries(a.Kind))
	if len(d.Results) == 0 && !it.reportable {
		return nil
	}
	return it
}

// metadata gives the strings of an object's metadata.
func metadata(object map[string]any) map[string]string {
	out := map[string]string{}
	fields, _ := object["metadata"].(map[string]any)
	for _, name := range []string{"resourceVersion", "uid"} {
		out[name], _ = fields[name].(string)
	}
	return out
}
