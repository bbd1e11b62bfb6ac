package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/testdata/corpus"
	"github.com/signet-policy/signet/webhook"
)

// judge sends a review to the handler, without a network, and checks that the object is admitted.
func (x *bench) judge(b *testing.B, body []byte) {
	r := httptest.NewRequest(http.MethodPost, webhook.MutateFail+"?timeout=10s", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	x.server.Config.Handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK || !bytes.Contains(w.Body.Bytes(), []byte(`"allowed":true`)) {
		b.Fatalf("not admitted: %d %s", w.Code, w.Body)
	}
}

// policy is the image's policy as it is stored, after change.
func (x *bench) policy(b *testing.B, c corpus.Case, name string, change func(*v1.ClusterPolicy)) *v1.ClusterPolicy {
	b.Helper()
	object, err := c.Policy(name, x.registry.Host())
	if err != nil {
		b.Fatal(err)
	}
	var p v1.ClusterPolicy
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object, &p); err != nil {
		b.Fatal(err)
	}
	if change != nil {
		change(&p)
	}
	return &p
}

// resources are the resource descriptions of a policy's match.
func resources(p *v1.ClusterPolicy) []*v1.ResourceDescription {
	var out []*v1.ResourceDescription
	for i := range p.Spec.Rules {
		m := &p.Spec.Rules[i].Match
		for _, list := range []v1.ResourceFilters{m.Any, m.All} {
			for k := range list {
				out = append(out, &list[k].Resources)
			}
		}
	}
	return out
}

// BenchmarkPolicies reviews a Pod, warm and by digest, where there are 1, 100 and 1,000 policies: all of them about it, or
// one, and the others about other namespaces, other labels, or images of other registries. What one review takes more with
// each policy is what counts.
func BenchmarkPolicies(b *testing.B) {
	others := map[string]func(int) func(*v1.ClusterPolicy){
		"all": func(int) func(*v1.ClusterPolicy) { return nil },
		"other-namespaces": func(i int) func(*v1.ClusterPolicy) {
			return func(p *v1.ClusterPolicy) {
				for _, r := range resources(p) {
					r.Namespaces = []string{fmt.Sprintf("team-%d", i)}
				}
			}
		},
		"other-patterns": func(int) func(*v1.ClusterPolicy) {
			return func(p *v1.ClusterPolicy) {
				for _, r := range resources(p) {
					r.Namespaces = []string{"team-*"}
				}
			}
		},
		"other-registries": func(i int) func(*v1.ClusterPolicy) {
			return func(p *v1.ClusterPolicy) {
				for j := range p.Spec.Rules[0].VerifyImages {
					p.Spec.Rules[0].VerifyImages[j].ImageReferences = []string{fmt.Sprintf("registry-%d.example.com/*", i)}
				}
			}
		},
	}
	for _, about := range slices.Sorted(maps.Keys(others)) {
		for _, n := range []int{1, 100, 1000} {
			if n == 1 && about != "all" {
				continue
			}
			b.Run(fmt.Sprintf("%s-%d", about, n), func(b *testing.B) {
				x := newBench(b, true)
				c := x.images[bundleImage]
				x.policies(b, c, 1)
				for i := 1; i < n; i++ {
					x.put(b, x.policy(b, c, fmt.Sprintf("policy-%d", i), others[about](i)))
				}
				body := pod(b, x.reference(bundleImage, true))
				x.judge(b, body)
				b.ReportAllocs()
				for b.Loop() {
					x.judge(b, body)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/policy")
			})
		}
	}
}

// data is what context entries read.
type data struct{}

func (data) ConfigMap(context.Context, string, string) (map[string]any, error) {
	return map[string]any{"data": map[string]any{"enforced": "yes"}}, nil
}

func (data) Global(string, string) (any, error) { return map[string]any{"enforced": "yes"}, nil }

// BenchmarkContext reviews a Pod, warm and by digest, by a policy whose precondition reads a variable of each kind.
func BenchmarkContext(b *testing.B) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"enforced":"yes"}`))
	}))
	b.Cleanup(api.Close)
	base, err := url.Parse(api.URL)
	if err != nil {
		b.Fatal(err)
	}
	load := loader.New(loader.Options{ConfigMaps: data{}, Globals: data{}, API: &loader.API{Client: api.Client(), Base: base, SystemNamespace: "kyverno"}})
	for _, k := range []struct {
		name, variable string
		entry          string // JSON
	}{
		{"none", "", ""},
		{"precondition", "{{ request.object.metadata.labels.app }}", ""},
		{"variable", "{{ entry.enforced }}", `{"name":"entry","variable":{"value":{"enforced":"web"}}}`},
		{"configMap", "{{ entry.data.enforced }}", `{"name":"entry","configMap":{"name":"settings","namespace":"{{ request.namespace }}"}}`},
		{"globalReference", "{{ entry.enforced }}", `{"name":"entry","globalReference":{"name":"entry"}}`},
		{"apiCall", "{{ entry.enforced }}", `{"name":"entry","apiCall":{"urlPath":"/api/v1/namespaces/{{ request.namespace }}"}}`},
	} {
		b.Run(k.name, func(b *testing.B) {
			x := newBench(b, true, func(o *engine.Options) { o.Loader = load })
			compiled, errs := policy.CompileCluster(x.policy(b, x.images[bundleImage], "require", func(p *v1.ClusterPolicy) {
				if k.variable == "" {
					return
				}
				r := &p.Spec.Rules[0]
				r.Preconditions = &apiextensionsv1.JSON{Raw: []byte(`{"all":[{"key":"` + k.variable + `","operator":"AnyIn","value":["yes","web"]}]}`)}
				if k.entry == "" {
					return
				}
				if err := json.Unmarshal([]byte("["+k.entry+"]"), &r.Context); err != nil {
					b.Fatal(err)
				}
			}), policy.Options{})
			if len(errs) > 0 {
				b.Fatal(errs.ToAggregate())
			}
			x.store.Put(compiled)
			body := pod(b, x.reference(bundleImage, true))
			x.judge(b, body)
			b.ReportAllocs()
			for b.Loop() {
				x.judge(b, body)
			}
		})
	}
}

// BenchmarkPolicyMemory reports what a policy holds on the heap once it is in force, of a thousand that differ in name, key
// and text. The three are a plain one, one with identities and logs, and one with attestations and conditions.
func BenchmarkPolicyMemory(b *testing.B) {
	const n = 1000
	for name, c := range map[string]string{"key": bundleImage, "keyless": "keyless/rekor1-v3-bundle", "attestation": "att/v3-bundle/condition"} {
		b.Run(name, func(b *testing.B) {
			x := newBench(b, true)
			var image corpus.Case
			cases, err := corpus.Load()
			if err != nil {
				b.Fatal(err)
			}
			for _, one := range cases {
				if one.Name == c {
					image = one
				}
			}
			for b.Loop() {
				store := policy.NewStore()
				before := heap()
				for i := range n {
					p, errs := policy.CompileCluster(x.policy(b, image, fmt.Sprintf("policy-%d", i), func(p *v1.ClusterPolicy) {
						p.Spec.Rules[0].VerifyImages[0].ImageReferences = []string{fmt.Sprintf("registry.example.com/team-%d/*", i)}
					}), policy.Options{})
					if len(errs) > 0 {
						b.Fatal(errs.ToAggregate())
					}
					store.Put(p)
				}
				store.Sync()
				b.ReportMetric((float64(heap())-float64(before))/n/1024, "KiB/policy")
				runtime.KeepAlive(store)
			}
		})
	}
}

// heap is what is in use after a collection, in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
