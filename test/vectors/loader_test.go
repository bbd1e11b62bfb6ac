package vectors_test

import (
	"context"
	"net/http/httptest"
	"net/url"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/globalcontext"
	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/test/vectors"
	"github.com/signet-policy/signet/webhook"
)

// newLoader reads what the vector says is there. Global context entries are put into the keeper.
func newLoader(t testing.TB, v *vectors.Vector) (*loader.Loader, *globalcontext.Keeper) {
	api := httptest.NewServer(&v.Request)
	t.Cleanup(api.Close)
	base, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := loader.Options{ConfigMaps: &v.Request, API: &loader.API{Client: api.Client(), Base: base, SystemNamespace: "kyverno"}}
	keeper := globalcontext.New(globalcontext.Options{Caller: loader.New(o), Resources: &v.Request})
	o.Globals = keeper
	return loader.New(o), keeper
}

// publish stores global context entries as a user would, waits until they have been read, and returns the denial of the
// first that is refused.
func (p *process) publish(t testing.TB, entries []string) string {
	told := make(chan struct{}, 1)
	p.globals.OnChange(func(string) {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	for _, text := range entries {
		raw, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		resp := p.post(t, webhook.GlobalContextValidate, "", &admissionv1.AdmissionRequest{
			Kind: metav1.GroupVersionKind{Group: "kyverno.io", Version: "v2beta1", Kind: "GlobalContextEntry"}, Operation: admissionv1.Create,
			Object: runtime.RawExtension{Raw: raw},
		})
		if !resp.Allowed {
			return resp.Result.Message
		}
		g, err := policy.ReadGlobal(raw)
		if err != nil {
			t.Fatal(err)
		}
		compiled, errs := policy.CompileGlobal(g)
		if len(errs) > 0 {
			t.Fatalf("admitted and not compiled: %v", errs)
		}
		p.globals.Put(compiled)
	}
	p.globals.Listed()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error)
	go func() { done <- p.globals.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for !p.globals.Settled() {
		<-told
	}
	return ""
}
