package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// notary is a world whose images have statements besides: "<key file> <type> <predicate>".
type notary struct {
	*world
	statements map[image.Digest][]string
	silent     atomic.Bool // one of the places does not answer
}

func (n *notary) Attached(ctx context.Context, img image.Pinned, repository image.Ref) (*image.Attached, error) {
	out, err := n.world.Attached(ctx, img, repository)
	if err != nil {
		return nil, err
	}
	if n.silent.Load() {
		out.Problems = append(out.Problems, reason.New(reason.RegistryUnavailable, "one place is silent"))
	}
	for _, s := range n.statements[img.Digest()] {
		out.Artifacts = append(out.Artifacts, image.Artifact{MediaType: "statement", Payload: []byte(s)})
	}
	return out, nil
}

func (n *notary) Candidates(img image.Pinned, artifacts []image.Artifact) []verify.Candidate {
	out := n.world.Candidates(img, artifacts)
	for i := range out {
		if a := &out[i].Artifact; a.MediaType == "statement" {
			out[i].Signature, out[i].Statement = false, true
			out[i].Predicate = strings.SplitN(string(a.Payload), " ", 3)[1]
		}
	}
	return out
}

func (n *notary) Verify(ctx context.Context, img image.Pinned, c *verify.Candidate, a *verify.Attestor) (*verify.Signature, error) {
	parts := bytes.SplitN(c.Artifact.Payload, []byte(" "), 3)
	by := *c
	by.Artifact.Payload = parts[0]
	s, err := n.world.Verify(ctx, img, &by, a)
	if err == nil && len(parts) == 3 {
		s.Statement = func() (*verify.Statement, error) {
			return &verify.Statement{Type: string(parts[1]), Predicate: parts[2]}, nil
		}
	}
	return s, err
}

// notarized is a fixture over a notary.
func notarized(t *testing.T, policies ...string) (*fixture, *notary) {
	t.Helper()
	f := newFixture(t, engine.Options{}, policies...)
	n := &notary{world: f.world, statements: map[image.Digest][]string{}}
	f.Engine = engine.New(engine.Options{Registry: n, Verifier: n, Store: f.store})
	return f, n
}

func (n *notary) attest(shown string, statements ...string) image.Digest {
	d := n.push(shown)
	n.statements[d] = statements
	return d
}

// attests is an entry about images that asks for statements of type t by $cosign.
func attests(images, conditions, more string) string {
	return `{imageReferences: ["` + images + `"], failureAction: Enforce` + more + `, attestations: [{name: att, type: t, attestors: [{entries: [{keys: {publicKeys: $cosign}}]}], conditions: ` + conditions + `}]}`
}

const ok = `[{all: [{key: "{{ ok }}", operator: Equals, value: true, message: "{{ who }}"}]}]`

// VI 6.6(4)-(6), A-39: every statement that verifies must satisfy; what a predicate says is data.
func TestConditions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		conditions string
		statements []string
		code       reason.Code
		message    string
	}{
		"one":              {ok, []string{`cosign.pub t {"ok": true}`}, reason.Verified, "verified image attestations for r.io/a:1"},
		"two":              {ok, []string{`cosign.pub t {"ok": true}`, `cosign.pub t {"ok": true}`}, reason.Verified, ""},
		"A-39 one bad":     {ok, []string{`cosign.pub t {"ok": true}`, `cosign.pub t {"ok": false, "who": "second"}`}, reason.AttestationConditionFailed, "attestation checks failed for r.io/a:1 and predicate t: second"},
		"A-39 bad first":   {ok, []string{`cosign.pub t {"ok": false, "who": "first"}`, `cosign.pub t {"ok": true}`}, reason.AttestationConditionFailed, "attestation checks failed for r.io/a:1 and predicate t: first"},
		"stranger's bad":   {ok, []string{`other.pub t {"ok": false}`, `cosign.pub t {"ok": true}`}, reason.Verified, ""},
		"other type bad":   {ok, []string{`cosign.pub u {"ok": false}`, `cosign.pub t {"ok": true}`}, reason.Verified, ""},
		"restored":         {ok, []string{`cosign.pub t {"ok": true}`, `cosign.pub t {"who": "nobody"}`}, reason.AttestationConditionFailed, ""},
		"absent key":       {`[{all: [{key: "{{ gone }}", operator: NotEquals, value: a}]}]`, []string{`cosign.pub t {}`}, reason.AttestationConditionFailed, ""},
		"default":          {`[{all: [{key: "{{ gone || 'b' }}", operator: NotEquals, value: a}]}]`, []string{`cosign.pub t {}`}, reason.Verified, ""},
		"first by name":    {`[{all: [{key: "{{ att.n }}", operator: Equals, value: 1}]}]`, []string{`cosign.pub t {"n": 1}`, `cosign.pub t {"n": 2}`}, reason.Verified, ""},
		"variable inside":  {`[{all: [{key: "{{ x }}", operator: Equals, value: pass}]}]`, []string{`cosign.pub t {"x": "{{ y }}", "y": "pass"}`}, reason.AttestationConditionFailed, ""},
		"of the image":     {`[{all: [{key: "{{ image.reference }} {{ image.tag }} {{ images.containers.c0.path }}", operator: Equals, value: "r.io/a:1 1 a"}]}]`, []string{`cosign.pub t {}`}, reason.Verified, ""},
		"of the request":   {`[{all: [{key: "{{ request.operation }} {{ request.namespace }} {{ request.object.spec.containers[0].name }}", operator: Equals, value: "CREATE default c0"}]}]`, []string{`cosign.pub t {}`}, reason.Verified, ""},
		"overshadowed":     {`[{all: [{key: "{{ att.image }}", operator: Equals, value: mine}, {key: "{{ image }}", operator: Equals, value: mine}]}]`, []string{`cosign.pub t {"image": "mine"}`}, reason.Verified, ""},
		"number too large": {ok, []string{`cosign.pub t {"ok": true, "n": 1e999}`}, reason.AttestationConditionFailed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, n := notarized(t, clusterPolicy("p", "", attests("*", c.conditions, "")))
			n.attest("r.io/a:1", c.statements...)
			for round := range 2 {
				d := f.review(t, pod(engine.Mutating, "r.io/a:1"))
				if got := d.Results[0]; got.Reason != c.code || round == 0 && c.message != "" && got.Message != c.message {
					t.Errorf("round %d: %s %s", round, got.Reason, got.Message)
				}
				if pinned := len(digestPins(d.Patches)) > 0; pinned != (c.code == reason.Verified) {
					t.Errorf("round %d: pinned %v", round, pinned)
				}
			}
			if got := f.called("attached"); got != 1 {
				t.Errorf("%d looks at what is attached: the verdict was not cached", got)
			}
		})
	}
}

func digestPins(patches []engine.Patch) []string {
	var out []string
	for _, p := range patches {
		if p.Op == "replace" {
			out = append(out, p.Path)
		}
	}
	return out
}

// each image is judged by its own statements: in every order, at the same time, from the cache.
func TestA86ConditionsPerImage(t *testing.T) {
	t.Parallel()
	f, n := notarized(t, clusterPolicy("p", "", attests("*", `[{all: [{key: "{{ att.name }}", operator: Equals, value: "{{ image.name }}"}]}]`, "")))
	var images []string
	for i := range 8 {
		shown := fmt.Sprintf("r.io/i%d:1", i)
		says := fmt.Sprintf("i%d", i)
		if i%3 == 0 {
			says = "i1"
		}
		n.attest(shown, fmt.Sprintf(`cosign.pub t {"name": %q}`, says))
		images = append(images, shown)
	}
	n.attest("r.io/none:1")
	images = append(images, "r.io/none:1")
	var g sync.WaitGroup
	for round := range 8 {
		g.Go(func() {
			order := append(append([]string{}, images[round:]...), images[:round]...)
			d, err := f.Review(context.Background(), pod(engine.Mutating, order...))
			if err != nil {
				t.Error(err)
				return
			}
			for _, r := range d.Results {
				want := reason.Verified
				switch name := r.Image.Ref.Name(); name {
				case "i0", "i3", "i6":
					want = reason.AttestationConditionFailed
				case "none":
					want = reason.AttestationMissing
				}
				if r.Reason != want {
					t.Errorf("%s: %s %s", r.Image.Ref, r.Reason, r.Message)
				}
			}
		})
	}
	g.Wait()
}

// VI 6.3(5), 6.7: entries of a rule share their named statements whatever their order; one that fails denies, and validate
// is not asked then.
func TestConditionsAcrossEntries(t *testing.T) {
	t.Parallel()
	deny := func(value string) string {
		return `, validate: {message: stop, deny: {conditions: [{key: "{{ att.n }}", operator: Equals, value: ` + value + `}]}}`
	}
	reads := `{imageReferences: ["*"], failureAction: Enforce, attestations: [{type: u, attestors: [{entries: [{keys: {publicKeys: $cosign}}]}], conditions: [{all: [{key: "{{ att.n }}", operator: Equals, value: 1}]}]}]}`
	for name, c := range map[string]struct {
		entries []string
		want    []string
	}{
		"named first":                           {[]string{attests("*", "[]", ""), reads}, []string{"pass Verified verified image attestations for r.io/a:1"}},
		"named last":                            {[]string{reads, attests("*", "[]", "")}, []string{"pass Verified verified image attestations for r.io/a:1"}},
		"validated":                             {[]string{attests("*", "[]", deny("2")), reads}, []string{"pass Verified verified image attestations for r.io/a:1; verifyImages validation is passed in r rule"}},
		"denied":                                {[]string{reads, attests("*", "[]", deny("1"))}, []string{"fail AttestationConditionFailed validation in verifyImages failed: stop"}},
		"denied by an entry about other images": {[]string{attests("*", "[]", ""), attests("x.io/*", "[]", deny("1"))}, []string{"fail AttestationConditionFailed validation in verifyImages failed: stop"}},
		"one fails":                             {[]string{attests("*", ok, deny("1")), reads}, []string{"fail AttestationConditionFailed failed to check attestations: all[0]: key: "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, n := notarized(t, clusterPolicy("p", "", c.entries...))
			n.attest("r.io/a:1", `cosign.pub t {"n": 1}`, `cosign.pub u {}`)
			var got []string
			for _, r := range f.review(t, pod(engine.Mutating, "r.io/a:1")).Results {
				text := fmt.Sprintf("%s %s %s", r.Status, r.Reason, r.Message)
				if strings.HasPrefix(text, c.want[0]) {
					text = c.want[0]
				}
				got = append(got, text)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// SEC 7: statements that are too many bytes to keep are judged all the same, afresh each time. A missing image is told from
// one without attestations.
func TestAttestationsUncached(t *testing.T) {
	t.Parallel()
	f, n := notarized(t, clusterPolicy("p", "", attests("*", ok, "")))
	large := n.attest("r.io/a:1", `cosign.pub t {"ok": true, "pad": "`+strings.Repeat("x", 9<<20)+`"}`)
	for range 2 {
		if d := f.review(t, pod(engine.Validating, "r.io/a@"+string(large))); !d.Allowed {
			t.Fatal(d.Message)
		}
	}
	if got := f.called("attached"); got != 2 {
		t.Errorf("%d looks at what is attached", got)
	}
	crowded := n.attest("r.io/crowded:1", `cosign.pub t {"ok": true, "pad": [`+strings.Repeat("{},", 2<<20)+`{}]}`)
	if d := f.review(t, pod(engine.Mutating, "r.io/x@"+string(crowded))); d.Results[0].Reason != reason.AttestationConditionFailed {
		t.Error(d.Results[0].Message)
	}
	bare := n.attest("r.io/bare:1")
	for d, want := range map[image.Digest]reason.Code{bare: reason.AttestationMissing, image.DigestOf([]byte("gone")): reason.ImageNotFound} {
		got := f.review(t, pod(engine.Mutating, "r.io/x@"+string(d)))
		if got.Results[0].Reason != want {
			t.Errorf("%s %s, want %s", got.Results[0].Reason, got.Results[0].Message, want)
		}
	}
}
