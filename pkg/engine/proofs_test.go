package engine

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/verify"
)

// SEC 7: what is remembered of statements is bounded in bytes, however many verdicts there are.
func TestProofsBounded(t *testing.T) {
	t.Parallel()
	shared := make([]byte, maxProof+1)
	of := func(size int) *verify.Proof {
		return &verify.Proof{Statements: []verify.Statement{{Predicate: shared[:size/2]}, {Predicate: shared[:size-size/2]}}}
	}
	p := newProofs(1000, time.Hour)
	p.add("plain", &verify.Proof{})
	if p.add("large", of(maxProof+1)); p.get("large") != nil || p.get("plain") == nil {
		t.Error("a proof that is too large is kept, or drives out another")
	}
	if p.add("largest", of(maxProof)); p.get("largest") == nil {
		t.Error("a proof that fits is not kept")
	}
	var g sync.WaitGroup
	for i := range 64 {
		g.Go(func() {
			for k := range 8 {
				p.add(fmt.Sprint(i%16, "/", k), of(1<<20+k))
			}
		})
	}
	g.Wait()
	var total int64
	for _, proof := range p.lru.Values() {
		total += weight(proof)
	}
	if got := p.bytes.Load(); got != total || got > maxStatements || got < maxStatements/2 {
		t.Errorf("%d bytes are counted, %d are kept", got, total)
	}
	p.lru.Purge()
	if got := p.bytes.Load(); got != 0 {
		t.Errorf("%d bytes are counted of nothing", got)
	}
}
