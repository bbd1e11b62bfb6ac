package engine_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/policy"
)

// VI 6.8(5), 4.4(1): functions of conditions see the default registry that objects are read with, and the addresses of hosts.
func TestFunctionsOfTheWorld(t *testing.T) {
	t.Parallel()
	resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "outside.example":
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		case "inside.example":
			return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.1")}, nil
		}
		return nil, errors.New("no such host")
	}
	const skipped, passes, failed = "a/r - skip PreconditionsNotMet", "a/r ghcr.io/acme/app:1 pass Verified", "a/r - error ContextError"
	for name, c := range map[string]struct{ key, value, want string }{
		"image_normalize":          {"{{ image_normalize('acme/app') }}", "ghcr.io/acme/app:latest", passes},
		"image_normalize, a host":  {"{{ image_normalize('quay.io/acme/app:2') }}", "quay.io/acme/app:2", passes},
		"image_normalize, none":    {"{{ image_normalize('UPPER') }}", "x", failed},
		"is_external_url":          {"{{ is_external_url('https://outside.example/x') }}", "true", passes},
		"is_external_url, inside":  {"{{ is_external_url('https://inside.example/x') }}", "true", skipped},
		"is_external_url, no host": {"{{ is_external_url('https://gone.example/x') }}", "true", failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			images := image.NewParser(image.Options{DefaultRegistry: "ghcr.io"})
			text := withContext(clusterPolicy("a", "", by("ghcr.io/*", "Enforce", "", "$cosign")),
				`preconditions: {all: [{key: "`+c.key+`", operator: AnyIn, value: ["`+c.value+`"]}]}`)
			f := newFixture(t, engine.Options{Parser: func() *image.Parser { return images }, Resolve: resolve}, text)
			f.push("ghcr.io/acme/app:1", "cosign.pub")
			d, err := f.Review(t.Context(), pod(engine.Mutating, "acme/app:1"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{c.want}, outcomes(d.Results)); diff != "" {
				t.Errorf("%s (%s)", diff, d.Message)
			}
		})
	}
}

// Where nobody looks addresses up, a condition on them is an error and not an answer.
func TestNobodyResolves(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, withContext(clusterPolicy("a", "", by("ghcr.io/*", "Enforce", "", "$cosign")),
		`preconditions: {all: [{key: "{{ is_external_url('https://outside.example') }}", operator: Equals, value: false}]}`))
	d, err := f.Review(t.Context(), pod(engine.Mutating, "ghcr.io/acme/app:1"))
	if err != nil {
		t.Fatal(err)
	}
	if d.Allowed || len(d.Results) != 1 || d.Results[0].Rule.Policy.FailurePolicy != policy.Fail || d.Results[0].Status != engine.Error {
		t.Errorf("%v %s", outcomes(d.Results), d.Message)
	}
}
