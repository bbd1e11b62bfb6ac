// Package matrix tries every combination of who signed, in which format and place, with which proof of when, and what:
// once as it should be, once by the policy's own trust, and once for every single thing that can be wrong. The table is
// declared once and is what the page docs/verification-matrix.md is made of. Registry client and verifier are the ones of
// the product; registry, authorities and logs are in this process.
package matrix

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// world is what all cases share.
type world struct {
	ours, strangers *party
	// api has the referrers API, plain has not.
	api, plain *registrytest.Server
	client     *registry.Client
	trust      *trusted
	services   *keyring.Services
	elsewhere  image.Digest
}

// began is when the certificates of those who sign now began.
func (w *world) began() time.Time { return w.ours.now.Add(-5 * time.Minute) }

func newWorld(t *testing.T) *world {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	client, err := registry.New(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		ours: newParty(t, now), strangers: newParty(t, now), api: registrytest.New(t), plain: registrytest.New(t), client: client,
		elsewhere: image.DigestOf([]byte("another image")),
	}
	w.plain.NoReferrersAPI()
	w.trust = w.ours.trust(t)
	w.services = &keyring.Services{Open: func(_ context.Context, ref verify.Reference) (keyring.Service, error) {
		return service{w, ref}, nil
	}}
	return w
}

// The keys in the key management service. Any of the kinds of service will do: what they answer is a public key.
const (
	release  verify.Reference = "hashivault://release"
	stranger verify.Reference = "hashivault://stranger"
	gone     verify.Reference = "hashivault://gone"
	silent   verify.Reference = "hashivault://silent"
)

// service is one key of the service.
type service struct {
	w   *world
	ref verify.Reference
}

// PublicKey is that of keyring.Service.
func (s service) PublicKey(context.Context) (crypto.PublicKey, error) {
	switch s.ref {
	case release:
		return s.w.ours.key.Public(), nil
	case stranger:
		return s.w.strangers.key.Public(), nil
	case silent:
		return nil, &reason.Error{Code: reason.TrustMaterialUnavailable, Text: "the service cannot be reached", Unreachable: true}
	}
	return nil, reason.New(reason.TrustMaterialUnavailable, "the service has no such key")
}

func identity(t testing.TB, issuer, subject string) verify.Identity {
	t.Helper()
	id, bad := verify.CompileIdentity(verify.IdentityText{Issuer: issuer, Subject: subject})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return id
}

// honest is the deed of a combination as it should be, and what is asked for.
func (w *world) honest(t testing.TB, c combination, img image.Digest) (*deed, *asked) {
	t.Helper()
	d := &deed{img: img, release: "1", key: w.ours.key, now: w.ours.now}
	a := &asked{attestor: &verify.Attestor{Annotations: map[string]string{"release": "1"}, IgnoreLog: !c.logged()}}
	switch {
	case c.kind == attestation:
		d.predicate, a.predicate = provenance, provenance
	case !c.older():
		d.predicate = signPredicate
	}
	switch c.signer {
	case key:
		a.attestor.Key = d.key.Public()
	case kms:
		a.attestor.Reference = release
	default:
		d.leaf, d.key = w.ours.leaf(t, w.began(), w.ours.ct)
		if c.older() && c.certified() {
			d.carried = []*x509.Certificate{w.ours.intermediate}
		}
		switch c.signer {
		case certificate:
			a.attestor.Certificates = verify.NewCertificates(d.leaf, nil)
		case chain:
			a.attestor.Certificates = verify.NewCertificates(nil, []*x509.Certificate{w.ours.intermediate, w.ours.root})
		case keyless:
			a.attestor.Keyless = &verify.Keyless{Identity: identity(t, issuer, subject)}
		}
	}
	switch c.proof {
	case rekor1:
		d.rekor1 = w.ours.rekor1
	case rekor2:
		if d.rekor2 = w.ours.rekor2; c.needsTime() {
			d.stamped = w.ours
		}
	case timestamp:
		d.stamped, a.attestor.TSAChain = w.ours, w.ours.stampChain(t)
	}
	return d, a
}

// ownTrust puts into the attestor what the trusted root says otherwise.
func (w *world) ownTrust(t testing.TB, c combination, a *asked) {
	t.Helper()
	a.attestor.LogKeys = []crypto.PublicKey{w.ours.rekor1.Public(), w.ours.rekor2.Public()}
	if !c.certified() {
		return
	}
	a.attestor.CTLogKeys = []crypto.PublicKey{w.ours.ct.Public()}
	if c.signer == keyless {
		a.attestor.Keyless.Roots = []*x509.Certificate{w.ours.root, w.ours.intermediate}
	}
	if c.needsTime() {
		a.attestor.TSAChain = w.ours.stampChain(t)
	}
}

// put makes an image with the deed attached, in a repository of its own.
func (w *world) put(t testing.TB, repository string, c combination, make func(image.Digest) *deed) image.Pinned {
	t.Helper()
	server := w.api
	if c.place == byFallback {
		server = w.plain
	}
	digest := server.PushImage(repository, "", nil)
	parsed, err := image.ParseDigest(digest)
	if err != nil {
		t.Fatal(err)
	}
	if d := make(parsed); d != nil {
		suffix, artifact := "sig", sigArtifact
		if c.kind == attestation {
			suffix, artifact = "att", inToto
		}
		switch c.place {
		case tag:
			server.AttachTag(repository, digest, suffix, d.layer(t))
		case referrer:
			server.AttachLayers(repository, digest, artifact, d.layer(t))
		case byAPI, byFallback:
			at := server.AttachLayers(repository, digest, bundleType, registrytest.Layer{MediaType: bundleType, Payload: d.bundle(t)})
			if c.place == byFallback {
				server.AttachFallback(repository, digest, at)
			}
		}
	}
	ref, err := image.Parse(server.Host()+"/"+repository, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ref.Pin(parsed)
}

// judge evaluates what is asked for.
func (w *world) judge(t *testing.T, img image.Pinned, a *asked, source sigstore.Source) (*verify.Proof, error) {
	t.Helper()
	sets := []verify.Set{{Count: 1, Entries: []verify.Entry{{Path: ".attestors[0].entries[0]", Attestor: a.attestor}}}}
	req := &verify.Requirement{Sets: sets}
	if a.predicate != "" {
		req = &verify.Requirement{Attestations: []verify.Attestation{{Path: ".attestations[0]", Type: a.predicate, Sets: sets, Read: true}}}
	}
	req.References = verify.CollectReferences(req)
	req = verify.Bind(req, func(ref verify.Reference) (*verify.Key, error) { return w.services.Ask(t.Context(), ref) })
	return verify.Evaluate(t.Context(), sigstore.New(source), w.client, img, req)
}

// proved checks that a proof is of what was put there.
func proved(t *testing.T, c combination, proof *verify.Proof) {
	t.Helper()
	if len(proof.Signatures) != 1 || len(proof.Statements) != map[string]int{signature: 0, attestation: 1}[c.kind] {
		t.Fatalf("%d signatures and %d statements", len(proof.Signatures), len(proof.Statements))
	}
	name := registrytest.FallbackTag(proof.Image.Digest().String())
	place := map[string]string{tag: "tag " + name + ".sig", referrer: "referrers API", byAPI: "referrers API", byFallback: "tag " + name}[c.place]
	if c.place == tag && c.kind == attestation {
		place = "tag " + name + ".att"
	}
	if got := proof.Signatures[0].Place; got != place {
		t.Errorf("found by %s, want %s", got, place)
	}
	if got := proof.Signatures[0].Certified; (got != nil) != c.certified() {
		t.Errorf("certified: %+v", got)
	}
	if c.kind == attestation && string(proof.Statements[0].Predicate) != `{"a":"b"}` {
		t.Errorf("predicate %s", proof.Statements[0].Predicate)
	}
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, c := range combinations() {
		if c.impossible() != "" {
			continue
		}
		t.Run(strings.Join([]string{c.kind, c.signer, c.place, c.proof}, "/"), func(t *testing.T) {
			t.Parallel()
			for own, name := range []string{"by the trusted root", "by the policy's own fields"} {
				var a *asked
				img := w.put(t, fmt.Sprintf("accept/%d/%d", i, own), c, func(digest image.Digest) (d *deed) {
					d, a = w.honest(t, c, digest)
					return d
				})
				var source sigstore.Source = w.trust
				if own == 1 {
					w.ownTrust(t, c, a)
					source = nil
				}
				proof, err := w.judge(t, img, a, source)
				if err != nil {
					t.Errorf("refused %s: %v", name, err)
					continue
				}
				proved(t, c, proof)
			}
			for k, r := range refusals() {
				if r.applies(c) {
					w.refuse(t, fmt.Sprintf("refuse/%d/%d", i, k), c, &r)
				}
			}
		})
	}
}

// refuse tries the combination with one thing wrong.
func (w *world) refuse(t *testing.T, repository string, c combination, r *refusal) {
	t.Helper()
	var a *asked
	img := w.put(t, repository, c, func(digest image.Digest) *deed {
		var d *deed
		if d, a = w.honest(t, c, digest); r.absent {
			return nil
		}
		r.do(t, w, d, a)
		return d
	})
	_, err := w.judge(t, img, a, w.trust)
	if err == nil {
		t.Errorf("%s: admitted", r.name)
		return
	}
	code, text := r.code, r.text
	if c.kind == attestation && !r.nothing {
		code = reason.AttestationMissing
		if r.attested != "" {
			text = r.attested
		}
	}
	if got := reason.Of(err).Code; got != code || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %s (%v), want %s (… %s …)", r.name, got, err, code, text)
	}
	// Unsigned is a verdict only after somebody looked whether there is an image at all.
	if violation := errors.Is(err, verify.ErrNotVerified); violation == r.unknown && !r.absent && code != reason.Unsigned {
		t.Errorf("%s: violation is %t: %v", r.name, violation, err)
	}
}
