package engine_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
)

// VI 6.3(6), A-16, seed 13: what is pinned, how, and what is not.
func TestDigestPatches(t *testing.T) {
	t.Parallel()
	const d = "DIGEST"
	replace := func(i, old, now string) []string {
		at := "/spec/containers/" + i + "/image"
		return []string{`{"op":"test","path":"` + at + `","value":"` + old + `"}`, `{"op":"replace","path":"` + at + `","value":"` + now + `"}`}
	}
	for name, c := range map[string]struct {
		entries []string
		images  []string
		want    []string
	}{
		"verified":        {[]string{by("*", "Enforce", "", "$cosign")}, []string{"r.io/a:1"}, replace("0", "r.io/a:1", "r.io/a:1@"+d)},
		"short":           {[]string{by("*", "Enforce", "", "$cosign")}, []string{"nginx"}, replace("0", "nginx", "docker.io/nginx:latest@"+d)},
		"without checks":  {[]string{by("*", "Enforce", ", required: false")}, []string{"r.io/a:1"}, replace("0", "r.io/a:1", "r.io/a:1@"+d)},
		"twice":           {[]string{by("*", "Enforce", "", "$cosign")}, []string{"r.io/a:1", "r.io/a:1"}, append(replace("0", "r.io/a:1", "r.io/a:1@"+d), replace("1", "r.io/a:1", "r.io/a:1@"+d)...)},
		"two spellings":   {[]string{by("*", "Enforce", "", "$cosign")}, []string{"nginx", "docker.io/nginx:latest"}, append(replace("0", "nginx", "docker.io/nginx:latest@"+d), replace("1", "docker.io/nginx:latest", "docker.io/nginx:latest@"+d)...)},
		"two rules, once": {[]string{by("*", "Enforce", "", "$cosign"), by("r.io/*", "Enforce", "", "$cosign")}, []string{"r.io/a:1"}, replace("0", "r.io/a:1", "r.io/a:1@"+d)},
		"digest there":    {[]string{by("*", "Enforce", "", "$cosign")}, []string{"r.io/a:1@" + d}, nil},
		"audit":           {[]string{by("*", "Audit", "", "$cosign")}, []string{"r.io/a:1"}, nil},
		"not to mutate":   {[]string{by("*", "Enforce", ", mutateDigest: false", "$cosign")}, []string{"r.io/a:1"}, nil},
		"failed, audited": {[]string{by("*", "Audit", ", mutateDigest: true", "$other")}, []string{"r.io/a:1"}, nil},
		"skipped":         {[]string{by("*", "Enforce", `, skipImageReferences: ["r.io/*"]`, "$cosign")}, []string{"r.io/a:1"}, nil},
		"not matched":     {[]string{by("r.io/*", "Enforce", "", "$cosign")}, []string{"x.io/a:1"}, nil},
		"unresolvable":    {[]string{by("*", "Audit", ", required: false")}, []string{"r.io/none:1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{}, clusterPolicy("p", "", c.entries...))
			digest := string(f.push("r.io/a:1", "cosign.pub"))
			f.tags["docker.io/nginx:latest"] = f.tags["r.io/a:1"]
			var images []string
			for _, i := range c.images {
				images = append(images, strings.Replace(i, d, digest, 1))
			}
			got := f.review(t, pod(engine.Mutating, images...))
			var list []string
			for _, p := range patches(t, got.Patches) {
				if !strings.Contains(p, "annotations") {
					list = append(list, strings.Replace(p, digest, d, 1))
				}
			}
			if diff := cmp.Diff(c.want, list); diff != "" || !got.Allowed {
				t.Errorf("allowed %v, %s", got.Allowed, diff)
			}
		})
	}
}

// VI 6.3(6): an entry without checks that cannot pin says why, by the cause's own status.
func TestUnpinned(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Enforce", ", required: false")))
	d := f.review(t, pod(engine.Mutating, "r.io/none:1"))
	if len(d.Results) != 1 || d.Results[0].Message != "failed to update digest: image tag not found: GET r.io/none:1: MANIFEST_UNKNOWN" || d.Results[0].Reason != "ImageNotFound" || d.Allowed {
		t.Errorf("%+v", d.Results)
	}
	f.push("r.io/a:1")
	d = f.review(t, pod(engine.Mutating, "r.io/a:1"))
	if len(d.Results) != 1 || d.Results[0].Message != "mutated image digest" || len(d.Patches) != 2 {
		t.Errorf("%+v, %v", d.Results, d.Patches)
	}
}

// VI 6.10, A-53, A-54, A-82, seeds 3, 13, 20: annotations are written, replaced or removed, and never read.
func TestA53A54A82Annotations(t *testing.T) {
	t.Parallel()
	const plain, scoped = "kyverno.io/verify-images", "kyverno.io/verify-images-scoped"
	const plainAt, scopedAt = `"path":"/metadata/annotations/kyverno.io~1verify-images"`, `"path":"/metadata/annotations/kyverno.io~1verify-images-scoped"`
	pass, audited := by("r.io/*", "Enforce", ", mutateDigest: false, verifyDigest: false", "$cosign"), by("r.io/*", "Audit", ", mutateDigest: false", "$other")
	empty := `{"op":"add","path":"/metadata/annotations","value":{}}`
	add := func(at, value string) string {
		return `{"op":"add",` + at + `,"value":"` + strings.ReplaceAll(value, `"`, `\"`) + `"}`
	}
	remove := func(at string) string { return `{"op":"remove",` + at + `}` }
	written := func(status string) []string {
		return []string{add(plainAt, `{"r.io/a:1":"`+status+`"}`), add(scopedAt, `{"version":1,"policies":{"/p":{"r":{"r.io/a:1":"`+status+`"}}}}`)}
	}
	forged := map[string]any{plain: `{"r.io/a:1":"pass"}`, scoped: "x", "other": "o"}
	for name, c := range map[string]struct {
		entry       string
		annotations any // nil for none
		image       string
		want        []string
		allowed     bool
	}{
		"passed, none there":     {pass, nil, "r.io/a:1", append([]string{empty}, written("pass")...), true},
		"passed, null there":     {pass, "null", "r.io/a:1", append([]string{empty}, written("pass")...), true},
		"passed, others there":   {pass, map[string]any{"a": "b"}, "r.io/a:1", written("pass"), true},
		"forged":                 {audited, forged, "r.io/a:1", written("fail"), true},
		"forged, not judged":     {pass, forged, "x.io/a:1", []string{remove(plainAt), remove(scopedAt)}, true},
		"forged, no rule":        {"", forged, "r.io/a:1", []string{remove(plainAt), remove(scopedAt)}, true},
		"one forged, not judged": {pass, map[string]any{scoped: "x"}, "x.io/a:1", []string{remove(scopedAt)}, true},
		"forged, enforced":       {by("r.io/*", "Enforce", "", "$other"), forged, "r.io/a:1", nil, false},
		"skipped":                {by("r.io/*", "Enforce", `, skipImageReferences: ["r.io/a:*"]`, "$other"), nil, "r.io/a:1", append([]string{empty}, written("skip")...), true},
		"no attestors":           {by("r.io/*", "Audit", ", required: false"), nil, "r.io/a:1", nil, true},
		"nothing there, no rule": {"", nil, "r.io/a:1", nil, true},
		"no room for the scoped": {pass, map[string]any{"big": strings.Repeat("b", 256<<10-3-len(plain)-len(`{"r.io/a:1":"pass"}`))}, "r.io/a:1", written("pass")[:1], true},
		"no room for either":     {pass, map[string]any{"big": strings.Repeat("b", 256<<10-2-len(plain)-len(`{"r.io/a:1":"pass"}`))}, "r.io/a:1", nil, true},
		"no room, forged":        {pass, map[string]any{"big": strings.Repeat("b", 256<<10-3), plain: "", scoped: ""}, "r.io/a:1", []string{remove(plainAt), remove(scopedAt)}, true},
		"forged and huge":        {pass, map[string]any{plain: strings.Repeat("b", 255<<10)}, "r.io/a:1", written("pass"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Options{})
			if c.entry != "" {
				f.put(t, clusterPolicy("p", "", c.entry))
			}
			f.push("r.io/a:1", "cosign.pub")
			req := pod(engine.Mutating, c.image)
			switch c.annotations {
			case nil:
			case "null":
				req.Object["metadata"].(map[string]any)["annotations"] = nil
			default:
				req.Object["metadata"].(map[string]any)["annotations"] = c.annotations
			}
			d := f.review(t, req)
			if diff := cmp.Diff(c.want, patches(t, d.Patches)); diff != "" || d.Allowed != c.allowed {
				t.Errorf("allowed %v, %s", d.Allowed, diff)
			}
			// The same without the annotation has the same outcome, on an update as well.
			delete(req.Object["metadata"].(map[string]any), "annotations")
			if again := f.review(t, req); again.Allowed != d.Allowed || again.Message != d.Message {
				t.Errorf("without annotations: %+v", again)
			}
			req.Old = podObject("x=r.io/other:1")
			req.Old["metadata"].(map[string]any)["annotations"] = forged
			if again := f.review(t, req); again.Allowed != d.Allowed || again.Message != d.Message {
				t.Errorf("on an update: %+v", again)
			}
		})
	}
}

// VI 6.10(1), 6.3(7): an image of several rules has its worst status; two references that are shown alike as well.
func TestAnnotationValues(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{},
		"metadata: {name: p}\nspec:\n  rules:\n"+rule("a", by("*", "Enforce", `, skipImageReferences: ["r.io/a:2"]`, "$cosign"))+rule("b", by("*", "Audit", "", "$other")),
		"kind: Policy\nmetadata: {name: p, namespace: default}\nspec:\n  rules:\n"+rule("c", by("*", "Audit", "", "$cosign")))
	a := f.push("r.io/a:1", "cosign.pub")
	f.tags["r.io/a:2"] = a
	got := patches(t, f.review(t, pod(engine.Mutating, "r.io/a:1", "r.io/a:2@"+string(a))).Patches)
	shown := `r.io/a@` + string(a)
	esc := func(s string) string { return strings.ReplaceAll(s, `"`, `\"`) }
	want := []string{
		`{"op":"add","path":"/metadata/annotations/kyverno.io~1verify-images","value":"` + esc(`{"`+shown+`":"fail"}`) + `"}`,
		`{"op":"add","path":"/metadata/annotations/kyverno.io~1verify-images-scoped","value":"` +
			esc(`{"version":1,"policies":{"/p":{"a":{"`+shown+`":"pass"},"b":{"`+shown+`":"fail"}},"default/p":{"c":{"`+shown+`":"pass"}}}}`) + `"}`,
	}
	if diff := cmp.Diff(want, got[1:3]); diff != "" {
		t.Error(diff)
	}
}

// VI 3.7, 4.4(6), A-01: warnings of admitted requests.
func TestWarnings(t *testing.T) {
	t.Parallel()
	f := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("*", "Audit", `, skipImageReferences: ["r.io/s*"]`, "$other")))
	f.push("r.io/a:1", "cosign.pub")
	f.tags["registry-1.docker.io/library/nginx:latest"] = image.DigestOf(nil)
	d := f.review(t, pod(engine.Mutating, "r.io/a:1", "r.io/s:1", "registry-1.docker.io/library/nginx"))
	want := []string{
		"policy p.r: failed to verify image r.io/a:1: .attestors[0].entries[0].keys: no matching signatures: invalid signature when validating ASN.1 encoded signature",
		"policy p.r: skipping image reference image r.io/s:1, policy p ruleName r",
		"policy p.r: failed to verify image registry-1.docker.io/library/nginx:latest: .attestors[0].entries[0].keys: no signatures found",
		"image registry-1.docker.io/library/nginx:latest: registry-1.docker.io is judged as docker.io; name the image so",
	}
	if diff := cmp.Diff(want, d.Warnings); diff != "" {
		t.Error(diff)
	}
}
