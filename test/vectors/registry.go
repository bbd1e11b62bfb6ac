package vectors

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/testdata/corpus"
)

// Host is the registry host that vectors use.
const Host = "ghcr.io"

// Registry is what the registry holds and how it behaves.
type Registry struct {
	// Corpus are repositories of the corpus of signed images; "*" is all of them.
	Corpus []string `json:"corpus"`
	// Unsigned are images, "repository:tag", to which nothing is attached.
	Unsigned []string `json:"unsigned"`
	// Signatures are made for images of Unsigned.
	Signatures []Signature `json:"signatures"`
	// Tags are tags, "repository:tag", that point to another tag of the same repository.
	Tags map[string]string `json:"tags"`
	// Junk is the number of referrers of no use that each of the images has besides.
	Junk map[string]int `json:"junk"`
	// NotaryJunk is the same of the type of Notary signatures. It is listed before Signatures.
	NotaryJunk map[string]int `json:"notaryJunk"`
	// Hosts are further host names that the registry answers for.
	Hosts []string `json:"hosts"`
	// Referrers is "" for a registry with the referrers API, "none" for one without, "empty" for one whose API says
	// that there are none.
	Referrers string `json:"referrers"`
	// FallbackType is the artifact type that fallback tags give for whatever they list; empty for the true one.
	FallbackType string `json:"fallbackType"`
	// Users are who may read, "name:password"; none for everybody.
	Users []string `json:"users"`
	// Refuse makes the host one that refuses connections.
	Refuse bool `json:"refuse"`
	// Faults are applied in order; of several that fit a request the last one is.
	Faults []Fault `json:"faults"`
	// After is how the registry changes after the warm object: its Refuse, Tags and Faults count.
	After *Registry `json:"after"`

	authority *authority
}

// Fault is one way in which the registry misbehaves. Exactly one of the fields after Times is set.
type Fault struct {
	// Kind (tag, manifest, blob, referrers), Repository and Reference select requests; empty ones fit all.
	Kind       string `json:"kind"`
	Repository string `json:"repository"`
	Reference  string `json:"reference"`
	// Skip leaves the first requests alone, Times ends the fault.
	Skip  int `json:"skip"`
	Times int `json:"times"`

	// Status is an HTTP status, with the protocol's error code in Code.
	Status int    `json:"status"`
	Code   string `json:"code"`
	// Hang says nothing; Close breaks the connection; FlipBit changes the body; Truncate ends it early.
	Hang     bool `json:"hang"`
	Close    bool `json:"close"`
	FlipBit  bool `json:"flipBit"`
	Truncate bool `json:"truncate"`
	// Delay is how long the answer takes.
	Delay string `json:"delay"`
	// Header sets headers of the answer.
	Header map[string]string `json:"header"`
	// Alternate answers as if one of these digests had been asked for, in turn.
	Alternate []string `json:"alternate"`
}

// Stock fills a registry and returns the digests of the images by "repository:tag".
func (r *Registry) Stock(s *registrytest.Server) map[string]string {
	if len(r.Corpus) > 0 {
		s.Load(corpus.Images(), func(repository string) bool {
			return slices.Contains(r.Corpus, repository) || slices.Contains(r.Corpus, "*")
		})
	}
	digests := map[string]string{}
	cases, err := corpus.Load()
	if err != nil {
		panic(err)
	}
	for i := range cases {
		c := &cases[i]
		if _, tagged := strings.CutPrefix(c.Image, c.Repository()+":"); tagged && c.Digest != "" && (slices.Contains(r.Corpus, c.Repository()) || slices.Contains(r.Corpus, "*")) {
			digests[c.Image] = c.Digest
		}
	}
	for _, img := range r.Unsigned {
		repository, tag, _ := strings.Cut(img, ":")
		digests[img] = s.PushImage(repository, tag, []byte(img))
	}
	for img, n := range r.NotaryJunk {
		repository, _, _ := strings.Cut(img, ":")
		for i := range n {
			s.Attach(repository, digests[img], image.NotarySignature, image.NotaryEnvelopeJWS, nil, fmt.Appendf(nil, `{"junk": %d}`, i))
		}
	}
	if len(r.Signatures) > 0 {
		if err := r.authority.sign(s, digests, r.Signatures); err != nil {
			panic(err)
		}
	}
	for img, n := range r.Junk {
		repository, _, _ := strings.Cut(img, ":")
		for i := range n {
			s.Attach(repository, digests[img], "application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle.v0.3+json", nil, fmt.Appendf(nil, `{"junk": %d}`, i))
		}
	}
	r.retag(s, digests)
	if r.FallbackType != "" {
		for img, d := range digests {
			repository, _, _ := strings.Cut(img, ":")
			s.RetypeFallback(repository, d, r.FallbackType)
		}
	}
	return digests
}

func (r *Registry) retag(s *registrytest.Server, digests map[string]string) {
	for img, to := range r.Tags {
		repository, tag, _ := strings.Cut(img, ":")
		d := to
		if known, ok := digests[to]; ok {
			d = known
		}
		s.Tag(repository, tag, d)
		digests[img] = d
	}
}

// Misbehave arms the faults.
func (r *Registry) Misbehave(t testing.TB, s *registrytest.Server, digests map[string]string) {
	t.Helper()
	if len(r.Users) > 0 {
		s.Fault(registrytest.Match{}, registrytest.Users(r.Users...))
	}
	switch r.Referrers {
	case "":
	case "none":
		s.NoReferrersAPI()
	case "empty":
		s.EmptyReferrers()
	default:
		t.Fatalf("referrers: %q", r.Referrers)
	}
	for i := range r.Faults {
		f := &r.Faults[i]
		s.Fault(registrytest.Match{Kind: f.Kind, Repository: f.Repository, Reference: Expand(f.Reference, digests), Skip: f.Skip, Times: f.Times}, f.fault(t, digests))
	}
}

func (f *Fault) fault(t testing.TB, digests map[string]string) registrytest.Fault {
	t.Helper()
	switch {
	case f.Status != 0:
		return registrytest.Status(f.Status, f.Code)
	case f.Hang:
		return registrytest.Hang()
	case f.Close:
		return registrytest.Close()
	case f.Delay != "":
		d, err := time.ParseDuration(f.Delay)
		if err != nil {
			t.Fatal(err)
		}
		return registrytest.Delay(d)
	case f.FlipBit:
		return registrytest.FlipBit()
	case f.Truncate:
		return registrytest.Truncate()
	case len(f.Header) > 0:
		return registrytest.Change(func(res *http.Response, body []byte) []byte {
			for name, value := range f.Header {
				res.Header.Set(name, Expand(value, digests))
			}
			return body
		})
	case len(f.Alternate) > 0:
		var turns []registrytest.Fault
		for _, img := range f.Alternate {
			turns = append(turns, registrytest.As(Expand(img, digests)))
		}
		return registrytest.InTurn(turns...)
	}
	t.Fatal("a fault that does nothing")
	return nil
}

// Change applies After.
func (r *Registry) Change(t testing.TB, s *registrytest.Server, digests map[string]string) {
	t.Helper()
	if r.After == nil {
		return
	}
	r.After.retag(s, digests)
	r.After.Misbehave(t, s, digests)
	if r.After.Refuse {
		// The port stays taken: one that is free again soon belongs to the registry of another vector.
		s.Fault(registrytest.Match{}, registrytest.Close())
	}
}

// Configure writes the configuration by which a client finds the server under the hosts, in containerd's certs.d form.
func (r *Registry) Configure(t testing.TB, s *registrytest.Server, dir string) {
	t.Helper()
	if !r.Refuse {
		for _, host := range append([]string{Host}, r.Hosts...) {
			s.WriteHostsToml(dir, host)
		}
	}
	// No other host is ever asked. Nobody listens there.
	sub := filepath.Join(dir, "_default")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sub, "hosts.toml"), []byte("server = \"http://127.0.0.1:1\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
