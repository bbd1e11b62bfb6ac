package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/signet-policy/signet/pkg/egress"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/keyring/kms"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/rekor"
	"github.com/signet-policy/signet/pkg/trust"
	"github.com/signet-policy/signet/pkg/verify/notary"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// engineMargin is what the engine leaves of a request's time to an API server, which is not there.
const engineMargin = 500 * time.Millisecond

// run does what a command line asks for. Warnings are for the caller even when there is an error.
func run(ctx context.Context, f *flags, o Options) (*Report, []string, error) {
	l, err := load(f)
	if err != nil {
		return nil, nil, err
	}
	namespace, err := l.podNamespace(f.namespace)
	if err != nil {
		return nil, l.warnings, err
	}
	objects := newObjects()
	if err := objects.read(f.resources); err != nil {
		return nil, l.warnings, err
	}
	if objects.cluster, err = f.where.connect(o, objects.systemNamespaceOf(o)); err != nil {
		return nil, l.warnings, err
	}
	defer objects.cluster.close()
	seen, err := connect(f, objects, o)
	if err != nil {
		return nil, l.warnings, err
	}
	defer seen.images.close()
	j := &judgement{flags: f, seen: seen, namespace: namespace, policies: l.policies}
	if len(l.policies) > 0 {
		j.keys = &keys{services: &keyring.Services{Open: kms.Open}, objects: objects}
		j.keys.bind(ctx, f.timeout, l.policies)
		if err := j.judge(ctx); err != nil {
			return nil, l.warnings, err
		}
	}
	if f.command == explainCommand {
		if err := j.look(ctx); err != nil {
			return nil, l.warnings, err
		}
		if f.explainCredentials {
			j.probe(ctx)
		}
	}
	return j.report(), append(l.warnings, seen.notes...), nil
}

// connect wires the concrete parts, as the admission process does.
func connect(f *flags, objects *objects, o Options) (*recorder, error) {
	roots := trust.Public()
	if f.trustedRoot != "" {
		var err error
		if roots, err = trust.FromFile(f.trustedRoot); err != nil {
			return nil, fmt.Errorf("--trusted-root: %w", err)
		}
	}
	verifier := sigstore.New(roots)
	if !f.offline {
		verifier = verifier.Searching(rekor.New())
	}
	seen := newRecorder(verifier, notary.New(registry.Outside("signet/"+o.Version)))
	objects.systemNamespaceOf(o)
	var err error
	seen.images, err = f.open(seen, objects, o)
	return seen, err
}

// judgement is one image under the policies of one call.
type judgement struct {
	flags     *flags
	seen      *recorder
	namespace string
	policies  []*policy.Policy
	keys      *keys
	results   []engine.Result
	probed    []Credential
	// problem is why nothing could be looked at although no rule said so.
	problem *reason.Error
}

// judge plays an API server for a Pod with the image: the mutating phase, its patch, and, if that admits the Pod, the
// validating phase.
func (j *judgement) judge(ctx context.Context) error {
	store := policy.NewStore()
	for _, p := range j.policies {
		store.Put(p)
	}
	store.Sync()
	options := engine.Options{
		Accesses: j.seen.images, Verifier: j.seen, Notary: notaryRecorder{j.seen}, Store: store, Keys: j.keys, CacheDisabled: true, Timeout: j.flags.timeout + engineMargin,
		Loader: j.keys.objects.context(), Resolve: egress.Addresses,
	}
	if c := j.keys.objects.cluster; c != nil {
		options.Namespaces = c
	}
	review := engine.New(options)
	name := j.flags.image
	for _, phase := range []engine.Phase{engine.Mutating, engine.Validating} {
		d, err := review.Review(ctx, j.request(phase, name))
		if err != nil {
			return err
		}
		for i := range d.Results {
			j.add(&d.Results[i])
		}
		if !d.Allowed {
			return nil
		}
		for _, p := range d.Patches {
			if pinned, ok := p.Value.(string); ok && p.Op == "replace" && p.Path == imagePointer {
				name = pinned
			}
		}
	}
	return nil
}

// add keeps the worse of a rule's results in the two phases, and the first of equal ones. What could not be checked in the
// first phase stays so: that the digest was not written into the object then follows from it.
func (j *judgement) add(r *engine.Result) {
	for i := range j.results {
		if before := &j.results[i]; before.Rule == r.Rule {
			if r.Status > before.Status && before.Status != engine.Error {
				*before = *r
			}
			return
		}
	}
	j.results = append(j.results, *r)
}

// imagePointer is where the Pod has its image.
const imagePointer = "/spec/containers/0/image"

func (j *judgement) request(phase engine.Phase, name string) *engine.Request {
	const pod = "image"
	return &engine.Request{
		Phase: phase, FailurePolicy: policy.Ignore, Name: pod,
		Attributes: match.Attributes{Version: "v1", Kind: "Pod", Namespace: j.namespace, Name: pod, Operation: match.Create},
		Object: map[string]any{
			"apiVersion": "v1", "kind": "Pod",
			"metadata": map[string]any{"name": pod, "namespace": j.namespace},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": pod, "image": name}}},
		},
	}
}

// look makes sure that the image's places were looked at, even if no rule asked for it: as the first rule would, or with the
// process' own access.
func (j *judgement) look(ctx context.Context) error {
	if len(j.seen.found) > 0 {
		return nil
	}
	if len(j.seen.views) == 0 {
		if err := j.seen.images.own(ctx); err != nil {
			return err
		}
	}
	if err := j.lookBy(ctx, j.seen.views[0]); err != nil {
		j.problem = reason.Of(err)
	}
	return nil
}

func (j *judgement) lookBy(ctx context.Context, by *view) error {
	img, err := by.Resolve(ctx, j.flags.ref)
	if err != nil {
		return err
	}
	attached, err := by.Attached(ctx, img, image.Ref{})
	if err != nil {
		return err
	}
	if len(attached.Artifacts) == 0 {
		// It may be signed in the other way.
		if _, err := by.Referrers(ctx, img, []string{image.NotarySignature}); err != nil {
			return err
		}
	}
	if j.flags.ref.RawDigest() != "" && len(attached.Artifacts) == 0 && len(attached.Problems) == 0 {
		// Nobody has asked for the image itself yet.
		return by.Exists(ctx, img)
	}
	return nil
}
