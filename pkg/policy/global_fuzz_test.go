package policy_test

import (
	"testing"

	"github.com/signet-policy/signet/pkg/fuzztest"
	"github.com/signet-policy/signet/pkg/policy"
)

// FuzzGlobal compiles anything as a GlobalContextEntry. What compiles has one source and bounds.
func FuzzGlobal(f *testing.F) {
	for _, spec := range []string{
		`{"kubernetesResource":{"group":"apps","version":"v1","resource":"deployments","namespace":"team"},"projections":[{"name":"a","jmesPath":"[].metadata.name"}]}`,
		`{"apiCall":{"urlPath":"/api/v1/nodes","refreshInterval":"1ns","retryLimit":99}}`,
		`{"apiCall":{"service":{"url":"https://example.com","caBundle":"x","headers":[{"key":"A","value":"{{b}}"}]},"method":"POST","data":[{"key":"a","value":{"b":null}}]}}`,
		`{"apiCall":null,"kubernetesResource":{}}`, `{"projections":[{"name":"","jmesPath":"[["}]}`, `null`, `[]`,
	} {
		f.Add([]byte(`{"metadata":{"name":"g"},"spec":` + spec + `}`))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzztest.Bounded(t, 16<<20, 4000, len(b), func() {
			g, err := policy.ReadGlobal(b)
			if err != nil {
				return
			}
			out, errs := policy.CompileGlobal(g)
			switch {
			case len(errs) > 0:
				if out != nil {
					t.Error("half an entry")
				}
			case (out.Resource == nil) == (out.Call == nil), out.Call != nil && (out.Interval <= 0 || out.Tries <= 0),
				out.Resource != nil && (out.Resource.Version == "" || out.Resource.Name == ""):
				t.Errorf("%+v", out)
			}
		})
	})
}
