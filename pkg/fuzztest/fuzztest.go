// Package fuzztest bounds what parsers may cost on hostile bytes. Bounds are of memory, because time depends on the
// machine.
package fuzztest

import (
	"runtime/metrics"
	"testing"
)

// Bounded runs f and fails the test when it allocated more than base bytes and factor bytes for each byte of its input.
// What is allocated counts, whether it is still in use or not. Nothing else may run meanwhile: fuzz targets have a
// process to themselves, and the seeds of go test run after all tests.
func Bounded(t testing.TB, base, factor, size int, f func()) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	if spent, limit := sample[0].Value.Uint64()-before, uint64(base)+uint64(factor)*uint64(size); spent > limit {
		t.Errorf("%d bytes were allocated for an input of %d, more than %d", spent, size, limit)
	}
}
