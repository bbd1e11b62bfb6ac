package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"github.com/signet-policy/signet/pkg/verify"
)

const (
	// maxStatements bounds the statements that are cached with verdicts, in bytes, and maxProof those of one verdict: a
	// larger one is verified for every request.
	maxStatements = 32 << 20
	maxProof      = maxStatements / 4
)

// proofs remembers positive verdicts, with the verified statements that conditions read. The verdicts are bounded in
// number and age, their statements in bytes.
type proofs struct {
	lru   *expirable.LRU[string, *verify.Proof]
	mu    sync.Mutex // orders additions
	bytes atomic.Int64
}

func newProofs(size int, ttl time.Duration) *proofs {
	p := &proofs{}
	ttl = max(ttl, time.Microsecond) // the library divides it
	p.lru = expirable.NewLRU(size, func(_ string, proof *verify.Proof) { p.bytes.Add(-weight(proof)) }, ttl)
	return p
}

// get returns what is remembered, nil for nothing and for what a certificate's end has overtaken.
func (p *proofs) get(key string) *verify.Proof {
	proof, ok := p.lru.Get(key)
	if !ok || !proof.Until.IsZero() && time.Now().After(proof.Until) {
		return nil
	}
	return proof
}

func (p *proofs) add(key string, proof *verify.Proof) {
	size := weight(proof)
	if size > maxProof {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lru.Remove(key) // a value that is replaced would not be counted out
	for p.bytes.Load()+size > maxStatements {
		if _, _, ok := p.lru.RemoveOldest(); !ok {
			break
		}
	}
	p.bytes.Add(size)
	p.lru.Add(key, proof)
}

// weight is the size of a proof's statements in bytes.
func weight(proof *verify.Proof) int64 {
	total := 0
	for i := range proof.Statements {
		total += len(proof.Statements[i].Predicate)
	}
	return int64(total)
}
