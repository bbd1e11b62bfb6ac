package sigstore

import "time"

// NewAt is New with a clock that stands still.
func NewAt(source Source, now time.Time) *Verifier {
	v := New(source)
	v.now = func() time.Time { return now }
	return v
}
