package properties

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"
)

// The generators draw small things first: a counterexample is made smaller by drawing less.

// attestor is an entry of a set. Sets are nested no deeper than depth.
func (m *material) attestor(depth int) *rapid.Generator[madeAttestor] {
	return rapid.Custom(func(t *rapid.T) madeAttestor {
		if depth > 0 && rapid.IntRange(0, 5).Draw(t, "nest") == 5 {
			set := m.setOf(depth-1).Draw(t, "nested")
			return madeAttestor{Nested: &set}
		}
		// Those who signed much of what is in the registry come more often, or else hardly anything passes.
		if rapid.IntRange(0, 2).Draw(t, "likely") > 0 {
			return madeAttestor{Signer: rapid.SampledFrom([]string{"key", "anybody"}).Draw(t, "likely signer")}
		}
		return madeAttestor{Signer: rapid.SampledFrom(m.names).Draw(t, "signer")}
	})
}

func (m *material) setOf(depth int) *rapid.Generator[madeSet] {
	return rapid.Custom(func(t *rapid.T) madeSet {
		s := madeSet{Entries: rapid.SliceOfN(m.attestor(depth), 1, 3).Draw(t, "entries")}
		s.Count = rapid.SampledFrom([]int{0, 1, 1, len(s.Entries)}).Draw(t, "count")
		return s
	})
}

// about are patterns of images: all of a registry, or single ones.
func (m *material) about() *rapid.Generator[[]string] {
	return rapid.Custom(func(t *rapid.T) []string {
		if rapid.Bool().Draw(t, "some") {
			return []string{host + "/*", deadHost + "/*"}
		}
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return repository(m.image().Draw(t, "image").name) + "*"
		}), 1, 3).Draw(t, "patterns")
	})
}

func (m *material) image() *rapid.Generator[madeImage] { return rapid.SampledFrom(m.images) }

// entryOf is an element of verifyImages.
func (m *material) entryOf() *rapid.Generator[madeEntry] {
	return rapid.Custom(func(t *rapid.T) madeEntry {
		e := madeEntry{
			Images: m.about().Draw(t, "images"), Sets: rapid.SliceOfN(m.setOf(1), 1, 2).Draw(t, "sets"),
			Action:   rapid.SampledFrom([]string{"Enforce", "Audit"}).Draw(t, "action"),
			Required: rapid.Bool().Draw(t, "required"),
		}
		// What audits must not change objects.
		e.Mutate = e.Action == "Enforce" && rapid.Bool().Draw(t, "mutateDigest")
		e.Digest = rapid.Bool().Draw(t, "verifyDigest")
		if rapid.IntRange(0, 3).Draw(t, "skips") == 3 {
			e.Skip = m.about().Draw(t, "skip")
		}
		if rapid.IntRange(0, 3).Draw(t, "attests") == 3 {
			e.Attestations = []madeAttestation{{
				Signer: rapid.SampledFrom([]string{"key", "other", "third"}).Draw(t, "attested by"), Holds: rapid.Bool().Draw(t, "holds"),
			}}
		}
		return e
	})
}

// policies are up to n with different names.
func (m *material) policies(least, most int) *rapid.Generator[[]*madePolicy] {
	return rapid.Custom(func(t *rapid.T) []*madePolicy {
		var out []*madePolicy
		for i := range rapid.IntRange(least, most).Draw(t, "policies") {
			out = append(out, m.policy(fmt.Sprintf("policy-%d", i), 2).Draw(t, "policy"))
		}
		return out
	})
}

func (m *material) policy(name string, rules int) *rapid.Generator[*madePolicy] {
	return rapid.Custom(func(t *rapid.T) *madePolicy {
		p := &madePolicy{
			material: m, Name: name,
			Namespace: rapid.SampledFrom([]string{"", objectNamespace}).Draw(t, "namespace"),
			Failure:   rapid.SampledFrom([]string{"Fail", "Ignore"}).Draw(t, "failurePolicy"),
			One:       rapid.IntRange(0, 4).Draw(t, "applyRules") == 4,
		}
		for i := range rapid.IntRange(1, rules).Draw(t, "rules") {
			p.Rules = append(p.Rules, madeRule{
				Name:    fmt.Sprintf("rule-%d", i),
				Entries: rapid.SliceOfN(m.entryOf(), 1, 2).Draw(t, "verifyImages"),
			})
		}
		return p
	})
}

// reference is an image as an object may name it: by tag, by digest, by both.
func (m *material) reference() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		img := m.image().Draw(t, "image")
		if img.digest == "" {
			return img.name
		}
		return rapid.SampledFrom([]string{
			img.name, img.name + "@" + img.digest, repository(img.name) + "@" + img.digest,
		}).Draw(t, "reference")
	})
}

// object is a Pod or a Deployment, new or as an update of another.
func (m *material) object() *rapid.Generator[*madeObject] {
	return rapid.Custom(func(t *rapid.T) *madeObject {
		kind := rapid.SampledFrom([]string{"Pod", "Deployment"}).Draw(t, "kind")
		images := rapid.SliceOfN(m.reference(), 1, 3).Draw(t, "images")
		first := rapid.IntRange(0, len(images)-1).Draw(t, "init containers")
		o := &madeObject{object: objectOf(kind, images, first)}
		if rapid.IntRange(0, 3).Draw(t, "update") == 3 {
			old := slices.Clone(images)
			old[rapid.IntRange(0, len(old)-1).Draw(t, "changed")] = m.reference().Draw(t, "before")
			o.old = objectOf(kind, old, first)
		}
		return o
	})
}

// objectOf is a Pod or a Deployment of the images, of which the first ones are those of init containers.
func objectOf(kind string, images []string, first int) map[string]any {
	spec := map[string]any{}
	for i, img := range images {
		list := "containers"
		if i < first {
			list = "initContainers"
		}
		containers, _ := spec[list].([]any)
		spec[list] = append(containers, map[string]any{"name": fmt.Sprintf("c%d", i), "image": img})
	}
	metadata := map[string]any{"name": "web", "namespace": objectNamespace}
	if kind == "Pod" {
		return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
	}
	labels := map[string]any{"app": "web"}
	return map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": map[string]any{
		"selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": spec},
	}}
}
