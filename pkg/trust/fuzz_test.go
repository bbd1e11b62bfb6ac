package trust_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/trust/trusttest"
)

// FuzzTrustedRoot: no bytes make the parser panic, and what it refuses is not in force.
func FuzzTrustedRoot(f *testing.F) {
	f.Add(trusttest.EmptyRoot(0))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{"hashAlgorithm":"SHA2_256","logId":{"keyId":"AA=="},"publicKey":{"rawBytes":"AA==","keyDetails":"PKIX_ED25519","validFor":{}}}],"certificateAuthorities":[{"certChain":{"certificates":[null]}}]}`))
	f.Add([]byte(`{"timestampAuthorities":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := trust.NewLive("x")
		changed, err := l.Set(b)
		if m, _ := l.Material(t.Context()); changed != (err == nil) || (m != nil) != changed {
			t.Errorf("changed %t, %v, material %t", changed, err, m != nil)
		}
	})
}

// FuzzTUF: whatever a mirror sends for everything it is asked, a client ends with an error and without a root.
func FuzzTUF(f *testing.F) {
	r := trusttest.NewRepository(f)
	r.Publish(trusttest.EmptyRoot(0))
	for _, b := range r.State() {
		f.Add(b, b)
	}
	f.Add(r.Initial, []byte(`{"signed":{"_type":"timestamp","meta":null},"signatures":null}`))
	f.Fuzz(func(t *testing.T, root, rest []byte) {
		s, err := trust.NewTUF(trust.TUFOptions{Mirror: "http://mirror.invalid", Root: r.Initial, Transport: answers{root, rest}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Refresh(t.Context()); err == nil || s.Generation() != "none" {
			t.Error("a root out of nothing")
		}
		if _, err := trust.NewTUF(trust.TUFOptions{Root: root}); err != nil && len(err.Error()) > 1<<20 {
			t.Error("an endless error")
		}
	})
}

// answers are a mirror's: one document for the next root, another for all else.
type answers struct{ root, rest []byte }

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	status, body := http.StatusOK, a.rest
	if req.URL.Path == "/2.root.json" {
		body = a.root
	}
	if req.URL.Path == "/3.root.json" || len(body) == 0 {
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
}
