package report

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-policy/signet/pkg/engine"
)

// objectKey names an object across the calls of one request, before it has a UID.
type objectKey struct{ group, kind, namespace, name string }

// call is one webhook call as reports see it.
type call struct {
	slot
	created bool
	// uid is empty in the mutating phase of a creation.
	uid types.UID
	// oldVersion is the resource version before an update.
	oldVersion string
	version    string // of the API
	at         time.Time
	refused    bool
	findings   []finding
}

// request collects the calls of one admission request.
type request struct {
	created    bool
	uid        types.UID
	oldVersion string
	at         time.Time
	// refused is the phase in which the request was blocked, 0 when it was not.
	refused engine.Phase
	calls   map[slot][]finding
}

// includes tells whether a call can be of the same request. Calls carry no common identity, so this goes by the order
// of the phases and by what the object was before. A mutating webhook may be called twice in one request.
func (r *request) includes(c *call) bool {
	if r.created != c.created || r.oldVersion != c.oldVersion || r.uid != "" && c.uid != "" && r.uid != c.uid ||
		r.refused == engine.Mutating {
		return false
	}
	if c.phase == engine.Validating {
		_, seen := r.calls[c.slot]
		return !seen
	}
	for s := range r.calls {
		if s.phase == engine.Validating {
			return false
		}
	}
	return true
}

func (r *request) add(c *call) {
	if r.uid == "" {
		r.uid = c.uid
	}
	if c.refused {
		r.refused = c.phase
	}
	r.calls[c.slot] = c.findings
}

// empty tells whether no call of the request has a result.
func (r *request) empty() bool {
	for _, f := range r.calls {
		if len(f) > 0 {
			return false
		}
	}
	return true
}

// unchanged tells whether all results are of images that an update left alone, so that they are true of the object
// whether or not the update came through.
func (r *request) unchanged() bool {
	for _, fs := range r.calls {
		for i := range fs {
			if !fs[i].unchanged {
				return false
			}
		}
	}
	return !r.empty()
}

// requestsLimit is the largest number of requests remembered for one object; the newest ones count.
const requestsLimit = 4

// pending is what is known of an object and not yet written.
type pending struct {
	version  string
	requests []*request
	// revision counts the calls added, attempts those made to write since the last one.
	revision, attempts int
}

func (p *pending) add(c *call) {
	p.revision++
	p.attempts = 0
	p.version = c.version
	if n := len(p.requests); n > 0 && p.requests[n-1].includes(c) {
		p.requests[n-1].add(c)
		return
	}
	r := &request{created: c.created, uid: c.uid, oldVersion: c.oldVersion, at: c.at, calls: map[slot][]finding{}}
	r.add(c)
	p.requests = append(p.requests, r)
	if len(p.requests) > requestsLimit {
		p.requests = p.requests[1:]
	}
}

// needed tells whether a call without anything pending is worth remembering: one that says nothing of a new object, or
// refuses it, has nothing to write and nothing to undo.
func (c *call) needed() bool { return len(c.findings) > 0 && !c.refused || !c.created }

// clone is a copy that a writer reads while calls are added.
func (p *pending) clone() *pending {
	out := &pending{version: p.version, revision: p.revision, attempts: p.attempts}
	for _, r := range p.requests {
		c := *r
		c.calls = make(map[slot][]finding, len(r.calls))
		for s, f := range r.calls {
			c.calls[s] = f
		}
		out.requests = append(out.requests, &c)
	}
	return out
}

// verdict says what became of the requests of an object.
type verdict struct {
	// request is the newest one that came through, nil when none did. It speaks alone: those of its calls that went to
	// other replicas are written there.
	request *request
	// wait is set when a newer request may still come through.
	wait bool
}

// skew is how far the clocks of the API server and this process may be apart.
const skew = 30 * time.Second

// settle tells which request came through, by the object as it is now (nil: not found). A later webhook, or the
// storage, may have refused what was admitted here. On the last attempt nothing waits any more.
func (p *pending) settle(live *metav1.PartialObjectMetadata, last bool) verdict {
	v := verdict{}
	for _, r := range slices.Backward(p.requests) {
		switch r.fate(live, last) {
		case stored:
			v.request = r
			return v
		case unknown:
			v.wait = !last
		}
	}
	return v
}

// fate is what became of a request. There is no zero fate.
type fate int

const (
	stored fate = iota + 1
	lost
	unknown
)

func (r *request) fate(live *metav1.PartialObjectMetadata, last bool) fate {
	switch {
	case r.refused != 0:
		return lost
	case live == nil:
		return unknown
	case r.uid != "" && r.uid != live.UID:
		return lost // another object of the same name
	case r.created && r.uid == "" && live.CreationTimestamp.Time.Before(r.at.Add(-skew)):
		return lost // it was there before: the creation failed
	case !r.created && r.oldVersion == live.ResourceVersion && !(last && r.unchanged()):
		return unknown
	default:
		return stored
	}
}
