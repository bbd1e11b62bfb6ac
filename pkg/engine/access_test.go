package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/reason"
)

// accesses opens a world by a function of the access, and remembers what was asked for.
type accesses struct {
	mu    sync.Mutex
	asked []engine.Access
	open  func(engine.Access) (engine.Opened, error)
}

func (a *accesses) Open(_ context.Context, access engine.Access) (engine.Opened, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, access)
	return a.open(access)
}

// locked is a world that refuses everything.
func locked() *world {
	w := newWorld()
	no := func(context.Context, string) error { return reason.New(reason.RegistryUnauthorized, "UNAUTHORIZED") }
	w.onResolve, w.onAttached, w.onExists = no, no, no
	return w
}

const signed = "registry.test/acme/app:v1"

// inNamespace makes a request one of another namespace, with a pull secret of that name.
func inNamespace(r *engine.Request, namespace string) *engine.Request {
	r.Attributes.Namespace = namespace
	r.Object["spec"].(map[string]any)["imagePullSecrets"] = []any{map[string]any{"name": "pull"}, map[string]any{"name": 1}, "x", map[string]any{"name": "pull"}}
	return r
}

// what one namespace verified with its credentials says nothing to one that has others, neither from the cache nor
// from work that both wait for.
func TestA41CredentialsAreApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("registry.test/*", "Enforce", "", "$cosign")))
	f.push(signed, "cosign.pub")
	digest := "registry.test/acme/app@" + string(f.tags[signed])
	no := locked()
	a := &accesses{}
	a.open = func(x engine.Access) (engine.Opened, error) {
		if x.Namespace == "rich" || x.Namespace == "rich2" {
			return engine.Opened{Registry: f.world, ID: "rich"}, nil
		}
		return engine.Opened{Registry: no, ID: x.Namespace}, nil
	}
	f.Engine = engine.New(engine.Options{Accesses: a, Verifier: f.world, Store: f.store})
	outcome := func(namespace, img string) string {
		return f.review(t, inNamespace(pod(engine.Validating, img), namespace)).Results[0].Message
	}
	if got := outcome("rich", digest); got != "verified image signatures for "+digest {
		t.Fatal(got)
	}
	if got := outcome("rich2", digest); got != "verified from cache" {
		t.Errorf("equal credentials: %s", got)
	}
	for range 2 {
		if got := outcome("poor", digest); got == "verified from cache" || got == "verified image signatures for "+digest {
			t.Errorf("other credentials: %s", got)
		}
	}
	want := engine.Access{Namespace: "rich", PullSecrets: []string{"pull"}}
	if d := cmp.Diff(want, a.asked[0]); d != "" {
		t.Error(d)
	}

	// At the same time: the one with credentials is held up, the other one neither waits nor learns.
	held, free := make(chan struct{}), make(chan struct{})
	f.onAttached = func(context.Context, string) error { close(held); <-free; return nil }
	f.push("registry.test/acme/other:v1", "cosign.pub")
	other := "registry.test/acme/other@" + string(f.tags["registry.test/acme/other:v1"])
	done := make(chan string)
	go func() { done <- outcome("rich", other) }()
	<-held
	if got := f.review(t, inNamespace(pod(engine.Validating, other), "poor")).Results[0]; got.Reason != reason.RegistryUnauthorized {
		t.Errorf("%s %s", got.Reason, got.Message)
	}
	close(free)
	if got := <-done; got != "verified image signatures for "+other {
		t.Error(got)
	}
}

// two entries of one request with different credentials share the digest, and not what is attached.
func TestA49EntriesAreApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{},
		clusterPolicy("p", "", by("registry.test/*", "Enforce", ", imageRegistryCredentials: {secrets: [a]}", "$cosign"), by("registry.test/*", "Enforce", "", "$cosign")))
	f.push(signed, "cosign.pub")
	no := locked()
	f.Engine = engine.New(engine.Options{Verifier: f.world, Store: f.store, Accesses: &accesses{open: func(x engine.Access) (engine.Opened, error) {
		if x.Credentials != nil {
			return engine.Opened{Registry: f.world, ID: "a"}, nil
		}
		return engine.Opened{Registry: no}, nil
	}}})
	d := f.review(t, pod(engine.Mutating, signed))
	if d.Allowed || d.Results[0].Reason != reason.RegistryUnauthorized || d.Results[0].Digest != f.tags[signed] {
		t.Errorf("%v %+v", d.Allowed, d.Results)
	}
	if no.called("attached") != 1 || f.called("attached") != 1 {
		t.Errorf("attached asked for %d and %d times", no.called("attached"), f.called("attached"))
	}
}

// what came over plain HTTP for one entry is not what another one takes for the image.
func TestA51InsecureIsConfined(t *testing.T) {
	t.Parallel()
	const plain = `{imageReferences: ["registry.test/*"], failureAction: Enforce, required: false, verifyDigest: false`
	cases := map[string]struct {
		entries []string
		want    []string
		pinned  bool
	}{
		"insecure alone": {[]string{plain + ", imageRegistryCredentials: {allowInsecureRegistry: true}}"},
			[]string{"p/r registry.test/acme/app:v1 pass Verified"}, true},
		"insecure first": {[]string{plain + ", imageRegistryCredentials: {allowInsecureRegistry: true}}", plain + "}"},
			[]string{"p/r registry.test/acme/app:v1 error RegistryUnavailable"}, true},
		"insecure last": {[]string{plain + "}", plain + ", imageRegistryCredentials: {allowInsecureRegistry: true}}"},
			[]string{"p/r registry.test/acme/app:v1 error RegistryUnavailable"}, true},
		"two insecure ones": {[]string{plain + ", imageRegistryCredentials: {allowInsecureRegistry: true}}", plain + ", imageRegistryCredentials: {allowInsecureRegistry: true, secrets: [a]}}"},
			[]string{"p/r registry.test/acme/app:v1 pass Verified"}, true},
		"secure alone": {[]string{plain + "}"}, []string{"p/r registry.test/acme/app:v1 error RegistryUnavailable"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{}, clusterPolicy("p", "", tc.entries...))
			f.push(signed)
			tls := newWorld()
			tls.onResolve = func(context.Context, string) error {
				return &reason.Error{Code: reason.RegistryUnavailable, Unreachable: true, Text: "no TLS"}
			}
			f.Engine = engine.New(engine.Options{Verifier: f.world, Store: f.store, Accesses: &accesses{open: func(x engine.Access) (engine.Opened, error) {
				switch {
				case x.Credentials == nil:
					return engine.Opened{Registry: tls}, nil
				case len(x.Credentials.Secrets) > 0:
					return engine.Opened{Registry: f.world, ID: "insecure a", Insecure: x.Credentials.AllowInsecure}, nil
				default:
					return engine.Opened{Registry: f.world, ID: "insecure", Insecure: x.Credentials.AllowInsecure}, nil
				}
			}}})
			d := f.review(t, pod(engine.Mutating, signed))
			if diff := cmp.Diff(tc.want, outcomes(d.Results)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// VI 6.2(3): credentials that cannot be read are an error of their rule, and of no other; one that judges no image of
// the object asks for none.
func TestSecretsUnread(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{},
		clusterPolicy("a", "", by("registry.test/*", "Enforce", ", imageRegistryCredentials: {secrets: [a]}", "$cosign")),
		clusterPolicy("b", "", by("registry.test/*", "Enforce", "", "$cosign")),
		clusterPolicy("c", "", by("elsewhere.test/*", "Enforce", ", imageRegistryCredentials: {secrets: [c]}", "$cosign")),
		clusterPolicy("d", ignore, by("registry.test/*", "Enforce", ", imageRegistryCredentials: {secrets: [d]}", "$cosign")))
	f.push(signed, "cosign.pub")
	f.Engine = engine.New(engine.Options{Verifier: f.world, Store: f.store, Accesses: &accesses{open: func(x engine.Access) (engine.Opened, error) {
		if x.Credentials != nil {
			return engine.Opened{}, errors.New("secret kyverno/" + x.Credentials.Secrets[0].Name + ": away")
		}
		return engine.Opened{Registry: f.world}, nil
	}}})
	d := f.review(t, pod(engine.Mutating, signed))
	if diff := cmp.Diff([]string{"a/r - error ContextError", "b/r " + signed + " pass Verified"}, outcomes(d.Results)); diff != "" {
		t.Error(diff)
	}
	if d.Allowed || d.Results[0].Message != "failed to fetch secrets: secret kyverno/a: away" {
		t.Errorf("%v: %s", d.Allowed, d.Results[0].Message)
	}
	d = f.review(t, ignored(pod(engine.Mutating, signed)))
	if !d.Allowed {
		t.Errorf("denied although the failure policy is Ignore: %s", d.Message)
	}
}

// A process that opens no registries has no credentials for rules that want some.
func TestNoAccesses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("registry.test/*", "Enforce", ", imageRegistryCredentials: {}", "$cosign")))
	f.push(signed, "cosign.pub")
	if d := f.review(t, pod(engine.Mutating, signed)); d.Allowed {
		t.Error("admitted")
	}
}

// The service account is asked for what makes Pods and names no pull secrets itself.
func TestAccessOfControllers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("registry.test/*", "Enforce", "", "$cosign")))
	f.push(signed, "cosign.pub")
	a := &accesses{open: func(engine.Access) (engine.Opened, error) { return engine.Opened{Registry: f.world}, nil }}
	f.Engine = engine.New(engine.Options{Verifier: f.world, Store: f.store, Accesses: a})
	spec := func(more map[string]any) *engine.Request {
		r := pod(engine.Mutating, signed)
		r.Attributes.Kind, r.Attributes.Group = "Deployment", "apps"
		template := r.Object["spec"].(map[string]any)
		for k, v := range more {
			template[k] = v
		}
		r.Object["spec"] = map[string]any{"template": map[string]any{"spec": template}}
		return r
	}
	f.review(t, spec(nil))
	f.review(t, spec(map[string]any{"serviceAccountName": "builder"}))
	f.review(t, spec(map[string]any{"serviceAccountName": "builder", "imagePullSecrets": []any{map[string]any{"name": "own"}}}))
	f.review(t, pod(engine.Mutating, signed))
	want := []engine.Access{
		{Namespace: "default", ServiceAccount: "default"}, {Namespace: "default", ServiceAccount: "builder"},
		{Namespace: "default", PullSecrets: []string{"own"}}, {Namespace: "default"},
	}
	if d := cmp.Diff(want, a.asked); d != "" {
		t.Error(d)
	}
}
