package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// trouble is an image that must not pass, with what has to be said of it.
type trouble struct {
	image string
	// status is "fail" or "error", and reason the code in events and reports.
	status, reason string
	// text follows "failed to verify image …: .attestors[0].entries[0].keys: "; with a trailing * it is a beginning.
	text string
	// timeout is the policy's, in seconds.
	timeout int64
}

// troubles prepares images that cannot be verified, each in a repository of its own.
func troubles(t *testing.T) map[string]trouble {
	r := shared.registry
	at := func(name string) (string, string) {
		repo := repository(t, name)
		return repo, host + "/" + repo + ":1"
	}
	out := map[string]trouble{}
	add := func(name, status, reason, text string, prepare func(repo string)) {
		repo, image := at(name)
		prepare(repo)
		out[name] = trouble{image: image, status: status, reason: reason, text: strings.ReplaceAll(text, "$REPO", repo), timeout: 30}
	}
	faulty := func(m registrytest.Match, f registrytest.Fault) func(string) {
		return func(repo string) {
			push(r, repo, "1", &shared.images.signed)
			m.Repository = repo
			t.Cleanup(r.Fault(m, f))
		}
	}
	url := r.URL() + "/v2/$REPO"
	tag := url + "/manifests/1"

	add("unsigned", "fail", "Unsigned", "no signatures found", func(repo string) { r.PushImage(repo, "1", nil) })
	add("stranger", "fail", "BadSignature", "no matching signatures: *", func(repo string) {
		push(r, repo, "1", &shared.images.foreign)
	})
	add("stranger-older", "fail", "BadSignature", "no matching signatures: *", func(repo string) {
		push(r, repo, "1", &shared.images.foreign)
		copyTag(r, repo, &shared.images.older, shared.images.foreign.digest)
	})
	add("another-digest", "fail", "DigestMismatch", "no matching signatures: *", func(repo string) {
		other := r.PushImage(repo, "1", nil)
		reattach(r, repo, &shared.images.signed, other)
	})
	add("missing", "fail", "ImageNotFound", "image tag not found: GET "+tag+": MANIFEST_UNKNOWN", func(repo string) {
		push(r, repo, "other", &shared.images.signed)
	})
	add("unauthorized", "fail", "RegistryUnauthorized", "*401*", faulty(registrytest.Match{}, registrytest.Status(401, "UNAUTHORIZED")))
	add("forbidden", "fail", "RegistryUnauthorized", "*403*", faulty(registrytest.Match{}, registrytest.Status(403, "DENIED")))
	add("rate-limited", "fail", "RegistryRateLimited", "*429*", faulty(registrytest.Match{}, registrytest.Status(429, "TOOMANYREQUESTS")))
	add("unavailable", "fail", "RegistryUnavailable", "*503*", faulty(registrytest.Match{}, registrytest.Status(503, "")))
	add("signatures-unavailable", "fail", "RegistryUnavailable", "*503*",
		faulty(registrytest.Match{Kind: registrytest.Referrers}, registrytest.Status(503, "")))
	add("lying-header", "fail", "DigestMismatch", "*",
		faulty(registrytest.Match{Kind: registrytest.Tag, Reference: "1"}, registrytest.Header("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))))
	add("lying-bytes", "fail", "DigestMismatch", "*", func(repo string) {
		push(r, repo, "1", &shared.images.signed)
		t.Cleanup(r.Fault(registrytest.Match{Repository: repo, Kind: registrytest.Manifest}, registrytest.FlipBit()))
	})
	add("slow", "fail", "RegistryTimeout", "*", faulty(registrytest.Match{}, registrytest.Hang()))
	slow := out["slow"]
	slow.timeout = 2
	out["slow"] = slow
	// Nobody listens on the first port.
	out["refused"] = trouble{image: "127.0.0.1:1/e2e/refused:1", status: "error", reason: "RegistryUnavailable", text: "*", timeout: 30}
	return out
}

// copyTag puts the cosign 2 signature of an image beside another image.
func copyTag(r *registrytest.Server, repo string, from *artifact, digest string) {
	for _, b := range from.blobs {
		r.PushBlob(repo, "application/octet-stream", b)
	}
	for _, m := range from.manifests[1:] {
		r.PushManifest(repo, registrytest.FallbackTag(digest)+".sig", m.mediaType, m.content)
	}
}

// reattach makes the signature of an image a referrer of another one.
func reattach(r *registrytest.Server, repo string, from *artifact, digest string) {
	for _, b := range from.blobs {
		r.PushBlob(repo, "application/octet-stream", b)
	}
	for _, m := range from.manifests[1:] {
		var content map[string]any
		if err := json.Unmarshal(m.content, &content); err != nil {
			panic(err)
		}
		content["subject"].(map[string]any)["digest"] = digest
		raw, err := json.Marshal(content)
		if err != nil {
			panic(err)
		}
		r.PushManifest(repo, "", m.mediaType, raw)
	}
}

// Everything that keeps an image from being verified, by failure policy and action: who is refused, in which words, with
// which code, and what remains of it in events and reports (VI 3.8, 6.14; seeds 2, 3, 9, 10, 11).
func TestTroubles(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	cases := troubles(t)
	for _, mode := range []struct{ failure, action string }{
		{"Fail", "Enforce"}, {"Ignore", "Enforce"}, {"Fail", "Audit"}, {"Ignore", "Audit"},
	} {
		t.Run(mode.failure+mode.action, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			places := map[int64]string{} // a namespace for each timeout
			for _, c := range cases {
				if places[c.timeout] != "" {
					continue
				}
				ns := namespace(t)
				places[c.timeout] = ns
				r := rule{failure: mode.failure, action: mode.action, timeout: c.timeout}
				if mode.action == "Audit" {
					r.entry = map[string]any{"mutateDigest": false, "verifyDigest": false}
				}
				u.apply(t, r.in(ns))
			}
			for name, c := range cases {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					blocks := c.status == "fail" && mode.action == "Enforce" || c.status == "error" && mode.failure == "Fail"
					checkTrouble(t, &c, places[c.timeout], name, strings.ToLower(mode.failure), blocks)
				})
			}
		})
	}
}

func checkTrouble(t *testing.T, c *trouble, ns, name, path string, blocks bool) {
	u := newUser(t)
	created, err := u.create(t, ns, pod(name, c.image))
	begin := "failed to verify image " + c.image + ": .attestors[0].entries[0].keys: "
	if blocks {
		wantRefused(t, err, `webhook "mutate.kyverno.svc-`+path+`"`, "resource Pod/"+ns+"/"+name+" was blocked due to the following policies signed: check: ")
		if err == nil {
			return
		}
		text := unfolded(err.Error())
		c.check(t, text, begin)
		note := fmt.Sprintf("Pod %s/%s: [check] %s (blocked); %s [%s]", ns, name, c.status, text, c.reason)
		e := u.event(t, ns, "Policy", "signed", note)
		if e.Type != "Warning" || e.Reason != "PolicyViolation" || e.Action != "Resource Blocked" || e.ReportingController != "kyverno-admission" {
			t.Errorf("event %+v", e)
		}
		return
	}
	if err != nil {
		t.Fatalf("refused, want it admitted: %v", err)
	}
	if got := created.Spec.Containers[0].Image; got != c.image {
		t.Errorf("the image that was not verified became %s", got)
	}
	for key, value := range noted(t, created.Annotations[annotation]) {
		if value != "fail" || !strings.HasPrefix(key, strings.TrimSuffix(c.image, ":1")) {
			t.Errorf("the annotation says %s of %s", value, key)
		}
	}
	warnings := u.warned()
	i := slices.IndexFunc(warnings, func(w string) bool { return strings.HasPrefix(w, "policy signed.check: "+begin) })
	if i < 0 || !slices.ContainsFunc(warnings, func(w string) bool {
		return strings.HasPrefix(w, "policy signed.check: ") && strings.Contains(w, "unverified image "+c.image)
	}) {
		t.Fatalf("want a warning of each phase, got %q", warnings)
	}
	text := strings.TrimPrefix(warnings[i], "policy signed.check: ")
	c.check(t, text, begin)

	report := u.report(t, ns, string(created.UID), func(r *reports.PolicyReport) error {
		if len(r.Results) != 1 || r.Results[0].Properties["reason"] != c.reason {
			return fmt.Errorf("%+v", r.Results)
		}
		return nil
	})
	result := report.Results[0]
	if string(result.Result) != c.status || result.Policy != ns+"/signed" || result.Rule != "check" ||
		result.Properties["image"] != c.image || result.Properties["path"] != "/spec/containers/0/image" {
		t.Errorf("report result %+v", result)
	}
	e := u.eventWith(t, ns, "Pod", name, "policy signed/check "+c.status+": ", " ["+c.reason+"]")
	if e.Type != "Warning" || e.Reason != "PolicyViolation" || e.Action != "Resource Passed" {
		t.Errorf("event %+v", e)
	}
	u.eventWith(t, ns, "Policy", "signed", fmt.Sprintf("Pod %s/%s: [check] %s; ", ns, name, c.status), " ["+c.reason+"]")
}

// check compares the text of an objection.
func (c *trouble) check(t *testing.T, text, begin string) {
	t.Helper()
	rest, ok := strings.CutPrefix(text, begin)
	if !ok {
		t.Errorf("said %q, want it to begin with %q", text, begin)
		return
	}
	for part := range strings.SplitSeq(c.text, "*") {
		if !strings.Contains(rest, part) {
			t.Errorf("said %q, want it like %q", rest, c.text)
		}
	}
	if !strings.Contains(c.text, "*") && rest != c.text {
		t.Errorf("said %q, want %q", rest, c.text)
	}
	if c.reason != "Unsigned" && strings.Contains(text, "no signatures found") {
		t.Errorf("what could not be checked is called unsigned: %q", text)
	}
	if strings.Contains(text, "secret words") {
		t.Errorf("the registry's words are passed on: %q", text)
	}
}

// A signature at one place is enough, whatever the others answer (seed 11).
func TestOnePlaceIsEnough(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns := newUser(t), namespace(t)
	u.apply(t, rule{keys: map[string]any{"rekor": map[string]any{"ignoreTlog": true}}}.in(ns))
	r := shared.registry
	repo := repository(t, "older")
	image := push(r, repo, "1", &shared.images.older)
	t.Cleanup(r.Fault(registrytest.Match{Repository: repo, Kind: registrytest.Referrers}, registrytest.Status(http.StatusServiceUnavailable, "")))
	p := u.mustCreate(t, ns, pod("referrers-unavailable", image+":1"))
	if got, want := p.Spec.Containers[0].Image, image+":1@"+shared.images.older.digest; got != want {
		t.Errorf("image %s, want %s", got, want)
	}
	// A broken answer for a moment is asked again.
	repo = repository(t, "moment")
	image = push(r, repo, "1", &shared.images.signed)
	t.Cleanup(r.Fault(registrytest.Match{Repository: repo, Kind: registrytest.Tag, Reference: "1", Times: 1}, registrytest.Status(http.StatusServiceUnavailable, "")))
	u.mustCreate(t, ns, pod("unavailable-for-a-moment", image+":1"))
}
