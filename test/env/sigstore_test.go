package env_test

import (
	"testing"

	"github.com/signet-policy/signet/test/env"
)

// Every way that cosign signs keyless, against the private Sigstore, and what cosign itself says of the result.
func TestSigstore(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	registry, err := env.StartRegistry(dir, "ghcr.io")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Stop)
	s, err := env.StartSigstore(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	cosign, err := s.Cosign(ctx, t.TempDir(), registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []env.Way{
		{Log: 1}, {Log: 1, Stamped: true}, {Log: 2, Stamped: true}, {Stamped: true},
		{Legacy: true, Log: 1}, {Legacy: true, Log: 1, Stamped: true}, {Legacy: true, Stamped: true},
	} {
		t.Run(way.String(), func(t *testing.T) {
			t.Parallel()
			signing, err := s.Signing(ctx, cosign, way)
			if err != nil {
				t.Fatal(err)
			}
			token, err := s.People.Mail("dev@example.test")
			if err != nil {
				t.Fatal(err)
			}
			ref := "ghcr.io/acme/" + way.String() + "@" + push(t, registry, "acme/"+way.String()+":1")
			if _, err := signing.Must(ctx, "sign", "--identity-token", token, ref); err != nil {
				t.Fatal(err)
			}
			args := []string{"verify", "--certificate-oidc-issuer", s.People.URL}
			if way.Legacy {
				args = append(args, "--new-bundle-format=false")
			}
			if way.Stamped {
				args = append(args, "--use-signed-timestamps")
			}
			if way.Log == 0 {
				args = append(args, "--insecure-ignore-tlog")
			}
			if _, err := cosign.Must(ctx, append(args, "--certificate-identity", "dev@example.test", ref)...); err != nil {
				t.Error(err)
			}
			if res, err := cosign.Run(ctx, append(args, "--certificate-identity", "other@example.test", ref)...); err != nil || res.Code == 0 {
				t.Errorf("verified as somebody else: %+v, %v", res, err)
			}
		})
	}
}
