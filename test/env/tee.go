package env

import (
	"bytes"
	"sync"
)

// lockedBuffer collects what two streams write at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tee writes to a stream's own buffer and to the common one.
type tee struct {
	own    *bytes.Buffer
	common *lockedBuffer
}

func (t *tee) Write(p []byte) (int, error) {
	t.own.Write(p)
	return t.common.Write(p)
}
