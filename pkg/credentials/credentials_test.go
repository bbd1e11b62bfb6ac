package credentials_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/signet-policy/signet/pkg/credentials"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

const configJSON = "kubernetes.io/dockerconfigjson"

// cluster holds Secrets and service accounts by "namespace/name". What was read is counted.
type cluster struct {
	mu       sync.Mutex
	secrets  map[string][]byte // docker configurations
	types    map[string]string // of other Secrets
	accounts map[string][]string
	err      error
	read     map[string]int
}

func newCluster() *cluster {
	return &cluster{secrets: map[string][]byte{}, types: map[string]string{}, accounts: map[string][]string{}, read: map[string]int{}}
}

func (c *cluster) Secret(_ context.Context, namespace, name string) (string, map[string][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := namespace + "/" + name
	c.read[key]++
	content, ok := c.secrets[key]
	switch {
	case c.err != nil:
		return "", nil, c.err
	case !ok:
		return "", nil, nil
	case c.types[key] != "":
		return c.types[key], map[string][]byte{".dockercfg": content, ".dockerconfigjson": content}, nil
	}
	return configJSON, map[string][]byte{".dockerconfigjson": content}, nil
}

func (c *cluster) PullSecrets(_ context.Context, namespace, account string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read["account "+namespace+"/"+account]++
	return c.accounts[namespace+"/"+account], c.err
}

func (c *cluster) put(name string, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets[name] = content
}

func (c *cluster) reads() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.read)
}

// fixture is a registry with the users who, pod, tool and own, all with the password "x", and a source.
type fixture struct {
	*cluster
	server *registrytest.Server
	ref    image.Ref
	source *credentials.Source
	now    time.Time
	used   []string
}

func newFixture(t *testing.T, o credentials.Options) *fixture {
	t.Helper()
	f := &fixture{cluster: newCluster(), server: registrytest.New(t), now: time.Unix(1e9, 0)}
	f.server.PushImage("acme/app", "v1", nil)
	f.server.Fault(registrytest.Match{}, registrytest.Users("entry:x", "pod:x", "tool:x", "own:x", "docker:x"))
	var err error
	if f.ref, err = image.Parse(f.server.Host()+"/acme/app:v1", image.Options{}); err != nil {
		t.Fatal(err)
	}
	if o.Client, err = registry.New(registry.Options{}); err != nil {
		t.Fatal(err)
	}
	if o.Keychains == nil {
		o.Keychains = map[string]authn.Keychain{"default": user("docker"), "google": user("tool")}
	}
	o.Secrets, o.SystemNamespace, o.Now = f.cluster, "kyverno", func() time.Time { return f.now }
	o.Used = func(u credentials.Use) { f.used = append(f.used, u.Source) }
	f.source = credentials.New(o)
	for name, u := range map[string]string{"kyverno/entry": "entry", "kyverno/own": "own", "team/pod": "pod", "team/entry": "pod", "team/stale": "gone", "kyverno/stale": "gone"} {
		f.put(name, registrytest.DockerConfig(f.server.Host(), u+":x"))
	}
	return f
}

// user is a keychain with one user for every host.
type user string

func (u user) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig{Username: string(u), Password: "x"}), nil
}

// ask resolves the image with the access and returns who did: the user's name, or the reason of the failure.
func (f *fixture) ask(t *testing.T, a engine.Access) (who string, opened engine.Opened) {
	t.Helper()
	o, err := f.source.Open(t.Context(), a)
	if err != nil {
		return "error: " + err.Error(), o
	}
	f.server.ResetLog()
	if _, err := o.Registry.Resolve(t.Context(), f.ref); err != nil {
		return string(reason.Of(err).Code), o
	}
	for _, e := range f.server.Log() {
		if e.Status == 200 {
			name, _, _ := strings.Cut(decode(t, e.Header.Get("Authorization")), ":")
			return name, o
		}
	}
	return "nobody", o
}

func decode(t *testing.T, header string) string {
	t.Helper()
	var c authn.AuthConfig
	if err := c.UnmarshalJSON([]byte(`{"auth":"` + strings.TrimPrefix(header, "Basic ") + `"}`)); err != nil {
		t.Fatal(err)
	}
	return c.Username + ":" + c.Password
}

func named(names ...string) []policy.SecretName {
	var out []policy.SecretName
	for _, n := range names {
		s, err := policy.ParseSecretName(n)
		if err != nil {
			panic(err)
		}
		out = append(out, s)
	}
	return out
}

// VI 7.2(1) to (5): whose credentials are used.
func TestOpen(t *testing.T) {
	t.Parallel()
	pod := engine.Access{Namespace: "team", PullSecrets: []string{"pod"}}
	with := func(a engine.Access, c policy.Credentials) engine.Access { a.Credentials = &c; return a }
	cases := map[string]struct {
		options credentials.Options
		access  engine.Access
		want    string
	}{
		"nothing at all: the docker configuration":   {want: "docker"},
		"the process' providers":                     {credentials.Options{Providers: []string{"google"}}, engine.Access{}, "tool"},
		"the process' secrets before its providers":  {credentials.Options{PullSecrets: named("own"), Providers: []string{"google"}}, engine.Access{}, "own"},
		"the process' secrets, all missing":          {credentials.Options{PullSecrets: named("gone")}, engine.Access{}, "RegistryUnauthorized"},
		"the entry's secret":                         {access: with(engine.Access{}, policy.Credentials{Secrets: named("entry")}), want: "entry"},
		"the entry's secret before the Pod's":        {access: with(pod, policy.Credentials{Secrets: named("entry")}), want: "entry"},
		"the Pod's when the entry's is missing":      {access: with(pod, policy.Credentials{Secrets: named("gone")}), want: "pod"},
		"the Pod's before the entry's providers":     {access: with(pod, policy.Credentials{Providers: []string{"google"}}), want: "pod"},
		"the entry's providers after missing ones":   {access: with(engine.Access{Namespace: "team", PullSecrets: []string{"gone"}}, policy.Credentials{Providers: []string{"google"}}), want: "tool"},
		"an entry that only allows plain HTTP":       {credentials.Options{Providers: []string{"google"}, PullSecrets: named("own")}, with(engine.Access{}, policy.Credentials{AllowInsecure: true}), "docker"},
		"the Pod's alone":                            {access: pod, want: "pod"},
		"A-49: not the process' beside the Pod's":    {credentials.Options{PullSecrets: named("own"), Providers: []string{"google"}}, engine.Access{Namespace: "team", PullSecrets: []string{"gone"}}, "RegistryUnauthorized"},
		"A-49: not the system namespace for the Pod": {access: engine.Access{Namespace: "team", PullSecrets: []string{"own"}}, want: "RegistryUnauthorized"},
		"A-49: not the Pod's namespace for the rule": {access: with(engine.Access{Namespace: "team"}, policy.Credentials{Secrets: named("entry")}), want: "entry"},
		"A-49: no other namespace by a path":         {access: engine.Access{Namespace: "other", PullSecrets: []string{"../team/pod", "team/pod"}}, want: "RegistryUnauthorized"},
		"a service account without secrets":          {access: engine.Access{Namespace: "team", ServiceAccount: "default"}, want: "docker"},
		"a service account with some":                {access: engine.Access{Namespace: "team", ServiceAccount: "builder"}, want: "pod"},
		"a service account of an impossible name":    {access: engine.Access{Namespace: "team", ServiceAccount: "../x"}, want: "docker"},
		"the template's before the service account":  {access: engine.Access{Namespace: "team", ServiceAccount: "builder", PullSecrets: []string{"gone"}}, want: "RegistryUnauthorized"},
		"a stale secret before the Pod's good one":   {access: engine.Access{Namespace: "team", PullSecrets: []string{"stale", "pod"}}, want: "pod"},
		"a stale secret before the entry's provider": {access: with(engine.Access{}, policy.Credentials{Secrets: named("stale"), Providers: []string{"google"}}), want: "tool"},
		"stale secrets only":                         {access: engine.Access{Namespace: "team", PullSecrets: []string{"stale", "stale"}}, want: "RegistryUnauthorized"},
		"an unknown provider":                        {access: with(engine.Access{}, policy.Credentials{Providers: []string{"amazon"}}), want: `error: credential provider "amazon" is not part of this build`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, tc.options)
			f.accounts["team/builder"] = []string{"pod"}
			if who, _ := f.ask(t, tc.access); who != tc.want {
				t.Errorf("asked by %s (%v), want %s", who, f.used, tc.want)
			}
		})
	}
}

// VI 6.2(3), 7.2(4): which Secrets are an error, and which are passed over.
func TestUnusableSecrets(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		content, kind string
		err           string // of the rule that names it
	}{
		"not JSON":               {content: "hunter2", err: "secret kyverno/bad: malformed docker configuration"},
		"a list":                 {content: "[]", err: "secret kyverno/bad: malformed docker configuration"},
		"auth that is no base64": {content: `{"auths":{"a":{"auth":"%%%hunter2"}}}`, err: "secret kyverno/bad: malformed docker configuration"},
		"another type":           {content: `{"auths":{}}`, kind: "Opaque", err: "secret kyverno/bad: not a Secret of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg"},
		"empty":                  {content: `{}`},
		"only helpers":           {content: `{"credsStore":"evil","credHelpers":{"127.0.0.1":"evil"}}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, credentials.Options{})
			for _, ns := range []string{"kyverno", "team"} {
				f.put(ns+"/bad", []byte(tc.content))
				f.types[ns+"/bad"] = tc.kind
			}
			want := "RegistryUnauthorized"
			if tc.err != "" {
				want = "error: " + tc.err
			}
			if who, _ := f.ask(t, engine.Access{Credentials: &policy.Credentials{Secrets: named("bad")}}); who != want {
				t.Errorf("named by a rule: %s, want %s", who, want)
			}
			if who, _ := f.ask(t, engine.Access{Namespace: "team", PullSecrets: []string{"bad"}}); who != "RegistryUnauthorized" {
				t.Errorf("named by a Pod: %s", who)
			}
		})
	}
	t.Run("no API server", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, credentials.Options{})
		f.err = errors.New("away")
		for _, a := range []engine.Access{
			{Credentials: &policy.Credentials{Secrets: named("entry")}}, {Namespace: "team", PullSecrets: []string{"pod"}},
			{Namespace: "team", ServiceAccount: "builder"},
		} {
			if who, _ := f.ask(t, a); !strings.HasSuffix(who, ": away") {
				t.Errorf("%+v: %s", a, who)
			}
		}
		f.err = nil
		if who, _ := f.ask(t, engine.Access{Namespace: "team", PullSecrets: []string{"pod"}}); who != "pod" {
			t.Errorf("afterwards: %s", who)
		}
	})
}

// accesses have the same identity only when they hold the same.
func TestIdentity(t *testing.T) {
	t.Parallel()
	f := newFixture(t, credentials.Options{})
	for _, ns := range []string{"a", "b", "c"} {
		f.put(ns+"/pull", registrytest.DockerConfig(f.server.Host(), map[string]string{"a": "pod:x", "b": "pod:x", "c": "tool:x"}[ns]))
	}
	id := func(a engine.Access) string {
		_, o := f.ask(t, a)
		return o.ID
	}
	pod := func(ns string) engine.Access { return engine.Access{Namespace: ns, PullSecrets: []string{"pull"}} }
	entry := func(c policy.Credentials) engine.Access { return engine.Access{Credentials: &c} }
	if id(engine.Access{}) != "" || id(engine.Access{Namespace: "a", ServiceAccount: "default"}) != "" {
		t.Error("the process' own access has a name")
	}
	if id(pod("a")) != id(pod("b")) {
		t.Error("equal credentials have two names")
	}
	all := []string{
		"", id(pod("a")), id(pod("c")), id(pod("none")), id(entry(policy.Credentials{})), id(entry(policy.Credentials{AllowInsecure: true})),
		id(entry(policy.Credentials{Secrets: named("entry")})), id(entry(policy.Credentials{Secrets: named("entry", "own")})),
		id(entry(policy.Credentials{Secrets: named("own", "entry")})), id(entry(policy.Credentials{Providers: []string{"google"}})),
		id(entry(policy.Credentials{Secrets: named("own"), Providers: []string{"google"}})),
	}
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		t.Errorf("%d names for %d accesses: %q", n, len(all), all)
	}
	for _, id := range all {
		if strings.Contains(id, "pod") || len(id) != 0 && len(id) != 64 {
			t.Errorf("%q is no hash", id)
		}
	}
}

// a Secret is read once in a while, and a changed one takes effect.
func TestRefresh(t *testing.T) {
	t.Parallel()
	f := newFixture(t, credentials.Options{})
	pod := engine.Access{Namespace: "team", PullSecrets: []string{"pod", "late"}}
	_, before := f.ask(t, pod)
	for range 5 {
		f.ask(t, pod)
	}
	if d := cmp.Diff(map[string]int{"team/pod": 1, "team/late": 1}, f.reads()); d != "" {
		t.Error(d)
	}
	f.now = f.now.Add(3 * time.Second)
	f.ask(t, pod)
	if d := cmp.Diff(map[string]int{"team/pod": 1, "team/late": 2}, f.reads()); d != "" {
		t.Errorf("what was missing is looked for again sooner: %s", d)
	}
	f.put("team/pod", []byte(`{"auths":{}}`))
	f.now = f.now.Add(10 * time.Second)
	who, after := f.ask(t, pod)
	if who != "RegistryUnauthorized" || after.ID == before.ID {
		t.Errorf("emptied: %s, and the same name %v", who, after.ID == before.ID)
	}
}

// thirty-three names cost no more than thirty-two reads, and many requests at once one each.
func TestBounds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, credentials.Options{})
	var names []string
	for i := range 500 {
		names = append(names, "s"+strings.Repeat("x", i%200)+string(rune('a'+i%26)))
	}
	f.accounts["team/many"] = names
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := f.source.Open(context.Background(), engine.Access{Namespace: "team", ServiceAccount: "many"}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := len(f.reads()); n > 33 {
		t.Errorf("%d objects read", n)
	}
}

// A process without a cluster uses what it has in place of Secrets, and says so.
func TestWithoutCluster(t *testing.T) {
	t.Parallel()
	f := newFixture(t, credentials.Options{})
	client, err := registry.New(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f.source = credentials.New(credentials.Options{
		Client: client, Keychains: map[string]authn.Keychain{"default": user("docker")},
		Used: func(u credentials.Use) { f.used = append(f.used, u.Host+" "+u.Source) },
	})
	if who, _ := f.ask(t, engine.Access{Credentials: &policy.Credentials{Secrets: named("entry")}}); who != "docker" {
		t.Error(who)
	}
	if d := cmp.Diff([]string{f.server.Host() + " default"}, f.used); d != "" {
		t.Error(d)
	}
}
