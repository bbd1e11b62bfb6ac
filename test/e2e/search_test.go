package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/env"
)

// carriedEntry is the annotation with the log entry that cosign leaves at a signature.
const carriedEntry = "dev.sigstore.cosign/bundle"

// oldEntry is the kind of entry that cosign made for attestations before version 2.2. The cosign here makes none any more,
// whatever it is told.
const oldEntry = "intoto"

// loggedThing is something that cosign signs in its older format and logs, or not. The key, or else the workflow, signs.
type loggedThing struct {
	keyed, unlogged bool
	// entry is the kind of log entry of an attestation; empty is a signature.
	entry string
}

func (l loggedThing) suffix() string {
	if l.entry != "" {
		return ".att"
	}
	return ".sig"
}

// make has the real cosign sign or attest ref.
func (l loggedThing) make(ctx context.Context, k *keylessWorld, predicate, ref string) error {
	way := env.Way{Legacy: true, Log: 1}
	if l.unlogged || l.entry == oldEntry {
		way.Log = 0
	}
	signing, err := k.Signing(ctx, k.cosign, way)
	if err != nil {
		return err
	}
	args := []string{"sign"}
	if l.entry != "" {
		args = []string{"attest", "--type", "slsaprovenance1", "--predicate", predicate}
	}
	if l.keyed {
		args = append(args, "--key", "logged.key")
	} else {
		token, err := k.Workflows.Workflow("acme/app", "release.yml", "refs/tags/v1.2.3", trigger)
		if err != nil {
			return err
		}
		args = append(args, "--identity-token", token)
	}
	if _, err = signing.Must(ctx, append(args, ref)...); err != nil || l.entry != oldEntry {
		return err
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(ref, shared.registry.Host()+"/"), "@")
	return logEnvelope(k.RekorV1.URL, name, strings.Replace(ref[strings.Index(ref, "@")+1:], ":", "-", 1)+l.suffix(), k.read(filepath.Join(k.cosign.Dir, "logged.pub")))
}

// logEnvelope uploads an attestation to the log as an old cosign did, signed by the certificate that it carries or else by
// the key.
func logEnvelope(log, repository, tag, key string) error {
	body, _, err := get(shared.registry.URL() + "/v2/" + repository + "/manifests/" + tag)
	var m registrytest.ImageManifest
	if err = errors.Join(err, json.Unmarshal(body, &m)); err != nil || len(m.Layers) != 1 {
		return errors.Join(fmt.Errorf("%s:%s is no attestation: %s", repository, tag, body), err)
	}
	envelope, _, err := get(shared.registry.URL() + "/v2/" + repository + "/blobs/" + m.Layers[0].Digest)
	if err != nil {
		return err
	}
	by := cmp.Or(m.Layers[0].Annotations["dev.sigstore.cosign/certificate"], key)
	proposed, err := json.Marshal(map[string]any{"kind": "intoto", "apiVersion": "0.0.1", "spec": map[string]any{
		"content": map[string]any{"envelope": string(envelope)}, "publicKey": []byte(by),
	}})
	if err != nil {
		return err
	}
	resp, err := http.Post(log+"/api/v1/log/entries", "application/json", bytes.NewReader(proposed)) //nolint:gosec,noctx // a loopback address of this test
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("the log answers %s: %s", resp.Status, text)
	}
	return nil
}

// forget writes the manifest of a signature again without the log entry that it carries.
func forget(repository, tag string, carries bool) error {
	body, header, err := get(shared.registry.URL() + "/v2/" + repository + "/manifests/" + tag)
	if err != nil || body == nil {
		return errors.Join(fmt.Errorf("%s:%s is not there", repository, tag), err)
	}
	var m registrytest.ImageManifest
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	if len(m.Layers) != 1 || (m.Layers[0].Annotations[carriedEntry] != "") != carries {
		return fmt.Errorf("%s:%s is not what cosign was asked for: %s", repository, tag, body)
	}
	delete(m.Layers[0].Annotations, carriedEntry)
	if body, err = json.Marshal(m); err != nil {
		return err
	}
	shared.registry.PushManifest(repository, tag, header.Get("Content-Type"), body)
	return nil
}

// policy is one that asks for the thing with these fields of rekor.
func (l loggedThing) policy(k *keylessWorld, key, failure string, rekor map[string]any) rule {
	entry := map[string]any{"keyless": fields(k.workflow(), map[string]any{"rekor": rekor})}
	if l.keyed {
		entry = map[string]any{"keys": map[string]any{"publicKeys": key, "rekor": rekor}}
	}
	sets := []any{map[string]any{"entries": []any{entry}}}
	if l.entry == "" {
		return rule{failure: failure, entry: map[string]any{"attestors": sets}}
	}
	return rule{failure: failure, entry: map[string]any{
		"attestors": []any{}, "attestations": []any{map[string]any{"type": provenance, "attestors": sets}},
	}}
}

// Signatures and attestations in cosign's older format that carry no log entry are looked for in the log that the policy
// names, as the real cosign logged them in the real Rekor (VI 6.5(3), (4), 6.14).
func TestLogSearch(t *testing.T) {
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
	if _, err := k.cosign.Must(ctx, "generate-key-pair", "--output-key-prefix=logged"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "predicate.json")
	if err := os.WriteFile(file, []byte(predicate), 0o600); err != nil {
		t.Fatal(err)
	}
	things := map[string]loggedThing{
		"signature by a key":         {keyed: true},
		"signature by a workflow":    {},
		"DSSE entry by a key":        {keyed: true, entry: "dsse"},
		"DSSE entry by a workflow":   {entry: "dsse"},
		"intoto entry by a key":      {keyed: true, entry: oldEntry},
		"intoto entry by a workflow": {entry: oldEntry},
		"unlogged signature":         {keyed: true, unlogged: true},
		"unlogged attestation":       {keyed: true, unlogged: true, entry: "dsse"},
	}
	var g errgroup.Group
	g.SetLimit(3)
	for name, l := range things {
		repo := repository(t, lower(name))
		digest := shared.registry.PushImage(repo, "", nil)
		k.images[name] = host + "/" + repo + "@" + digest
		g.Go(func() error {
			if err := l.make(ctx, k, file, shared.registry.Host()+"/"+repo+"@"+digest); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return forget(repo, registrytest.FallbackTag(digest)+l.suffix(), !l.unlogged && l.entry != oldEntry)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	shared.run(t, k.cosign.TrustedRoot)

	const missing, none, nowhere = "the signature carries no transparency log entry", ", and its log has none", "http://127.0.0.1:1"
	key := k.read(filepath.Join(dir, "logged.pub"))
	url := func(url string, pubkey ...string) map[string]any {
		out := map[string]any{"url": url}
		if len(pubkey) > 0 {
			out["pubkey"] = k.read(pubkey[0])
		}
		return out
	}
	type trial struct {
		rekor                    map[string]any
		failure, refused, warned string
	}
	for name, l := range things {
		trials := map[string]trial{
			"found":                   {rekor: url(k.RekorV1.URL)},
			"found, with a slash":     {rekor: url(k.RekorV1.URL + "/")},
			"found, log's own key":    {rekor: url(k.RekorV1.URL, k.RekorV1.TrustFile)},
			"found, another key":      {rekor: url(k.RekorV1.URL, k.CT.PublicKeyFile), refused: "no transparency log entry verifies"},
			"nothing listens":         {rekor: url(nowhere), refused: "the transparency log " + nowhere + " could not be searched: no connection"},
			"nothing listens, Ignore": {rekor: url(nowhere), failure: "Ignore", warned: "the transparency log " + nowhere + " could not be searched: no connection"},
		}
		if l.unlogged {
			trials = map[string]trial{
				"not found":         {rekor: url(k.RekorV1.URL), refused: missing + none},
				"not found, Ignore": {rekor: url(k.RekorV1.URL), failure: "Ignore", refused: missing + none},
			}
		}
		if l.keyed {
			trials["no address"] = trial{rekor: url(""), refused: missing}
		}
		t.Run(name, func(t *testing.T) {
			for what, c := range trials {
				t.Run(what, func(t *testing.T) {
					t.Parallel()
					u, ns := newUser(t), namespace(t)
					u.apply(t, l.policy(k, key, c.failure, c.rekor).clusterFor(ns))
					u.warned()
					image := k.images[name]
					_, err := u.create(t, ns, pod("logged", image))
					warnings := strings.Join(u.warned(), "\n")
					switch {
					case c.refused != "":
						wantRefused(t, err, c.refused)
						if c.refused == missing && strings.Contains(spaced(err.Error()), none) {
							t.Errorf("a log was asked: %v", err)
						}
					case err != nil:
						t.Error(err)
					case !strings.Contains(warnings, c.warned):
						t.Errorf("warned of %q", warnings)
					}
				})
			}
		})
	}
}
