package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-policy/signet/pkg/policy"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestSettle(t *testing.T) {
	t.Parallel()
	created := func(s slot, uid types.UID, m string) call {
		return call{slot: s, created: true, uid: uid, at: noon, findings: found(true, brief("p", "r", m))}
	}
	updated := func(s slot, old, m string) call {
		return call{slot: s, uid: "u1", oldVersion: old, at: noon, findings: found(true, brief("p", "r", m))}
	}
	refused := func(c call) call {
		c.refused, c.findings = true, nil
		return c
	}
	unchanged := func(c call) call {
		c.findings[0].unchanged = true
		return c
	}
	object := func(uid types.UID, version string, age time.Duration) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: uid, ResourceVersion: version,
			CreationTimestamp: metav1.NewTime(noon.Add(-age))}}
	}
	u1 := object("u1", "10", 0)
	tests := map[string]struct {
		calls []call
		live  *metav1.PartialObjectMetadata
		last  bool
		want  map[slot]string // messages of the request that came through
		wait  bool
	}{
		"a created object": {
			calls: []call{created(mutFail, "", "m"), created(valFail, "u1", "v")},
			live:  u1, want: map[slot]string{mutFail: "m", valFail: "v"},
		},
		"not stored yet": {calls: []call{created(mutFail, "", "m")}, wait: true},
		"never stored":   {calls: []call{created(mutFail, "", "m")}, last: true},
		// A second creation of the same name is admitted and then refused by the storage.
		"an object that another request created": {calls: []call{created(mutFail, "", "m"), created(valFail, "u2", "v")}, live: u1},
		"an object that was there long before":   {calls: []call{created(mutFail, "", "m")}, live: object("u1", "10", time.Hour)},
		"clocks may differ a little":             {calls: []call{created(mutFail, "", "m")}, live: object("u1", "10", 20*time.Second), want: map[slot]string{mutFail: "m"}},
		"refused while validating": {
			calls: []call{created(mutFail, "", "m"), created(valIgnore, "u1", "v"), refused(created(valFail, "u1", ""))}, live: u1,
		},
		"refused, and the other path heard of later": {
			calls: []call{created(mutFail, "", "m"), refused(created(valFail, "u1", "")), created(valIgnore, "u1", "v")}, live: u1,
		},
		"refused while mutating, on the second path": {
			calls: []call{created(mutFail, "", "m"), refused(created(mutIgnore, "", ""))}, live: u1,
		},
		"a mutating webhook called twice": {
			calls: []call{created(mutFail, "", "m1"), created(mutIgnore, "", "i"), created(mutFail, "", "m2"), created(valFail, "u1", "v")},
			live:  u1, want: map[slot]string{mutFail: "m2", mutIgnore: "i", valFail: "v"},
		},
		"the newest update speaks alone": {
			calls: []call{created(mutFail, "", "m"), created(valFail, "u1", "v"), updated(mutFail, "8", "m2"), updated(valFail, "8", "v2")},
			live:  u1, want: map[slot]string{mutFail: "m2", valFail: "v2"},
		},
		"a refused update leaves what was before": {
			calls: []call{created(mutFail, "", "m"), created(valFail, "u1", "v"), updated(mutFail, "10", "m2"), refused(updated(valFail, "10", ""))},
			live:  u1, want: map[slot]string{mutFail: "m", valFail: "v"},
		},
		"an update not stored yet": {
			calls: []call{updated(mutFail, "8", "m"), updated(valFail, "8", "v"), updated(mutFail, "10", "m2")},
			live:  u1, want: map[slot]string{mutFail: "m", valFail: "v"}, wait: true,
		},
		"an update never stored": {calls: []call{updated(mutFail, "10", "m")}, live: u1, last: true},
		"an update that changes nothing": {
			calls: []call{unchanged(updated(mutFail, "10", "m"))}, live: u1, last: true, want: map[slot]string{mutFail: "m"},
		},
		"an update of an object replaced since": {calls: []call{updated(mutFail, "8", "m")}, live: object("u2", "20", 0)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &pending{}
			for i := range tc.calls {
				p.add(&tc.calls[i])
			}
			v := p.clone().settle(tc.live, tc.last)
			var got map[slot]string
			if v.request != nil {
				got = map[slot]string{}
				for s, f := range v.request.calls {
					got[s] = f[0].result.Message
				}
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(slot{})); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if v.wait != tc.wait {
				t.Errorf("wait %t, want %t", v.wait, tc.wait)
			}
		})
	}
}

func TestPendingIsBounded(t *testing.T) {
	t.Parallel()
	p := &pending{}
	for range 100 {
		p.add(&call{slot: slot{phase: valFail.phase, path: policy.Fail}, uid: "u"})
	}
	if len(p.requests) != requestsLimit || p.revision != 100 {
		t.Errorf("%d requests, revision %d", len(p.requests), p.revision)
	}
}
