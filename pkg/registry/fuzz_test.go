package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/signet-policy/signet/pkg/fuzztest"
	"github.com/signet-policy/signet/pkg/image"
)

// FuzzHosts: a hosts.toml is refused, or every host of it has an address that requests may be made of and something that
// it may be asked for.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{
		"server = \"https://registry-1.docker.io\"\n[host.\"https://mirror.example\"]\ncapabilities = [\"pull\", \"resolve\"]\nskip_verify = true\n",
		"[host.\"http://127.0.0.1:5000/v2/x\"]\noverride_path = true\ndial_timeout = \"3s\"\n[host.\"http://127.0.0.1:5000/v2/x\".header]\nx-a = [\"b\"]\n",
		"ca = \"../../etc/passwd\"\nclient = [[\"a\",\"b\"]]\n", "[host]\n[host.\"\"]\n", "server = \"https://u:p@h\"", "a.b.c = {x = [[1]]}", "\x00",
		strings.Repeat("[a.", 100), strings.Repeat("[", 10000),
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("/dev")) || bytes.Contains(b, []byte("/proc")) {
			t.Skip() // files that the operator names are read
		}
		fuzztest.Bounded(t, 32<<20, 2000, len(b), func() {
			c, err := parseHosts(b, dir, Limits{}.withDefaults(), nil)
			if err != nil {
				return
			}
			for _, m := range c.mirrors {
				if m.url == nil || m.url.Host == "" || m.url.Scheme != "https" && m.url.Scheme != "http" || m.url.User != nil {
					t.Errorf("%q names the host %v", b, m.url)
				}
			}
			if len(c.mirrors) > maxHosts {
				t.Errorf("%d mirrors", len(c.mirrors))
			}
		})
	})
}

// FuzzToken: what a token server says is a token that fits into a header, for a bounded time, or none.
func FuzzToken(f *testing.F) {
	for _, s := range []string{`{"token":"a","expires_in":60}`, `{"access_token":"a"}`, `{"token":"a\nb"}`, `{"token":"a","expires_in":1e300}`, `{"token":"a","expires_in":-1}`, `[]`, `{"token":"` + strings.Repeat("a", 100000) + `"}`} {
		f.Add([]byte(s))
	}
	now := time.Unix(1764000000, 0)
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzztest.Bounded(t, 1<<20, 100, len(b), func() {
			tok, ok := parseToken(b, now)
			if !ok {
				return
			}
			if tok.value == "" || len(tok.value) > maxToken || strings.ContainsAny(tok.value, " \r\n\x00") || tok.expires.Sub(now) > maxTokenAge || tok.expires.Before(now) {
				t.Errorf("%q became %+v", b, tok)
			}
		})
	})
}

// FuzzNextPage: a link leads to another page of the same list on the same host, or nowhere.
func FuzzNextPage(f *testing.F) {
	for _, s := range []string{`</v2/a/referrers/x?n=1>; rel="next"`, `<https://evil.example/v2/a/referrers/x>; rel=next`, `<//evil/v2/a/referrers/x>;rel=next`, `<../../b>; rel=next`, `<>; rel=next`, `<`, `<\\evil/v2>; rel=next`} {
		f.Add(s)
	}
	from, err := url.Parse("https://registry.example/v2/a/referrers/x")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		link := nextLink([]string{line})
		if link == "" {
			return
		}
		next, ok := nextPage(from, link)
		if ok && (next.Scheme != from.Scheme || next.Host != from.Host || !strings.HasSuffix(next.Path, "/referrers/x") || next.User != nil) {
			t.Errorf("%q leads to %v", line, next)
		}
	})
}

// served answers every request of a client with one body, as whatever is asked for.
type served struct {
	contentType string
	body        []byte
	requests    atomic.Int64
}

func (s *served) RoundTrip(req *http.Request) (*http.Response, error) {
	s.requests.Add(1)
	w := &responseBody{Reader: strings.NewReader(string(s.body))}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {s.contentType}}, Body: w, ContentLength: int64(len(s.body)), Request: req}, nil
}

type responseBody struct{ *strings.Reader }

func (*responseBody) Close() error { return nil }

// FuzzAttached: whatever a registry answers to everything, what comes of it is bounded in number and bytes, costs a
// bounded number of requests, and holds nothing but broken artifacts or bytes of the digests that were named.
func FuzzAttached(f *testing.F) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, s := range []string{
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digest + `","size":2,"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"}]}`,
		`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digest + `","size":2},"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"` + digest + `","size":2,"annotations":{"dev.cosignproject.cosign/signature":"AAAA"}}]}`,
		`{"manifests":[` + strings.Repeat(`{"digest":"`+digest+`"},`, 300) + `1]}`, `{"layers":[null,1,"x",[]]}`, `{"manifests":{}}`, `[]`, ``,
	} {
		f.Add("application/vnd.oci.image.index.v1+json", []byte(s))
		f.Add("application/vnd.oci.image.manifest.v1+json", []byte(s))
		f.Add("", []byte(s))
	}
	ref, err := image.Parse("registry.example/a/b:v1", image.Options{})
	if err != nil {
		f.Fatal(err)
	}
	img := ref.Pin(image.DigestOf(nil))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		s := &served{contentType: contentType, body: body}
		c, err := New(Options{Transport: s, Keychain: authn.NewMultiKeychain(), Limits: Limits{Tries: 1}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		fuzztest.Bounded(t, 256<<20, 4000, len(body), func() {
			a, err := c.Attached(ctx, img, image.Ref{})
			if err != nil {
				return
			}
			if len(a.Artifacts) > 1000 || s.requests.Load() > 1000 {
				t.Errorf("%d artifacts, %d requests", len(a.Artifacts), s.requests.Load())
			}
			for _, one := range a.Artifacts {
				if one.Err == nil && string(one.Payload) != string(body) {
					t.Errorf("an artifact of other bytes: %q", one.Payload)
				}
			}
			if _, err := c.Resolve(ctx, ref); err == nil && !json.Valid(body) {
				t.Errorf("%q is an image", body)
			}
		})
	})
}
