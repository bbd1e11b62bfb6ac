package attacks_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// TestT002Bytes has a registry that answers with other bytes than those of the digest that is asked for, or says that they are
// those of another one, for everything that is asked for by digest and for the image itself.
func TestT002Bytes(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	signatures := enforce(by(t, s))
	statements := enforce(attested(t, s, provenance, "[]"))
	for name, tc := range map[string]struct {
		policy string
		attach func(l *lab, digest string) (manifest, payload string)
		code   string
	}{
		"a signature by its tag": {signatures, func(l *lab, d string) (string, string) {
			layer := s.layer(t, d)
			l.AttachTag(repo, d, "sig", layer)
			return sigTag(d), registrytest.DigestOf(layer.Payload)
		}, "DigestMismatch"},
		"a bundle": {signatures, func(l *lab, d string) (string, string) {
			p := s.bundle(t, d, signType, "{}")
			return l.Attach(repo, d, bundle, bundle, nil, p), registrytest.DigestOf(p)
		}, "DigestMismatch"},
		"an attestation by its tag": {statements, func(l *lab, d string) (string, string) {
			layer := s.statement(t, d, provenance, "{}")
			l.AttachTag(repo, d, "att", layer)
			return strings.Replace(d, ":", "-", 1) + ".att", registrytest.DigestOf(layer.Payload)
		}, "AttestationMissing"},
		"an attestation in a bundle": {statements, func(l *lab, d string) (string, string) {
			p := s.bundle(t, d, provenance, "{}")
			return l.Attach(repo, d, bundle, bundle, nil, p), registrytest.DigestOf(p)
		}, "AttestationMissing"},
		"a child of the fallback's index": {signatures, func(l *lab, d string) (string, string) {
			p := s.bundle(t, d, signType, "{}")
			m := l.AttachLayers(repo, d, bundle, registrytest.Layer{MediaType: bundle, Payload: p})
			l.NoReferrersAPI()
			l.AttachFallback(repo, d, m)
			return m.Digest, registrytest.DigestOf(p)
		}, "DigestMismatch"},
	} {
		for what, fault := range map[string]registrytest.Fault{
			"one bit": registrytest.FlipBit(), "another length": registrytest.Change(func(_ *http.Response, b []byte) []byte { return append(b, ' ') }),
			"another document": registrytest.Body(200, ociManifest, []byte(`{"schemaVersion":2,"mediaType":"`+ociManifest+`","config":{},"layers":[]}`)),
			"the header lies":  registrytest.Header("Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64)),
		} {
			for _, part := range []string{"manifest", "payload"} {
				if what == "the header lies" && part == "payload" || strings.HasSuffix(name, "by its tag") && part == "manifest" && what != "the header lies" {
					continue // blobs have no such header, and a tag is no digest
				}
				t.Run(name+"/"+what+"/"+part, func(t *testing.T) {
					t.Parallel()
					l := newLab(t, engine.Options{}, tc.policy)
					digest := l.PushImage(repo, "v1", nil)
					manifest, payload := tc.attach(l, digest)
					reference := map[string]string{"manifest": manifest, "payload": payload}[part]
					remove := l.Fault(registrytest.Match{Reference: reference}, fault)
					d := l.judge(t, ":v1")
					want(t, d, tc.code)
					if l.Count(registrytest.Match{Reference: reference}) == 0 {
						t.Error("it was not asked for")
					}
					if tc.code == "AttestationMissing" && !strings.Contains(d.Results[0].Message, "digest") && !strings.Contains(d.Results[0].Message, "size") {
						t.Errorf("not the cause: %s", d.Results[0].Message)
					}
					remove()
					l.engineWith(t, engine.Options{})
					want(t, l.judge(t, ":v1"), "Verified")
				})
			}
		}
	}
	t.Run("the image", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, engine.Options{}, signatures)
		good, evil := l.PushImage(repo, "v1", []byte("good")), l.PushImage(repo, "v2", []byte("evil"))
		l.Fault(registrytest.Match{Reference: good}, registrytest.As(evil))
		want(t, l.judge(t, "@"+good), "DigestMismatch")
	})
}

// TestT003Deleting changes the image of objects that are being deleted and wait for a finalizer: they are judged like others.
func TestT003Deleting(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	l := newLab(t, engine.Options{}, enforce(by(t, s)))
	for tag, signed := range map[string]bool{"good": true, "also": true, "evil": false} {
		digest := l.PushImage(repo, tag, []byte(tag))
		if signed {
			l.AttachTag(repo, digest, "sig", s.layer(t, digest))
		}
	}
	spec := func(img string) map[string]any { return l.pod(img)["spec"].(map[string]any) }
	template := func(img string) map[string]any { return map[string]any{"spec": spec(img)} }
	kinds := map[string]struct {
		group string
		spec  func(img string) map[string]any
	}{
		"Pod":        {"", spec},
		"Deployment": {"apps", func(img string) map[string]any { return map[string]any{"template": template(img)} }},
		"CronJob": {"batch", func(img string) map[string]any {
			return map[string]any{"jobTemplate": map[string]any{"spec": map[string]any{"template": template(img)}}}
		}},
	}
	for kind, k := range kinds {
		for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
			for img, allowed := range map[string]bool{":also": phase == engine.Mutating, ":evil": false, ":good": true} {
				object := func(img string) map[string]any {
					return map[string]any{"spec": k.spec(img), "metadata": map[string]any{"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z",
						"deletionGracePeriodSeconds": 0.0, "finalizers": []any{"a.test/b"}}}
				}
				d := l.review(t, t.Context(), &engine.Request{
					Phase: phase, FailurePolicy: policy.Fail, Name: "p", Object: object(img), Old: object(":good"),
					Attributes: match.Attributes{Group: k.group, Version: "v1", Kind: kind, Namespace: "default", Name: "p", Operation: match.Update},
				})
				// In the validating phase a tag lacks the digest that the mutating one would have written.
				if d.Allowed != allowed || len(d.Results) == 0 {
					t.Errorf("%s %s, phase %v: allowed %v: %s", kind, img, phase, d.Allowed, d.Message)
				}
			}
		}
	}
}

// TestA48Statuses has statuses that one could read wrongly. "Not found" is an answer about signatures, and none about an image.
func TestA48Statuses(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	tag, sig, list := registrytest.Match{Reference: "v1"}, registrytest.Match{Reference: "sig"}, registrytest.Match{Kind: registrytest.Referrers}
	for name, tc := range map[string]struct {
		match registrytest.Match
		fault registrytest.Fault
		code  string
	}{
		"no image":                    {tag, registrytest.Status(404, "MANIFEST_UNKNOWN"), "ImageNotFound"},
		"no image, and a digest":      {tag, registrytest.Status(404, "MANIFEST_UNKNOWN", "Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64)), "ImageNotFound"},
		"no image but for HEAD":       {tag, registrytest.Unless(func(r *http.Request) bool { return r.Method == http.MethodHead }, registrytest.Status(404, "")), "ImageNotFound"},
		"no signature":                {sig, registrytest.Status(404, "MANIFEST_UNKNOWN"), "Unsigned"},
		"no list, but a signature":    {list, registrytest.Status(404, ""), "Verified"},
		"gone":                        {tag, registrytest.Status(410, ""), "RegistryUnavailable"},
		"the signature is gone":       {sig, registrytest.Status(410, ""), "RegistryUnavailable"},
		"HTML":                        {tag, registrytest.Body(200, "text/html", []byte("<html>secret words")), "RegistryUnavailable"},
		"HTML for the signature":      {sig, registrytest.Body(200, "text/html", []byte("<html>secret words")), "RegistryUnavailable"},
		"a part":                      {tag, registrytest.Status(206, ""), "RegistryUnavailable"},
		"a part of the signature":     {sig, registrytest.Status(206, ""), "RegistryUnavailable"},
		"nothing":                     {sig, registrytest.Status(204, ""), "RegistryUnavailable"},
		"not modified":                {sig, registrytest.Status(304, ""), "RegistryUnavailable"},
		"always 401":                  {tag, registrytest.Status(401, "", "WWW-Authenticate", `Basic realm="x"`), "RegistryUnauthorized"},
		"always 401 for signatures":   {sig, registrytest.Status(401, "", "WWW-Authenticate", `Basic realm="x"`), "RegistryUnauthorized"},
		"wait for thirty years":       {tag, registrytest.Status(429, "", "Retry-After", "1000000000"), "RegistryRateLimited"},
		"wait for it, for signatures": {sig, registrytest.Status(429, "", "Retry-After", "1000000000"), "RegistryRateLimited"},
		"a teapot":                    {tag, registrytest.Status(418, ""), "RegistryUnavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(by(t, s)))
			digest := l.PushImage(repo, "v1", nil)
			l.AttachTag(repo, digest, "sig", s.layer(t, digest))
			if tc.match == sig {
				tc.match.Reference = sigTag(digest)
			}
			l.Fault(tc.match, tc.fault)
			d := l.judge(t, ":v1")
			want(t, d, tc.code)
			if strings.Contains(d.Message, "secret") {
				t.Error(d.Message)
			}
		})
	}
	t.Run("5xx, then another image", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, engine.Options{}, enforce(by(t, s)))
		good, evil := l.PushImage(repo, "v1", []byte("good")), l.PushImage(repo, "", []byte("evil"))
		l.AttachTag(repo, good, "sig", s.layer(t, good))
		l.Fault(tag, registrytest.InTurn(registrytest.Status(503, ""), registrytest.As(evil)))
		want(t, l.judge(t, ":v1"), "Unsigned")
	})
}

// TestA50Mirror has a mirror that holds something else under the image's name. What is verified is what is written into the object,
// and whatever a node pulls by that digest is that or nothing.
func TestA50Mirror(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	upstream, mirror := registrytest.New(t), registrytest.New(t)
	good := upstream.PushImage("library/app", "v1", []byte("good"))
	evil := mirror.PushImage("library/app", "v1", []byte("evil"))
	for _, r := range []*registrytest.Server{upstream, mirror} {
		r.AttachTag("library/app", good, "sig", s.layer(t, good))
	}
	for name, tc := range map[string]struct {
		capabilities string
		image        string
		code, pin    string
	}{
		"a mirror of content":               {`["pull"]`, "app:v1", "Verified", good},
		"a mirror that resolves":            {`["pull", "resolve"]`, "app:v1", "Unsigned", ""},
		"by digest":                         {`["pull", "resolve"]`, "app:v1@" + good, "Verified", ""},
		"by digest of the other":            {`["pull", "resolve"]`, "app:v1@" + evil, "Unsigned", ""},
		"a mirror of content, by full name": {`["pull"]`, "docker.io/library/app:v1", "Verified", good},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(by(t, s)))
			dir := t.TempDir()
			writeHosts(t, dir, "docker.io", "server = \""+upstream.URL()+"\"\n[host.\""+mirror.URL()+"\"]\ncapabilities = "+tc.capabilities+"\n")
			client, err := registry.New(registry.Options{ConfigDir: dir, Keychain: authn.NewMultiKeychain()})
			if err != nil {
				t.Fatal(err)
			}
			l.engineBy(client, engine.Options{})
			d := l.review(t, t.Context(), l.requestOf(map[string]any{"metadata": map[string]any{"name": "p"},
				"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": tc.image}}}}))
			want(t, d, tc.code)
			pinned := ""
			for _, p := range d.Patches {
				if value, ok := p.Value.(string); ok && p.Op == "replace" {
					_, pinned, _ = strings.Cut(value, "@")
				}
			}
			if pinned != tc.pin {
				t.Errorf("pinned to %q, want %q", pinned, tc.pin)
			}
		})
	}
}
