// Package bench measures a whole review, over HTTPS, next to an empty webhook in the same run.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/authn"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
	"github.com/signet-policy/signet/testdata/corpus"
	"github.com/signet-policy/signet/webhook"
)

// The images that the reviews are about: signed by the same key, without a log, in both formats.
const (
	bundleImage = "key-notlog/v3-bundle"
	legacyImage = "key-notlog/v2-legacy"
)

// bench is a webhook server with a registry behind it, and an empty webhook beside it.
type bench struct {
	registry *registrytest.Server
	images   map[string]corpus.Case
	server   *httptest.Server
	empty    *httptest.Server
	bare     *httptest.Server
	store    *policy.Store
}

func newBench(b *testing.B, cached bool, changes ...func(*engine.Options)) *bench {
	b.Helper()
	cases, err := corpus.Load()
	if err != nil {
		b.Fatal(err)
	}
	x := &bench{registry: registrytest.New(nil), images: map[string]corpus.Case{}, store: policy.NewStore()}
	b.Cleanup(x.registry.Close)
	repositories := map[string]bool{}
	for _, c := range cases {
		if c.Name == bundleImage || c.Name == legacyImage {
			x.images[c.Name] = c
			repositories[c.Repository()] = true
		}
	}
	x.registry.Load(corpus.Images(), func(repository string) bool { return repositories[repository] })
	client, err := registry.New(registry.Options{Keychain: authn.NewMultiKeychain()})
	if err != nil {
		b.Fatal(err)
	}
	options := engine.Options{Registry: client, Verifier: sigstore.New(nil), Store: x.store, CacheDisabled: !cached}
	for _, change := range changes {
		change(&options)
	}
	review := engine.New(options)
	resources := webhook.Resources{Engine: review}
	server := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	server.Handle(webhook.MutateFail, false, resources.Review(engine.Mutating, policy.Fail))
	x.server = serveTLS(b, server.Handler())
	x.empty, x.bare = serveTLS(b, empty()), serveTLS(b, http.HandlerFunc(bare))
	x.store.Sync()
	return x
}

func serveTLS(b *testing.B, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.StartTLS()
	b.Cleanup(s.Close)
	return s
}

// empty is a webhook that allows everything, by the library that most webhooks are written with.
func empty() http.Handler {
	return &admission.Webhook{Handler: admission.HandlerFunc(func(context.Context, admission.Request) admission.Response {
		return admission.Allowed("")
	})}
}

// bare allows everything with nothing but the standard library: the floor.
func bare(w http.ResponseWriter, r *http.Request) {
	var in admissionv1.AdmissionReview
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil || in.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	in.Response = &admissionv1.AdmissionResponse{UID: in.Request.UID, Allowed: true}
	in.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(&in)
}

// policies puts n policies in force that demand the key of the image, each in its own words, so that none shares the
// verdict of another.
func (x *bench) policies(b *testing.B, c corpus.Case, n int) {
	b.Helper()
	for i := range n {
		object, err := c.Policy(fmt.Sprintf("require-%d", i), x.registry.Host())
		if err != nil {
			b.Fatal(err)
		}
		var p v1.ClusterPolicy
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &p); err != nil {
			b.Fatal(err)
		}
		for j := range p.Spec.Rules[0].VerifyImages {
			sets := p.Spec.Rules[0].VerifyImages[j].Attestors
			for range i { // the same set several times: another requirement, the same demand
				p.Spec.Rules[0].VerifyImages[j].Attestors = append(p.Spec.Rules[0].VerifyImages[j].Attestors, sets[0])
			}
		}
		x.put(b, &p)
	}
}

// others puts n policies in force that are about Pods of other namespaces.
func (x *bench) others(b *testing.B, c corpus.Case, n int) {
	b.Helper()
	for i := range n {
		object, err := c.Policy(fmt.Sprintf("other-%d", i), x.registry.Host())
		if err != nil {
			b.Fatal(err)
		}
		var p v1.ClusterPolicy
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &p); err != nil {
			b.Fatal(err)
		}
		m := &p.Spec.Rules[0].Match
		for _, list := range []v1.ResourceFilters{m.Any, m.All} {
			for k := range list {
				list[k].Resources.Namespaces = []string{fmt.Sprintf("team-%d", i)}
			}
		}
		x.put(b, &p)
	}
}

func (x *bench) put(b *testing.B, p *v1.ClusterPolicy) {
	b.Helper()
	compiled, errs := policy.CompileCluster(p, policy.Options{})
	if len(errs) > 0 {
		b.Fatal(errs.ToAggregate())
	}
	x.store.Put(compiled)
}

// reference is an image as a Pod names it.
func (x *bench) reference(name string, pinned bool) string {
	c := x.images[name]
	ref := x.registry.Host() + "/" + c.Image
	if pinned {
		ref += "@" + c.Digest
	}
	return ref
}

// pod is a review of a Pod with these images, as the API server sends it.
func pod(b *testing.B, images ...string) []byte {
	b.Helper()
	p := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", Labels: map[string]string{"app": "web", "tier": "front"}},
	}
	for i, img := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
			Name: fmt.Sprintf("c%d", i), Image: img, Command: []string{"/bin/web", "--listen=:8080"},
			Env:   []corev1.EnvVar{{Name: "LOG", Value: "info"}, {Name: "REGION", Value: "north"}},
			Ports: []corev1.ContainerPort{{ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
		})
	}
	raw, err := json.Marshal(&p)
	if err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: types.UID("6c1b8d0e-5b2f-4f0d-8f55-0d2a3f0f6b01"), Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Name: "web", Namespace: "default",
			Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// send posts a review and checks that the object is admitted.
func send(b *testing.B, s *httptest.Server, path string, body []byte) {
	resp, err := s.Client().Post(s.URL+path+"?timeout=10s", "application/json", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"allowed":true`)) {
		b.Fatalf("not admitted: %d %s %v", resp.StatusCode, answer, err)
	}
}

// BenchmarkWarm sends the same review to Signet, to the empty webhook and to the bare one in turn, so that all see the
// same machine. Times are those of a client, TLS included; allocations are those of all three and the client.
func BenchmarkWarm(b *testing.B) {
	for _, k := range []struct {
		name   string
		pinned bool
		others int
	}{{"digest", true, 0}, {"digest-500-other-policies", true, 500}, {"tag", false, 0}} {
		b.Run(k.name, func(b *testing.B) {
			x := newBench(b, true)
			x.policies(b, x.images[bundleImage], 1)
			x.others(b, x.images[bundleImage], k.others)
			body := pod(b, x.reference(bundleImage, k.pinned))
			for range 20 {
				send(b, x.server, webhook.MutateFail, body)
				send(b, x.empty, "/", body)
				send(b, x.bare, "/", body)
			}
			x.registry.ResetLog()
			var ours, empty, bare time.Duration
			b.ReportAllocs()
			for b.Loop() {
				t0 := time.Now()
				send(b, x.server, webhook.MutateFail, body)
				t1 := time.Now()
				send(b, x.empty, "/", body)
				t2 := time.Now()
				send(b, x.bare, "/", body)
				ours, empty, bare = ours+t1.Sub(t0), empty+t2.Sub(t1), bare+time.Since(t2)
			}
			b.ReportMetric(float64(len(x.registry.Log()))/float64(b.N), "registry-requests/review")
			b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "µs/review")
			b.ReportMetric(float64(empty.Microseconds())/float64(b.N), "µs/empty")
			b.ReportMetric(float64(ours)/float64(empty), "x-empty")
			b.ReportMetric(float64(ours)/float64(bare), "x-bare")
		})
	}
}

// BenchmarkCold reviews with the cache off, and counts how many registry requests a review makes and how many of them
// wait for an answer to another: the round trips deep.
func BenchmarkCold(b *testing.B) {
	for _, k := range []struct {
		name     string
		image    string
		images   int
		policies int
	}{{"bundle", bundleImage, 1, 1}, {"cosign-2", legacyImage, 1, 1}, {"bundle-ten-policies", bundleImage, 1, 10}} {
		b.Run(k.name, func(b *testing.B) {
			x := newBench(b, false)
			x.policies(b, x.images[k.image], k.policies)
			body := pod(b, x.reference(k.image, false))
			send(b, x.server, webhook.MutateFail, body)
			deep := x.depth(b, body)
			x.registry.ResetLog()
			b.ReportAllocs()
			for b.Loop() {
				send(b, x.server, webhook.MutateFail, body)
			}
			b.ReportMetric(float64(len(x.registry.Log()))/float64(b.N), "registry-requests/review")
			b.ReportMetric(float64(deep), "round-trips-deep")
		})
	}
	b.Run("five-images", func(b *testing.B) {
		x := newBench(b, false)
		c := x.images[bundleImage]
		x.policies(b, c, 1)
		var refs []string
		for i := range 5 {
			tag := fmt.Sprintf("copy%d", i)
			x.registry.Tag(c.Repository(), tag, c.Digest)
			refs = append(refs, x.registry.Host()+"/"+c.Repository()+":"+tag)
		}
		body := pod(b, refs...)
		send(b, x.server, webhook.MutateFail, body)
		deep := x.depth(b, body)
		x.registry.ResetLog()
		b.ReportAllocs()
		for b.Loop() {
			send(b, x.server, webhook.MutateFail, body)
		}
		b.ReportMetric(float64(len(x.registry.Log()))/float64(b.N), "registry-requests/review")
		b.ReportMetric(float64(deep), "round-trips-deep")
	})
}

// depth is the longest chain of requests of one review of which each began after the one before had ended. The registry
// answers slowly meanwhile, so that requests which do not wait for each other are seen to overlap.
func (x *bench) depth(b *testing.B, body []byte) int {
	b.Helper()
	remove := x.registry.Fault(registrytest.Match{}, registrytest.Delay(30*time.Millisecond))
	defer remove()
	x.registry.ResetLog()
	send(b, x.server, webhook.MutateFail, body)
	log := x.registry.Log()
	chain := make([]int, len(log))
	longest := 0
	for i, e := range log {
		chain[i] = 1
		for j := range i {
			if log[j].End != 0 && log[j].End < e.Begin {
				chain[i] = max(chain[i], chain[j]+1)
			}
		}
		longest = max(longest, chain[i])
	}
	return longest
}
