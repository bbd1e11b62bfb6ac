package attacks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// TestT076DeletedSignature takes a signature away: the next look finds that out, and only a verdict that is still
// remembered stands meanwhile.
func TestT076DeletedSignature(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for name, tc := range map[string]struct {
		options engine.Options
		more    string
		after   string
	}{
		"A-42 remembered":       {engine.Options{}, "", "Verified"},
		"no cache":              {engine.Options{CacheDisabled: true}, "", "Unsigned"},
		"the entry wants none":  {engine.Options{}, ", useCache: false", "Unsigned"},
		"A-42 its time is over": {engine.Options{CacheTTL: 1}, "", "Unsigned"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, tc.options, enforce(by(t, s)+tc.more))
			digest := l.PushImage(repo, "v1", nil)
			l.AttachTag(repo, digest, "sig", s.layer(t, digest))
			want(t, l.judge(t, ":v1"), "Verified")
			l.Untag(repo, strings.Replace(digest, ":", "-", 1)+".sig")
			want(t, l.judge(t, ":v1"), tc.after)
		})
	}
}

// TestT072OtherArtifact has a registry that answers for one artifact with another, at each step.
func TestT072OtherArtifact(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	l := newLab(t, engine.Options{CacheDisabled: true}, enforce(by(t, s)))
	good, evil := l.PushImage(repo, "v1", []byte("good")), l.PushImage(repo, "v2", []byte("evil"))
	l.AttachTag(repo, good, "sig", s.layer(t, good))
	sig := func(digest string) string { return strings.Replace(digest, ":", "-", 1) + ".sig" }
	for name, tc := range map[string]struct {
		match registrytest.Match
		fault registrytest.Fault
		image string
		code  string
	}{
		"the tag of the evil one":                    {registrytest.Match{Reference: "v2"}, nil, ":v2", "Unsigned"},
		"the good one's tag, the evil one's bytes":   {registrytest.Match{Reference: "v1"}, registrytest.As(evil), ":v1", "Unsigned"},
		"the good one's digest on evil bytes":        {registrytest.Match{Reference: "v2"}, registrytest.Header("Docker-Content-Digest", good), ":v2", "DigestMismatch"},
		"the good one's signatures for the evil one": {registrytest.Match{Reference: sig(evil)}, registrytest.As(sig(good)), ":v2", "DigestMismatch"},
	} {
		remove := func() {}
		if tc.fault != nil {
			remove = l.Fault(tc.match, tc.fault)
		}
		t.Run(name, func(t *testing.T) { want(t, l.judge(t, tc.image), tc.code) })
		remove()
	}
}

// TestA21SignedElsewhere copies a signed image into another repository: its signatures count, and one line of the log tells of
// it with the verification, whichever way the name was written. Requests that the cache answers add none.
func TestA21SignedElsewhere(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for name, tc := range map[string]struct {
		signedAs string
		lines    int
	}{
		"another repository": {"elsewhere.test/x", 1},
		"another host":       {"HOST.test/" + repo, 1},
		"a longer name":      {"HOST/" + repo + "-evil", 1},
		"its own":            {"HOST/" + repo, 0},
		"its own, by tag":    {"HOST/" + repo + ":v1", 0},
		"none":               {"", 0},
		"no name":            {"<script>\n", 1},
		"a name of 10 KB":    {strings.Repeat("x", 10<<10), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(by(t, s)))
			digest := l.PushImage(repo, "v1", nil)
			p := []byte(strings.Replace(string(payloadFor(digest)), `"x"`, fmt.Sprintf("%q", strings.Replace(tc.signedAs, "HOST", l.Host(), 1)), 1))
			l.AttachTag(repo, digest, "sig", registrytest.Layer{MediaType: simpleSigning, Payload: p, Annotations: map[string]string{signatureAnnotation: s.sign(t, p)}})
			var lines []string
			log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
			for range 3 {
				want(t, l.review(t, logr.NewContext(t.Context(), log), l.request(":v1")), "Verified")
			}
			if len(lines) != tc.lines {
				t.Fatalf("%d lines: %q", len(lines), lines)
			}
			for _, line := range lines {
				if !strings.Contains(line, "the signature names the image otherwise") || !strings.Contains(line, l.Host()+"/"+repo+"@"+digest) || len(line) > 1000 || strings.ContainsAny(line, "\n\r") {
					t.Errorf("line %q", line)
				}
			}
		})
	}
}

// TestA24Entries counts what satisfies which entry: one signature, stored once or often, satisfies entries of its key and
// of no other.
func TestA24Entries(t *testing.T) {
	t.Parallel()
	one, two := newSigner(t), newSigner(t)
	for name, tc := range map[string]struct {
		policy string
		by     []signer
		code   string
	}{
		"both keys have signed":                      {by(t, one, two), []signer{one, two}, "Verified"},
		"in the other order":                         {by(t, one, two), []signer{two, one}, "Verified"},
		"one has, and its signature is stored twice": {by(t, one, two), []signer{one, one}, "BadSignature"},
		"one has signed ten times":                   {by(t, one, two), slices.Repeat([]signer{one}, 10), "BadSignature"},
		"A-25 one key, listed twice":                 {by(t, one, one), []signer{one}, "Verified"},
		"A-25 two of three entries, one key twice":   {strings.Replace(by(t, one, one, two), "entries", "count: 2, entries", 1), []signer{one}, "Verified"},
		"A-25 all of none":                           {strings.Replace(by(t, one, two), "entries", "count: 0, entries", 1), []signer{one}, "BadSignature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(tc.policy))
			digest := l.PushImage(repo, "v1", nil)
			var layers []registrytest.Layer
			for i, s := range tc.by {
				layer := s.layer(t, digest)
				if i > 0 && tc.by[i-1].key == s.key {
					layer = layers[i-1]
				}
				layers = append(layers, layer)
			}
			l.AttachTag(repo, digest, "sig", layers...)
			l.Attach(repo, digest, "application/vnd.dev.cosign.artifact.sig.v1+json", simpleSigning, layers[0].Annotations, layers[0].Payload)
			want(t, l.judge(t, ":v1"), tc.code)
		})
	}
}

// TestA38Rollback has an old image with good signatures: conditions on a fresh attestation keep it out.
func TestA38Rollback(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	fresh := `[{all: [{key: "{{ time_since('', scannedOn, '2026-01-10T00:00:00Z') }}", operator: LessThanOrEquals, value: 168h}]}]`
	l := newLab(t, engine.Options{}, enforce(by(t, s)+", "+attested(t, s, provenance, fresh)))
	for tag, at := range map[string]string{"new": "2026-01-09T00:00:00Z", "old": "2025-01-09T00:00:00Z", "odd": "yesterday"} {
		digest := l.PushImage(repo, tag, []byte(tag))
		l.AttachTag(repo, digest, "sig", s.layer(t, digest))
		l.AttachTag(repo, digest, "att", s.statement(t, digest, provenance, fmt.Sprintf(`{"scannedOn":%q}`, at)))
	}
	for tag, code := range map[string]string{":new": "Verified", ":old": "AttestationConditionFailed", ":odd": "AttestationConditionFailed"} {
		if d := l.judge(t, tag); d.Allowed != (code == "Verified") || string(d.Results[0].Reason) != code {
			t.Errorf("%s: allowed %v: %s", tag, d.Allowed, d.Message)
		}
	}
}

// TestT018OtherTypes has signed attestations of every type but the one that is asked for, and types that look like it.
func TestT018OtherTypes(t *testing.T) {
	t.Parallel()
	s, stranger := newSigner(t), newSigner(t)
	policy := enforce(attested(t, s, provenance, `[]`))
	for name, tc := range map[string]struct {
		by        signer
		predicate string
		code      string
	}{
		"the type":              {s, provenance, "Verified"},
		"T-041 another version": {s, provenance + ".1", "AttestationMissing"},
		"T-041 without version": {s, "https://slsa.dev/provenance", "AttestationMissing"},
		"T-041 with a slash":    {s, provenance + "/", "AttestationMissing"},
		"T-041 upper case":      {s, strings.ToUpper(provenance), "AttestationMissing"},
		"T-041 blank behind":    {s, provenance + " ", "AttestationMissing"},
		"T-041 a look-alike":    {s, strings.Replace(provenance, "a", "а", 1), "AttestationMissing"},
		"T-041 a wildcard":      {s, "*", "AttestationMissing"},
		"an image signature":    {s, signType, "AttestationMissing"},
		"T-041 a stranger's":    {stranger, provenance, "AttestationMissing"},
		"A-39 a type of 64 KB":  {s, strings.Repeat("x", 64<<10), "AttestationMissing"},
	} {
		for _, form := range []string{"tag", "bundle"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				t.Parallel()
				l := newLab(t, engine.Options{}, policy)
				digest := l.PushImage(repo, "v1", nil)
				if form == "tag" {
					l.AttachTag(repo, digest, "att", tc.by.statement(t, digest, tc.predicate, `{}`))
				} else {
					l.Attach(repo, digest, bundle, bundle, nil, tc.by.bundle(t, digest, tc.predicate, `{}`))
				}
				want(t, l.judge(t, ":v1"), tc.code)
			})
		}
	}
}

// TestA72OneCandidate spreads what is asked for over several candidates of one image.
func TestA72OneCandidate(t *testing.T) {
	t.Parallel()
	s, stranger := newSigner(t), newSigner(t)
	annotated := func(by signer, digest, value string) registrytest.Layer {
		p := []byte(strings.TrimSuffix(string(payloadFor(digest)), "}") + fmt.Sprintf(`,"optional":{"env":%q}}`, value))
		return registrytest.Layer{MediaType: simpleSigning, Payload: p, Annotations: map[string]string{signatureAnnotation: by.sign(t, p)}}
	}
	for name, tc := range map[string]struct {
		layers func(digest string) []registrytest.Layer
		code   string
	}{
		"on one": {func(d string) []registrytest.Layer { return []registrytest.Layer{annotated(s, d, "prod")} }, "Verified"},
		"the annotation is a stranger's": {func(d string) []registrytest.Layer {
			return []registrytest.Layer{annotated(s, d, "test"), annotated(stranger, d, "prod")}
		}, "AnnotationMismatch"},
		"the annotation stands beside the payload": {func(d string) []registrytest.Layer {
			l := annotated(s, d, "test")
			l.Annotations["env"] = "prod"
			return []registrytest.Layer{l}
		}, "AnnotationMismatch"},
		"the signature stands beside another payload": {func(d string) []registrytest.Layer {
			l := annotated(s, d, "test")
			l.Payload = annotated(s, d, "prod").Payload
			return []registrytest.Layer{l}
		}, "BadSignature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(by(t, s)+", annotations: {env: prod}"))
			digest := l.PushImage(repo, "v1", nil)
			l.AttachTag(repo, digest, "sig", tc.layers(digest)...)
			want(t, l.judge(t, ":v1"), tc.code)
		})
	}
}
