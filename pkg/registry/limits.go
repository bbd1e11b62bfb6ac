package registry

import "time"

// Limits bounds what one registry can cost. A zero field means the contract's value, given with each field.
type Limits struct {
	// Manifest is the size of a manifest, an index or a page of referrers in bytes: 4 MiB.
	Manifest int64
	// Signature is the size of a simple-signing payload in bytes: 64 KiB.
	Signature int64
	// Bundle is the size of a Sigstore bundle in bytes: 1 MiB.
	Bundle int64
	// Attestation is the size of a DSSE envelope in bytes: 16 MiB.
	Attestation int64
	// Payloads is the sum of all payloads fetched for one image in bytes: 64 MiB.
	Payloads int64
	// Layers is the number of layers looked at in one signature manifest: 64.
	Layers int
	// Referrers is the number of referrers looked at: 256.
	Referrers int
	// Pages is the number of referrers pages read: 8.
	Pages int
	// Candidates is the number of layers fetched for one image: 64.
	Candidates int
	// Redirects is the number of redirects followed for one request: 3.
	Redirects int
	// AuthTrips is the number of times that one request answers a challenge: 2.
	AuthTrips int
	// Headers is the size of a response's header in bytes: 64 KiB.
	Headers int64
	// Depth is the nesting of a JSON document: 64.
	Depth int
	// PerHost is the number of requests that run at once against one host: 16.
	PerHost int
	// InFlight is the number of body bytes being read at once, by all requests: 64 MiB.
	InFlight int64
	// Tries is the number of times that a request with a transient failure is made: 3.
	Tries int
	// Pause is about how long to wait before the second try, and doubles with each one: 100 ms.
	Pause time.Duration
	// Dial is how long connecting may take: 3 s.
	Dial time.Duration
	// Rest is how long a host that could not be connected to is left alone when the registry has others: 5 s.
	Rest time.Duration
	// Request is how long one HTTP request may take when the context allows more: 30 s.
	Request time.Duration
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

func (l Limits) withDefaults() Limits {
	or(&l.Manifest, 4*mib)
	or(&l.Signature, 64*kib)
	or(&l.Bundle, mib)
	or(&l.Attestation, 16*mib)
	or(&l.Payloads, 64*mib)
	or(&l.Layers, 64)
	or(&l.Referrers, 256)
	or(&l.Pages, 8)
	or(&l.Candidates, 64)
	or(&l.Redirects, 3)
	or(&l.AuthTrips, 2)
	or(&l.Headers, 64*kib)
	or(&l.Depth, 64)
	or(&l.PerHost, 16)
	or(&l.InFlight, 64*mib)
	or(&l.Tries, 3)
	or(&l.Pause, 100*time.Millisecond)
	or(&l.Dial, 3*time.Second)
	or(&l.Rest, 5*time.Second)
	or(&l.Request, 30*time.Second)
	return l
}

func or[T int | int64 | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}
