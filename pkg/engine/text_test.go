package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
)

// VI 3.9(4): the reference transcript, to the byte.
func TestTranscript(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, "metadata: {name: require-signed-images}\nspec:\n  rules:\n"+rule("check-image-signature", by("*", "Enforce", "", "$cosign")))
	f.push("docker.io/nginx:latest")
	req := pod(engine.Mutating, "nginx")
	req.Name, req.Attributes.Name = "notgoodpod", "notgoodpod"
	want := "\n\nresource Pod/default/notgoodpod was blocked due to the following policies \n\n" +
		"require-signed-images:\n" +
		"  check-image-signature: 'failed to verify image docker.io/nginx:latest: .attestors[0].entries[0].keys:\n" +
		"    no signatures found'\n"
	if d := cmp.Diff(want, f.review(t, req).Message); d != "" {
		t.Error(d)
	}
}

// VI 3.9(1)-(3): who stands in a denial, and in which form.
func TestDenial(t *testing.T) {
	t.Parallel()
	const twice = "  r: 'failed to verify image r.io/b:1: .attestors[0].entries[0].keys: no matching\n" +
		"    signatures: invalid signature when validating ASN.1 encoded signature; failed\n" +
		"    to verify image r.io/a:1: .attestors[0].entries[0].keys: no matching signatures:\n" +
		"    invalid signature when validating ASN.1 encoded signature'\n"
	head := func(ref string) string {
		return "\n\nresource " + ref + " was blocked due to the following policies \n\n"
	}
	for name, c := range map[string]struct {
		policies []string
		request  func() *engine.Request
		want     string
	}{
		"several images and policies": {
			[]string{
				clusterPolicy("z", "", by("*", "Audit", "", "$other")), clusterPolicy("a", "", by("*", "Enforce", "", "$other")),
				clusterPolicy("passes", "", by("*", "Enforce", "", "$cosign")),
			},
			func() *engine.Request { return pod(engine.Mutating, "r.io/b:1", "r.io/a:1") },
			head("Pod/default/p") + "a:\n" + twice + "z:\n" + twice,
		},
		"no name": {
			[]string{clusterPolicy("a", "", by("*", "Enforce", "", "$cosign"))},
			func() *engine.Request {
				r := pod(engine.Mutating, "r.io/u:1")
				r.Name, r.Attributes.Name = "", "web-"
				return r
			},
			head("Pod/default/") + "a:\n  r: 'failed to verify image r.io/u:1: .attestors[0].entries[0].keys: no signatures\n    found'\n",
		},
		"same name, another namespace": {
			[]string{
				clusterPolicy("a", "", by("*", "Enforce", "", "$cosign")),
				"kind: Policy\nmetadata: {name: a, namespace: default}\nspec:\n  rules:\n" + rule("r", by("*", "Audit", "", "$cosign")) + rule("s", by("*", "Audit", "", "$cosign", "$other")),
				"kind: Policy\nmetadata: {name: b, namespace: elsewhere}\nspec:\n  rules:\n" + rule("r", by("*", "Enforce", "", "$cosign")),
			},
			func() *engine.Request { return pod(engine.Mutating, "r.io/u:1") },
			head("Pod/default/p") + "a:\n  r: 'failed to verify image r.io/u:1: .attestors[0].entries[0].keys: no signatures\n    found'\n" +
				"  s: 'failed to verify image r.io/u:1: .attestors[0].entries[0].keys: no signatures\n    found; .attestors[0].entries[1].keys: no signatures found'\n",
		},
		"validating": {
			[]string{clusterPolicy("a", "", by("*", "Enforce", "", "$cosign"))},
			func() *engine.Request { return pod(engine.Validating, "r.io/u:1", "r.io/a:1") },
			head("Pod/default/p") + "a:\n  r: missing digest for r.io/u:1; unverified image r.io/u:1; missing digest for r.io/a:1\n",
		},
		"the same unreadable image twice": {
			[]string{clusterPolicy("a", "", by("*", "Enforce", "", "$cosign"))},
			func() *engine.Request { return pod(engine.Mutating, "UPPER", "UPPER") },
			head("Pod/default/p") + "a:\n  r: 'failed to instantiate handler: failed to extract images: bad image: \"UPPER\":\n    repository name must be lowercase'\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{}, c.policies...)
			f.push("r.io/a:1", "cosign.pub")
			f.push("r.io/b:1", "cosign.pub")
			f.push("r.io/u:1")
			if d := cmp.Diff(c.want, f.review(t, c.request()).Message); d != "" {
				t.Error(d)
			}
		})
	}
}
