package registrytest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
)

func get(t *testing.T, url string) (int, http.Header, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func TestPushAndServe(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	digest := s.PushImage("a/b", "v1", nil)
	base := s.URL() + "/v2/a/b/"
	for _, ref := range []string{"v1", digest} {
		status, h, body := get(t, base+"manifests/"+ref)
		if status != 200 || h.Get("Docker-Content-Digest") != digest || h.Get("Content-Type") != manifestType || registrytest.DigestOf([]byte(body)) != digest {
			t.Errorf("%s: %d %v", ref, status, h)
		}
	}
	other := s.PushImage("a/b", "", nil)
	s.Tag("a/b", "v1", other)
	if _, h, _ := get(t, base+"manifests/v1"); h.Get("Docker-Content-Digest") != other {
		t.Error("the tag did not move")
	}
	s.Untag("a/b", "v1")
	if status, _, body := get(t, base+"manifests/v1"); status != 404 || !strings.Contains(body, "MANIFEST_UNKNOWN") {
		t.Errorf("after untagging: %d %s", status, body)
	}
	var kinds []string
	for _, e := range s.Log() {
		kinds = append(kinds, fmt.Sprint(e.Kind, " ", e.Repository, " ", e.Status))
		if e.Begin >= e.End {
			t.Errorf("ticks %d, %d", e.Begin, e.End)
		}
	}
	want := []string{"tag a/b 200", "manifest a/b 200", "tag a/b 200", "tag a/b 404"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	digest := s.PushImage("a/b", "v1", nil)
	ref := s.Attach("a/b", digest, "x/sig", "x/layer", map[string]string{"k": "v"}, []byte("payload"))
	d := s.AttachLayers("a/b", "sha256:"+strings.Repeat("0", 64), "x/other", registrytest.Layer{MediaType: "x/y", Payload: []byte("z")})
	s.AttachFallback("a/b", digest, d)
	s.AttachFallback("a/b", digest, registrytest.Descriptor{MediaType: manifestType, Digest: ref, Size: 1})
	tagged := s.AttachTag("a/b", digest, "sig", registrytest.Layer{MediaType: "x/y", Payload: []byte("1")}, registrytest.Layer{MediaType: "x/y", Payload: []byte("2")})
	var list registrytest.Index
	_, _, body := get(t, s.URL()+"/v2/a/b/referrers/"+digest)
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Manifests) != 1 || list.Manifests[0].Digest != ref || list.Manifests[0].ArtifactType != "x/sig" {
		t.Errorf("referrers: %s", body)
	}
	_, _, body = get(t, s.URL()+"/v2/a/b/manifests/"+registrytest.FallbackTag(digest))
	list = registrytest.Index{}
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Manifests) != 2 {
		t.Errorf("fallback: %s", body)
	}
	_, h, body := get(t, s.URL()+"/v2/a/b/manifests/"+registrytest.FallbackTag(digest)+".sig")
	var m registrytest.ImageManifest
	if err := json.Unmarshal([]byte(body), &m); err != nil || h.Get("Docker-Content-Digest") != tagged || len(m.Layers) != 2 {
		t.Errorf("tag: %s", body)
	}
	s.EmptyReferrers()
	if _, _, body := get(t, s.URL()+"/v2/a/b/referrers/"+digest); !strings.Contains(body, `"manifests":null`) {
		t.Error(body)
	}
	s.NoReferrersAPI()
	if status, _, _ := get(t, s.URL()+"/v2/a/b/referrers/"+digest); status != 404 {
		t.Error(status)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	a, b := s.PushImage("a/b", "v1", nil), s.PushImage("a/b", "", nil)
	url := s.URL() + "/v2/a/b/manifests/v1"
	remove := s.Fault(registrytest.Match{Reference: "v1"}, registrytest.InTurn(registrytest.As(b), nil, registrytest.Status(429, "TOOMANYREQUESTS", "Retry-After", "7")))
	s.Fault(registrytest.Match{Kind: registrytest.Tag, Skip: 3, Times: 1}, registrytest.Body(418, "text/plain", []byte("tea")))
	for i, want := range []struct {
		status int
		digest string
	}{{200, b}, {200, a}, {429, ""}, {418, ""}, {200, b}} {
		status, h, _ := get(t, url)
		if status != want.status || h.Get("Docker-Content-Digest") != want.digest {
			t.Errorf("request %d: %d %v", i, status, h)
		}
	}
	remove()
	for name, tc := range map[string]struct {
		fault registrytest.Fault
		check func(status int, h http.Header, body string) bool
	}{
		"header": {registrytest.Header("Docker-Content-Digest", b), func(status int, h http.Header, body string) bool {
			return h.Get("Docker-Content-Digest") == b && registrytest.DigestOf([]byte(body)) == a
		}},
		"no header": {registrytest.Header("Docker-Content-Digest", ""), func(_ int, h http.Header, _ string) bool { return h.Get("Docker-Content-Digest") == "" }},
		"bit": {registrytest.FlipBit(), func(_ int, _ http.Header, body string) bool {
			return registrytest.DigestOf([]byte(body)) != a && len(body) > 100
		}},
	} {
		remove := s.Fault(registrytest.Match{}, tc.fault)
		if status, h, body := get(t, url); !tc.check(status, h, body) {
			t.Errorf("%s: %d %v %s", name, status, h, body)
		}
		remove()
	}
	for name, f := range map[string]registrytest.Fault{"close": registrytest.Close(), "truncate": registrytest.Truncate()} {
		remove := s.Fault(registrytest.Match{}, f)
		res, err := http.Get(url)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		remove()
	}
	if n := s.Count(registrytest.Match{Kind: registrytest.Tag, Repository: "a/b"}); n < 10 {
		t.Errorf("%d requests", n)
	}
}

// A layout with two repositories that share a blob, an index before its child, a referrer without a tag and a manifest
// with two tags.
func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(b []byte) registrytest.Descriptor {
		d := registrytest.Descriptor{Digest: registrytest.DigestOf(b), Size: int64(len(b))}
		file := filepath.Join(dir, "blobs", strings.Replace(d.Digest, ":", "/", 1))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return d
	}
	document := func(mediaType string, v any) registrytest.Descriptor {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		d := put(b)
		d.MediaType = mediaType
		return d
	}
	config := put([]byte("{}"))
	config.MediaType = "application/vnd.oci.empty.v1+json"
	layer := put([]byte("layer"))
	layer.MediaType = "x/y"
	child := document(manifestType, registrytest.ImageManifest{SchemaVersion: 2, MediaType: manifestType, Config: config, Layers: []registrytest.Descriptor{layer}})
	index := document(indexType, registrytest.Index{SchemaVersion: 2, MediaType: indexType, Manifests: []registrytest.Descriptor{child}})
	referrer := document(manifestType, registrytest.ImageManifest{SchemaVersion: 2, MediaType: manifestType, ArtifactType: "x/sig", Config: config, Layers: []registrytest.Descriptor{layer}, Subject: &index})
	in := func(d registrytest.Descriptor, repository, tag string) registrytest.Descriptor {
		d.Annotations = map[string]string{"corpus.repository": repository}
		if tag != "" {
			d.Annotations["org.opencontainers.image.ref.name"] = tag
		}
		return d
	}
	list, err := json.Marshal(registrytest.Index{SchemaVersion: 2, MediaType: indexType, Manifests: []registrytest.Descriptor{
		in(index, "a/one", "v1"), in(child, "a/one", ""), in(referrer, "a/one", ""), in(child, "a/two", "v1"), in(child, "a/two", "v2"), in(child, "b/three", "v1"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), list, 0o644); err != nil {
		t.Fatal(err)
	}
	s := registrytest.New(t)
	s.Load(dir, func(repository string) bool { return strings.HasPrefix(repository, "a/") })
	for path, want := range map[string]string{
		"a/one/manifests/v1":                index.Digest,
		"a/one/manifests/" + child.Digest:   child.Digest,
		"a/two/manifests/v1":                child.Digest,
		"a/two/manifests/v2":                child.Digest,
		"a/one/blobs/" + layer.Digest:       layer.Digest,
		"a/two/blobs/" + config.Digest:      config.Digest,
		"a/two/manifests/" + index.Digest:   "",
		"b/three/manifests/v1":              "",
		"a/one/manifests/" + "sha256-x.sig": "",
	} {
		status, _, body := get(t, s.URL()+"/v2/"+path)
		if got := registrytest.DigestOf([]byte(body)); want != "" && (status != 200 || got != want) || want == "" && status != 404 {
			t.Errorf("%s: %d %s", path, status, got)
		}
	}
	if _, _, body := get(t, s.URL()+"/v2/a/one/referrers/"+index.Digest); !strings.Contains(body, referrer.Digest) {
		t.Errorf("referrers: %s", body)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	s.PushImage("a/b", "v1", nil)
	g := s.Gate()
	done := make(chan int, 5)
	ask := func() {
		res, err := http.Get(s.URL() + "/v2/a/b/manifests/v1")
		if err != nil {
			done <- 0
			return
		}
		res.Body.Close()
		done <- res.StatusCode
	}
	for range 3 {
		go ask()
	}
	g.Step(3)
	for range 3 {
		if status := <-done; status != 200 {
			t.Error(status)
		}
	}
	for range 2 {
		go ask()
	}
	g.Open()
	for range 2 {
		if status := <-done; status != 200 {
			t.Error(status)
		}
	}
}
