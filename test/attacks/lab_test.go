package attacks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

const (
	simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	bundle        = "application/vnd.dev.sigstore.bundle.v0.3+json"
	envelope      = "application/vnd.dsse.envelope.v1+json"
	inToto        = "application/vnd.in-toto+json"
	signType      = "https://sigstore.dev/cosign/sign/v1"
	provenance    = "https://slsa.dev/provenance/v1"
	ociManifest   = "application/vnd.oci.image.manifest.v1+json"

	signatureAnnotation = "dev.cosignproject.cosign/signature"
	repo                = "acme/app"
)

// lab is a registry with an engine in front of it.
type lab struct {
	*registrytest.Server
	engine *engine.Engine
	store  *policy.Store
}

func newLab(t testing.TB, o engine.Options, policies ...string) *lab {
	t.Helper()
	l := &lab{Server: registrytest.New(t), store: policy.NewStore()}
	l.engineWith(t, o)
	l.store.Sync()
	for _, p := range policies {
		l.put(t, p)
	}
	return l
}

// engineWith gives the lab another engine, which has seen nothing yet.
func (l *lab) engineWith(t testing.TB, o engine.Options) {
	t.Helper()
	client, err := registry.New(registry.Options{ConfigDir: t.TempDir(), Keychain: authn.NewMultiKeychain(), Limits: registry.Limits{Pause: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	l.engineBy(client, o)
}

// engineBy gives the lab an engine with the client.
func (l *lab) engineBy(client engine.Registry, o engine.Options) {
	if o.Timeout == 0 {
		o.Timeout = time.Minute // none of this is about the machine's speed
	}
	o.Registry, o.Verifier, o.Store = client, sigstore.New(nil), l.store
	l.engine = engine.New(o)
}

// writeHosts writes the configuration of a host.
func writeHosts(t testing.TB, dir, host, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, host), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, host, "hosts.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) put(t testing.TB, text string) {
	t.Helper()
	var p v1.ClusterPolicy
	if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	compiled, errs := policy.CompileCluster(&p, policy.Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	l.store.Put(compiled)
}

// enforce is a policy with the entries, each in YAML's flow form without braces.
func enforce(entries ...string) string {
	var b strings.Builder
	b.WriteString("metadata: {name: p}\nspec:\n  rules:\n  - name: r\n    match: {any: [{resources: {kinds: [Pod]}}]}\n    verifyImages:\n")
	for _, e := range entries {
		b.WriteString(`    - {imageReferences: ["*"], failureAction: Enforce, ` + e + "}\n")
	}
	return b.String()
}

// signer has a key and signs by it.
type signer struct{ key *ecdsa.PrivateKey }

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key}
}

// entry is the attestor entry of the key, without a log.
func (s signer) entry(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "\n", `\n`)
	return `{keys: {publicKeys: "` + text + `", rekor: {ignoreTlog: true}}}`
}

// by asks for a signature of each signer.
func by(t testing.TB, signers ...signer) string {
	t.Helper()
	var list []string
	for _, s := range signers {
		list = append(list, s.entry(t))
	}
	return "attestors: [{entries: [" + strings.Join(list, ", ") + "]}]"
}

// attested asks for statements of the type by the signer that satisfy the conditions.
func attested(t testing.TB, s signer, predicate, conditions string) string {
	t.Helper()
	return fmt.Sprintf("attestations: [{type: %q, %s, conditions: %s}]", predicate, by(t, s), conditions)
}

func (s signer) sign(t testing.TB, message []byte) string {
	t.Helper()
	sum := sha256.Sum256(message)
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

func payloadFor(digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"}}`, digest)
}

// layer is a simple signature of the digest.
func (s signer) layer(t testing.TB, digest string) registrytest.Layer {
	t.Helper()
	p := payloadFor(digest)
	return registrytest.Layer{MediaType: simpleSigning, Payload: p, Annotations: map[string]string{signatureAnnotation: s.sign(t, p)}}
}

func statementFor(digest, predicateType, predicate string) string {
	return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":%s}`,
		strings.TrimPrefix(digest, "sha256:"), predicateType, predicate)
}

func (s signer) dsse(t testing.TB, statement string) string {
	t.Helper()
	pae := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(inToto), inToto, len(statement), statement)
	return fmt.Sprintf(`{"payload":%q,"payloadType":%q,"signatures":[{"sig":%q}]}`, base64.StdEncoding.EncodeToString([]byte(statement)), inToto, s.sign(t, pae))
}

// statement is a layer with an envelope.
func (s signer) statement(t testing.TB, digest, predicateType, predicate string) registrytest.Layer {
	t.Helper()
	return registrytest.Layer{MediaType: envelope, Payload: []byte(s.dsse(t, statementFor(digest, predicateType, predicate)))}
}

// bundle is a Sigstore bundle with a statement.
func (s signer) bundle(t testing.TB, digest, predicateType, predicate string) []byte {
	t.Helper()
	return fmt.Appendf(nil, `{"mediaType":%q,"verificationMaterial":{"publicKey":{"hint":"x"}},"dsseEnvelope":%s}`, bundle, s.dsse(t, statementFor(digest, predicateType, predicate)))
}

// judge reviews a Pod with the images, by tag or digest of the lab's repository or by whole reference.
func (l *lab) judge(t testing.TB, images ...string) *engine.Decision {
	t.Helper()
	return l.review(t, t.Context(), l.request(images...))
}

// request is the creation of a Pod with the images.
func (l *lab) request(images ...string) *engine.Request { return l.requestOf(l.pod(images...)) }

// requestOf is the creation of a Pod.
func (l *lab) requestOf(pod map[string]any) *engine.Request {
	return &engine.Request{
		Phase: engine.Mutating, FailurePolicy: policy.Fail, Name: "p", Timeout: 2 * time.Minute, Object: pod,
		Attributes: match.Attributes{Version: "v1", Kind: "Pod", Namespace: "default", Name: "p", Operation: match.Create},
	}
}

// pod is a Pod with the images.
func (l *lab) pod(images ...string) map[string]any {
	var containers []any
	for i, img := range images {
		containers = append(containers, map[string]any{"name": fmt.Sprint("c", i), "image": l.full(img)})
	}
	return map[string]any{"metadata": map[string]any{"name": "p"}, "spec": map[string]any{"containers": containers}}
}

// full is an image of the lab's repository, or the reference itself.
func (l *lab) full(img string) string {
	if !strings.Contains(img, "/") {
		return l.Host() + "/" + repo + img
	}
	return img
}

func (l *lab) review(t testing.TB, ctx context.Context, req *engine.Request) *engine.Decision { //nolint:revive // t comes first in tests
	t.Helper()
	d, err := l.engine.Review(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// want compares the outcome of the only result.
func want(t testing.TB, d *engine.Decision, code string) {
	t.Helper()
	if len(d.Results) != 1 {
		t.Fatalf("%d results, allowed %v: %s", len(d.Results), d.Allowed, d.Message)
	}
	if got := string(d.Results[0].Reason); got != code || d.Allowed != (code == "Verified") {
		t.Errorf("%s, want %s: %s", got, code, d.Results[0].Message)
	}
}
