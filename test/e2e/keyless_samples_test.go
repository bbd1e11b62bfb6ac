package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/test/env"
)

// The services that the samples name, which the author of a policy for another Sigstore replaces.
const (
	publicWorkflows = "https://token.actions.githubusercontent.com"
	publicRekor     = "https://rekor.sigstore.dev"
)

// workflowRun is a run of a GitHub workflow.
type workflowRun struct {
	repository, workflow, ref, trigger string
}

// keylessWork is what one run signs, or with a predicate attests.
type keylessWork struct {
	by  workflowRun // the zero value is a person
	way env.Way
	// kind is that of the predicate; both are empty for a signature.
	kind, predicate string
}

// keylessCase is one image for a sample: what is attached to it, and the part of the refusal that it must get; none for
// one that is admitted.
type keylessCase struct {
	work    []keylessWork
	refused string
}

// slsa1 is a SLSA v1 provenance: its builder, the repository and ref it was built from, and what it depends on.
const slsa1 = `{"buildDefinition":{"buildType":"https://actions.github.io/buildtypes/workflow/v1","externalParameters":{"workflow":{"ref":"%s","repository":"%s","path":".github/workflows/release.yml"}}%s},` +
	`"runDetails":{"builder":{"id":"%s"},"metadata":{"invocationId":"https://github.com/example/app/actions/runs/7"}}}`

// keylessSampleCases are for every sample about keyless signers.
func keylessSampleCases() map[string]map[string]keylessCase {
	bundle := env.Way{Log: 1}
	release := workflowRun{"example/app", "release.yml", "refs/tags/v1.2.3", "push"}
	signed := func(way env.Way, by ...workflowRun) []keylessWork {
		var out []keylessWork
		for _, r := range by {
			out = append(out, keylessWork{by: r, way: way})
		}
		return out
	}
	other := func(change func(r *workflowRun)) []keylessWork {
		r := release
		change(&r)
		return signed(bundle, r)
	}

	const builder, source, main = "https://github.com/example/builder@refs/tags/v2.1.0", "https://github.com/example/app", "refs/heads/main"
	const own = `,"resolvedDependencies":[{"uri":"git+https://github.com/example/app@refs/heads/main","digest":{"gitCommit":"8d4e1f5a6b7c8091a2b3c4d5e6f708192a3b4c5d"}},{"uri":"git+https://github.com/example/builder@refs/tags/v2.1.0"}]`
	const foreign = `,"resolvedDependencies":[{"uri":"git+https://github.com/example/app@refs/heads/main"},{"uri":"git+https://github.com/example-tools/setup@refs/tags/v1"}]`
	onMain := workflowRun{"example/app", "release.yml", main, "push"}
	attested := func(ref, repository, dependencies, builder string) keylessWork {
		return keylessWork{by: onMain, way: bundle, kind: "slsaprovenance1", predicate: fmt.Sprintf(slsa1, ref, repository, dependencies, builder)}
	}
	good := attested(main, source, own, builder)
	with := func(change func(w *keylessWork)) keylessWork { w := good; change(&w); return w }
	only := func(w ...keylessWork) []keylessWork { return w }
	elsewhere := attested("refs/heads/feature", source, own, "https://github.com/elsewhere/builder@refs/tags/v2.1.0")
	elsewhere.by.repository = "elsewhere/app"

	return map[string]map[string]keylessCase{
		"own-sigstore.yaml": {
			"bundle":       {work: signed(bundle, workflowRun{})},
			"older format": {work: signed(env.Way{Legacy: true, Log: 1}, workflowRun{})},
			"workflow":     {work: signed(bundle, release), refused: "subject mismatch"},
			"in no log":    {work: signed(env.Way{Stamped: true}, workflowRun{}), refused: "the signature carries no transparency log entry"},
			"other log":    {work: signed(env.Way{Log: 2, Stamped: true}, workflowRun{}), refused: "no transparency log entry verifies"},
			"other Fulcio": {work: signed(env.Way{Log: 1, Other: true}, workflowRun{}), refused: untrusted},
			"nobody":       {refused: "no signatures found"},
		},
		"keyless-github-workflow.yaml": {
			"bundle":             {work: signed(bundle, release)},
			"bundle, second log": {work: signed(env.Way{Log: 2, Stamped: true}, release)},
			"older format":       {work: signed(env.Way{Legacy: true, Log: 1}, release)},
			"other repository":   {work: other(func(r *workflowRun) { r.repository = "example/tools-2" })},
			"and by a stranger":  {work: signed(bundle, workflowRun{"elsewhere/app", "release.yml", release.ref, "push"}, release)},
			"other organisation": {work: other(func(r *workflowRun) { r.repository = "example-corp/app" }), refused: "subject mismatch"},
			"other workflow":     {work: other(func(r *workflowRun) { r.workflow = "build.yml" }), refused: "subject mismatch"},
			"branch":             {work: other(func(r *workflowRun) { r.ref = main }), refused: "subject mismatch"},
			"other kind of tag":  {work: other(func(r *workflowRun) { r.ref = "refs/tags/v1.2.3-rc1" }), refused: "subject mismatch"},
			"started by hand":    {work: other(func(r *workflowRun) { r.trigger = "workflow_dispatch" }), refused: "extension mismatch: expected push for key githubWorkflowTrigger, received workflow_dispatch"},
			"person":             {work: signed(bundle, workflowRun{}), refused: "subject mismatch"},
			"in no log":          {work: signed(env.Way{Stamped: true}, release), refused: "the signature carries no transparency log entry"},
			"in no log, older":   {work: signed(env.Way{Legacy: true, Stamped: true}, release), refused: "the signature carries no transparency log entry"},
			"other Fulcio":       {work: signed(env.Way{Log: 1, Other: true}, release), refused: untrusted},
			"attested, unsigned": {work: only(with(func(w *keylessWork) { w.by = release })), refused: "no signatures found"},
			"two near misses":    {work: signed(bundle, onMain, workflowRun{"example/app", "release.yml", release.ref, "schedule"}), refused: "extension mismatch"},
			"nobody":             {refused: "no signatures found"},
		},
		"slsa-provenance.yaml": {
			"bundle":             {work: only(good)},
			"bundle, second log": {work: only(with(func(w *keylessWork) { w.way = env.Way{Log: 2, Stamped: true} }))},
			"older format":       {work: only(with(func(w *keylessWork) { w.way = env.Way{Legacy: true, Log: 1} }))},
			"no dependencies": {work: only(with(func(w *keylessWork) {
				// By this name of the type cosign takes the predicate as it is; by the other it leaves empty lists out.
				w.kind, w.predicate = provenance, fmt.Sprintf(slsa1, main, source, `,"resolvedDependencies":[]`, builder)
			}))},
			"and by a stranger":  {work: only(elsewhere, good)},
			"two, both fit":      {work: only(good, attested(main, source, own, "https://github.com/example/builder@refs/tags/v3"))},
			"two, one does not":  {work: only(good, attested("refs/heads/feature", source, own, builder)), refused: "built from refs/heads/feature"},
			"other builder":      {work: only(attested(main, source, own, "https://github.com/example/builder@refs/heads/main")), refused: "unknown builder https://github.com/example/builder@refs/heads/main"},
			"other source":       {work: only(attested(main, "https://github.com/example/fork", own, builder)), refused: "attestation checks failed for"},
			"other ref":          {work: only(attested("refs/heads/feature", source, own, builder)), refused: "built from refs/heads/feature"},
			"dependency outside": {work: only(attested(main, source, foreign, builder)), refused: "depends on something outside of our organisation"},
			// What cannot be evaluated is not taken for fine.
			"dependencies not told": {work: only(attested(main, source, "", builder)), refused: `Unknown key "resolvedDependencies" in path`},
			"of another workflow":   {work: only(with(func(w *keylessWork) { w.by.workflow = "build.yml" })), refused: "subject mismatch"},
			"of another branch":     {work: only(with(func(w *keylessWork) { w.by.ref = "refs/heads/main-2" })), refused: "subject mismatch"},
			"of a person":           {work: only(with(func(w *keylessWork) { w.by = workflowRun{} })), refused: "subject mismatch"},
			"older provenance":      {work: only(keylessWork{by: onMain, way: bundle, kind: "slsaprovenance02", predicate: fmt.Sprintf(slsa02, builder)}), refused: "attestations not found for predicate type https://slsa.dev/provenance/v1"},
			"signed only":           {work: signed(bundle, onMain), refused: "not found"},
		},
	}
}

// do signs or attests an image with the real cosign and a certificate of the real Fulcio.
func (w *keylessWork) do(ctx context.Context, s *env.Sigstore, c *env.Cosign, file, ref string) error {
	token, err := s.People.Mail(person)
	if w.by != (workflowRun{}) {
		token, err = s.Workflows.Workflow(w.by.repository, w.by.workflow, w.by.ref, w.by.trigger)
	}
	if err != nil {
		return err
	}
	if w.predicate == "" {
		_, err = c.Must(ctx, "sign", "--identity-token", token, ref)
		return err
	}
	if err := os.WriteFile(file, []byte(w.predicate), 0o600); err != nil {
		return err
	}
	_, err = c.Must(ctx, "attest", "--identity-token", token, "--type", w.kind, "--predicate", file, ref)
	return err
}

// The samples about keyless signers, with only the services in them replaced, admit what the workflow they name signed and
// attested, and refuse what is nearly that (VI 6.5, 6.6). The test has the cluster for itself: samples are about all
// namespaces.
func TestKeylessSamples(t *testing.T) {
	dir := t.TempDir()
	s, err := env.StartSigstore(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	cosign, err := s.Cosign(t.Context(), dir, shared.hub)
	if err != nil {
		t.Fatal(err)
	}
	shared.run(t, cosign.TrustedRoot)

	cases, signing, images := keylessSampleCases(), map[env.Way]*env.Cosign{}, map[string]string{}
	g := errgroup.Group{}
	g.SetLimit(3)
	for sample, list := range cases {
		for name, c := range list {
			repo := fmt.Sprintf("example/keyless-%d", shared.names.Add(1))
			images[sample+name] = "ghcr.io/" + repo + ":v1"
			ref := "ghcr.io/" + repo + "@" + pushRandom(t, repo+":v1")
			var by []*env.Cosign
			for _, w := range c.work {
				if signing[w.way] == nil {
					if signing[w.way], err = s.Signing(t.Context(), cosign, w.way); err != nil {
						t.Fatal(err)
					}
				}
				by = append(by, signing[w.way])
			}
			file := filepath.Join(dir, lower(sample+name)+".json")
			g.Go(func() error {
				for i, w := range c.work {
					if err := w.do(t.Context(), s, by[i], file, ref); err != nil {
						return fmt.Errorf("%s, %s: %w", sample, name, err)
					}
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}

	for sample, list := range cases {
		t.Run(strings.TrimSuffix(sample, ".yaml"), func(t *testing.T) {
			u, ns := newUser(t), namespace(t)
			u.apply(t, readKeylessSample(t, sample, s))
			for name, c := range list {
				t.Run(name, func(t *testing.T) {
					image := images[sample+name]
					created, err := u.create(t, ns, pod(fmt.Sprintf("sample-%d", shared.names.Add(1)), image))
					switch {
					case c.refused != "":
						wantRefused(t, err, c.refused)
					case err != nil:
						t.Error(err)
					case !strings.Contains(created.Annotations[annotation], `:"pass"}`):
						t.Errorf("the annotations are %v", created.Annotations)
					}
				})
			}
		})
	}
}

// readKeylessSample is a sample for the local Sigstore.
func readKeylessSample(t *testing.T, file string, s *env.Sigstore) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(env.Root(), "config", "samples", file))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{publicWorkflows: s.Workflows.URL, publicRekor: s.RekorV1.URL}
	if file == "own-sigstore.yaml" {
		names = map[string]string{"https://login.example.com": s.People.URL, "https://rekor.example.com": s.RekorV1.URL, "*@example.com": "*@example.test"}
		text = withMaterial(t, text, s.Fulcio.TrustFile, s.RekorV1.TrustFile, s.CT.PublicKeyFile)
	}
	for public, local := range names {
		if !strings.Contains(string(text), public) {
			t.Fatalf("%s does not name %s", file, public)
		}
		text = []byte(strings.ReplaceAll(string(text), public, local))
	}
	p := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &p.Object); err != nil {
		t.Fatal(err)
	}
	return p
}

// withMaterial puts an authority in the place of a sample's certificate, and keys in that of its keys.
func withMaterial(t *testing.T, text []byte, authority string, keys ...string) []byte {
	t.Helper()
	in := func(old, file string) string {
		material, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		indent := old[:strings.Index(old, "-")]
		return indent + strings.ReplaceAll(strings.TrimSpace(string(material)), "\n", "\n"+indent)
	}
	own := sampleChain.ReplaceAllStringFunc(string(text), func(old string) string { return in(old, authority) })
	return []byte(sampleKey.ReplaceAllStringFunc(own, func(old string) string {
		key := keys[0]
		keys = keys[1:]
		return in(old, key)
	}))
}
