package vectors_test

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/test/vectors"
)

// newLoader reads what the vector says is there.
func newLoader(t testing.TB, v *vectors.Vector) *loader.Loader {
	api := httptest.NewServer(&v.Request)
	t.Cleanup(api.Close)
	base, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	return loader.New(loader.Options{ConfigMaps: &v.Request, Globals: &v.Request,
		API: &loader.API{Client: api.Client(), Base: base, SystemNamespace: "kyverno"}})
}
