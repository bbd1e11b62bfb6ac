package vectors_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/vectors"
	"github.com/signet-policy/signet/testdata/corpus"
)

// TestCorpusAttestations gives every case of the corpus that asks for attestations to the webhooks, by a registry with the
// referrers API, one without and one whose API says that there are none.
func TestCorpusAttestations(t *testing.T) {
	t.Parallel()
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"", "none", "empty"} {
		server := registrytest.New(nil)
		t.Cleanup(server.Close)
		held := vectors.Registry{Corpus: []string{"*"}, Referrers: mode}
		digests := held.Stock(server)
		if mode != "" {
			listReferrers(t, server)
		}
		held.Misbehave(t, server, digests)
		n := 0
		for _, c := range cases {
			if len(c.Requirement.Attestations) == 0 {
				continue
			}
			n++
			t.Run("referrers "+mode+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				policy, err := c.Policy("corpus", vectors.Host)
				if err != nil {
					t.Fatal(err)
				}
				text, err := yaml.Marshal(policy)
				if err != nil {
					t.Fatal(err)
				}
				got := reviewed(t, server, &held, c.Requirement.TrustedRoot, string(text), c.Image)
				if got.allowed != (c.Expected == corpus.Accept) {
					t.Errorf("allowed %v, want %s: %s\n%s", got.allowed, c.Expected, c.Reason, got.message)
				}
				if pinned := got.allowed && strings.HasSuffix(got.object["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["image"].(string), "@"+c.Digest); pinned != got.allowed {
					t.Errorf("not pinned: %v", got.object)
				}
			})
		}
		if n < 99 {
			t.Errorf("only %d cases", n)
		}
	}
}

// listReferrers lists the corpus' referrers in the fallback tags, as a client does that finds no referrers API.
func listReferrers(t *testing.T, server *registrytest.Server) {
	t.Helper()
	read := func(path string, into any) {
		b, err := os.ReadFile(filepath.Join(corpus.Images(), path))
		if err == nil {
			err = json.Unmarshal(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var index struct {
		Manifests []registrytest.Descriptor
	}
	read("index.json", &index)
	for _, d := range index.Manifests {
		var m struct{ Subject *struct{ Digest string } }
		read(filepath.Join("blobs", strings.Replace(d.Digest, ":", "/", 1)), &m)
		repository := d.Annotations["corpus.repository"]
		if m.Subject != nil && d.Annotations["org.opencontainers.image.ref.name"] == "" && !strings.HasSuffix(repository, "-fallback") {
			d.Annotations = nil
			server.AttachFallback(repository, m.Subject.Digest, d)
		}
	}
}

// reviewed creates a Pod with the image under the policy.
func reviewed(t *testing.T, server *registrytest.Server, held *vectors.Registry, root, policy, image string) *outcome {
	t.Helper()
	dir := t.TempDir()
	v := &vectors.Vector{Request: vectors.Request{TrustedRoot: root}, Registry: *held}
	p := newProcess(t, v, dir, server)
	if refused := p.apply(t, []string{policy}); refused != "" {
		t.Fatal(refused)
	}
	p.store.Sync()
	object := map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p", "namespace": "default"},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": vectors.Host + "/" + image}}},
	}
	return p.admit(t, v, object, nil, "CREATE")
}

// TestProvenanceSample applies the sample to images of the corpus: as it is but for the organisation's name, and with
// something in it that does not fit.
func TestProvenanceSample(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(vectors.Dir())), "config", "samples", "slsa-provenance.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sample := strings.ReplaceAll(string(raw), "example", "acme")
	server := registrytest.New(nil)
	t.Cleanup(server.Close)
	held := vectors.Registry{Corpus: []string{"*"}}
	held.Stock(server)
	const signed = "acme/att-keyless-rekor1-v3-bundle:v1"
	for name, c := range map[string]struct {
		image, old, new string
		want            []string // parts of the denial; none for an admitted image
	}{
		"signed":              {image: signed},
		"signed, old format":  {image: "acme/att-keyless-rekor1-v2-legacy:v1"},
		"by a key":            {image: "acme/att-v3-bundle:v1", want: []string{".attestations[0].attestors[0].entries[0].keyless: no matching attestations"}},
		"of another type":     {image: signed, old: "provenance/v1", new: "provenance/v9", want: []string{"attestations not found for predicate type https://slsa.dev/provenance/v9"}},
		"by another workflow": {image: signed, old: "release.yml", new: "build.yml", want: []string{"subject mismatch"}},
		"by another builder":  {image: signed, old: "acme/builder", new: "acme/other", want: []string{"attestation checks failed", "unknown builder https://github.com/acme/builder@refs/tags/v1"}},
		"from another branch": {image: signed, old: "value: refs/heads/main", new: "value: refs/heads/release", want: []string{"built from refs/heads/main"}},
		"another dependency":  {image: signed, old: "git+https://github.com/acme/", new: "git+https://github.com/other/", want: []string{"validation in verifyImages failed: image att-keyless-rekor1-v3-bundle depends on something outside"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := strings.Replace(sample, c.old, c.new, 1)
			if c.old != "" && policy == sample {
				t.Fatalf("no %q in the sample", c.old)
			}
			got := reviewed(t, server, &held, "trust/trusted_root.json", policy, c.image)
			text := strings.Join(strings.Fields(got.message), " ")
			if got.allowed != (c.want == nil) || slices.ContainsFunc(c.want, func(s string) bool { return !strings.Contains(text, s) }) {
				t.Errorf("allowed %v: %s", got.allowed, got.message)
			}
		})
	}
}
