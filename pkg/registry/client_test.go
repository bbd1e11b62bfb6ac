package registry_test

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

func noSecrets(t testing.TB, text string) {
	t.Helper()
	for _, word := range []string{"secret", "<html", "hunter2"} {
		if strings.Contains(text, word) {
			t.Errorf("text quotes the registry or a credential: %q", text)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	want := s.PushImage("acme/app", "v1", nil)
	p, err := newClient(t, registry.Options{}).Resolve(context.Background(), parse(t, s.Host()+"/acme/app:v1"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Digest().String() != want {
		t.Errorf("got %s, want %s", p.Digest(), want)
	}
	log := s.Log()
	if len(log) != 1 || log[0].Method != http.MethodGet || log[0].Path != "/v2/acme/app/manifests/v1" {
		t.Errorf("requests: %+v", log)
	}
}

func TestResolveIndex(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	want := s.PushIndex("acme/app", "v1", registrytest.Descriptor{MediaType: ociManifest, Digest: s.PushImage("acme/app", "", nil), Size: 2})
	p, err := newClient(t, registry.Options{}).Resolve(context.Background(), parse(t, s.Host()+"/acme/app:v1"))
	if err != nil || p.Digest().String() != want {
		t.Errorf("got %s, %v, want %s", p.Digest(), err, want)
	}
}

// VI 6.3(2): a reference that has a digest is never resolved.
func TestResolveDigestAsksNobody(t *testing.T) {
	t.Parallel()
	c := newClient(t, registry.Options{})
	digest := string(image.DigestOf(nil))
	p, err := c.Resolve(context.Background(), parse(t, "registry.invalid/a/b:v1@"+digest))
	if err != nil || p.Digest().String() != digest {
		t.Errorf("got %s, %v", p.Digest(), err)
	}
	_, err = c.Resolve(context.Background(), parse(t, "registry.invalid/a/b@sha512:"+strings.Repeat("a", 128)))
	wantReason(t, err, reason.InvalidImageReference, false)
	_, err = c.Resolve(context.Background(), image.Ref{})
	wantReason(t, err, reason.InvalidImageReference, false)
}

// T-001: each resolution takes what one request brought; nothing asks twice.
func TestT001AlternatingTag(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	a, b := s.PushImage("acme/app", "v1", nil), s.PushImage("acme/app", "", nil)
	s.Fault(registrytest.Match{Kind: registrytest.Tag, Reference: "v1"}, registrytest.InTurn(registrytest.As(a), registrytest.As(b)))
	c := newClient(t, registry.Options{})
	for i, want := range []string{a, b, a} {
		p, err := c.Resolve(context.Background(), parse(t, s.Host()+"/acme/app:v1"))
		if err != nil || p.Digest().String() != want {
			t.Errorf("resolution %d: got %s, %v, want %s", i, p.Digest(), err, want)
		}
	}
	if n := s.Count(registrytest.Match{}); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

func TestA48ResolveFailures(t *testing.T) {
	t.Parallel()
	sum := sha512.Sum512(nil)
	manifest := `{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":{},"layers":[]}`
	html := "<html><body>secret</body></html>"
	body := func(contentType, text string) registrytest.Fault {
		return registrytest.Body(http.StatusOK, contentType, []byte(text))
	}
	cases := map[string]struct {
		fault registrytest.Fault
		code  reason.Code
		text  string
	}{
		"tag unknown":               {registrytest.Status(404, "MANIFEST_UNKNOWN"), reason.ImageNotFound, ": MANIFEST_UNKNOWN"},
		"repository unknown":        {registrytest.Status(404, "NAME_UNKNOWN"), reason.ImageNotFound, ": NAME_UNKNOWN"},
		"404 with unknown code":     {registrytest.Status(404, "SECRET"), reason.ImageNotFound, ": 404 Not Found"},
		"404 with HTML":             {registrytest.Body(404, "text/html", []byte(html)), reason.ImageNotFound, ": 404 Not Found"},
		"401":                       {registrytest.Status(401, "UNAUTHORIZED"), reason.RegistryUnauthorized, "401 Unauthorized: UNAUTHORIZED"},
		"403":                       {registrytest.Status(403, "DENIED"), reason.RegistryUnauthorized, "403 Forbidden: DENIED"},
		"400":                       {registrytest.Status(400, ""), reason.RegistryUnavailable, "400 Bad Request"},
		"429":                       {registrytest.Status(429, "TOOMANYREQUESTS"), reason.RegistryRateLimited, "429"},
		"429 with Retry-After":      {registrytest.Status(429, "", "Retry-After", "1000000000"), reason.RegistryRateLimited, "429"},
		"500":                       {registrytest.Status(500, ""), reason.RegistryUnavailable, "500"},
		"501":                       {registrytest.Status(501, ""), reason.RegistryUnavailable, "501"},
		"503":                       {registrytest.Status(503, ""), reason.RegistryUnavailable, "503"},
		"status of its own":         {registrytest.Status(599, ""), reason.RegistryUnavailable, "HTTP 599"},
		"206":                       {registrytest.Body(206, ociManifest, []byte(manifest)), reason.RegistryUnavailable, "206"},
		"204":                       {registrytest.Status(204, ""), reason.RegistryUnavailable, "204"},
		"HTML":                      {body("text/html", html), reason.RegistryUnavailable, "JSON"},
		"manifest as HTML":          {body("text/html", manifest), reason.RegistryUnavailable, "media type"},
		"bad Content-Type":          {body("application/;;", manifest), reason.RegistryUnavailable, "media type"},
		"HTML as manifest":          {body(ociManifest, html), reason.RegistryUnavailable, "JSON"},
		"index as manifest":         {body(ociManifest, `{"manifests":[]}`), reason.RegistryUnavailable, "media type"},
		"manifest as index":         {body(ociIndex, manifest), reason.RegistryUnavailable, "media type"},
		"T-075 both":                {body(ociIndex, `{"manifests":[],"layers":[]}`), reason.RegistryUnavailable, "both"},
		"T-075 both, other case":    {body(ociIndex, `{"manifests":[],"LAYERS":[]}`), reason.RegistryUnavailable, "both"},
		"T-075 both, folded letter": {body(ociIndex, `{"manifests":[],"layer`+"\u017f"+`":[]}`), reason.RegistryUnavailable, "both"},
		"T-075 both, config":        {body(ociIndex, `{"manifests":[],"config":{}}`), reason.RegistryUnavailable, "both"},
		"neither":                   {body(ociManifest, `{}`), reason.RegistryUnavailable, "neither"},
		"A-23 field twice":          {body(ociManifest, `{"config":{},"config":{},"layers":[]}`), reason.RegistryUnavailable, "twice"},
		"mediaType of another":      {body(ociManifest, `{"mediaType":"`+ociIndex+`","config":{},"layers":[]}`), reason.RegistryUnavailable, "media type"},
		"docker for OCI":            {body("application/vnd.docker.distribution.manifest.v2+json", manifest), reason.RegistryUnavailable, "media type"},
		"schema 1":                  {body("application/vnd.docker.distribution.manifest.v1+prettyjws", `{"fsLayers":[]}`), reason.RegistryUnavailable, "media type"},
		"list":                      {body(ociManifest, `[]`), reason.RegistryUnavailable, "JSON"},
		"A-23 more than one":        {body(ociManifest, manifest+manifest), reason.RegistryUnavailable, "JSON"},
		"empty":                     {body(ociManifest, ""), reason.RegistryUnavailable, "JSON"},
		"A-23 too deep":             {body(ociManifest, `{"layers":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)+`}`), reason.RegistryUnavailable, "deep"},
		"lying digest header":       {registrytest.Header("Docker-Content-Digest", string(image.DigestOf(nil))), reason.DigestMismatch, "header"},
		"sha512 digest header":      {registrytest.Header("Docker-Content-Digest", "sha512:"+hex.EncodeToString(sum[:])), reason.DigestMismatch, "header"},
		"other bytes":               {registrytest.FlipBit(), reason.DigestMismatch, ""},
		"A-76 gzip":                 {registrytest.Header("Content-Encoding", "gzip"), reason.RegistryUnavailable, "compressed"},
		"truncated":                 {registrytest.Truncate(), reason.RegistryUnavailable, "broken"},
		"too large":                 {body(ociManifest, strings.Repeat(" ", 4<<20+1)), reason.LimitReached, "limit"},
		"endless":                   {registrytest.Endless(ociManifest, nil), reason.LimitReached, "limit"},
		"huge header":               {registrytest.Header("X-Filler", strings.Repeat("x", 80<<10)), reason.RegistryUnavailable, "no usable"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := registrytest.New(t)
			s.PushImage("acme/app", "v1", nil)
			s.Fault(registrytest.Match{}, tc.fault)
			c := newClient(t, registry.Options{Limits: registry.Limits{Pause: time.Millisecond}})
			_, err := c.Resolve(within(t, 2*time.Minute), parse(t, s.Host()+"/acme/app:v1"))
			e := wantReason(t, err, tc.code, false)
			if !strings.Contains(e.Text, tc.text) || !strings.Contains(e.Text, "GET "+s.URL()+"/v2/acme/app/manifests/v1: ") {
				t.Errorf("text %q does not hold the request and %q", e.Text, tc.text)
			}
		})
	}
}

func TestImageNotFoundText(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	s.PushImage("acme/app", "v1", nil)
	_, err := newClient(t, registry.Options{}).Resolve(context.Background(), parse(t, s.Host()+"/acme/app:nope"))
	want := "image tag not found: GET " + s.URL() + "/v2/acme/app/manifests/nope: MANIFEST_UNKNOWN"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestGenericContentType(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"application/json", "application/octet-stream", "application/json; charset=utf-8", ociManifest + "; charset=utf-8"} {
		t.Run(contentType, func(t *testing.T) {
			t.Parallel()
			s := registrytest.New(t)
			want := s.PushImage("acme/app", "v1", nil)
			s.Fault(registrytest.Match{}, registrytest.Header("Content-Type", contentType))
			p, err := newClient(t, registry.Options{}).Resolve(context.Background(), parse(t, s.Host()+"/acme/app:v1"))
			if err != nil || p.Digest().String() != want {
				t.Errorf("got %s, %v", p.Digest(), err)
			}
		})
	}
}

func TestManifestAtTheLimit(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	text := `{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":{},"layers":[],"annotations":{"a":"`
	full := text + strings.Repeat("x", 4<<20-len(text)-len(`"}}`)) + `"}}`
	want := s.PushManifest("acme/app", "v1", ociManifest, []byte(full)).Digest
	p, err := newClient(t, registry.Options{}).Resolve(context.Background(), parse(t, s.Host()+"/acme/app:v1"))
	if err != nil || p.Digest().String() != want || len(full) != 4<<20 {
		t.Errorf("got %s, %v", p.Digest(), err)
	}
}

func TestDepthAtTheLimit(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	body := `{"config":{},"layers":[],"x":` + strings.Repeat("[", 63) + `"[{\"["` + strings.Repeat("]", 63) + `}`
	s.PushManifest("acme/app", "v1", ociManifest, []byte(body))
	if _, err := newClient(t, registry.Options{}).Resolve(context.Background(), parse(t, s.Host()+"/acme/app:v1")); err != nil {
		t.Error(err)
	}
}

func TestExists(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	digest := s.PushImage("acme/app", "v1", nil)
	other := s.PushImage("acme/app", "", nil)
	c := newClient(t, registry.Options{})
	there := pin(t, s.Host()+"/acme/app", digest)
	if err := c.Exists(context.Background(), there); err != nil {
		t.Error(err)
	}
	gone := pin(t, s.Host()+"/acme/app", string(image.DigestOf([]byte("nothing"))))
	e := wantReason(t, c.Exists(context.Background(), gone), reason.ImageNotFound, false)
	if !strings.HasPrefix(e.Text, "image not found: GET ") {
		t.Errorf("text %q", e.Text)
	}
	wantReason(t, c.Exists(context.Background(), image.Pinned{}), reason.InvalidImageReference, false)
	// T-002: the bytes of another manifest, all headers in order.
	s.Fault(registrytest.Match{Reference: digest}, registrytest.As(other))
	wantReason(t, c.Exists(context.Background(), there), reason.DigestMismatch, false)
	s.Fault(registrytest.Match{Reference: digest}, registrytest.Header("Docker-Content-Digest", other))
	wantReason(t, c.Exists(context.Background(), there), reason.DigestMismatch, false)
}
