package sigstore_test

import (
	"fmt"
	"testing"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// swapped is a part of a candidate: how one candidate takes it from another.
type swapped struct {
	name string
	// code is the reason for which a candidate with this part of another is refused.
	code reason.Code
	take func(t *testing.T, to, from sample) sample
}

// TestT042Swaps exchanges every part, and every two parts, between two valid candidates (T-042). Both are by the same identity
// for two images, so that nothing but the ties between the parts tells them apart.
func TestT042Swaps(t *testing.T) {
	t.Parallel()
	get := samples(t)
	annotation := func(name string) func(*testing.T, sample, sample) sample {
		return func(_ *testing.T, to, from sample) sample {
			return to.annotation(name, from.artifact.Annotations[name])
		}
	}
	payload := swapped{"payload", reason.DigestMismatch, func(_ *testing.T, to, from sample) sample {
		to.artifact.Payload = from.artifact.Payload
		return to
	}}
	inBundle := func(path []string, field string) func(*testing.T, sample, sample) sample {
		return func(t *testing.T, to, from sample) sample {
			return to.bundle(t, func(b map[string]any) { at(b, path...)[field] = at(decode(t, from.artifact.Payload), path...)[field] })
		}
	}
	material := []string{"verificationMaterial"}
	legacy := []swapped{
		payload,
		{"signature", reason.BadSignature, annotation("dev.cosignproject.cosign/signature")},
		{"certificate", reason.BadSignature, annotation("dev.sigstore.cosign/certificate")},
		{"log entry", reason.TransparencyLogMissing, annotation("dev.sigstore.cosign/bundle")},
		{"timestamp", reason.TimestampMissing, annotation("dev.sigstore.cosign/rfc3161timestamp")},
	}
	bundle := []swapped{
		{"payload", reason.DigestMismatch, inBundle([]string{"dsseEnvelope"}, "payload")},
		{"signature", reason.BadSignature, inBundle([]string{"dsseEnvelope"}, "signatures")},
		{"certificate", reason.BadSignature, inBundle(material, "certificate")},
		{"log entry", reason.TransparencyLogMissing, inBundle(material, "tlogEntries")},
		{"timestamp", reason.TimestampMissing, inBundle(material, "timestampVerificationData")},
	}
	tsa := get("keyless/tsa-v3-legacy/tsa-required").attestor.TSAChain
	if len(tsa) == 0 {
		t.Fatal("no timestamp authority")
	}
	v := verifierFor(t, "trust/trusted_root.json")
	for format, tc := range map[string]struct {
		one, other sample
		parts      []swapped
	}{
		"legacy":          {get("keyless/rekor1-tsa-v3-legacy"), get("keyless/tsa-v3-legacy"), append(legacy[:3:3], legacy[4])},
		"legacy, log":     {get("keyless/rekor1-v2-legacy"), get("keyless/rekor1-v3-legacy"), legacy[:4]},
		"bundle, Rekor 2": {get("keyless/rekor2-tsa-v3-bundle"), get("keyless/rekor2-tsa-v3-bundle-fallback"), bundle},
		"bundle, Rekor 1": {get("keyless/rekor1-v3-bundle"), get("keyless/rekor1-v3-bundle-fallback"), bundle[:4]},
	} {
		a := tc.one.attestor
		for _, part := range tc.parts {
			if part.name == "timestamp" {
				a.TSAChain = tsa
			}
		}
		if got, err := verdict(t, v, tc.one.image, &a, false, tc.one.artifact); got != "" {
			t.Fatalf("%s: as it is: %v", format, err)
		}
		try := func(name string, s sample, want ...reason.Code) {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				got, err := verdict(t, v, s.image, &a, false, s.artifact)
				for _, w := range want {
					if got == w {
						return
					}
				}
				t.Errorf("%q, want %q: %v", got, want, err)
			})
		}
		for i, first := range tc.parts {
			one := first.take(t, tc.one, tc.other)
			try(first.name, one, first.code)
			for _, second := range tc.parts[i+1:] {
				// Whatever is noticed first, something is.
				two := second.take(t, one, tc.other)
				if len(tc.parts) == 2 {
					continue
				}
				try(fmt.Sprintf("%s and %s", first.name, second.name), two, first.code, second.code, reason.BadSignature, reason.TransparencyLogMissing, reason.TimestampMissing)
			}
		}
		// All parts at once are the other candidate, for the other image.
		all := tc.one
		for _, part := range tc.parts {
			all = part.take(t, all, tc.other)
		}
		try("all", all, reason.DigestMismatch)
		all.image = tc.other.image
		if format != "legacy" {
			try("all, and the image", all, "")
		}
	}
	// The candidates stand beside each other in the same place.
	both := []image.Artifact{get("keyless/rekor1-v3-legacy").artifact, get("keyless/rekor1-v2-legacy").artifact}
	s := get("keyless/rekor1-v2-legacy")
	if got, err := verdict(t, v, s.image, &s.attestor, false, both...); got != "" {
		t.Errorf("side by side: %v", err)
	}
}
