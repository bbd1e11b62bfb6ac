package engine_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/testdata/corpus"
)

// elsewhere is where keys are kept: key files by reference. One without a file has a reason instead.
type elsewhere struct {
	mu    sync.Mutex
	files map[verify.Reference]string
	err   *reason.Error
	panic bool
	asked int
}

func (e *elsewhere) Key(_ context.Context, ref verify.Reference) (*verify.Key, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	if e.panic {
		panic("no")
	}
	file := e.files[ref]
	if file == "" {
		return nil, e.err
	}
	text, err := corpus.Read("trust/" + file)
	if err != nil {
		return nil, err
	}
	keys, err := verify.ParseKeys(text)
	if err != nil {
		return nil, err
	}
	return verify.NewKey(keys[0])
}

// A-41, VI 7.1(2): the key that a reference stands for at the moment of the request decides, whatever is cached.
func TestA41KeysElsewhere(t *testing.T) {
	t.Parallel()
	const ref = "k8s://team/signer"
	keys := &elsewhere{files: map[verify.Reference]string{ref: "cosign.pub"}}
	f := newFixture(t, engine.Options{Keys: keys}, clusterPolicy("p", "", by("ghcr.io/*", "Enforce", "", ref), by("ghcr.io/*", "Enforce", ", useCache: false", ref, "$cosign")))
	d := f.push("ghcr.io/a:1", "cosign.pub")
	img := "ghcr.io/a@" + d.String()
	review := func() []string { return outcomes(f.review(t, pod(engine.Validating, img, img)).Results) }
	result := func(s string) []string { return []string{"p/r " + img + " " + s} }
	if d := cmp.Diff(result("pass Verified"), review()); d != "" || keys.asked != 1 {
		t.Fatalf("asked %d times for one key: %s", keys.asked, d)
	}
	verified := f.called("verify")
	for _, step := range []struct {
		name string
		do   func()
		want string
		more int // verifications: those of the entry that is not cached, and of the other one if it is
	}{
		{"the same key", func() {}, "pass Verified", 2},
		{"another key", func() { keys.files[ref] = "other.pub" }, "fail BadSignature", 2},
		{"the first key again", func() { keys.files[ref] = "cosign.pub" }, "pass Verified", 2},
		{"no key", func() {
			keys.files, keys.err = nil, reason.New(reason.TrustMaterialUnavailable, "gone")
		}, "fail TrustMaterialUnavailable", 1},
		{"nobody to ask", func() {
			keys.err = &reason.Error{Code: reason.TrustMaterialUnavailable, Unreachable: true, Text: "down"}
		}, "error TrustMaterialUnavailable", 1},
		{"nothing", func() { keys.err = nil }, "fail TrustMaterialUnavailable", 1},
		{"a source that panics", func() { keys.panic = true }, "error InternalError", 1},
	} {
		step.do()
		before := f.called("verify")
		if d := cmp.Diff(result(step.want), review()); d != "" {
			t.Errorf("%s: %s", step.name, d)
		}
		if n := f.called("verify") - before; n > step.more+1 {
			t.Errorf("%s: %d verifications", step.name, n)
		}
	}
	if verified == 0 {
		t.Error("nothing was verified")
	}
	bare := newFixture(t, engine.Options{}, clusterPolicy("p", "", by("ghcr.io/*", "Enforce", "", ref)))
	bare.push("ghcr.io/a:1", "cosign.pub")
	if d := cmp.Diff(result("fail TrustMaterialUnavailable"), outcomes(bare.review(t, pod(engine.Validating, img)).Results)); d != "" {
		t.Errorf("without a source of keys: %s", d)
	}
}
