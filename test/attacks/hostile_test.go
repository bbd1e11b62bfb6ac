package attacks_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// place is one kind of request that a verification makes, with the image for which everything hangs on its answer.
type place struct {
	match  func(digest, attached string) registrytest.Match
	attach func(t *testing.T, l *lab, s signer, digest string) (attached string)
}

func sigTag(digest string) string { return strings.Replace(digest, ":", "-", 1) + ".sig" }

// places are all kinds of requests.
func places() map[string]place {
	byTag := func(t *testing.T, l *lab, s signer, digest string) string {
		return l.AttachTag(repo, digest, "sig", s.layer(t, digest))
	}
	byReferrer := func(t *testing.T, l *lab, s signer, digest string) string {
		return l.Attach(repo, digest, bundle, bundle, nil, s.bundle(t, digest, signType, "{}"))
	}
	fixed := func(m registrytest.Match) func(string, string) registrytest.Match {
		return func(string, string) registrytest.Match { return m }
	}
	return map[string]place{
		"image tag":          {fixed(registrytest.Match{Reference: "v1"}), byTag},
		"signature tag":      {func(d, _ string) registrytest.Match { return registrytest.Match{Reference: sigTag(d)} }, byTag},
		"signature blob":     {fixed(registrytest.Match{Kind: registrytest.Blob}), byTag},
		"list of referrers":  {fixed(registrytest.Match{Kind: registrytest.Referrers}), byReferrer},
		"referrer manifest":  {func(_, m string) registrytest.Match { return registrytest.Match{Reference: m} }, byReferrer},
		"bundle of referrer": {fixed(registrytest.Match{Kind: registrytest.Blob}), byReferrer},
	}
}

// hostile plays a fault at every place but those left out, and wants a denial for one of the reasons. What the registry said is
// in no text.
func hostile(t *testing.T, timeout time.Duration, fault func(l *lab) registrytest.Fault, codes []string, without ...string) {
	t.Helper()
	s := newSigner(t)
	for name, p := range places() {
		if slices.Contains(without, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{Timeout: timeout}, enforce(by(t, s)))
			digest := l.PushImage(repo, "v1", nil)
			attached := p.attach(t, l, s, digest)
			remove := l.Fault(p.match(digest, attached), fault(l))
			d := l.judge(t, ":v1")
			if len(d.Results) != 1 || d.Allowed || !slices.Contains(codes, string(d.Results[0].Reason)) {
				t.Fatalf("allowed %v: %+v", d.Allowed, d.Results)
			}
			if text := d.Message + d.Results[0].Message; strings.Contains(text, "secret words") {
				t.Errorf("the registry's words are in %s", text)
			}
			remove()
			// Nothing of it stays: the same image is judged by what the registry says now.
			l.engineWith(t, engine.Options{})
			want(t, l.judge(t, ":v1"), "Verified")
		})
	}
}

// TestA45Slow has a registry that takes its time at each step: the request ends with a denial of Signet's own, before the API
// server gives up.
func TestA45Slow(t *testing.T) {
	t.Parallel()
	const budget = 1500 * time.Millisecond
	for name, tc := range map[string]struct {
		fault registrytest.Fault
		codes []string
	}{
		"T-023 silence":        {registrytest.Hang(), []string{"RegistryTimeout"}},
		"a header in bytes":    {registrytest.DripHeader(20 * time.Millisecond), []string{"RegistryTimeout"}},
		"a body in bytes":      {registrytest.Drip(100 * time.Millisecond), []string{"RegistryTimeout"}},
		"a body that dries up": {registrytest.Raw("HTTP/1.1 200 OK\r\nContent-Type: " + ociManifest + "\r\nContent-Length: 500\r\n\r\n{"), []string{"RegistryUnavailable", "RegistryTimeout", "DigestMismatch"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hostile(t, budget, func(*lab) registrytest.Fault { return tc.fault }, tc.codes)
		})
	}
}

// TestA45Others has a hundred hosts that accept connections and never say a word, and one tenant who names them all. An image on
// another host is verified while all of them are asked.
func TestA45Others(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	l := newLab(t, engine.Options{}, enforce(by(t, s)))
	digest := l.PushImage(repo, "v1", nil)
	l.AttachTag(repo, digest, "sig", s.layer(t, digest))
	const hosts = 100
	came, done := make(chan struct{}, 10*hosts), make(chan *engine.Decision, hosts)
	stop := make(chan struct{})
	for range hosts {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				came <- struct{}{}
				go func() {
					<-stop
					conn.Close()
				}()
			}
		}()
		go func() { done <- l.judge(t, listener.Addr().String()+"/x:1") }()
	}
	for range hosts {
		<-came
	}
	want(t, l.judge(t, ":v1"), "Verified")
	if len(done) > 0 {
		t.Error("a silent host has its verdict already")
	}
	close(stop)
	for range hosts {
		if d := <-done; d.Allowed {
			t.Error("an image of a silent host is allowed")
		}
	}
}

// TestA64OneHost has a tenant with hundreds of images on the host that everybody uses, which answers one request at a time: another
// tenant's image has its turns between theirs.
func TestA64OneHost(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	l := newLab(t, engine.Options{CacheDisabled: true}, enforce(by(t, s)))
	const theirs = "flood/app"
	for i := range 240 {
		l.PushImage(theirs, fmt.Sprint("v", i), []byte{byte(i)})
	}
	digest := l.PushImage(repo, "v1", nil)
	l.AttachTag(repo, digest, "sig", s.layer(t, digest))
	l.ResetLog()
	next := make(chan struct{})
	l.Fault(registrytest.Match{}, func(w http.ResponseWriter, r *http.Request, api http.Handler) {
		select {
		case <-next:
			api.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	})
	flood := make(chan *engine.Decision, 4)
	for i := range 4 {
		var images []string
		for k := range 60 {
			images = append(images, fmt.Sprintf("%s/%s:v%d", l.Host(), theirs, 60*i+k))
		}
		req := l.request(images...)
		req.Attributes.Namespace = "flood"
		go func() { flood <- l.review(t, t.Context(), req) }()
	}
	// Sixteen are on their way, and all the others wait for them.
	for l.Count(registrytest.Match{Repository: theirs}) < 16 {
		time.Sleep(time.Millisecond)
	}
	mine := make(chan *engine.Decision, 1)
	go func() { mine <- l.judge(t, ":v1") }()
	answered := 0
	for {
		select {
		case d := <-mine:
			want(t, d, "Verified")
			// Four rounds, each behind the sixteen that were there and one of the other tenant's: some sixty answers, and more where
			// this goroutine is faster than that one. Behind all of theirs it would be more than seven hundred.
			if answered > 400 {
				t.Errorf("verified only after %d answers", answered)
			}
			close(next)
			for range 4 {
				if d := <-flood; d.Allowed {
					t.Error("an unsigned image is allowed")
				}
			}
			return
		case next <- struct{}{}:
			answered++
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// TestA46Bombs has answers that are larger than they look, or without end. What is taken in is bounded; how much the registry got
// rid of shows it.
func TestA46Bombs(t *testing.T) {
	t.Parallel()
	const budget = time.Minute
	refused := []string{"RegistryUnavailable", "LimitReached", "DigestMismatch", "BadSignature"}
	var endless, interim atomic.Int64
	for name, tc := range map[string]struct {
		fault func(l *lab) registrytest.Fault
		sent  *atomic.Int64
		most  int64
	}{
		"T-044 endless":         {func(*lab) registrytest.Fault { return registrytest.Endless(ociManifest, &endless) }, &endless, 6 * 3 * 32 << 20},
		"interim answers":       {func(*lab) registrytest.Fault { return registrytest.Informational(&interim) }, &interim, 6 * 3 * 200_000},
		"A-76 compressed":       {func(*lab) registrytest.Fault { return registrytest.Gzip(true) }, nil, 0},
		"A-76 compressed twice": {func(*lab) registrytest.Fault { return registrytest.Gzip(false) }, nil, 0},
		"A-76 a gigabyte":       {func(*lab) registrytest.Fault { return registrytest.Bomb(ociManifest, 1<<30) }, nil, 0},
		"10 MB of headers":      {func(*lab) registrytest.Fault { return registrytest.BigHeader(10 << 20) }, nil, 0},
		"a million brackets": {func(*lab) registrytest.Fault {
			return registrytest.Body(200, ociManifest, []byte(strings.Repeat("[", 1<<20)))
		}, nil, 0},
		"a million entries": {func(*lab) registrytest.Fault {
			return registrytest.Body(200, ociManifest, []byte(`{"manifests":[`+strings.Repeat("{},", 1_000_000)+`{}]}`))
		}, nil, 0},
		"broken off":          {func(*lab) registrytest.Fault { return registrytest.Reset() }, nil, 0},
		"A-47 less than said": {func(*lab) registrytest.Fault { return registrytest.Truncate() }, nil, 0},
		"no HTTP":             {func(*lab) registrytest.Fault { return registrytest.Raw("220 secret words\r\n\r\n") }, nil, 0},
		"a huge challenge": {func(*lab) registrytest.Fault {
			return registrytest.Challenge("https://"+strings.Repeat("x", 40<<10), "")
		}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			codes := refused
			if name == "a huge challenge" {
				codes = append(slices.Clone(codes), "RegistryUnauthorized")
			}
			t.Run("at", func(t *testing.T) { hostile(t, budget, tc.fault, codes) })
			if tc.sent != nil && tc.sent.Load() > tc.most {
				t.Errorf("%d were taken", tc.sent.Load())
			}
		})
	}
}

// TestT008Lists has lists of signatures without end, in number and in size: the request stops at the limits, the verdict is that
// nothing is decided, and another image is verified meanwhile as ever.
func TestT008Lists(t *testing.T) {
	t.Parallel()
	s, stranger := newSigner(t), newSigner(t)
	for name, tc := range map[string]struct {
		arrange func(t *testing.T, l *lab, digest string)
		code    string
		most    int // requests
	}{
		"A-46 pages without end": {func(_ *testing.T, l *lab, _ string) {
			l.Fault(registrytest.Match{Kind: registrytest.Referrers}, registrytest.EndlessPages(10))
		}, "LimitReached", 8 + 80 + 10},
		"an index without end": {func(_ *testing.T, l *lab, _ string) {
			l.Fault(registrytest.Match{Kind: registrytest.Referrers}, registrytest.Endless(ociManifest, nil))
		}, "LimitReached", 10},
		"ten thousand signatures in one manifest": {func(t *testing.T, l *lab, digest string) {
			l.AttachTag(repo, digest, "sig", slices.Repeat([]registrytest.Layer{stranger.layer(t, digest)}, 10_000)...)
		}, "LimitReached", 80},
		"300 manifests with 64 signatures": {func(t *testing.T, l *lab, digest string) {
			layers := slices.Repeat([]registrytest.Layer{stranger.layer(t, digest)}, 64)
			for i := range 300 {
				layers[0].Payload = append(layers[0].Payload, byte(' '), byte('0'+i%10))
				l.AttachLayers(repo, digest, "application/vnd.dev.cosign.artifact.sig.v1+json", layers...)
			}
		}, "LimitReached", 256 + 64 + 10},
		"an envelope of 100 MB": {func(t *testing.T, l *lab, digest string) {
			l.Attach(repo, digest, bundle, bundle, nil, append(s.bundle(t, digest, signType, "{}"), make([]byte, 100<<20)...))
		}, "LimitReached", 10},
		"a configuration of 50 MB": {func(t *testing.T, l *lab, digest string) {
			m := l.PushBlob(repo, "x/y", make([]byte, 50<<20))
			l.PushManifest(repo, sigTag(digest), ociManifest, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"x/y","digest":%q,"size":%d},"layers":[]}`, ociManifest, m.Digest, m.Size))
		}, "Unsigned", 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(by(t, s)))
			good := l.PushImage("acme/good", "v1", []byte("good"))
			l.AttachTag("acme/good", good, "sig", s.layer(t, good))
			digest := l.PushImage(repo, "v1", nil)
			tc.arrange(t, l, digest)
			l.ResetLog()
			want(t, l.judge(t, ":v1"), tc.code)
			if n := l.Count(registrytest.Match{Repository: repo}); n > tc.most {
				t.Errorf("%d requests", n)
			}
			if n := l.Count(registrytest.Match{Kind: registrytest.Blob}); name == "a configuration of 50 MB" && n > 0 {
				t.Error("the configuration is fetched")
			}
			if name == "A-46 pages without end" || name == "an index without end" {
				return // the fault is there for every image
			}
			want(t, l.judge(t, l.Host()+"/acme/good:v1"), "Verified")
		})
	}
}
