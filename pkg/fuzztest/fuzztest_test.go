package fuzztest_test

import (
	"testing"

	"github.com/signet-policy/signet/pkg/fuzztest"
)

// recorder notes failures instead of failing.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

var sink []byte

func TestBounded(t *testing.T) {
	for size, want := range map[int]bool{1 << 10: false, 64 << 20: true} {
		r := &recorder{TB: t}
		fuzztest.Bounded(r, 1<<20, 100, 10, func() { sink = make([]byte, size) })
		if r.failed != want {
			t.Errorf("%d bytes: failed is %v", size, r.failed)
		}
	}
}
