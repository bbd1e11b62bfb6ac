package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/env"
)

// The identities that sign in these tests.
const (
	person   = "dev@example.test"
	workflow = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.2.3"
	trigger  = "push"

	provenance = "https://slsa.dev/provenance/v1"
	predicate  = `{"buildDefinition":{"buildType":"https://example.test/build/v1","externalParameters":{"ref":"refs/tags/v1.2.3"},"resolvedDependencies":[]},
		"runDetails":{"builder":{"id":"https://example.test/builder"},"metadata":{"invocationId":"7"}}}`
)

// keylessWorld is a private Sigstore with images that the real cosign signed there.
type keylessWorld struct {
	*env.Sigstore
	t      *testing.T
	cosign *env.Cosign
	images map[string]string // name: image with digest
}

func (k *keylessWorld) read(file string) string {
	k.t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(raw)
}

// signed are the ways of each identity, as "person/bundle-rekor-v1".
var signed = map[string][]env.Way{
	"person": {
		{Log: 1}, {Log: 1, Stamped: true}, {Log: 2, Stamped: true}, {Stamped: true}, {Log: 1, Other: true},
		{Legacy: true, Log: 1}, {Legacy: true, Log: 1, Stamped: true}, {Legacy: true, Stamped: true}, {Legacy: true, Log: 1, Other: true},
		{Legacy: true, Log: 1, Referrer: true},
	},
	"workflow": {{Log: 1}, {Log: 2, Stamped: true}, {Legacy: true, Log: 1}, {Legacy: true, Log: 1, Referrer: true}},
	// The same in a repository of a registry without the referrers API.
	"fallback": {{Log: 1}, {Log: 2, Stamped: true}},
}

func newKeylessWorld(t *testing.T) *keylessWorld {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	k := &keylessWorld{t: t, images: map[string]string{}}
	var err error
	if k.Sigstore, err = env.StartSigstore(ctx, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	if k.cosign, err = k.Cosign(ctx, dir, nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "predicate.json")
	if err := os.WriteFile(file, []byte(predicate), 0o600); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.SetLimit(3)
	for who, ways := range signed {
		for _, way := range ways {
			name := who + "/" + way.String()
			repo := repository(t, name)
			digest := shared.registry.PushImage(repo, "", nil)
			k.images[name] = host + "/" + repo + "@" + digest
			if who == "fallback" {
				shared.registry.Fault(registrytest.Match{Kind: registrytest.Referrers, Repository: repo}, registrytest.Status(http.StatusNotFound, ""))
			}
			g.Go(func() error {
				token, err := k.People.Mail(person)
				if who != "person" {
					token, err = k.Workflows.Workflow("acme/app", "release.yml", "refs/tags/v1.2.3", trigger)
				}
				if err != nil {
					return err
				}
				signing, err := k.Signing(ctx, k.cosign, way)
				if err != nil {
					return err
				}
				ref := shared.registry.Host() + "/" + repo + "@" + digest
				if _, err := signing.Must(ctx, "sign", "--identity-token", token, ref); err != nil {
					return err
				}
				if err := placed(repo, digest, way, who == "fallback"); err != nil {
					return err
				}
				if who != "person" {
					_, err = signing.Must(ctx, "attest", "--identity-token", token, "--type", "slsaprovenance1", "--predicate", file, ref)
				}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return k
}

// placed checks that cosign put a signature where the test means it to be.
func placed(repo, digest string, way env.Way, fallback bool) error {
	for suffix, want := range map[string]bool{"": fallback, ".sig": way.Legacy && !way.Referrer} {
		tag := registrytest.FallbackTag(digest) + suffix
		body, _, err := get(shared.registry.URL() + "/v2/" + repo + "/manifests/" + tag)
		if err != nil {
			return err
		}
		if (body != nil) != want {
			return fmt.Errorf("%s: the tag %s is there: %t", way, tag, body != nil)
		}
	}
	return nil
}

// trial is one image under a policy with one keyless attestor.
type trial struct {
	image string
	// keyless are the attestor's fields.
	keyless map[string]any
	// attested is the attestation that is asked for beside; nil for none.
	attested map[string]any
	// refused is a part of the refusal; empty for an image that is admitted.
	refused string
}

// fields are the attestor's fields: the identity and what differs.
func fields(maplets ...map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range maplets {
		maps.Copy(out, m)
	}
	return out
}

// try creates the policy and a Pod with the image.
func (k *keylessWorld) try(t *testing.T, u *user, tc trial) {
	t.Helper()
	attestor := fields(map[string]any{"rekor": map[string]any{"url": k.RekorV1.URL}}, tc.keyless)
	sets := []any{map[string]any{"entries": []any{map[string]any{"keyless": attestor}}}}
	entry := map[string]any{"attestors": sets}
	if tc.attested != nil {
		entry["attestations"] = []any{fields(map[string]any{"attestors": sets}, tc.attested)}
	}
	ns := namespace(t)
	u.apply(t, rule{entry: entry}.clusterFor(ns))
	image := k.images[tc.image]
	if image == "" {
		t.Fatalf("no image %s", tc.image)
	}
	_, err := u.create(t, ns, pod("keyless", image))
	switch {
	case tc.refused != "":
		wantRefused(t, err, image, tc.refused)
	case err != nil:
		t.Errorf("refused: %v", err)
	}
}

func (k *keylessWorld) all(t *testing.T, group string, trials map[string]trial) {
	t.Helper()
	t.Run(group, func(t *testing.T) {
		u := newUser(t)
		for name, tc := range trials {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				k.try(t, u, tc)
			})
		}
	})
}

// Images that the real cosign signed without a key, certified by a real Fulcio: admitted for the identity that signed,
// refused for every other one, in each format and with each kind of proof (VI 6.5, A-31, A-78). Seed 43: the root is in a
// ConfigMap, and no TUF repository can be reached.
func TestKeyless(t *testing.T) {
	k := newKeylessWorld(t)
	r := &rooted{t: t, user: newUser(t)}
	r.set(k.read(k.cosign.TrustedRoot))
	shared.runWith(t, inConfigMap, "--enableTuf", noMirror)

	k.all(t, "identity", k.identities())
	k.all(t, "proofs", k.proofs())
	k.all(t, "attestations", k.attestations())

	// The same process under other roots: what each part of the root was needed for.
	// An empty text is for an image that is admitted.
	probe := func(t *testing.T, from *env.Sigstore, text string, parts ...string) {
		t.Helper()
		u, ns := newUser(t), namespace(t)
		u.apply(t, rule{entry: k.attestors(k.person())}.clusterFor(ns))
		file := filepath.Join(t.TempDir(), "root.json")
		if err := from.TrustedRoot(t.Context(), k.cosign, file, parts...); err != nil {
			t.Fatal(err)
		}
		r.set(k.read(file))
		n := 0
		eventually(t, "the answer under the other root", func() error {
			n++
			_, err := u.create(t, ns, pod(fmt.Sprintf("probe-%d", n), k.images["person/bundle-rekor-v1"]))
			switch {
			case text == "":
				return err
			case err == nil:
				return errors.New("admitted")
			case !strings.Contains(spaced(err.Error()), text):
				return fmt.Errorf("refused in other words: %w", err)
			}
			return nil
		})
	}
	t.Run("root of another certificate log", func(t *testing.T) {
		log, err := env.StartCTLog(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		log.Stop() // its key will do
		other := *k.Sigstore
		other.CT = log
		probe(t, &other, "no certificate log vouches for the certificate", env.TrustEverything()...)
	})
	// Where nobody names a certificate log, none is asked for; cosign then refuses.
	t.Run("root without certificate log", func(t *testing.T) {
		parts := []string{env.TrustFulcio, env.TrustRekorV1, env.TrustRekorV2, env.TrustTSA}
		probe(t, k.Sigstore, "", parts...)
		file := filepath.Join(t.TempDir(), "root.json")
		if err := k.TrustedRoot(t.Context(), k.cosign, file, parts...); err != nil {
			t.Fatal(err)
		}
		res, err := k.cosign.With("COSIGN_TRUSTED_ROOT="+file).Run(t.Context(), "verify", "--certificate-identity", person,
			"--certificate-oidc-issuer", k.People.URL, strings.Replace(k.images["person/bundle-rekor-v1"], host, shared.registry.Host(), 1))
		if err != nil || res.Code == 0 || !strings.Contains(res.Stderr, "SCT") {
			t.Errorf("cosign: %d, %v: %s", res.Code, err, res.Stderr)
		}
	})
	t.Run("root of another Fulcio", func(t *testing.T) {
		probe(t, k.Sigstore, untrusted, env.TrustOther, env.TrustCT, env.TrustRekorV1, env.TrustRekorV2, env.TrustTSA)
	})
	t.Run("root without log", func(t *testing.T) {
		probe(t, k.Sigstore, "no transparency log entry verifies", env.TrustFulcio, env.TrustCT, env.TrustTSA)
	})
	t.Run("root without anything", func(t *testing.T) { probe(t, k.Sigstore, untrusted) })
	// Under the empty root, what the policy brings along is all there is.
	k.all(t, "own fields", k.ownFields())
}

// untrusted is said of a certificate that no trusted authority issued.
const untrusted = "the certificate is not trusted"

func (k *keylessWorld) attestors(keyless map[string]any) map[string]any {
	attestor := fields(map[string]any{"rekor": map[string]any{"url": k.RekorV1.URL}}, keyless)
	return map[string]any{"attestors": []any{map[string]any{"entries": []any{map[string]any{"keyless": attestor}}}}}
}

func (k *keylessWorld) person() map[string]any {
	return map[string]any{"issuer": k.People.URL, "subject": person}
}

func (k *keylessWorld) workflow() map[string]any {
	return map[string]any{"issuer": k.Workflows.URL, "subject": workflow}
}
