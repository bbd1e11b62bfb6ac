package sigstore

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
)

// maxMemo bounds the certificates whose chains are remembered, and maxMemoSize the size of one of them in bytes.
const (
	maxMemo     = 256
	maxMemoSize = 16 << 10
)

// memo remembers chains that were found: whatever asks next about the same certificate and the same authorities - a
// further policy, the second phase of an admission, a scan - is spared signature checks that cost more than all others
// together. What is remembered does not depend on the time, and failures are not remembered.
type memo struct {
	mu     sync.Mutex
	chains map[memoKey][][]*x509.Certificate
}

// memoKey is a hash of everything that a search for chains looks at.
type memoKey [sha256.Size]byte

func newMemoKey(leaf *x509.Certificate, lists ...[]*x509.Certificate) (key memoKey) {
	h := sha256.New()
	number := func(n int) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	for _, list := range append([][]*x509.Certificate{{leaf}}, lists...) {
		number(len(list))
		for _, c := range list {
			number(len(c.Raw))
			h.Write(c.Raw)
		}
	}
	h.Sum(key[:0])
	return key
}

func (m *memo) get(key memoKey) [][]*x509.Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.chains[key]
}

func (m *memo) put(key memoKey, chains [][]*x509.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chains == nil {
		m.chains = map[memoKey][][]*x509.Certificate{}
	}
	for old := range m.chains {
		if len(m.chains) < maxMemo {
			break
		}
		delete(m.chains, old)
	}
	m.chains[key] = chains
}

// find is chains by way of the memo.
func (m *memo) find(from *authority, leaf *x509.Certificate, carried []*x509.Certificate) ([][]*x509.Certificate, error) {
	if len(leaf.Raw) > maxMemoSize {
		return from.chains(leaf, carried)
	}
	key := newMemoKey(leaf, from.roots, from.intermediates, carried)
	if known := m.get(key); known != nil {
		return known, nil
	}
	found, err := from.chains(leaf, carried)
	if err == nil {
		m.put(key, found)
	}
	return found, err
}
