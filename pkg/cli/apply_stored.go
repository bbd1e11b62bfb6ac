package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/egress"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
)

// reviewer is the engine with some policies, and all exceptions.
func (a *applied) reviewer(seen *recorder, secrets *keys, told *override, user *userInfo, policies ...*policy.Policy) *engine.Engine {
	store := policy.NewStore()
	for _, p := range policies {
		store.Put(p)
	}
	for _, x := range a.exceptions {
		store.PutException(x)
	}
	store.Sync()
	return engine.New(engine.Options{
		Accesses: seen.images, Verifier: seen, Notary: notaryRecorder{seen}, Store: store, Keys: secrets, CacheDisabled: true,
		Timeout: a.flags.timeout + engineMargin, Loader: told, Roles: user, Namespaces: a,
		Resolve: egress.Addresses,
	})
}

// request is the one that an API server would make of an object in place of a resource.
func request(phase engine.Phase, r *resource, object map[string]any, told *override, user *userInfo) *engine.Request {
	attributes := told.attributes(r, user)
	return &engine.Request{
		Phase: phase, FailurePolicy: policy.Ignore, Attributes: attributes, Name: attributes.Name, Object: object,
		Admission: told.admission(object, user),
	}
}

// together changes the resource as admission would under all policies at once. One that would be refused stays as it is.
func (a *applied) together(ctx context.Context, seen *recorder, secrets *keys, r *resource) error {
	told := a.values.of(nil, r, a.flags.registry, a.known().context())
	for _, p := range a.policies {
		of := a.values.of(p, r, a.flags.registry, nil)
		maps.Copy(told.entries, of.entries)
		told.request = merged(told.request, of.request)
	}
	user := told.user(a.user)
	d, err := a.reviewer(seen, secrets, told, &user, a.policies...).Review(ctx, request(engine.Mutating, r, r.object, told, &user))
	if err != nil {
		return err
	}
	bad := func(r engine.Result) bool { return r.Status == engine.Fail || r.Status == engine.Error }
	if slices.ContainsFunc(d.Results, bad) && !slices.ContainsFunc(a.outcome, func(o response) bool { return o.resource == r && bad(o.result) }) {
		return fmt.Errorf("%s: something changed while it was judged; try again", r.shown())
	}
	if r.last, err = patched(r.object, d.Patches); err != nil {
		return fmt.Errorf("%s: %w", r.shown(), err)
	}
	return nil
}

// stored are the resources with their digests and annotations.
func (a *applied) stored() (string, error) {
	var all strings.Builder
	for i, r := range a.resources {
		text, err := yaml.Marshal(r.last)
		if err != nil {
			return "", err
		}
		if i > 0 {
			all.WriteString("---\n")
		}
		all.Write(text)
	}
	return all.String(), nil
}

// store writes the resources with their digests and annotations.
func (a *applied) store() error {
	if a.flags.results == "" {
		return nil
	}
	all, err := a.stored()
	if err != nil {
		return err
	}
	path := a.flags.results
	if strings.HasSuffix(path, "/") {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("--output: %w", err)
		}
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "resources.yaml")
	}
	if err := os.WriteFile(path, []byte(all), 0o600); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	return nil
}
