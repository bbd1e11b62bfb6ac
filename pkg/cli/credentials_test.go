package cli

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// TestExplainCredentials: where credentials come from and what the registry says of them, and nothing of what they are.
func TestExplainCredentials(t *testing.T) {
	t.Parallel()
	const repository = "acme/key-notlog-v3-bundle"
	key := trustFile("trust/cosign.pub")
	private, open := stocked(t, repository), stocked(t, repository)
	private.Fault(registrytest.Match{}, registrytest.Users("me:hunter2"))
	bearer := stocked(t, repository)
	holds := func(header string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Header.Get("Authorization") == header }
	}
	bearer.Fault(registrytest.Match{}, registrytest.Unless(holds("Bearer T"), registrytest.Status(401, "", "WWW-Authenticate", `Bearer realm="`+bearer.URL()+registrytest.TokenPath+`"`)))
	bearer.Fault(registrytest.Match{Kind: registrytest.Token}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if holds("Basic bWU6aHVudGVyMg==")(r) {
			registrytest.Body(200, "application/json", []byte(`{"token": "T"}`))(w, r, next)
			return
		}
		registrytest.Status(401, "")(w, r, next)
	})
	secret := func(name, host, user string) string {
		return file(t, name+".yaml", secretOf("kyverno", name, configJSON, ".dockerconfigjson", string(registrytest.DockerConfig(host, user))))
	}
	naming := func(list string) string {
		text := strings.Replace(policyOf(t, "signed", "Enforce", key, "background: false"), `["ghcr.io/acme/*"]`, `["*"]`, 1)
		return file(t, "policy.yaml", strings.Replace(text, "failureAction:", "imageRegistryCredentials: {secrets: ["+list+"]}\n      failureAction:", 1))
	}
	good, stale := secret("good", private.Host(), "me:hunter2"), secret("stale", private.Host(), "me:earlier")
	const inSecret = ".dockerconfigjson auths[HOST]"
	for name, c := range map[string]struct {
		server *registrytest.Server
		args   []string
		want   []Credential
	}{
		"a Secret":                 {private, []string{"--policy", naming("good"), "-r", good}, []Credential{{"HOST", "secret kyverno/good", inSecret, "accepted", 200}}},
		"a Secret that is refused": {private, []string{"--policy", naming("stale"), "-r", stale}, []Credential{{"HOST", "secret kyverno/stale", inSecret, "refused", 401}}},
		"the second Secret": {private, []string{"--policy", naming("stale, good"), "-r", stale, "-r", good}, []Credential{
			{"HOST", "secret kyverno/stale", inSecret, "refused", 401}, {"HOST", "secret kyverno/good", inSecret, "accepted", 200}}},
		"nobody's":        {private, nil, []Credential{{"HOST", "none", "", "refused", 401}}},
		"nobody is asked": {open, nil, []Credential{{"HOST", "", "", "open", 200}}},
		"a token":         {bearer, []string{"--policy", naming("token"), "-r", secret("token", bearer.Host(), "me:hunter2")}, []Credential{{"HOST", "secret kyverno/token", inSecret, "accepted", 200}}},
		"a token refused": {bearer, []string{"--policy", naming("token"), "-r", secret("token", bearer.Host(), "me:earlier")}, []Credential{{"HOST", "secret kyverno/token", inSecret, "refused", 401}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"explain", c.server.Host() + "/" + repository + ":v1", "--credentials"}, c.args...)
			got := call(t, append(args, "-o", "json")...)
			r := got.report(t)
			for i := range r.Credentials {
				r.Credentials[i].Host = strings.ReplaceAll(r.Credentials[i].Host, c.server.Host(), "HOST")
				r.Credentials[i].Entry = strings.ReplaceAll(r.Credentials[i].Entry, c.server.Host(), "HOST")
			}
			if d := cmp.Diff(c.want, r.Credentials); d != "" {
				t.Errorf("%s\n%s%s", d, got.stdout, got.stderr)
			}
			text := call(t, args...)
			if !strings.Contains(text.stdout, "\ncredentials\n") {
				t.Error(text.stdout)
			}
			for _, secret := range []string{"hunter2", "earlier", "me:", "\"me\""} {
				if strings.Contains(got.stdout+got.stderr+text.stdout+text.stderr, secret) {
					t.Errorf("%s in %s", secret, text.stdout)
				}
			}
		})
	}
}
