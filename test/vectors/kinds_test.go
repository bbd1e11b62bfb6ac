package vectors_test

import (
	"os"
	"path/filepath"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/test/vectors"
)

// A vector about a kind that the API server of the end-to-end tests does not serve passes here and fails there, ten minutes later:
// its definition belongs in test/e2e/testdata/crds.
func TestKindsAreServed(t *testing.T) {
	t.Parallel()
	served := map[schema.GroupVersionKind]bool{}
	files, err := filepath.Glob(filepath.Join("..", "e2e", "testdata", "crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d definitions, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, version := range crd.Spec.Versions {
			served[schema.GroupVersionKind{Group: crd.Spec.Group, Version: version.Name, Kind: crd.Spec.Names.Kind}] = version.Served
		}
	}
	list, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		for _, text := range []string{v.Object, v.Old, v.Final, v.Warm} {
			var o metav1.PartialObjectMetadata
			if err := yaml.Unmarshal([]byte(text), &o); err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
			if kind := o.GroupVersionKind(); text != "" && !clientscheme.Scheme.Recognizes(kind) && !served[kind] {
				t.Errorf("%s: no definition of %s", v.Name, kind)
			}
		}
	}
}
