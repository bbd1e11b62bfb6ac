package vectors_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/vectors"
)

// TestVectors runs every vector through the webhook server's handler: real policies, the real registry client, real
// signatures. The API server's part is played by this file.
func TestVectors(t *testing.T) {
	t.Parallel()
	list, err := vectors.Load(vectors.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			run(t, v)
		})
	}
}

func run(t testing.TB, v *vectors.Vector) {
	server := registrytest.New(nil)
	defer server.Close()
	digests := v.Registry.Stock(server)
	want, err := v.Want(digests)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := newProcess(t, v, dir, server)
	refused := p.publish(t, v.Globals)
	if refused == "" {
		refused = p.apply(t, v.Policies)
	}
	if refused == "" {
		refused = p.except(t, v.Exceptions)
	}
	if refused != "" || want.Refused != "" {
		if d := cmp.Diff(want.Refused, refused); d != "" {
			t.Errorf("refused: %s", d)
		}
		return
	}
	if d := cmp.Diff(want.PolicyWarnings, p.warnings); d != "" {
		t.Errorf("policy warnings: %s", d)
	}
	v.Registry.Misbehave(t, server, digests)
	if !v.Request.NotReady {
		p.store.Sync()
	}
	if v.Warm != "" {
		if got := p.admit(t, v, object(t, v.Warm, digests), nil, "CREATE"); !got.allowed {
			t.Fatalf("the warm object is denied: %s", got.message)
		}
		v.Registry.Change(t, server, digests)
		maps.Copy(v.Request.Keys, v.Request.KeysLater)
		maps.Copy(v.Request.ConfigMaps, v.Request.ConfigMapsLater)
		if refused := p.apply(t, v.Later); refused != "" {
			t.Fatal(refused)
		}
	}
	server.ResetLog()
	p.final = object(t, v.Final, digests)
	got := p.admit(t, v, object(t, v.Object, digests), object(t, v.Old, digests), v.Request.Operation)
	compare(t, want, got)
	for kind, n := range want.Calls {
		if c := server.Count(registrytest.Match{Kind: kind}); c != n {
			t.Errorf("%d requests of kind %s, want %d", c, kind, n)
		}
	}
}

func compare(t testing.TB, want *vectors.Want, got *outcome) {
	if got.allowed != want.Allowed {
		t.Errorf("allowed %v by %s: %s\nwarnings: %q", got.allowed, got.by, got.message, got.warnings)
	}
	if want.DeniedBy != "" && got.by != want.DeniedBy {
		t.Errorf("denied by %s", got.by)
	}
	if want.Message != "" {
		// YAML block texts end in one line break and cannot begin with an empty line.
		if d := cmp.Diff(strings.TrimSpace(want.Message), strings.TrimSpace(got.message)); d != "" {
			t.Errorf("message: %s", d)
		}
	}
	// Folded texts are compared as they were before.
	all := strings.Join(strings.Fields(got.message+"\n"+strings.Join(got.warnings, "\n")), " ")
	for _, s := range want.Contains {
		if !strings.Contains(all, s) {
			t.Errorf("%q is not in %s", s, all)
		}
	}
	for _, s := range want.Lacks {
		if strings.Contains(all, s) {
			t.Errorf("%q is in %s", s, all)
		}
	}
	if want.Warnings != nil {
		if d := cmp.Diff(nonNil(*want.Warnings), nonNil(got.warnings)); d != "" {
			t.Errorf("warnings: %s", d)
		}
	}
	if want.Patches != nil {
		if d := cmp.Diff(nonNil(*want.Patches), nonNil(got.patches)); d != "" {
			t.Errorf("patches: %s", d)
		}
	}
	if want.Results != nil {
		if d := cmp.Diff(nonNil(*want.Results), nonNil(got.mutated)); d != "" {
			t.Errorf("results: %s", d)
		}
	}
	if want.Validated != nil {
		if d := cmp.Diff(nonNil(*want.Validated), nonNil(got.validated)); d != "" {
			t.Errorf("validated: %s", d)
		}
	}
	if want.Messages != nil {
		if d := cmp.Diff(nonNil(*want.Messages), nonNil(got.messages)); d != "" {
			t.Errorf("messages: %s", d)
		}
	}
	if want.Properties != nil {
		if d := cmp.Diff(want.Properties, got.properties); d != "" {
			t.Errorf("properties: %s", d)
		}
	}
	annotations := (&unstructured.Unstructured{Object: got.object}).GetAnnotations()
	for name, value := range want.Annotations {
		text, ok := annotations[name]
		switch {
		case value == nil && ok:
			t.Errorf("annotation %s: %s", name, text)
		case value != nil && text != *value:
			t.Errorf("annotation %s: %s", name, text)
		}
	}
	for pointer, text := range want.Images {
		if found := at(got.object, pointer); found != text {
			t.Errorf("%s: %v, want %s", pointer, found, text)
		}
	}
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func at(object map[string]any, pointer string) any {
	var here any = object
	for _, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		switch h := here.(type) {
		case map[string]any:
			here = h[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(h) {
				return nil
			}
			here = h[i]
		default:
			return nil
		}
	}
	return here
}

func object(t testing.TB, text string, digests map[string]string) map[string]any {
	if text == "" {
		return nil
	}
	var o map[string]any
	if err := yaml.Unmarshal([]byte(vectors.Expand(text, digests)), &o); err != nil {
		t.Fatal(err)
	}
	return o
}
